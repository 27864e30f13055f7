//! The page around the sections: head, verdict, headline figures and foot.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Report, Standing, sections, verdict::percent};
use crate::model::ModelError;

const STYLE: &str = include_str!("style.css");

/// How far the true share may lie from a measured one, at 95 %.
const SIGMAS: f64 = 1.96;

pub(super) fn render(report: &Report) -> Result<String, ModelError> {
    let title = title(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (header(report, &title))
                    (sections::contest(report))
                    (sections::confusion(report))
                    (sections::calibration(report)?)
                    (sections::curves(report)?)
                    (sections::importance(report)?)
                    (sections::training(report)?)
                    (sections::folds(report))
                    (sections::trials(report))
                    (sections::data(report))
                }
                footer { "Made by Alluvium " (report.alluvium) ". The same numbers are in report.json." }
            }
        }
    };
    Ok(page.into_string())
}

fn title(report: &Report) -> String {
    match &report.model {
        Some(model) => format!("{}, version {}", model.name, model.version),
        None => format!("A model of {}", report.data.label),
    }
}

fn header(report: &Report, title: &str) -> Markup {
    let (mark, class) = match report.verdict.standing {
        Standing::Ahead => ("✓", "good"),
        Standing::Alone => ("•", "good"),
        Standing::Level | Standing::Behind => ("!", "poor"),
    };
    html! {
        header {
            p.eyebrow {
                "Training report"
                @if let Some(model) = &report.model { " · " (model.date.format("%-d %B %Y, %H:%M UTC")) }
            }
            h1 { (title) }
            div.verdict.(class) {
                span.mark aria-hidden="true" { (mark) }
                p {
                    strong { (report.verdict.sentence) }
                    @if let Some(advice) = &report.verdict.advice { " " (advice) }
                }
            }
            (figures(report))
        }
    }
}

fn figures(report: &Report) -> Markup {
    let held_out = &report.held_out;
    let (low, high) = interval(held_out.accuracy, held_out.rows);
    html! {
        dl.figures {
            (figure("Accuracy", &percent(held_out.accuracy), &format!("95 % sure: {low:.0} to {high:.0} %")))
            @if let Some(curves) = &report.curves {
                (figure("ROC AUC", &format!("{:.3}", curves.roc_auc), "0.5 is a guess, 1 is perfect"))
            }
            (figure("Macro F1", &format!("{:.3}", report.macro_f1), "every class counts the same"))
            @if let Some(loss) = held_out.log_loss {
                (figure("Log loss", &format!("{loss:.3}"), "less is better"))
            }
            @let error = percent(report.calibration_after.expected_error);
            (figure("Calibration error", &error, "how far off confidence is"))
        }
    }
}

fn figure(name: &str, value: &str, note: &str) -> Markup {
    html! { div { dt { (name) } dd.value { (value) } dd.note { (note) } } }
}

/// Wilson's interval, in per cent: it stays within 0 and 100, and holds for few rows too.
#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn interval(share: f64, rows: u64) -> (f64, f64) {
    let (rows, squared) = (rows.max(1) as f64, SIGMAS * SIGMAS);
    let centre = (share + squared / (2.0 * rows)) / (1.0 + squared / rows);
    let spread =
        (share * (1.0 - share) / rows + squared / (4.0 * rows * rows)).sqrt() * SIGMAS / (1.0 + squared / rows);
    ((centre - spread).max(0.0) * 100.0, (centre + spread).min(1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `proportion_confint(29, 30, method="wilson")` of statsmodels, and its like.
    #[test]
    fn few_rows_leave_a_wide_interval() {
        for (share, rows, want) in [(29.0 / 30.0, 30, (83.3, 99.4)), (1.0, 30, (88.6, 100.0)), (0.0, 0, (0.0, 79.3))] {
            let (low, high) = interval(share, rows);
            assert!((low - want.0).abs() < 0.1 && (high - want.1).abs() < 0.1, "{low} {high}");
        }
    }
}
