//! `alluvium models list`

use clap::Args;
use serde::Serialize;

use super::{percent, short};
use crate::{
    cli::{Exit, Usage, grid::grid, model_spec::ModelSpec},
    model::{About, ModelError, Registry},
    record::name::visible,
    telemetry::chain,
};

/// List the versions of a model
///
/// Each with its date, the digest of the data that it was trained on, and how well it did on rows that were held out.
/// The champion is marked. A version that can't be read is listed with what is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium models list models/iris")]
pub(super) struct List {
    /// The model's folder or URL
    #[arg(value_name = "MODEL")]
    model: ModelSpec,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    model: &'a str,
    champion: Option<u32>,
    versions: Vec<Line>,
}

/// What a version's line tells. What was not recorded is absent.
#[derive(Default, Serialize)]
struct Line {
    version: u32,
    champion: bool,
    date: Option<String>,
    data: Option<String>,
    accuracy: Option<f64>,
    macro_f1: Option<f64>,
    rows: Option<u64>,
    fault: Option<String>,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        if self.model.version.is_some() {
            return Err(Usage(format!("all versions are listed; write only {}", self.model.name)).into());
        }
        let registry = Registry::open(&self.model.name)?;
        let champion = registry.champions().await?.first().map(|champion| champion.version);
        let versions: Vec<Line> =
            registry.list().await?.into_iter().map(|(version, about)| Line::of(version, about, champion)).collect();
        if self.json {
            let listed = Listed { model: registry.name(), champion, versions };
            println!("{}", serde_json::to_string_pretty(&listed)?);
        } else if versions.is_empty() {
            println!("{} has no versions; train one with `alluvium train`", self.model.name);
        } else {
            print!("{}", visible(&render(&versions)));
        }
        Ok(Exit::Done)
    }
}

impl Line {
    fn of(version: u32, about: Result<About, ModelError>, champion: Option<u32>) -> Self {
        let line = Self { version, champion: champion == Some(version), ..Self::default() };
        match about {
            Ok(about) => line.known(about),
            Err(error) => Self { fault: Some(chain(&error)), ..line },
        }
    }

    fn known(self, about: About) -> Self {
        let line = Self { date: Some(about.date), ..self };
        let Some(training) = about.manifest.training else { return line };
        let result = training.held_out;
        Self {
            data: Some(training.data),
            accuracy: Some(result.accuracy),
            macro_f1: Some(result.macro_f1()),
            rows: Some(result.rows),
            ..line
        }
    }
}

fn render(versions: &[Line]) -> String {
    let told = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["version", "date", "data", "accuracy", "macro F1", ""].map(String::from)];
    for line in versions {
        let fault = line.fault.as_ref().map(|fault| format!("unusable: {fault}"));
        let mark = if line.champion { "champion".to_owned() } else { String::new() };
        rows.push([
            line.version.to_string(),
            told(line.date.clone()),
            told(line.data.as_deref().map(|data| short(data).to_owned())),
            told(line.accuracy.map(percent)),
            told(line.macro_f1.map(|f1| format!("{f1:.3}"))),
            [mark, fault.unwrap_or_default()].join(" ").trim().to_owned(),
        ]);
    }
    // The last column is words, and the grid sets all but the first to the right.
    let last: Vec<String> = rows.iter_mut().map(|row| std::mem::take(&mut row[5])).collect();
    let shown: Vec<[String; 5]> = rows.into_iter().map(|[a, b, c, d, e, _]| [a, b, c, d, e]).collect();
    let lines = grid("", &shown);
    lines.lines().zip(last).map(|(line, last)| format!("{line}  {last}").trim_end().to_owned() + "\n").collect()
}
