//! One memory budget for all lanes: what was fetched and is not encoded yet, and the segments that grow.
//!
//! Owns: the sum, who must wait, and which segment is committed early. Does not own: the memory itself.
//! Invariant: only a new fetch waits. A lane can always bring what it has into its segment and commit it, so whoever
//! waits is sure to be let in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

#[derive(Debug)]
pub struct Memory {
    limit: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    peak: usize,
    shares: BTreeMap<u64, Segment>,
    next_share: u64,
}

#[derive(Debug)]
struct Segment {
    bytes: usize,
    /// Wakes the lane that should commit it.
    press: Arc<Notify>,
}

impl Memory {
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), freed: Notify::new() })
    }

    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    #[must_use]
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// The most that was ever in use.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.state().peak
    }

    /// Sets `bytes` aside for a fetch. While there is no room it waits, and has the largest segment committed.
    pub async fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.try_add(bytes) {
                return Reservation { memory: self.clone(), bytes };
            }
            freed.await;
        }
    }

    /// A lane's place in the budget for its growing segment.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        let mut state = self.state();
        let key = state.next_share;
        let press = Arc::new(Notify::new());
        state.next_share += 1;
        state.shares.insert(key, Segment { bytes: 0, press: press.clone() });
        Share { memory: self.clone(), key, press }
    }

    fn try_add(&self, bytes: usize) -> bool {
        let mut state = self.state();
        let room = state.used + bytes <= self.limit || state.used == 0;
        if room {
            state.change(0, bytes);
        } else {
            state.press_largest();
        }
        room
    }

    fn change(&self, from: usize, to: usize) {
        let mut state = self.state();
        state.change(from, to);
        if to < from {
            self.freed.notify_waiters();
        } else if state.used > self.limit {
            state.press_largest();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, from: usize, to: usize) {
        self.used = self.used - from + to;
        self.peak = self.peak.max(self.used);
    }

    fn press_largest(&self) {
        let largest = self.shares.values().max_by_key(|segment| segment.bytes);
        if let Some(segment) = largest.filter(|segment| segment.bytes > 0) {
            segment.press.notify_one();
        }
    }
}

/// Memory set aside for fetched records; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Reservation {
    /// What the records turned out to take.
    pub fn settle(&mut self, bytes: usize) {
        self.memory.change(self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Reservation {
    /// Leaves what was set aside to whoever counts it from now on.
    fn hand_over(mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.change(self.bytes, 0);
    }
}

/// A lane's segment in the budget.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    key: u64,
    press: Arc<Notify>,
}

impl Share {
    /// Tells how large the segment is now; zero once it is committed.
    pub fn set(&self, bytes: usize) {
        self.take_over(None, bytes);
    }

    /// The same, when a batch has become a part of the segment. What was set aside for it is given back in the same step:
    /// given back before, others would take it, and the segment would find no room.
    pub fn take_over(&self, batch: Option<Reservation>, bytes: usize) {
        let set_aside = batch.map_or(0, Reservation::hand_over);
        let mut state = self.memory.state();
        let segment = state.shares.get_mut(&self.key);
        let before = segment.map_or(0, |segment| std::mem::replace(&mut segment.bytes, bytes));
        drop(state);
        self.memory.change(before + set_aside, bytes);
    }

    /// Returns when this segment should be committed early, because memory is short and it is the largest.
    pub async fn pressed(&self) {
        self.press.notified().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.memory.state().shares.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_fetch_waits_for_room_and_has_the_largest_segment_committed() {
        let memory = Memory::new(100);
        let (small, large) = (memory.share(), memory.share());
        small.set(20);
        large.set(70);
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.reserve(50).await }
        });
        timeout(SOON, large.pressed()).await.expect("the largest is pressed");
        assert!(timeout(SOON, small.pressed()).await.is_err(), "the other is left alone");
        assert!(!waiting.is_finished());
        large.set(0);
        let reservation = timeout(SOON, waiting).await.expect("let in").unwrap();
        assert_eq!(memory.peak(), 90);
        drop(reservation);
        assert_eq!(memory.state().used, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_s_room_goes_over_to_its_segment_and_to_nobody_between() {
        let memory = Memory::new(100);
        let share = memory.share();
        let batch = memory.reserve(80).await;
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.reserve(90).await }
        });
        tokio::task::yield_now().await;
        share.take_over(Some(batch), 30);
        assert!(timeout(SOON, share.pressed()).await.is_ok(), "who waits has the segment committed");
        assert!(!waiting.is_finished());
        share.set(0);
        timeout(SOON, waiting).await.expect("let in").unwrap();
        assert_eq!(memory.peak(), 90);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_fit_is_let_in_alone() {
        let memory = Memory::new(100);
        let first = timeout(SOON, memory.reserve(1000)).await.expect("nothing else is held");
        assert!(timeout(SOON, memory.reserve(1)).await.is_err());
        drop(first);
        timeout(SOON, memory.reserve(1)).await.expect("room again");
    }

    #[tokio::test]
    async fn a_dropped_share_gives_back_its_bytes() {
        let memory = Memory::new(100);
        let share = memory.share();
        share.set(60);
        drop(share);
        assert_eq!(memory.state().used, 0);
    }
}
