//! `alluvium stream`

use std::path::PathBuf;

use clap::Args;

use super::{Exit, run, summary};
use crate::pipeline::Mode;

/// Score a topic's records as they come, until told to stop
///
/// Goes on where the lake ends. SIGINT or SIGTERM once: commits what is in hand and exits 0; twice: leaves at once, and
/// the next start recovers. Partitions added to the topic are picked up, and so are topics that fit `topics`.
///
/// With `group` under [source], workers on any number of machines share the partitions: start more of the same, or stop
/// some, and the partitions move. A partition that moves is committed first, within `handover`. With `worker = "2/5"` a
/// worker has a fixed share.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium stream pipelines/iris.toml\n  ALLUVIUM_BROKERS=broker:9092 alluvium stream pipelines/iris.toml --log warn"
)]
pub struct Stream {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// Print the summary at the end as JSON
    #[arg(long)]
    json: bool,
}

impl Stream {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let outcome = run::run(run::settings(&self.pipeline)?, Mode::Stream).await?;
        summary::print(&outcome, self.json)?;
        Ok(summary::exit(&outcome))
    }
}
