//! What went into a segment, for people: how the model judged, what was rejected and why, the newest rows.
//!
//! Owns: counting it, once a batch. Does not own: who is told ([`crate::lane`]). Invariant: it does not grow with the
//! records, and nothing in the lake depends on it.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, RecordBatch},
    util::display::array_value_to_string,
};

use super::Scored;
use crate::record::{Reason, Record, Scores, short::shortened};

/// How sure a model may be of a class, by these bounds and beyond.
pub const CONFIDENCE_BOUNDS: [f64; 8] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
/// The same bounds, as a scorer has its probabilities.
const BOUNDS: [f32; CONFIDENCE_BOUNDS.len()] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
/// Rows that are judged at once.
const JUDGED: usize = 512;
/// Rows that are kept of a batch.
const ROWS_KEPT: usize = 3;
/// Of these no more than so many fields, and no more of a value.
const FIELDS_KEPT: usize = 16;
const FIELD_CHARS_MAX: usize = 80;
/// What is kept of the value of a rejected record, and of what is wrong with it.
const SAMPLE_BYTES_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// In the order of the model's classes; of those beyond the last that came up nothing is held.
    pub classes: Vec<Sure>,
    pub rejects: BTreeMap<Reason, Refused>,
    /// Of the newest batch that had any, newest first.
    pub newest: Vec<Row>,
}

/// Rows of one class, by how sure the model was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sure {
    pub buckets: [u64; CONFIDENCE_BOUNDS.len() + 1],
    pub sum: f64,
}

/// Rejects of one reason.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub records: u64,
    /// The newest of them.
    pub sample: Sample,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub offset: i64,
    pub detail: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub offset: i64,
    pub event_ms: i64,
    pub class: u8,
    pub confidence: f32,
    pub fields: Vec<(String, String)>,
}

impl Sure {
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, confidence: f32, bucket: u8) {
        if let Some(count) = self.buckets.get_mut(usize::from(bucket)) {
            *count += 1;
        }
        self.sum += f64::from(confidence);
    }
}

fn bucket(confidence: f32) -> u8 {
    BOUNDS.iter().map(|&bound| u8::from(bound < confidence)).sum()
}

impl std::ops::AddAssign for Sure {
    fn add_assign(&mut self, other: Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.sum += other.sum;
    }
}

impl Seen {
    pub(super) fn take(&mut self, scored: &Scored) {
        self.judge(&scored.scores);
        self.refuse(scored);
        let newest = newest(scored);
        if !newest.is_empty() {
            self.newest = newest;
        }
    }

    fn judge(&mut self, scores: &Scores) {
        if self.classes.len() < scores.probabilities.len() {
            self.classes.resize(scores.probabilities.len(), Sure::default());
        }
        let mut buckets = [0; JUDGED];
        for (classes, confidences) in scores.class.chunks(JUDGED).zip(scores.confidence.chunks(JUDGED)) {
            // By itself, so that the processor compares many at once.
            buckets.iter_mut().zip(confidences).for_each(|(place, confidence)| *place = bucket(*confidence));
            for ((class, confidence), bucket) in classes.iter().zip(confidences).zip(buckets) {
                if let Some(sure) = self.classes.get_mut(usize::from(*class)) {
                    sure.add(*confidence, bucket);
                }
            }
        }
    }

    fn refuse(&mut self, Scored { batch, decoded, .. }: &Scored) {
        let mut last = BTreeMap::new();
        for reject in &decoded.rejects {
            self.rejects.entry(reject.reason).or_default().records += 1;
            last.insert(reject.reason, reject);
        }
        for (reason, reject) in last {
            let record = batch.records.get(reject.source as usize);
            let value = record.and_then(|record: &Record| record.value.as_deref()).unwrap_or_default();
            self.rejects.entry(reason).or_default().sample = Sample {
                offset: record.map_or(batch.range.start, |record| record.offset),
                detail: cut(reject.detail.as_bytes(), SAMPLE_BYTES_MAX),
                value: cut(value, SAMPLE_BYTES_MAX),
            };
        }
    }
}

fn newest(Scored { batch, decoded, scores }: &Scored) -> Vec<Row> {
    let rows = &decoded.rows;
    let row = |row: usize| {
        Some(Row {
            offset: batch.records.get(*rows.source.get(row)? as usize)?.offset,
            event_ms: *rows.event_ms.get(row)?,
            class: *scores.class.get(row)?,
            confidence: *scores.confidence.get(row)?,
            fields: fields(&rows.columns, row),
        })
    };
    (0..rows.source.len()).rev().take(ROWS_KEPT).filter_map(row).collect()
}

fn fields(columns: &RecordBatch, row: usize) -> Vec<(String, String)> {
    let schema = columns.schema_ref();
    let named = schema.fields().iter().zip(columns.columns()).take(FIELDS_KEPT);
    let text = |column: &dyn Array| {
        if column.is_null(row) {
            return String::new();
        }
        array_value_to_string(column, row).map(|value| shortened(&value, FIELD_CHARS_MAX)).unwrap_or_default()
    };
    named.map(|(field, column)| (field.name().clone(), text(column))).collect()
}

/// The beginning of it as text, whatever the bytes are.
fn cut(bytes: &[u8], bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..bytes_max).unwrap_or(bytes)).into_owned();
    if bytes.len() > bytes_max {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_counts_where_its_bound_says_and_the_sum_follows() {
        let confidence = [0.2, 0.5, 0.95, 0.96, 1.0].repeat(JUDGED);
        let class = [0, 1, 0, 1, 1].repeat(JUDGED);
        let mut seen = Seen::default();
        seen.judge(&Scores { class, confidence, probabilities: vec![vec![]; 2] });
        let times = JUDGED as u64;
        assert_eq!(seen.classes[0].buckets, [1, 0, 0, 0, 0, 1, 0, 0, 0].map(|rows| rows * times));
        assert_eq!(seen.classes[1].buckets, [1, 0, 0, 0, 0, 0, 1, 1, 0].map(|rows| rows * times));
        let sums = [1.15, 2.46].map(|sum| sum * f64::from(u32::try_from(JUDGED).unwrap()));
        assert!(seen.classes.iter().zip(sums).all(|(sure, sum)| (sure.sum - sum).abs() < 1e-3), "{seen:?}");
        assert!(BOUNDS.iter().zip(CONFIDENCE_BOUNDS).all(|(narrow, wide)| (f64::from(*narrow) - wide).abs() < 1e-7));
    }

    #[test]
    fn what_is_cut_stays_text() {
        assert_eq!(cut("añ".as_bytes(), 2), "a\u{fffd}…");
        assert_eq!(cut(b"\xff\x00", 8), "\u{fffd}\0");
    }
}
