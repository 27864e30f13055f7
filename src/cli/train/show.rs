//! What a training shows: the columns as they were understood, and the result.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    cli::grid::grid,
    model::{Evaluation, Labelled, Report, Saved, Trained, Training},
    record::ModelRef,
    telemetry::progress,
};

/// How the result is shown.
pub(super) struct Shown {
    pub(super) out: String,
    pub(super) promoted: bool,
    pub(super) json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    model: &'a ModelRef,
    folder: &'a str,
    champion: bool,
    training: &'a Training,
    report: &'a Report,
}

impl Shown {
    pub(super) fn print(&self, trained: &Trained, saved: &Saved) -> anyhow::Result<()> {
        let (model, folder) = (&saved.reference, saved.place.as_str());
        if self.json {
            let (training, report) = (trained.training(), trained.report());
            let printed = Printed { model, folder, champion: self.promoted, training, report };
            println!("{}", serde_json::to_string_pretty(&printed)?);
            return Ok(());
        }
        print!("{}", result(model, trained));
        println!("It is in {folder}; open {folder}/report.html for the whole story.");
        if self.promoted {
            println!("It is the champion now. Next: name it in a pipeline file, [model] path = \"{}\", then", self.out);
            println!("  alluvium check PIPELINE.toml");
        } else {
            println!("The champion is as it was. Next: to use it,");
            println!("  alluvium models promote {}@{}", self.out, model.version);
        }
        Ok(())
    }
}

/// The columns as they were understood.
pub(super) fn table(table: &Labelled) -> String {
    let mut lines: Vec<_> = table.columns.iter().map(|column| (column.name.as_str(), column.told.clone())).collect();
    lines.push((&table.label, format!("to predict: {}", table.classes.join(", "))));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{} rows\n", progress::count(table.labels.len() as u64));
    for (name, told) in lines {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {name:width$}  {told}");
    }
    text
}

fn result(model: &ModelRef, trained: &Trained) -> String {
    let report = trained.report();
    let held_out = &report.held_out;
    let (accuracy, rows) = (percent(held_out.accuracy), progress::count(held_out.rows));
    let stopped = if trained.was_stopped() { ", stopped early" } else { "" };
    let mut text = format!("{model}: {accuracy} right on {rows} held-out rows{stopped}\n{}\n", report.verdict.sentence);
    if let Some(advice) = &report.verdict.advice {
        let _ = writeln!(text, "{advice}");
    }
    for part in [baselines(report), confusion(held_out), measures(held_out), trials(report), folds(report)] {
        if !part.is_empty() {
            let _ = write!(text, "\n{part}");
        }
    }
    let (before, after) = (report.calibration_before.expected_error, report.calibration_after.expected_error);
    let _ = writeln!(
        text,
        "\nConfidence is off by {} on average ({} before calibration, temperature {}).",
        percent(after),
        percent(before),
        report.temperature
    );
    text
}

fn baselines(report: &Report) -> String {
    let line = |name: &str, result: &Evaluation| {
        let loss = result.log_loss.map_or_else(String::new, |loss| format!("{loss:.4}"));
        vec![name.to_owned(), percent(result.accuracy), percent(result.balanced_accuracy()), loss]
    };
    let mut rows = vec![["", "accuracy", "balanced", "log loss"].map(String::from).to_vec()];
    rows.push(line("this network", &report.held_out));
    rows.extend(report.baselines.iter().map(|baseline| line(&baseline.name, &baseline.evaluation)));
    grid("  ", &rows)
}

/// What each class was taken for.
fn confusion(result: &Evaluation) -> String {
    let names: Vec<&str> = result.classes.iter().map(|class| class.class.as_str()).collect();
    let mut rows: Vec<Vec<String>> =
        vec![[&["is \\ predicted"], names.as_slice()].concat().into_iter().map(String::from).collect()];
    for (name, counts) in names.iter().zip(&result.confusion) {
        rows.push([(*name).to_owned()].into_iter().chain(counts.iter().map(|&count| progress::count(count))).collect());
    }
    grid("  ", &rows)
}

fn measures(result: &Evaluation) -> String {
    let mut rows = vec![["class", "rows", "precision", "recall", "F1"].map(String::from).to_vec()];
    for class in &result.classes {
        let shares = [class.precision, class.recall, class.f1].map(|share| format!("{share:.3}"));
        rows.push([class.class.clone(), progress::count(class.rows)].into_iter().chain(shares).collect());
    }
    grid("  ", &rows)
}

fn trials(report: &Report) -> String {
    if report.trials.is_empty() {
        return String::new();
    }
    let mut rows = vec![["hidden", "rate", "loss", "accuracy", ""].map(String::from).to_vec()];
    for trial in &report.trials {
        let hidden: Vec<_> = trial.hidden.iter().map(usize::to_string).collect();
        rows.push(vec![
            if hidden.is_empty() { "none".to_owned() } else { hidden.join(",") },
            trial.learning_rate.to_string(),
            format!("{:.4}", trial.validation_loss),
            percent(trial.validation_accuracy),
            if trial.chosen { "taken".to_owned() } else { String::new() },
        ]);
    }
    format!("Tried, on the validation rows:\n{}", grid("  ", &rows))
}

fn folds(report: &Report) -> String {
    let Some(folds) = &report.folds else { return String::new() };
    let each: Vec<_> = folds.folds.iter().map(|fold| percent(fold.accuracy)).collect();
    format!(
        "{}-fold cross-validation: {} right, give or take {} from fold to fold\n  {}\n",
        folds.folds.len(),
        percent(folds.accuracy_mean),
        percent(folds.accuracy_std),
        each.join("  ")
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
