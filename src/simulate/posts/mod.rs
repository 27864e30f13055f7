//! Short posts in English, positive, neutral or negative.
//!
//! Sentences are put together from many words, with negations ("not bad at all"), sarcasm, signs, hashtags and slips of
//! the finger. A few posts are marked otherwise than they read, as people who mark such things also disagree.
//!
//! Users have moods: who has been cross is likely to be cross again. Moods decide who writes a post, never what the posts
//! of a partition are.

mod words;

use rand::RngExt;

use self::words::{
    HAPPY_SIGNS, NEGATIVE, NEUTRAL, NOT_BAD, NOT_GOOD, OTHER_SIGNS, PLACES, POSITIVE, Part, SARCASTIC, Sentence,
    THINGS, UNHAPPY_SIGNS,
};
use super::{
    dice::{Clock, Dice, Purpose, dice, dice_for, pick, skewed, weighted},
    row::Row,
};

/// Of one partition; each partition has users of its own.
const USERS: usize = 20_000;
const GAP_MS: f64 = 400.0;
/// Of posts that are marked otherwise than they read.
const MISREAD_SHARE: f64 = 0.06;
const SLIP_SHARE: f64 = 0.25;
/// Users of whom the one writes whose mood is nearest to the post.
const WRITERS: usize = 3;
/// How much a post says of its writer's mood from then on.
const MOOD_SWING: f32 = 0.3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sentiment {
    Positive,
    Neutral,
    Negative,
}

use Sentiment::{Negative, Neutral, Positive};

const SENTIMENTS: [Sentiment; 3] = [Positive, Neutral, Negative];
const SHARES: [u32; 3] = [42, 33, 25];

impl Sentiment {
    const fn name(self) -> &'static str {
        match self {
            Positive => "positive",
            Neutral => "neutral",
            Negative => "negative",
        }
    }

    /// Where it stands between the moods, from -1 to 1.
    const fn mood(self) -> f32 {
        match self {
            Positive => 1.0,
            Neutral => 0.0,
            Negative => -1.0,
        }
    }

    fn sentence(self, dice: &mut Dice) -> Sentence {
        match (self, dice.random_range(0..100_u32)) {
            (Positive, 0..14) => pick(dice, &NOT_BAD),
            (Positive, _) => pick(dice, &POSITIVE),
            (Neutral, _) => pick(dice, &NEUTRAL),
            (Negative, 0..14) => pick(dice, &NOT_GOOD),
            (Negative, 14..24) => pick(dice, &SARCASTIC),
            (Negative, _) => pick(dice, &NEGATIVE),
        }
    }

    /// What stands at the end, mostly but not always of the same mood.
    fn sign(self, dice: &mut Dice) -> &'static str {
        match (self, dice.random_range(0..100_u32)) {
            (_, 0..50) => "",
            (Positive, 50..80) | (Neutral, 97..) | (Negative, 98..) => pick(dice, &HAPPY_SIGNS),
            (Negative, 50..78) | (Neutral, 95..97) | (Positive, 99..) => pick(dice, &UNHAPPY_SIGNS),
            _ => pick(dice, &OTHER_SIGNS),
        }
    }
}

/// What each user was like lately, with dice of their own.
#[derive(Clone, Debug)]
struct Moods {
    of: Vec<f32>,
    dice: Dice,
}

impl Moods {
    fn new(seed: u64, partition: i32) -> Self {
        let mut dice = dice_for(seed, partition, Purpose::Moods);
        Self { of: (0..USERS).map(|_| dice.random_range(-1.0..1.0)).collect(), dice }
    }

    /// Of a few users the one whom such a post suits best; it shows in the mood.
    fn writer(&mut self, first: usize, mood: f32) -> usize {
        let distance = |moods: &[f32], user: usize| moods.get(user).map_or(f32::MAX, |of| (of - mood).abs());
        let mut writer = first;
        for _ in 1..WRITERS {
            let other = skewed(&mut self.dice, USERS);
            if distance(&self.of, other) < distance(&self.of, writer) {
                writer = other;
            }
        }
        if let Some(of) = self.of.get_mut(writer) {
            *of += MOOD_SWING * (mood - *of);
        }
        writer
    }
}

/// The endless stream of one partition.
#[derive(Clone, Debug)]
pub struct Posts {
    id: u64,
    first_user: u64,
    dice: Dice,
    clock: Clock,
    moods: Box<Moods>,
    /// The post in the making.
    text: String,
}

impl Posts {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        let first_user = u64::from(partition.unsigned_abs()) * USERS as u64;
        let moods = Box::new(Moods::new(seed, partition));
        let (dice, clock, text) = (dice(seed, partition), Clock::new(), String::new());
        Self { id: 0, first_user, dice, clock, moods, text }
    }

    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.id
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.ms()
    }

    /// Draws the next record.
    pub fn next(&mut self, row: &mut impl Row) {
        let gap_ms = GAP_MS / self.clock.rhythm();
        self.clock.advance(&mut self.dice, gap_ms);
        let drawn = skewed(&mut self.dice, USERS);
        let written = SENTIMENTS[weighted(&mut self.dice, &SHARES)];
        let user = self.moods.writer(drawn, written.mood());
        self.write(written);
        let misread = self.dice.random_bool(MISREAD_SHARE);
        let marked = if misread { pick(&mut self.dice, &SENTIMENTS) } else { written };

        row.id(self.id);
        row.time("time", self.clock.ms());
        row.entity("user", 'u', self.first_user + user as u64);
        row.text("text", &self.text);
        row.truth("sentiment", marked.name());
        self.id += 1;
    }

    fn write(&mut self, sentiment: Sentiment) {
        let Self { dice, text, .. } = self;
        text.clear();
        for part in sentiment.sentence(dice) {
            text.push_str(match part {
                Part::Say(words) => words,
                Part::Any(words) => pick(dice, words),
                Part::Thing => pick(dice, &THINGS),
            });
        }
        if dice.random_bool(0.15) {
            text.push_str(pick(dice, &PLACES));
        }
        if dice.random_bool(SLIP_SHARE) {
            slip(dice, text);
        }
        text.push_str(sentiment.sign(dice));
        dress(dice, text);
    }
}

/// A letter too few, twice, or in the wrong place.
fn slip(dice: &mut Dice, text: &mut String) {
    let place = dice.random_range(0..text.len());
    let is_letter = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_alphabetic);
    // Where there are no two letters in a row, the finger did not slip.
    if !is_letter(place) || !is_letter(place + 1) {
        return;
    }
    let letter = text.remove(place);
    match dice.random_range(0..3_u32) {
        0 => {}
        1 => text.insert(place + 1, letter),
        _ => {
            text.insert(place, letter);
            text.insert(place, letter);
        }
    }
}

/// Most write all small; some begin with a capital, and a few shout.
fn dress(dice: &mut Dice, text: &mut str) {
    match dice.random_range(0..100_u32) {
        0..25 => {
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
        }
        25..28 => text.make_ascii_uppercase(),
        _ => {}
    }
}
