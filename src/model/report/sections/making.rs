//! How the network came about: the training, the other networks that were trained, and the data.

use maud::{Markup, PreEscaped, html};

use super::{
    LINES_SHOWN_MAX,
    words::{figure, key, name, number, share, three},
};
use crate::model::{
    ModelError,
    report::{
        ColumnSummary, EpochPoint, NumberSummary, Report,
        charts::{Axis, Plot},
        verdict::{count, percent},
    },
};

pub fn training(report: &Report) -> Result<Markup, ModelError> {
    Ok(html! {
        section {
            h2 { "How it was trained" }
            p.lead { "On " (count(report.split.train)) " rows; " (count(report.split.validation))
                " rows said when to stop, and " (count(report.split.test)) " were kept for the test. The weights are "
                "those of epoch " (report.best_epoch) ", the vertical line." }
            @if !report.epochs.is_empty() { (descent(report)?) }
            @if !report.settings.is_empty() {
                dl.settings { @for setting in report.settings.iter().take(LINES_SHOWN_MAX) {
                    div { dt { (setting.name) } dd { (setting.value) } }
                } }
            }
        }
    })
}

fn descent(report: &Report) -> Result<Markup, ModelError> {
    let epochs = || report.epochs.iter();
    let highest = epochs().map(|epoch| epoch.train_loss.max(epoch.validation_loss)).fold(0.0, f64::max);
    let lowest = epochs().map(|epoch| epoch.train_accuracy.min(epoch.validation_accuracy)).fold(1.0, f64::min);
    let loss = Axis { name: "loss", range: 0.0..highest * 1.05, told: |loss| figure(*loss) };
    let accuracy = Axis { range: (lowest * 10.0).floor() / 10.0..1.0, ..Axis::share("share that is right") };
    let losses = [numbered(report, |epoch| epoch.validation_loss), numbered(report, |epoch| epoch.train_loss)];
    let shares = [numbered(report, |epoch| epoch.validation_accuracy), numbered(report, |epoch| epoch.train_accuracy)];
    let loss = over_epochs(report, "Loss after each epoch, of validation and training rows", loss, losses);
    let accuracy = over_epochs(report, "Accuracy after each epoch, of validation and training rows", accuracy, shares);
    Ok(html! {
        div.pair {
            figure {
                figcaption { "Loss" (key("validation", "training")) }
                (PreEscaped(loss.svg()?))
            }
            figure {
                figcaption { "Accuracy" (key("validation", "training")) }
                (PreEscaped(accuracy.svg()?))
            }
        }
    })
}

fn over_epochs<'a>(report: &Report, title: &'a str, y: Axis<'a>, lines: [Vec<(f64, f64)>; 2]) -> Plot<'a> {
    let last = report.epochs.last().map_or(1, |epoch| epoch.number);
    let x = Axis { name: "epoch", range: 0.0..number(last), told: |epoch| format!("{epoch:.0}") };
    Plot { title, x, y, lines, guide: None, mark: Some(number(report.best_epoch)), dots: false }
}

fn numbered(report: &Report, value: fn(&EpochPoint) -> f64) -> Vec<(f64, f64)> {
    report.epochs.iter().map(|epoch| (number(epoch.number), value(epoch))).collect()
}

pub fn folds(report: &Report) -> Markup {
    let Some(folds) = &report.folds else { return html! {} };
    html! {
        section {
            h2 { "Cross-validation" }
            p.lead { (folds.folds.len()) " networks, each measured on rows that it has not seen: "
                strong { (percent(folds.accuracy_mean)) " ± " (percent(folds.accuracy_std)) } " right on average." }
            div.scroll { table {
                thead { tr { th { "Fold" } th.number { "Rows" } th.number { "Accuracy" } th.number { "Log loss" } } }
                tbody { @for fold in folds.folds.iter().take(LINES_SHOWN_MAX) {
                    tr { th scope="row" { (fold.number) } td.number { (count(fold.rows)) }
                        td.number { (percent(fold.accuracy)) } td.number { (three(fold.log_loss)) } }
                } }
            } }
        }
    }
}

pub fn trials(report: &Report) -> Markup {
    let mut trials: Vec<_> = report.trials.iter().collect();
    trials.sort_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
    html! {
        @if !trials.is_empty() { section {
            h2 { "Settings that were tried" }
            p.lead { "The best first, by the loss on the validation rows." }
            div.scroll { table {
                thead { tr { th { "Hidden layers" } th.number { "Learning rate" } th.number { "Accuracy" }
                    th.number { "Loss" } } }
                tbody { @for trial in trials.into_iter().take(LINES_SHOWN_MAX) {
                    tr.own[trial.chosen] {
                        th scope="row" { (layers(&trial.hidden)) @if trial.chosen { span.hint { "taken" } } }
                        td.number { (figure(trial.learning_rate)) }
                        td.number { (percent(trial.validation_accuracy)) }
                        td.number { (three(trial.validation_loss)) }
                    }
                } }
            } }
        } }
    }
}

fn layers(hidden: &[usize]) -> String {
    if hidden.is_empty() {
        return "none".to_owned();
    }
    hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(" · ")
}

pub fn data(report: &Report) -> Markup {
    let data = &report.data;
    html! {
        section {
            h2 { "The data" }
            p.lead { (count(data.rows)) " rows of " (name(&data.sources.join(", "))) ", to predict "
                em { (name(&data.label)) } "." }
            div.scroll { table.shares {
                thead { tr { th { "Class" } th.number { "Rows" } th.number { "Share" } th { } } }
                tbody { @for class in data.classes.iter().take(LINES_SHOWN_MAX) {
                    @let part = share(class.rows, data.rows);
                    tr {
                        th scope="row" { (name(&class.class)) }
                        td.number { (count(class.rows)) }
                        td.number { (percent(part)) }
                        td.gauge { div style=(format!("width: {:.1}%", part * 100.0)) { } }
                    }
                } }
            } }
            (columns(&data.columns))
            p.note { "SHA-256 of the data: " code { (data.digest) } }
        }
    }
}

fn columns(columns: &[ColumnSummary]) -> Markup {
    let hidden = columns.len().saturating_sub(LINES_SHOWN_MAX);
    html! {
        div.scroll { table {
            thead { tr { th { "Column" } th { "Kind" } th { "What became of it" } th.number { "Missing" }
                th.number { "Least" } th.number { "Mean" } th.number { "Greatest" } th.number { "Std. dev." } } }
            tbody { @for column in columns.iter().take(LINES_SHOWN_MAX) {
                tr.unused[!column.used] {
                    th scope="row" { (name(&column.name)) }
                    td { (column.kind) }
                    td { @if !column.used { "left out: " } (column.told) }
                    td.number { (count(column.missing)) }
                    @for cell in cells(column.numbers) { td.number { (cell) } }
                }
            } }
        } }
        @if hidden > 0 { p.note { (hidden) " more columns are in report.json." } }
    }
}

fn cells(numbers: Option<NumberSummary>) -> [String; 4] {
    let told = |numbers: NumberSummary| [numbers.min, numbers.mean, numbers.max, numbers.std].map(figure);
    numbers.map_or_else(|| [(); 4].map(|()| "–".to_owned()), told)
}
