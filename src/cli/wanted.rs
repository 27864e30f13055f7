//! Which rejects a command is about, as it is typed.

use clap::Args;

use super::moment::Moment;
use crate::{lake::Wanted, record::Reason};

#[derive(Debug, Args)]
pub(super) struct WantedArgs {
    /// Of this partition alone; may be given several times
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    /// Those that were rejected for this reason; may be given several times
    #[arg(long, value_name = "CODE", value_parser = reason)]
    reason: Vec<String>,
    /// Those whose time at the broker is at or after this: 2026-11-01, 2026-11-01T07, 2026-11-01T07:30:00Z, 36h
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Those whose time at the broker is before this
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl WantedArgs {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            partitions: self.partition.iter().copied().collect(),
            reasons: self.reason.iter().cloned().collect(),
            since_ms: self.since.map(Moment::ms),
            until_ms: self.until.map(Moment::ms),
        }
    }
}

/// A reason's code, as it is typed.
fn reason(text: &str) -> Result<String, String> {
    if Reason::ALL.iter().any(|reason| reason.code() == text) {
        return Ok(text.to_owned());
    }
    let codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    Err(format!("the reasons are {}", codes.join(", ")))
}
