//! `alluvium batch`

use std::path::PathBuf;

use clap::Args;

use super::{Exit, run, summary};
use crate::pipeline::Mode;

/// Score what a topic holds now, and exit
///
/// Takes each partition's end when it starts, runs to exactly there, commits, and prints a summary. Run again, it goes
/// on where the lake ends: no record is read twice.
///
/// With `group` under [source], several runs share the work. Each ends with 0 when all is in the lake, or when its own part
/// is and the rest has owners that live; only if all of them end with 0 is the whole batch done.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium batch pipelines/iris.toml\n  alluvium batch pipelines/iris.toml --json | jq .scored\n  \
        alluvium batch pipelines/iris.toml --accept-rejects"
)]
pub struct Batch {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// Let rejects land however many they are, whatever `stop_above` says; they stay in `rejected`, and can be replayed
    #[arg(long)]
    accept_rejects: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Batch {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let mut settings = run::settings(&self.pipeline)?;
        if self.accept_rejects {
            settings.rejects = None;
        }
        let outcome = run::run(settings, Mode::Batch).await?;
        summary::print(&outcome, self.json)?;
        Ok(summary::exit(&outcome))
    }
}
