//! `alluvium models verify`

use clap::Args;
use serde::Serialize;

use super::opened;
use crate::{
    cli::{Exit, model_spec::ModelSpec},
    model::{GoldenVerdict, ModelError, Verified},
    telemetry::chain,
};

/// Verify a version: its files, and its answers
///
/// Recomputes the digest of every file, loads the network, and scores the rows that were kept with the version. The answers
/// are to be the same to the last bit; another processor or build may round otherwise, and up to 1e-5 passes with a note.
/// Exits with 1 if anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium models verify models/iris\n  alluvium models verify s3://bucket/models/iris@2"
)]
pub(super) struct Verify {
    /// The model's folder or URL; with a version, or the champion
    #[arg(value_name = "MODEL[@VERSION]")]
    model: ModelSpec,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    ok: bool,
    #[serde(flatten)]
    verified: Option<&'a Verified>,
    fault: Option<String>,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (registry, version) = opened(&self.model).await?;
        let verified = registry.verify(version).await;
        if self.json {
            return tell_json(&verified);
        }
        let verified = verified?;
        println!("{}: nothing is wrong", verified.model);
        match verified.files.as_slice() {
            [] => println!("  digests  there is no SHA256SUMS to check against"),
            files => println!("  digests  {} files are as they were: {}", files.len(), files.join(", ")),
        }
        println!("  answers  {}", told(verified.golden));
        Ok(Exit::Done)
    }
}

fn tell_json(verified: &Result<Verified, ModelError>) -> anyhow::Result<Exit> {
    let fault = verified.as_ref().err().map(|error| chain(error));
    let outcome = Outcome { ok: verified.is_ok(), verified: verified.as_ref().ok(), fault };
    println!("{}", serde_json::to_string_pretty(&outcome)?);
    Ok(if outcome.ok { Exit::Done } else { Exit::Failed })
}

fn told(verdict: GoldenVerdict) -> String {
    match verdict {
        GoldenVerdict::Absent => "there is no golden.json to compare with".to_owned(),
        GoldenVerdict::Exact { rows } => format!("exact: {rows} rows score the same to the last bit"),
        GoldenVerdict::Rounding { rows, difference } => format!(
            "{rows} rows score the same but for rounding, up to {difference:e}: another processor or build made the version"
        ),
    }
}
