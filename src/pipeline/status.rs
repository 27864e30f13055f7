//! What is told of a run at one moment: for `/status`, the page, `alluvium top` and the gauges of `/metrics`.
//!
//! Owns: putting it together from what lanes, group, model and outlets say of themselves. Does not own: the shape of it
//! ([`crate::telemetry::status`]), and what any of it leads to: nothing is decided by it. Invariant: it asks nobody outside
//! this process, and takes no longer for what happened long ago.
//!
//! Lag and freshness in seconds go by the times at which the broker got the records:
//!
//! - lag is the age of the oldest record that is not in the lake. It is nought where nothing is left to bring there. Of what
//!   has not been fetched nobody knows the time; then the newest record that is in the lake stands for it, so that the lag
//!   is rather told too large.
//! - freshness is the age of the newest record that is in the lake, whether more are to come or not.

use std::cmp::Reverse;

use chrono::Utc;

use super::{
    Pipeline,
    lanes::{Held, Lanes},
    outlets::only,
};
use crate::{
    lane::Times,
    telemetry::status::{Group, Memory, Outlet, OutletPlace, Partition, State, Status, Step, Totals},
};

/// The worst of them; the others are counted.
const PARTITIONS_TOLD_MAX: usize = 1_000;
/// Lines of what is in the way.
const NOT_READY_LINES_MAX: usize = 20;
/// Of an error's text.
const TROUBLE_CHARS_MAX: usize = 600;

impl Pipeline {
    /// Where the run stands. Cheap enough to be asked every second.
    #[must_use]
    pub fn status(&self) -> Status {
        let now_ms = Utc::now().timestamp_millis();
        let lanes = self.lanes();
        let mut partitions: Vec<Partition> = lanes.all().map(|held| partition(held, now_ms)).collect();
        let mut totals = self.totals(&lanes);
        let begun = lanes.begun;
        drop(lanes);
        add_up(&mut totals, &partitions);
        partitions.sort_by_cached_key(worst_first);
        let group = self.in_group();
        let not_ready = not_ready(begun, group.as_ref(), &partitions);
        let outlets = self.outlets_told(&partitions);
        let left_out = partitions.len().saturating_sub(PARTITIONS_TOLD_MAX);
        partitions.truncate(PARTITIONS_TOLD_MAX);
        let steps = self.journal.steps.told();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.mode.name().to_owned(),
            started_ms: self.started_ms,
            now_ms,
            ready: not_ready.is_empty(),
            not_ready,
            totals,
            steps: steps
                .map(|(name, took)| (name.to_owned(), Step { times: took.count(), seconds: took.sum, took }))
                .collect(),
            segment_bytes: self.journal.segment_bytes.told(),
            segment_rows: self.journal.segment_rows.told(),
            memory: Memory {
                used_bytes: self.memory.used() as u64,
                peak_bytes: self.memory.peak() as u64,
                limit_bytes: self.memory.limit() as u64,
            },
            group,
            partitions,
            partitions_left_out: left_out as u64,
            classes: self.journal.classes(),
            rejects: self.journal.rejects(),
            model: Some(self.models.told()),
            newest: self.journal.newest(),
            outlets,
            events: self.journal.events(),
        }
    }

    fn totals(&self, lanes: &Lanes) -> Totals {
        let progress = lanes.progress();
        let tally = progress.tally;
        Totals {
            records: tally.counts.records,
            scored: tally.counts.scored,
            rejected: tally.counts.rejected,
            filtered: tally.counts.filtered,
            gap_offsets: tally.gap_offsets,
            segments: tally.segments,
            files: tally.files,
            bytes: tally.bytes,
            fences: tally.fences,
            retries: self.journal.retries(),
            advanced: progress.advanced,
            lag_records: progress.lag,
            ..Totals::default()
        }
    }

    fn in_group(&self) -> Option<Group> {
        let name = self.settings.sharing.group()?.name.clone();
        Some(match self.group() {
            Some(told) => Group {
                name,
                generation: told.generation,
                joined: told.member_id.is_some(),
                partitions: told.assigned.len() as u64,
            },
            None => Group { name, ..Group::default() },
        })
    }

    fn outlets_told(&self, partitions: &[Partition]) -> Vec<Outlet> {
        let behind = |name: &str| {
            let places = partitions.iter().flat_map(|partition| &partition.outlets);
            places.filter(|place| place.name == name).map(|place| place.behind).sum()
        };
        let source = only(partitions.iter().map(|place| (&*place.topic, &*place.dataset)));
        let told = self.outlets.iter().map(|outlet| outlet.tally(behind(outlet.name), source));
        let told = told.map(|tally| Outlet {
            name: tally.outlet.to_owned(),
            to: tally.to,
            sent: tally.sent,
            behind: tally.behind,
        });
        told.collect()
    }
}

fn partition(held: &Held, now_ms: i64) -> Partition {
    let status = &held.status;
    let (standing, times, tally) = (status.standing(), status.times(), status.tally());
    let (open, position, lag, model) = (status.is_open(), status.position(), held.lag(), status.model());
    let outlets = held.outlets.iter().map(|(name, arrived)| OutletPlace {
        name: (*name).to_owned(),
        position: arrived.position(),
        behind: u64::try_from(position.saturating_sub(arrived.position())).unwrap_or(0),
    });
    Partition {
        topic: held.place.topic.to_string(),
        dataset: held.id.dataset.to_string(),
        partition: held.id.partition,
        state: standing.state(),
        trouble: standing.trouble().map(|why| why.chars().take(TROUBLE_CHARS_MAX).collect()),
        open,
        position,
        end: status.end(),
        lag_records: lag,
        lag_seconds: open.then(|| lag_seconds(lag, times, now_ms)).flatten(),
        freshness_seconds: times.newest_ms.map(|newest| age(newest, now_ms)),
        scored: tally.counts.scored,
        rejected: tally.counts.rejected,
        rejected_share: open.then(|| status.rejected_share()),
        model: model.as_ref().map(ToString::to_string),
        model_version: model.map(|model| model.version),
        model_changed_at: status.model_changed_at(),
        outlets: outlets.collect(),
    }
}

fn lag_seconds(lag: u64, times: Times, now_ms: i64) -> Option<f64> {
    match lag {
        0 => Some(0.0),
        _ => times.in_hand_ms.or(times.newest_ms).map(|oldest| age(oldest, now_ms)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "in seconds, for people")]
fn age(time_ms: i64, now_ms: i64) -> f64 {
    now_ms.saturating_sub(time_ms).max(0) as f64 / 1000.0
}

fn add_up(totals: &mut Totals, partitions: &[Partition]) {
    let longest = |seconds: &mut dyn Iterator<Item = Option<f64>>| seconds.flatten().reduce(f64::max);
    let of = |state: State| partitions.iter().filter(|partition| partition.state == state).count() as u64;
    totals.lag_seconds = longest(&mut partitions.iter().map(|partition| partition.lag_seconds));
    let behind = partitions.iter().filter(|partition| partition.lag_records > 0);
    let oldest_behind = longest(&mut behind.map(|partition| partition.freshness_seconds));
    let newest = partitions.iter().filter_map(|partition| partition.freshness_seconds).reduce(f64::min);
    totals.freshness_seconds = oldest_behind.or(newest);
    totals.lanes = partitions.len() as u64;
    totals.lanes_open = of(State::Running);
    totals.lanes_waiting = of(State::Waiting);
    totals.lanes_stopped = of(State::Stopped);
    totals.lanes_ended = of(State::Ended);
}

/// Stopped, waiting, opening, then the furthest behind.
fn worst_first(partition: &Partition) -> (State, Reverse<u64>, Reverse<u64>, String, i32) {
    let state = if partition.state.is_well() { State::Ended } else { partition.state };
    let milliseconds = partition.lag_seconds.map_or(0, |seconds| whole(seconds * 1000.0));
    let lag = (Reverse(milliseconds), Reverse(partition.lag_records));
    (state, lag.0, lag.1, partition.dataset.clone(), partition.partition)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is no less than nought, and saturates")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// A line for each thing in the way of being ready.
fn not_ready(begun: bool, group: Option<&Group>, partitions: &[Partition]) -> Vec<String> {
    if !begun {
        return vec!["the broker has not said yet which partitions there are".to_owned()];
    }
    let mut told = vec![];
    if let Some(group) = group.filter(|group| !group.joined) {
        told.push(format!("the group `{}` has not been joined", group.name));
    }
    let closed = partitions.iter().filter(|lane| !lane.state.is_well());
    told.extend(closed.clone().take(NOT_READY_LINES_MAX).map(|lane| {
        let why = lane.trouble.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{}/{} is {}{why}", lane.dataset, lane.partition, lane.state)
    }));
    if let Some(more) = closed.count().checked_sub(NOT_READY_LINES_MAX).filter(|more| *more > 0) {
        told.push(format!("and {more} more partitions"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: i32, state: State, lag_records: u64, lag_seconds: f64) -> Partition {
        let lag_seconds = Some(lag_seconds);
        Partition { dataset: "d".into(), partition, state, lag_records, lag_seconds, ..Partition::default() }
    }

    #[test]
    fn those_that_need_a_look_come_first_and_then_those_furthest_behind() {
        let lanes = [
            lane(0, State::Running, 5, 1.0),
            lane(1, State::Running, 9, 1.0),
            lane(2, State::Running, 1, 7.5),
            lane(3, State::Ended, 0, 0.0),
            lane(4, State::Opening, 0, 0.0),
            lane(5, State::Stopped, 0, 0.0),
            lane(6, State::Waiting, 0, 0.0),
        ];
        let mut sorted = lanes.to_vec();
        sorted.sort_by_cached_key(worst_first);
        assert_eq!(sorted.iter().map(|lane| lane.partition).collect::<Vec<_>>(), [5, 6, 4, 2, 1, 0, 3]);
    }

    #[test]
    fn what_is_not_in_the_lake_is_as_old_as_its_oldest_record_that_is_known() {
        let times = |newest_ms, in_hand_ms| Times { newest_ms, in_hand_ms };
        assert_eq!(lag_seconds(0, times(Some(1_000), Some(2_000)), 5_000), Some(0.0));
        assert_eq!(lag_seconds(3, times(Some(1_000), Some(2_000)), 5_000), Some(3.0));
        assert_eq!(lag_seconds(3, times(Some(1_000), None), 5_000), Some(4.0));
        assert_eq!(lag_seconds(3, times(None, None), 5_000), None);
        assert_eq!(lag_seconds(3, times(None, Some(9_000)), 5_000), Some(0.0), "a clock that goes before ours");
    }

    #[test]
    fn of_many_partitions_that_are_not_open_some_are_named_and_the_rest_counted() {
        let lanes: Vec<_> =
            (0..30).map(|n| lane(n, if n < 25 { State::Opening } else { State::Running }, 0, 0.0)).collect();
        let told = not_ready(true, None, &lanes);
        assert_eq!(told.len(), NOT_READY_LINES_MAX + 1);
        assert_eq!((told[0].as_str(), told[20].as_str()), ("d/0 is opening", "and 5 more partitions"));
        assert!(not_ready(true, None, &lanes[25..]).is_empty());
        let group = Group { name: "g".into(), ..Group::default() };
        assert_eq!(not_ready(true, Some(&group), &[]), ["the group `g` has not been joined"]);
        assert_eq!(not_ready(false, Some(&group), &lanes).len(), 1);
    }
}
