//! The lake held against what the producer sent, row by row.
//!
//! Owns: what each record must have become. Does not own: reading the lake ([`super::reader`]).

use std::collections::BTreeMap;

use alluvium::lake::FileKind;
use anyhow::ensure;
use chrono::DateTime;

use super::{
    load::{Sent, Spot, Truth, petal_length},
    reader::{Body, Row},
};

/// 2000-01-01T00:00:00Z: earlier event times are rejected, and filed under this one.
const WINDOW_BEGINS_MS: i64 = 946_684_800_000;
const SHOWN: usize = 5;

/// Each record of the topic is in the lake once, as what it must be, and nothing else is there.
pub fn compare(truth: &Truth, rows: &[Row]) -> anyhow::Result<()> {
    let mut found: BTreeMap<Spot, &Row> = BTreeMap::new();
    let doubled: Vec<_> = rows.iter().filter(|row| found.insert(row.spot, row).is_some()).map(|row| row.spot).collect();
    let lost: Vec<_> = truth.keys().filter(|spot| !found.contains_key(spot)).collect();
    let unexplained: Vec<_> = found.keys().filter(|spot| !truth.contains_key(spot)).collect();
    let wrong: Vec<_> =
        truth.iter().filter_map(|(spot, (number, sent))| fault(*number, sent, found.get(spot)?)).collect();
    ensure!(
        lost.is_empty() && doubled.is_empty() && unexplained.is_empty() && wrong.is_empty(),
        "{} lost {:?}, {} doubled {:?}, {} unexplained {:?}, {} wrong {:?}",
        lost.len(),
        first(&lost),
        doubled.len(),
        first(&doubled),
        unexplained.len(),
        first(&unexplained),
        wrong.len(),
        first(&wrong),
    );
    Ok(())
}

fn first<T>(all: &[T]) -> &[T] {
    &all[..all.len().min(SHOWN)]
}

/// What is wrong with a record's row, if anything is.
fn fault(number: i64, sent: &Sent, row: &Row) -> Option<String> {
    let record = &sent.record;
    let sound = (row.kind == FileKind::Scored) == sent.good
        && row.timestamp_ms == record.timestamp_ms
        && row.key == record.key
        && row.folder == folder(record.timestamp_ms)
        && match &row.body {
            Body::Scored { id, petal_length: petal, prediction } => {
                *id == Some(number) && *petal == Some(petal_length(number)) && !prediction.is_empty()
            }
            Body::Rejected { value, headers, reason } => {
                *value == record.value && *headers == record.headers && !reason.is_empty()
            }
        };
    (!sound).then(|| format!("{row:?} should be record {number}: {sent:?}"))
}

fn folder(timestamp_ms: i64) -> String {
    let event_ms = if timestamp_ms < WINDOW_BEGINS_MS { WINDOW_BEGINS_MS } else { timestamp_ms };
    let time = DateTime::from_timestamp_millis(event_ms).unwrap_or_default();
    time.format("date=%Y-%m-%d/hour=%H").to_string()
}
