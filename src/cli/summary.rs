//! What a run did, for people and for scripts.

use std::io::{self, Write};

use super::Exit;
use crate::{
    outlet::OutletTally,
    pipeline::Summary,
    telemetry::progress::{bytes, count},
};

/// Prints the summary to stdout.
pub(super) fn print(summary: &Summary, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, summary)?;
        return writeln!(out);
    }
    for (label, figure) in lines(summary) {
        writeln!(out, "{label:<12} {figure}")?;
    }
    Ok(())
}

/// Failed lanes were logged when they stopped; the exit code repeats it.
pub(super) fn exit(summary: &Summary) -> Exit {
    if summary.failures.is_empty() { Exit::Done } else { Exit::Failed }
}

/// The summary as labelled lines.
pub(super) fn lines(summary: &Summary) -> Vec<(&'static str, String)> {
    let tally = &summary.tally;
    let mut lines = vec![
        ("records", count(tally.counts.records)),
        ("scored", count(tally.counts.scored)),
        ("rejected", count(tally.counts.rejected)),
        (
            "speed",
            format!("{} records/s, {:.1} s", count(per_second(tally.counts.records, summary.seconds)), summary.seconds),
        ),
        ("files", format!("{}, {}", count(tally.files), bytes(tally.bytes))),
    ];
    let mut add_if = |label, n: u64, text: String| {
        if n > 0 {
            lines.push((label, text));
        }
    };
    add_if("filtered", tally.counts.filtered, format!("{} records that say of no row", count(tally.counts.filtered)));
    add_if("rows", tally.counts.further_rows, format!("{} more than scored records", count(tally.counts.further_rows)));
    add_if("absent", tally.counts.absent, format!("{} offsets without a record", count(tally.counts.absent)));
    add_if("fenced", tally.fences, format!("{} times by another writer", count(tally.fences)));
    add_if("remaining", summary.remaining, format!("{} offsets; run again to go on", count(summary.remaining)));
    lines.extend(summary.outlets.iter().map(|outlet| (outlet.outlet, sent(outlet))));
    lines.extend(summary.failures.iter().map(|failure| ("failed", failure.clone())));
    lines
}

/// `12,000 to topic alerts; 30 expired before they were sent; 100 offsets to go`
fn sent(outlet: &OutletTally) -> String {
    let more = |n: u64, what: &str| if n > 0 { format!("; {} {what}", count(n)) } else { String::new() };
    let (expired, behind) =
        (more(outlet.expired, "expired before they were sent"), more(outlet.behind, "offsets to go"));
    format!("{} to {}{expired}{behind}", count(outlet.sent), outlet.to)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "for people")]
pub(super) fn per_second(records: u64, seconds: f64) -> u64 {
    (records as f64 / seconds.max(0.001)) as u64
}
