//! Card payments, of which one in two hundred is fraud.
//!
//! Each card has a home, a place where it was last seen, and the times of its last payments. Genuine payments follow the
//! day, fraud does not. Thieves pay several times with a card before it is of no more use to them; some first try it
//! with a small sum, some pay far from its holder, some shop online, and some can't be told from the holder.

use rand::RngExt;

use super::{
    dice::{Clock, Dice, dice, hour, log_normal, pick, skewed, weighted},
    row::Row,
};

/// Of one partition; each partition has cards of its own.
const CARDS: usize = 10_000;
const GAP_MS: f64 = 1_000.0;
const FRAUD_SHARE: f64 = 0.005;
/// How many stolen cards are in use at a time.
const STOLEN: usize = 2;
/// How many of its last payments are remembered of a card, and so the highest velocity.
const VELOCITY_MAX: usize = 8;
const MS_PER_HOUR: i64 = 3_600_000;

struct Country {
    code: &'static str,
    currency: &'static str,
    /// From UTC, in winter.
    hours: i64,
}

const fn country(code: &'static str, currency: &'static str, hours: i64) -> Country {
    Country { code, currency, hours }
}

const COUNTRIES: [Country; 12] = [
    country("DE", "EUR", 1),
    country("FR", "EUR", 1),
    country("GB", "GBP", 0),
    country("IT", "EUR", 1),
    country("ES", "EUR", 1),
    country("NL", "EUR", 1),
    country("US", "USD", -5),
    country("AT", "EUR", 1),
    country("CH", "CHF", 1),
    country("PT", "EUR", 0),
    country("CA", "CAD", -5),
    country("AU", "AUD", 10),
];
const HOMES: [u32; 12] = [22, 16, 16, 11, 10, 7, 6, 4, 3, 2, 2, 1];
const TRIPS: [u32; 12] = [8, 12, 8, 14, 16, 6, 10, 9, 6, 7, 2, 2];
/// Where stolen card numbers are turned into money.
const FENCES: [u32; 12] = [4, 5, 9, 5, 6, 6, 30, 2, 2, 4, 12, 15];

struct Category {
    name: &'static str,
    /// Of the amount.
    median: f64,
    spread: f64,
    /// The share that is paid with the card in hand.
    present: f64,
}

const fn category(name: &'static str, median: f64, spread: f64, present: f64) -> Category {
    Category { name, median, spread, present }
}

const CATEGORIES: [Category; 12] = [
    category("groceries", 32.0, 0.8, 0.95),
    category("restaurant", 26.0, 0.7, 0.96),
    category("fuel", 52.0, 0.4, 0.99),
    category("transport", 9.0, 0.9, 0.60),
    category("online_retail", 41.0, 0.9, 0.0),
    category("clothing", 58.0, 0.7, 0.60),
    category("pharmacy", 17.0, 0.7, 0.93),
    category("electronics", 160.0, 1.0, 0.45),
    category("travel", 240.0, 0.9, 0.15),
    category("cash", 90.0, 0.6, 1.0),
    category("gaming", 15.0, 0.8, 0.0),
    category("jewellery", 190.0, 1.0, 0.80),
];
const BOUGHT: [u32; 12] = [260, 160, 80, 110, 150, 60, 60, 35, 25, 30, 25, 5];
const BOUGHT_BY_THIEVES: [u32; 12] = [40, 20, 30, 20, 240, 60, 10, 240, 90, 80, 100, 70];

#[derive(Clone, Debug)]
struct Card {
    home: usize,
    /// The country where its holder is.
    place: usize,
    /// When its last payments were; `next` is the oldest.
    times_ms: [i64; VELOCITY_MAX],
    next: usize,
}

impl Card {
    /// A card that was last used some time within the two days before the stream begins.
    fn new(dice: &mut Dice, now_ms: i64) -> Self {
        let home = weighted(dice, &HOMES);
        let mut times_ms = [now_ms - 48 * MS_PER_HOUR; VELOCITY_MAX];
        times_ms[VELOCITY_MAX - 1] = now_ms - dice.random_range(0..48 * MS_PER_HOUR);
        Self { home, place: home, times_ms, next: 0 }
    }

    fn last_ms(&self) -> i64 {
        self.times_ms[(self.next + VELOCITY_MAX - 1) % VELOCITY_MAX]
    }

    fn velocity(&self, now_ms: i64) -> i64 {
        self.times_ms.iter().map(|&time| i64::from(time > now_ms - MS_PER_HOUR)).sum()
    }

    fn note(&mut self, now_ms: i64) {
        self.times_ms[self.next] = now_ms;
        self.next = (self.next + 1) % VELOCITY_MAX;
    }
}

/// A card in a thief's hands.
#[derive(Clone, Copy, Debug)]
struct Stolen {
    card: usize,
    manner: Manner,
    country: usize,
    payments_left: u32,
    tried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// With the number alone, from anywhere.
    Online,
    /// With a copy of the card, in another country.
    Copied,
    /// With the card itself, where it was stolen.
    Lifted,
    /// As its holder would.
    Careful,
}

struct Payment {
    category: usize,
    country: usize,
    present: bool,
    amount: f64,
    /// From the place of the last one.
    distance_km: f64,
}

/// The endless stream of one partition.
#[derive(Clone, Debug)]
pub struct Transactions {
    id: u64,
    first_card: u64,
    dice: Dice,
    clock: Clock,
    cards: Vec<Card>,
    stolen: [Stolen; STOLEN],
}

impl Transactions {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        let (mut dice, clock) = (dice(seed, partition), Clock::new());
        let cards = (0..CARDS).map(|_| Card::new(&mut dice, clock.ms())).collect();
        let stolen = std::array::from_fn(|_| steal(&mut dice));
        let first_card = u64::from(partition.unsigned_abs()) * CARDS as u64;
        Self { id: 0, first_card, dice, clock, cards, stolen }
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
        let rhythm = self.clock.rhythm();
        self.clock.advance(&mut self.dice, GAP_MS / rhythm);
        // Thieves don't sleep: as many payments an hour by night as by day.
        let fraud = self.dice.random_bool(FRAUD_SHARE / rhythm);
        let (number, payment) = if fraud { self.fraud() } else { self.genuine() };

        let now_ms = self.clock.ms();
        let (category, country) = (&CATEGORIES[payment.category], &COUNTRIES[payment.country]);
        let card = &mut self.cards[number];
        row.id(self.id);
        row.time("time", now_ms);
        row.entity("card", 'c', self.first_card + number as u64);
        row.decimal("amount", payment.amount.max(0.5), 2);
        row.text("currency", country.currency);
        row.text("merchant_category", category.name);
        row.text("country", country.code);
        row.flag("abroad", payment.country != card.home);
        row.whole("local_hour", local_hour(now_ms, country));
        row.flag("card_present", payment.present);
        row.decimal("distance_km", payment.distance_km.min(19_900.0), 1);
        row.decimal("minutes_since_last", minutes(now_ms - card.last_ms()), 1);
        row.whole("velocity", card.velocity(now_ms));
        row.truth("verdict", if fraud { "fraud" } else { "genuine" });
        card.note(now_ms);
        self.id += 1;
    }

    fn genuine(&mut self) -> (usize, Payment) {
        let dice = &mut self.dice;
        let number = skewed(dice, CARDS);
        let moved = travel(dice, &mut self.cards[number]);
        (number, ordinary(dice, &self.cards[number], moved))
    }

    fn fraud(&mut self) -> (usize, Payment) {
        let dice = &mut self.dice;
        let stolen = &mut self.stolen[dice.random_range(0..STOLEN)];
        if stolen.payments_left == 0 {
            *stolen = steal(dice);
        }
        stolen.payments_left -= 1;
        let payment = match stolen.manner {
            Manner::Careful => ordinary(dice, &self.cards[stolen.card], false),
            _ => stolen.pay(dice, &self.cards[stolen.card]),
        };
        stolen.tried = true;
        (stolen.card, payment)
    }
}

impl Stolen {
    fn pay(&self, dice: &mut Dice, card: &Card) -> Payment {
        let category = weighted(dice, &BOUGHT_BY_THIEVES);
        let Category { median, spread, .. } = CATEGORIES[category];
        // A small sum shows whether the card still works.
        let trying = !self.tried && dice.random_bool(0.4);
        let amount = if trying { log_normal(dice, 1.5, 0.5) } else { log_normal(dice, 1.8 * median, spread) };
        let (country, present, far_km) = match self.manner {
            Manner::Online => (self.country, false, 900.0),
            Manner::Copied => (self.country, true, 1_200.0),
            Manner::Lifted | Manner::Careful => (card.place, true, 9.0),
        };
        // After the first, the thief's own last place counts, but a shop online can be anywhere.
        let near = self.tried && self.manner != Manner::Online;
        let distance_km = log_normal(dice, if near { 12.0 } else { far_km }, 1.0);
        Payment { category, country, present, amount, distance_km }
    }
}

fn steal(dice: &mut Dice) -> Stolen {
    Stolen {
        card: dice.random_range(0..CARDS),
        manner: pick(
            dice,
            &[Manner::Online, Manner::Online, Manner::Online, Manner::Copied, Manner::Lifted, Manner::Careful],
        ),
        country: weighted(dice, &FENCES),
        payments_left: dice.random_range(1..=9),
        tried: false,
    }
}

/// Sometimes the holder goes abroad, and comes back after some payments.
fn travel(dice: &mut Dice, card: &mut Card) -> bool {
    let abroad = card.place != card.home;
    let moves = dice.random_bool(if abroad { 0.12 } else { 0.006 });
    if moves {
        card.place = if abroad { card.home } else { weighted(dice, &TRIPS) };
    }
    moves
}

/// What a card's holder pays.
fn ordinary(dice: &mut Dice, card: &Card, moved: bool) -> Payment {
    let category = weighted(dice, &BOUGHT);
    let Category { median, spread, present, .. } = CATEGORIES[category];
    let present = dice.random_bool(present);
    let foreign_shop = !present && dice.random_bool(0.15);
    let country = if foreign_shop { weighted(dice, &FENCES) } else { card.place };
    let distance_km = match (moved, present) {
        (true, _) => log_normal(dice, 1_100.0, 0.8),
        (_, true) => log_normal(dice, 4.0, 1.2),
        (_, false) if foreign_shop => log_normal(dice, 900.0, 1.0),
        (_, false) => log_normal(dice, 120.0, 1.2),
    };
    Payment { category, country, present, amount: log_normal(dice, median, spread), distance_km }
}

fn local_hour(now_ms: i64, country: &Country) -> i64 {
    i64::try_from(hour(now_ms + country.hours * MS_PER_HOUR)).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn minutes(ms: i64) -> f64 {
    ms as f64 / 60_000.0
}
