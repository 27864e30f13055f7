//! What a run has seen and what happened in it, for people: one for all lanes together.
//!
//! Owns: the sums, the newest rows and rejects, what happened lately. Does not own: what is done about any of it. Invariant:
//! every list has a limit, and it is written to once a batch, a commit or an event, never once a record.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::Utc;

use crate::{
    lake::{CONFIDENCE_BOUNDS, Claim, Row, Seen, Sure},
    offset::LaneId,
    record::Reason,
    telemetry::{
        meter::{BYTES_BOUNDS, Histogram, ROWS_BOUNDS, Steps},
        status::{Class, Event, Rejects, Sample, Scored},
    },
};

/// Datasets that are told apart; those that come later are counted together.
pub const DATASETS_TOLD_MAX: usize = 16;
/// What they are counted as: no dataset has such a name.
pub const OTHER_DATASETS: &str = "(others)";
/// Of scored records, the newest.
const NEWEST_MAX: usize = 20;
/// Of what happened, the newest.
const EVENTS_MAX: usize = 200;
/// So many of a kind are told one by one…
const EVENTS_BURST_MAX: usize = 5;
/// …within so long; what is more is counted with the last.
const EVENTS_BURST_MS: i64 = 10_000;
const EVENT_CHARS_MAX: usize = 400;

#[derive(Debug)]
pub struct Journal {
    pub steps: Arc<Steps>,
    pub segment_bytes: Histogram,
    pub segment_rows: Histogram,
    /// In the order of [`crate::record::Scores::class`]; all versions of a model have the same.
    classes: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By dataset, then by class.
    judged: BTreeMap<Arc<str>, Vec<Sure>>,
    rejects: BTreeMap<Reason, Rejects>,
    newest: VecDeque<Scored>,
    events: VecDeque<Told>,
    retries: u64,
}

#[derive(Debug)]
struct Told {
    event: Event,
    kind: &'static str,
    /// Of the same kind, that came soon after it.
    more: u64,
}

impl Journal {
    #[must_use]
    pub fn new(classes: Vec<String>) -> Self {
        Self {
            steps: Arc::default(),
            segment_bytes: Histogram::new(BYTES_BOUNDS),
            segment_rows: Histogram::new(ROWS_BOUNDS),
            classes,
            state: Mutex::default(),
        }
    }

    /// Something happened that a person may want to know of.
    pub fn tell(&self, kind: &'static str, text: &str) {
        self.tell_at(Utc::now().timestamp_millis(), kind, text);
    }

    fn tell_at(&self, at_ms: i64, kind: &'static str, text: &str) {
        let mut state = self.state();
        let of_kind = |told: &&Told| told.kind == kind && at_ms - told.event.at_ms < EVENTS_BURST_MS;
        if state.events.iter().filter(of_kind).count() >= EVENTS_BURST_MAX {
            let last = state.events.iter_mut().find(|told| told.kind == kind);
            return last.into_iter().for_each(|told| told.more += 1);
        }
        let text = text.chars().take(EVENT_CHARS_MAX).collect();
        state.events.push_front(Told { event: Event { at_ms, kind: kind.to_owned(), text }, kind, more: 0 });
        state.events.truncate(EVENTS_MAX);
    }

    pub(super) fn committed(&self, id: &LaneId, claim: &Claim, seen: Seen) {
        let rows: u64 = claim.files.iter().map(|file| file.rows).sum();
        let bytes: u64 = claim.files.iter().map(|file| file.bytes).sum();
        self.segment_rows.record(float(rows));
        self.segment_bytes.record(float(bytes));
        self.tell("commit", &format!("{id}: offsets {} are in the lake, {rows} rows", claim.range()));
        let mut state = self.state();
        state.judge(&id.dataset, &seen.classes);
        for (reason, refused) in seen.rejects {
            let rejects = state.rejects.entry(reason).or_default();
            rejects.records += refused.records;
            rejects.sample = Some(Sample {
                dataset: id.dataset.to_string(),
                partition: id.partition,
                offset: refused.sample.offset,
                detail: refused.sample.detail,
                value: refused.sample.value,
            });
        }
        for row in seen.newest.into_iter().rev() {
            state.newest.push_front(self.scored(id, row));
        }
        state.newest.truncate(NEWEST_MAX);
    }

    pub fn retried(&self) {
        self.state().retries += 1;
    }

    #[must_use]
    pub fn retries(&self) -> u64 {
        self.state().retries
    }

    fn scored(&self, id: &LaneId, row: Row) -> Scored {
        Scored {
            dataset: id.dataset.to_string(),
            partition: id.partition,
            offset: row.offset,
            event_ms: row.event_ms,
            prediction: self.classes.get(usize::from(row.class)).cloned().unwrap_or_default(),
            confidence: row.confidence,
            fields: row.fields,
        }
    }

    /// Every class, whether it came up or not.
    #[must_use]
    pub fn classes(&self) -> Vec<Class> {
        let state = self.state();
        let told = self.classes.iter().enumerate().map(|(place, name)| {
            let judged = state.judged.iter().filter_map(|(dataset, sure)| Some((dataset, *sure.get(place)?)));
            let (mut all, mut datasets) = (Sure::default(), BTreeMap::new());
            for (dataset, sure) in judged {
                datasets.insert(dataset.to_string(), sure.rows());
                all += sure;
            }
            let confidence = crate::telemetry::status::Histogram {
                bounds: CONFIDENCE_BOUNDS.to_vec(),
                buckets: all.buckets.to_vec(),
                sum: all.sum,
            };
            Class { name: name.clone(), records: all.rows(), confidence, datasets }
        });
        told.collect()
    }

    #[must_use]
    pub fn rejects(&self) -> Vec<Rejects> {
        let told = |(reason, rejects): (&Reason, &Rejects)| Rejects { reason: reason.to_string(), ..rejects.clone() };
        self.state().rejects.iter().map(told).collect()
    }

    /// Newest first.
    #[must_use]
    pub fn newest(&self) -> Vec<Scored> {
        self.state().newest.iter().cloned().collect()
    }

    /// Newest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let told = |Told { event, more, .. }: &Told| match more {
            0 => event.clone(),
            more => Event { text: format!("{} (and {more} more like it)", event.text), ..event.clone() },
        };
        self.state().events.iter().map(told).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(&mut self, dataset: &Arc<str>, classes: &[Sure]) {
        let known = self.judged.contains_key(dataset) || self.judged.len() < DATASETS_TOLD_MAX;
        let dataset = if known { dataset.clone() } else { OTHER_DATASETS.into() };
        let judged = self.judged.entry(dataset).or_default();
        if judged.len() < classes.len() {
            judged.resize(classes.len(), Sure::default());
        }
        judged.iter_mut().zip(classes).for_each(|(sum, sure)| *sum += *sure);
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        Journal::new(vec!["a".into(), "b".into()])
    }

    #[test]
    fn what_comes_in_a_burst_is_counted_and_nothing_grows() {
        let journal = journal();
        for n in 0..1_000 {
            journal.tell_at(n, "retry", &format!("{n}"));
        }
        journal.tell_at(1_000, "fence", "another kind");
        let texts: Vec<_> = journal.events().into_iter().map(|event| event.text).collect();
        assert_eq!(texts, ["another kind", "4 (and 995 more like it)", "3", "2", "1", "0"]);
        for n in 0..1_000 {
            journal.tell_at(n * EVENTS_BURST_MS, "commit", &"x".repeat(10_000));
        }
        let events = journal.events();
        assert_eq!(events.len(), EVENTS_MAX);
        assert!(events.iter().all(|event| event.text.chars().count() <= EVENT_CHARS_MAX));
    }

    #[test]
    fn datasets_beyond_the_limit_are_counted_together_and_those_before_stay() {
        let journal = journal();
        let sure = Sure { buckets: [1; 9], sum: 4.5 };
        for n in (0..DATASETS_TOLD_MAX + 3).chain([0]) {
            journal.state().judge(&format!("d{n:02}").into(), &[sure, Sure::default()]);
        }
        let classes = journal.classes();
        let [a, b] = classes.as_slice() else { panic!("{classes:?}") };
        assert_eq!((a.records, b.records), (9 * 20, 0));
        assert_eq!((a.datasets.len(), a.datasets["d00"], a.datasets[OTHER_DATASETS]), (DATASETS_TOLD_MAX + 1, 18, 27));
        assert_eq!(a.confidence.buckets, [20; 9]);
    }
}
