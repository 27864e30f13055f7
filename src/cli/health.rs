//! `alluvium health`: one question to a run, for a container's health check, where there is no shell and no curl.
//!
//! Owns: which question, and how long an answer is waited for. Does not own: asking (`telemetry::http::Client`), what is
//! answered, and showing it to people (`top`).

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::{Exit, asked::Asked};
use crate::telemetry::http::Answer;

/// From the connection to the last byte of the answer.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(3);

/// Ask a running stream or batch whether it is alive, or ready
///
/// Exits with 0 if it is, else with 1 and what it said. Alive is a process that answers; ready is one whose partitions are
/// all open. Neither question needs a token; with the one of the run in the variable `ALLUVIUM_HTTP_TOKEN`, it says which
/// partitions are not open, and why.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alluvium health\n  alluvium health --ready\n  alluvium health 10.0.0.7:9184 --ready\n  \
                  alluvium health https://localhost:9184 --ca-file page.pem"
)]
pub struct Health {
    #[command(flatten)]
    asked: Asked,
    /// Ask whether it is ready, not only whether it is alive
    #[arg(long)]
    ready: bool,
}

impl Health {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let client = self.asked.client()?.within(HEALTH_WAIT_MAX);
        let Answer { code, text } = client.ask(path).await?;
        let text = String::from_utf8_lossy(&text);
        if !code.is_success() {
            bail!("{} answers {path} with {}: {}", client.url(), code.as_u16(), text.trim());
        }
        println!("{}", text.trim());
        Ok(Exit::Done)
    }
}
