//! Records that come late, out of order, or twice.
//!
//! Owns: which records these are, and when they come. All of it follows from the seed: how far a record is held back is
//! told in records of its partition or in the stream's own time, never by a clock. Does not own: what the records hold.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    ops::RangeInclusive,
};

use rand::RngExt;

use super::{
    dice::{Dice, Purpose, dice_for},
    share::Share,
};

/// How many records a record out of order comes behind those that followed it.
const BEHIND: RangeInclusive<u64> = 1..=50;
/// How many records after its first a record comes again.
const AGAIN_AFTER: RangeInclusive<u64> = 1..=500;
/// How late a late record is, in the stream's own time.
const LATE_MS: RangeInclusive<u64> = 5 * 60_000..=60 * 60_000;
/// Records that a partition holds back at once. While there are so many, no more are.
const HELD_MAX: usize = 50_000;

/// Which share of the records comes otherwise than drawn; each in one way at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disorder {
    /// Five minutes to an hour late, in the stream's own time.
    pub late: Share,
    /// Behind 1 to 50 records that followed it.
    pub out_of_order: Share,
    /// Once more, 1 to 500 records later.
    pub duplicates: Share,
}

impl Disorder {
    /// Tells what is wrong, if there is more of it than records.
    pub fn check(&self) -> Result<(), String> {
        let sum = self.late.of() + self.out_of_order.of() + self.duplicates.of();
        if sum <= 1.0 + 1e-9 {
            return Ok(());
        }
        Err("--late, --out-of-order and --duplicates are more than 100% together; a record is of one of them"
            .to_owned())
    }

    fn is_none(&self) -> bool {
        self.late.is_none() && self.out_of_order.is_none() && self.duplicates.is_none()
    }
}

enum Fate {
    Straight,
    Late(u64),
    Behind(u64),
    Twice(u64),
}

/// The records of one partition, put out of order.
#[derive(Debug)]
pub(super) struct Shuffle<T> {
    disorder: Disorder,
    dice: Dice,
    /// Makes the one that comes again.
    copy: fn(&T) -> T,
    drawn: u64,
    now_ms: u64,
    /// By the number of the record that they come behind.
    behind: BinaryHeap<Reverse<Held<T>>>,
    /// By the stream's time.
    late: BinaryHeap<Reverse<Held<T>>>,
}

/// Ordered by when it is due, then by when it was drawn.
#[derive(Debug)]
struct Held<T> {
    due: u64,
    number: u64,
    what: T,
}

impl<T> Shuffle<T> {
    pub(super) fn new(disorder: Disorder, seed: u64, partition: i32, copy: fn(&T) -> T) -> Self {
        let dice = dice_for(seed, partition, Purpose::Disorder);
        Self { disorder, dice, copy, drawn: 0, now_ms: 0, behind: BinaryHeap::new(), late: BinaryHeap::new() }
    }

    /// The next of the `left` records that are still to come; at the end of them nothing is left held back. `draw` gives
    /// the stream's time and a record.
    pub(super) fn next(&mut self, left: u64, mut draw: impl FnMut() -> (u64, T)) -> T {
        loop {
            if let Some(held) = self.release(left) {
                return held;
            }
            let (now_ms, what) = draw();
            (self.now_ms, self.drawn) = (now_ms, self.drawn + 1);
            let number = self.drawn;
            match self.fate(left) {
                Fate::Straight => return what,
                Fate::Late(by_ms) => self.late.push(Reverse(Held { due: now_ms + by_ms, number, what })),
                Fate::Behind(by) => self.behind.push(Reverse(Held { due: number + by, number, what })),
                Fate::Twice(by) => {
                    let again = (self.copy)(&what);
                    self.behind.push(Reverse(Held { due: number + by, number, what: again }));
                    return what;
                }
            }
        }
    }

    fn held(&self) -> usize {
        self.behind.len() + self.late.len()
    }

    fn release(&mut self, left: u64) -> Option<T> {
        let is_due =
            |held: &BinaryHeap<Reverse<Held<T>>>, now| held.peek().is_some_and(|Reverse(next)| next.due <= now);
        let ends = self.held() as u64 >= left;
        let of_late = is_due(&self.late, self.now_ms);
        let of_behind = is_due(&self.behind, self.drawn) || (ends && !self.behind.is_empty());
        let from = if of_behind && !of_late {
            &mut self.behind
        } else if of_late || ends {
            &mut self.late
        } else {
            return None;
        };
        from.pop().map(|Reverse(held)| held.what)
    }

    fn fate(&mut self, left: u64) -> Fate {
        if self.disorder.is_none() {
            return Fate::Straight;
        }
        let Disorder { late, out_of_order, duplicates } = self.disorder;
        let lot: f64 = self.dice.random();
        // The dice fall the same way whether there is room or not.
        let (fate, places) = if lot < late.of() {
            (Fate::Late(self.dice.random_range(LATE_MS)), 1)
        } else if lot < late.of() + out_of_order.of() {
            (Fate::Behind(self.dice.random_range(BEHIND)), 1)
        } else if lot < late.of() + out_of_order.of() + duplicates.of() {
            (Fate::Twice(self.dice.random_range(AGAIN_AFTER)), 2)
        } else {
            return Fate::Straight;
        };
        let has_room = self.held() < HELD_MAX && self.held() as u64 + places <= left;
        if has_room { fate } else { Fate::Straight }
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Held<T> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const RECORDS: u64 = 100_000;
    const GAP_MS: u64 = 500;

    fn disorder(late: &str, out_of_order: &str, duplicates: &str) -> Disorder {
        let share = |text: &str| text.parse().unwrap();
        Disorder { late: share(late), out_of_order: share(out_of_order), duplicates: share(duplicates) }
    }

    /// The numbers of the records, in the order sent.
    fn sent(disorder: Disorder, count: u64) -> Vec<u64> {
        let mut shuffle = Shuffle::new(disorder, 7, 0, u64::clone);
        let mut drawn = 0;
        let mut draw = || {
            drawn += 1;
            (drawn * GAP_MS, drawn - 1)
        };
        (0..count).map(|made| shuffle.next(count - made, &mut draw)).collect()
    }

    /// Of records that come after a younger one, how many come by so many records late.
    fn counts(sent: &[u64]) -> (usize, usize) {
        let mut newest = 0;
        let mut behind = vec![];
        for &number in sent {
            newest = newest.max(number);
            behind.push(newest - number);
        }
        let late = 5 * 60_000 / GAP_MS;
        (behind.iter().filter(|by| **by >= late).count(), behind.iter().filter(|by| (1..late).contains(*by)).count())
    }

    fn near(count: usize, share: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let seen = count as f64 / RECORDS as f64;
        (seen - share).abs() < 0.1 * share
    }

    #[test]
    fn without_shares_all_come_as_drawn() {
        assert_eq!(sent(Disorder::default(), 1_000), (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn each_share_is_kept_within_a_tenth_and_nothing_is_lost() {
        let sent_late = sent(disorder("2%", "0", "0"), RECORDS);
        assert!(near(counts(&sent_late).0, 0.02), "{:?}", counts(&sent_late));
        let sent_behind = sent(disorder("0", "3%", "0"), RECORDS);
        assert!(near(counts(&sent_behind).1, 0.03), "{:?}", counts(&sent_behind));
        for mut numbers in [sent_late, sent_behind] {
            numbers.sort_unstable();
            assert_eq!(numbers, (0..RECORDS).collect::<Vec<_>>());
        }
    }

    #[test]
    fn duplicates_come_once_more_soon_after() {
        let sent = sent(disorder("0", "0", "5%"), RECORDS);
        let mut places = BTreeMap::<u64, Vec<usize>>::new();
        for (place, number) in sent.iter().enumerate() {
            places.entry(*number).or_default().push(place);
        }
        let twice: Vec<_> = places.values().filter(|places| places.len() == 2).collect();
        assert!(places.values().all(|places| places.len() <= 2));
        // A twentieth of those drawn is a bit less of those sent.
        assert!(near(twice.len(), 0.05 / 1.05), "{}", twice.len());
        assert!(twice.iter().all(|places| places[1] - places[0] <= 600), "{twice:?}");
        assert_eq!(places.keys().copied().collect::<Vec<_>>(), (0..places.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn all_at_once_is_the_same_again_and_loses_nothing_even_when_few_are_sent() {
        let all = disorder("20%", "30%", "50%");
        assert_eq!(sent(all, 5_000), sent(all, 5_000));
        for count in 0..300 {
            let mut numbers = sent(all, count);
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{count}");
        }
        assert!(disorder("20%", "30%", "51%").check().unwrap_err().contains("more than 100%"));
        assert!(all.check().is_ok());
    }

    #[test]
    fn what_is_held_back_has_a_limit() {
        let mut shuffle = Shuffle::new(disorder("100%", "0", "0"), 7, 0, u64::clone);
        let mut drawn = 0;
        // Time stands still, so that nothing is ever due.
        let first = shuffle.next(u64::MAX, || {
            drawn += 1;
            (0, drawn)
        });
        assert_eq!((first, shuffle.held()), (HELD_MAX as u64 + 1, HELD_MAX));
    }
}
