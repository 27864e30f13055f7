//! How good the network is: against the baselines, class by class, by its confidence, and by what it looks at.

use maud::{Markup, PreEscaped, html};

use super::{
    NAME_CHARTED_CHARS_MAX,
    words::{capital, figure, key, name, share, three},
};
use crate::model::{
    Calibration, ClassResult, Curves, Evaluation, Importance, ModelError, Point,
    report::{
        Report,
        charts::{Axis, Bar, Plot, bars},
        verdict::{count, percent},
    },
};
use crate::record::short::fitted;

/// Classes of the confusion matrix; of more, the commonest.
const MATRIX_CLASSES_MAX: usize = 16;

/// Of more classes, the confusion matrix has the width of the page to itself.
const CLASSES_ABREAST_MAX: usize = 4;

/// Bars of the chart of features; of more, the most important.
const FEATURES_SHOWN_MAX: usize = 20;

/// How deep the colour of a full cell is; words stay readable on it.
const SHADE_FULL: f64 = 0.5;

pub fn contest(report: &Report) -> Markup {
    let baselines = report.baselines.iter().map(|baseline| (capital(&baseline.name), &baseline.evaluation));
    let contenders: Vec<_> = [("The network".to_owned(), &report.held_out)].into_iter().chain(baselines).collect();
    html! {
        section {
            h2 { "Against something simple" }
            p.lead { "All measured on the same " (count(report.held_out.rows)) " rows, which no training has seen." }
            div.scroll { table {
                thead { tr { th { } th.number { "Accuracy" } th.number { "Balanced accuracy" } th.number { "Macro F1" }
                    th.number { "Log loss" } } }
                tbody { @for (index, (name, result)) in contenders.iter().enumerate() {
                    tr.own[index == 0] {
                        th scope="row" { (name) }
                        td.number { (percent(result.accuracy)) }
                        td.number { (percent(result.balanced_accuracy())) }
                        td.number { (three(result.macro_f1())) }
                        td.number { (result.log_loss.map_or("–".to_owned(), three)) }
                    }
                } }
            } }
        }
    }
}

pub fn confusion(report: &Report) -> Markup {
    let result = &report.held_out;
    html! {
        section {
            h2 { "Right and wrong, class by class" }
            div.pair.stacked[result.classes.len() > CLASSES_ABREAST_MAX] {
                figure {
                    figcaption { "Confusion matrix" span.hint { "rows: what it is; columns: what it was taken for" } }
                    (matrix(result))
                }
                figure {
                    figcaption { "Precision and recall" }
                    (classes(report, result))
                }
            }
        }
    }
}

/// A heat map: right cells in one colour, wrong ones in the other, as deep as their share of the row.
fn matrix(result: &Evaluation) -> Markup {
    let shown = commonest(result);
    let class = |index: usize| result.classes.get(index).map_or("", |class| class.class.as_str());
    let cell = |truth: usize, taken: usize| result.confusion.get(truth).and_then(|row| row.get(taken)).copied();
    let hidden = result.classes.len() - shown.len();
    html! {
        div.scroll { table.matrix {
            thead { tr { th { } @for &taken in &shown { th.number { (fitted(class(taken), NAME_CHARTED_CHARS_MAX)) } } } }
            tbody { @for &truth in &shown {
                tr {
                    th scope="row" { (fitted(class(truth), NAME_CHARTED_CHARS_MAX)) }
                    @for &taken in &shown {
                        @let rows = cell(truth, taken).unwrap_or(0);
                        td.number style=(shade(rows, result.classes[truth].rows, truth == taken)) { (count(rows)) }
                    }
                }
            } }
        } }
        @if hidden > 0 { p.note { "The " (shown.len()) " commonest classes; " (hidden) " more are in report.json." } }
    }
}

/// Indices of the classes to show, in the order of the classes.
fn commonest(result: &Evaluation) -> Vec<usize> {
    let mut order: Vec<usize> = (0..result.classes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(result.classes[index].rows));
    order.truncate(MATRIX_CLASSES_MAX);
    order.sort_unstable();
    order
}

fn shade(rows: u64, of: u64, right: bool) -> String {
    let depth = share(rows, of) * SHADE_FULL;
    let colour = if right { "--first-rgb" } else { "--second-rgb" };
    format!("background: rgb(var({colour}) / {depth:.2})")
}

fn classes(report: &Report, result: &Evaluation) -> Markup {
    let area = |class: &ClassResult| report.areas.iter().find(|area| area.class == class.class);
    html! {
        div.scroll { table {
            thead { tr { th { "Class" } th.number { "Rows" } th.number { "Precision" } th.number { "Recall" }
                th.number { "F1" } th.number { "ROC AUC" } } }
            tbody { @for class in &result.classes {
                tr {
                    th scope="row" { (name(&class.class)) }
                    td.number { (count(class.rows)) }
                    td.number { (three(class.precision)) }
                    td.number { (three(class.recall)) }
                    td.number { (three(class.f1)) }
                    td.number { (area(class).map_or("–".to_owned(), |area| three(area.roc_auc))) }
                }
            } }
        } }
    }
}

pub fn calibration(report: &Report) -> Result<Markup, ModelError> {
    let (before, after) = (&report.calibration_before, &report.calibration_after);
    let points = |of: &Calibration| of.bins.iter().map(|bin| (bin.confidence, bin.accuracy)).collect();
    let plot = Plot {
        title: "Reliability diagram: the share that is right, against confidence, before and after calibration",
        x: Axis::share("confidence"),
        y: Axis::share("share that is right"),
        lines: [points(after), points(before)],
        guide: Some([(0.0, 0.0), (1.0, 1.0)]),
        mark: None,
        dots: true,
    };
    Ok(html! {
        section {
            h2 { "Can its confidence be trusted?" }
            p.lead {
                "Of the rows it is 90 % sure of, nine in ten should be right: then the points lie on the diagonal. "
                (heat(report.temperature)) " Before and after are measured on the test rows."
            }
            div.pair {
                figure {
                    figcaption { "Reliability" (key("after", "before")) }
                    (PreEscaped(plot.svg()?))
                }
                div.scroll { table {
                    thead { tr { th { } th.number { "Before" } th.number { "After" } } }
                    tbody {
                        tr { th scope="row" { "Temperature" }
                            td.number { "1" } td.number { (figure(f64::from(report.temperature))) } }
                        tr { th scope="row" { "Expected calibration error" }
                            td.number { (percent(before.expected_error)) }
                            td.number { (percent(after.expected_error)) } }
                        tr { th scope="row" { "Log loss" }
                            td.number { (three(before.log_loss)) } td.number { (three(after.log_loss)) } }
                    }
                } }
            }
        }
    })
}

fn heat(temperature: f32) -> &'static str {
    if temperature > 1.0 {
        "The validation rows showed it too sure of itself, so its confidence is lowered; no class changes by it."
    } else if temperature < 1.0 {
        "The validation rows showed it less sure than it is right, so its confidence is raised; no class changes by it."
    } else {
        "The validation rows gave no reason to change its confidence."
    }
}

pub fn curves(report: &Report) -> Result<Markup, ModelError> {
    let Some(curves) = &report.curves else { return Ok(html! {}) };
    let (roc, precision) = (roc(curves), precision(curves));
    Ok(html! {
        section {
            h2 { "What another threshold would bring" }
            p.lead { "The threshold is put on the probability of " em { (name(&curves.positive)) } ", the rarer class: "
                (percent(curves.share)) " of the rows. The thin line is what a guess would do." }
            div.pair {
                figure {
                    figcaption { "ROC" span.hint { "area " (three(curves.roc_auc)) } }
                    (PreEscaped(roc.svg()?))
                }
                figure {
                    figcaption { "Precision and recall"
                        span.hint { "average precision " (three(curves.average_precision)) } }
                    (PreEscaped(precision.svg()?))
                }
            }
        }
    })
}

fn roc(curves: &Curves) -> Plot<'_> {
    Plot {
        title: "ROC curve: the share of positives found, against the share of negatives called positive",
        x: Axis::share("false alarms, of all negatives"),
        y: Axis::share("found, of all positives"),
        lines: [line(&curves.roc), Vec::new()],
        guide: Some([(0.0, 0.0), (1.0, 1.0)]),
        mark: None,
        dots: false,
    }
}

fn precision(curves: &Curves) -> Plot<'_> {
    Plot {
        title: "Precision-recall curve: the share of alarms that is right, against the share of positives found",
        x: Axis::share("recall: found, of all positives"),
        y: Axis::share("precision: right, of all alarms"),
        lines: [line(&curves.precision_recall), Vec::new()],
        guide: Some([(0.0, curves.share), (1.0, curves.share)]),
        mark: None,
        dots: false,
    }
}

fn line(points: &[Point]) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.x, point.y)).collect()
}

pub fn importance(report: &Report) -> Result<Markup, ModelError> {
    if report.importance.is_empty() {
        return Ok(html! {});
    }
    let shown = report.importance.iter().take(FEATURES_SHOWN_MAX);
    let bar = |one: &Importance| Bar {
        name: fitted(&one.feature, NAME_CHARTED_CHARS_MAX),
        value: one.loss_rise,
        spread: one.loss_rise_std,
        told: format!("{:+.3} ({:+.1} pts)", one.loss_rise, 0.0 - 100.0 * one.accuracy_drop).replace('-', "−"),
    };
    let drawn = bars("What each feature is worth, by the rise of the log loss", &shown.map(bar).collect::<Vec<_>>())?;
    let hidden = report.importance.len().saturating_sub(FEATURES_SHOWN_MAX);
    Ok(html! {
        section {
            h2 { "What it looks at" }
            p.lead { "How much worse it does when one feature's values are dealt to other rows: the rise of the log "
                "loss, and in brackets what becomes of the accuracy, in percentage points. Features that say the same "
                "share their worth." }
            figure.importance { (PreEscaped(drawn)) }
            @if hidden > 0 { p.note { (hidden) " more features are in report.json." } }
        }
    })
}
