//! `alluvium models show`

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{opened, percent, short};
use crate::{
    cli::{Exit, grid::grid, model_spec::ModelSpec},
    model::{About, Champion, Feature, Training},
    telemetry::progress::count,
};

/// Features shown; a model of more has the rest in its manifest.
const FEATURES_SHOWN_MAX: usize = 50;

/// Show a version: its features, shape, classes, training and result
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium models show models/iris\n  alluvium models show models/iris@1 --json")]
pub(super) struct Show {
    /// The model's folder or URL; with a version, or the champion
    #[arg(value_name = "MODEL[@VERSION]")]
    model: ModelSpec,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    about: &'a About,
    champion: bool,
    champions: &'a [Champion],
}

impl Show {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (registry, version) = opened(&self.model).await?;
        let about = registry.about(version).await?;
        let champions = registry.champions().await?;
        let champion = champions.first().filter(|champion| champion.version == version);
        if self.json {
            let shown = Shown { about: &about, champion: champion.is_some(), champions: &champions };
            println!("{}", serde_json::to_string_pretty(&shown)?);
        } else {
            print!("{}", render(registry.name(), &about, champion));
        }
        Ok(Exit::Done)
    }
}

fn render(name: &str, about: &About, champion: Option<&Champion>) -> String {
    let manifest = &about.manifest;
    let role = champion.map_or_else(String::new, |champion| match &champion.since {
        Some(since) => format!(", champion since {since}"),
        None => ", champion".to_owned(),
    });
    let widths: Vec<_> = manifest.widths().iter().map(usize::to_string).collect();
    let mut text = format!("{name}@{}{role}\n", about.version);
    let mut line = |what: &str, told: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {what:<10}  {told}");
    };
    line("made", &about.date);
    line("place", &about.place);
    line("files", &about.files.join(", "));
    line("network", &format!("{}, {}", widths.join("-"), manifest.activation.name()));
    line("classes", &manifest.classes.join(", "));
    match &manifest.training {
        Some(training) => tell_training(training, &mut line),
        None => line("training", "not recorded; it was made elsewhere"),
    }
    format!("{text}\nfeatures\n{}", features(&manifest.features))
}

fn tell_training(training: &Training, line: &mut impl FnMut(&str, &str)) {
    let rows = |rows: usize| count(rows as u64);
    line("label", &training.label);
    line("data", &format!("{} rows, SHA-256 {}", rows(training.rows), short(&training.data)));
    let (learned, checked, held) = (training.rows_train, training.rows_validation, training.rows_test);
    line("split", &format!("{} to learn, {} to validate, {} held out", rows(learned), rows(checked), rows(held)));
    line(
        "settings",
        &format!(
            "seed {}, epoch {} of {}, batch {}, learning rate {}, weight decay {}",
            training.seed,
            training.best_epoch,
            training.epochs,
            training.batch_size,
            training.learning_rate,
            training.weight_decay
        ),
    );
    let result = &training.held_out;
    line(
        "result",
        &format!(
            "{} right, macro F1 {:.3}, on {} held-out rows",
            percent(result.accuracy),
            result.macro_f1(),
            count(result.rows)
        ),
    );
    line("made by", &format!("alluvium {}, burn {}", training.alluvium, training.burn));
}

fn features(features: &[Feature]) -> String {
    let told = |feature: &Feature| {
        let rule = if feature.missing { "may be missing" } else { "required" };
        [feature.name.clone(), feature.kind.name().to_owned(), rule.to_owned()]
    };
    let shown: Vec<_> = features.iter().take(FEATURES_SHOWN_MAX).map(told).collect();
    let more = features.len() - shown.len();
    let rest = if more == 0 { String::new() } else { format!("  and {more} more, in manifest.json\n") };
    format!("{}{rest}", grid("  ", &shown))
}
