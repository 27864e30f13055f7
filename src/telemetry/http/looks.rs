//! A look at the run once a second, shared by all who ask.
//!
//! Owns: when it is looked, and that a look is put into text at most once, however many ask. Does not own: who asks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::telemetry::{
    history::{History, LOOK_EVERY, Point, Rates, Told},
    status::Status,
};

/// Partitions that a page is sent each second; all that are told stand under `/status`.
const EVENT_PARTITIONS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Looks {
    newest: watch::Receiver<Arc<Look>>,
    history: Arc<Mutex<History>>,
}

#[derive(Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    rates: Rates,
    point: Option<Point>,
    event: OnceLock<Bytes>,
    whole: OnceLock<Bytes>,
}

#[derive(Serialize)]
struct Now<'a> {
    status: &'a Status,
    rates: Rates,
    point: &'a Option<Point>,
}

impl Looks {
    /// Looks until the task is aborted.
    pub(super) fn begin(status: Box<dyn Fn() -> Status + Send + Sync>) -> (Self, JoinHandle<()>) {
        let history = Arc::new(Mutex::new(History::default()));
        let (newest, looks) = watch::channel(Arc::new(look(&status, &history)));
        let shared = history.clone();
        let looking = tokio::spawn(async move {
            let mut tick = interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            tick.tick().await;
            loop {
                tick.tick().await;
                newest.send_replace(Arc::new(look(&status, &shared)));
            }
        });
        (Self { newest: looks, history }, looking)
    }

    pub(super) fn newest(&self) -> Arc<Look> {
        self.newest.borrow().clone()
    }

    /// The one of now, and those that come.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Look>> {
        let mut looks = self.newest.clone();
        looks.mark_changed();
        looks
    }

    /// The last minutes, for a page that has just been opened.
    pub(super) fn past(&self) -> Bytes {
        event("history", &self.points())
    }

    /// All that is told, as JSON.
    pub(super) fn whole(&self, look: &Look) -> Bytes {
        let told = || Told { status: look.status.clone(), rates: look.rates, history: self.points() };
        look.whole.get_or_init(|| json(&told()).into()).clone()
    }

    fn points(&self) -> Vec<Point> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).points()
    }
}

impl Look {
    /// For those who follow.
    pub(super) fn event(&self) -> Bytes {
        let short = || {
            let mut status = self.status.clone();
            let left_out = status.partitions.len().saturating_sub(EVENT_PARTITIONS_MAX);
            status.partitions.truncate(EVENT_PARTITIONS_MAX);
            status.partitions_left_out += left_out as u64;
            event("now", &Now { status: &status, rates: self.rates, point: &self.point })
        };
        self.event.get_or_init(short).clone()
    }
}

fn look(status: &(dyn Fn() -> Status + Send + Sync), history: &Mutex<History>) -> Look {
    let status = status();
    let (rates, point) = history.lock().unwrap_or_else(PoisonError::into_inner).take(&status, Instant::now());
    Look { status, rates, point, event: OnceLock::new(), whole: OnceLock::new() }
}

fn event(name: &str, told: &impl Serialize) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", json(told)).into()
}

/// Of plain data, which can always be told.
fn json(told: &impl Serialize) -> String {
    serde_json::to_string(told).unwrap_or_else(|error| {
        tracing::error!(%error, "the run can't be told as JSON");
        "null".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::Partition;

    #[tokio::test]
    async fn a_page_is_sent_the_worst_partitions_and_how_many_more_there_are() {
        let partitions = (0..1000).map(|partition| Partition { partition, ..Partition::default() }).collect();
        let status = Status { partitions, partitions_left_out: 5, ..Status::default() };
        let (looks, looking) = Looks::begin(Box::new(move || status.clone()));
        let look = looks.newest();
        let (event, whole) = (look.event(), looks.whole(&look));
        let data = event.strip_prefix(b"event: now\ndata: ").and_then(|rest| rest.strip_suffix(b"\n\n")).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert_eq!(sent["status"]["partitions"].as_array().unwrap().len(), EVENT_PARTITIONS_MAX);
        assert_eq!(sent["status"]["partitions_left_out"], 905);
        let told: Told = serde_json::from_slice(&whole).unwrap();
        assert_eq!((told.status.partitions.len(), told.status.partitions_left_out), (1000, 5));
        looking.abort();
    }

    #[tokio::test]
    async fn a_look_is_put_into_text_once() {
        let (looks, looking) = Looks::begin(Box::new(Status::default));
        let look = looks.newest();
        assert_eq!(look.event().as_ptr(), look.event().as_ptr());
        assert_eq!(looks.whole(&look).as_ptr(), looks.whole(&look).as_ptr());
        looking.abort();
    }
}
