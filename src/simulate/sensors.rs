//! Readings from a fleet of machines that wear out, fail and are repaired.
//!
//! Each machine has a hidden wear that grows with the hours it runs. It shows in the readings the more the further it
//! has come, and in which of them depends on what is wrong: a bearing, a leak or the cooling. Machines differ, load and
//! the time of day move all the readings too, so that a reading alone does not tell.

use rand::RngExt;

use super::{
    dice::{Clock, Dice, dice, log_normal, normal, pick, skewed},
    row::Row,
};

/// Of one partition; each partition has machines of its own.
const MACHINES: usize = 500;
const GAP_MS: f64 = 120.0;
/// From one repair to the next, for the median machine.
const LIFE_HOURS: f64 = 48.0;
const WEAR_SHOWS: f64 = 0.70;
const FAILING: f64 = 0.92;
const BROKEN: f64 = 1.0;
/// How much of the difference the remembered level of a reading takes on with each new one.
const LEVEL_PACE: f64 = 0.3;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Bearing,
    Leak,
    Cooling,
}

#[derive(Clone, Copy, Debug)]
struct Readings {
    /// Degrees Celsius.
    temperature: f64,
    /// Millimetres a second.
    vibration: f64,
    /// Bar.
    pressure: f64,
    /// Turns a minute.
    rpm: f64,
}

impl Readings {
    fn zip(self, other: Self, join: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            temperature: join(self.temperature, other.temperature),
            vibration: join(self.vibration, other.vibration),
            pressure: join(self.pressure, other.pressure),
            rpm: join(self.rpm, other.rpm),
        }
    }
}

#[derive(Clone, Debug)]
struct Machine {
    /// What it shows when it is new, and neither idle nor busy.
    usual: Readings,
    /// What it showed lately.
    level: Readings,
    /// 0 is new, 1 is broken.
    wear: f64,
    wear_an_hour: f64,
    fault: Fault,
    /// From idle, -1, to busy, 1.
    load: f64,
    seen_hours: f64,
    repaired_hours: f64,
}

impl Machine {
    /// A machine somewhere in its life.
    fn new(dice: &mut Dice) -> Self {
        let usual = Readings {
            temperature: 61.0 + 3.0 * normal(dice),
            vibration: log_normal(dice, 2.1, 0.18),
            pressure: 6.2 + 0.2 * normal(dice),
            rpm: 1_480.0 + 12.0 * normal(dice),
        };
        let mut machine = Self {
            usual,
            level: usual,
            wear: 0.0,
            wear_an_hour: 0.0,
            fault: Fault::Bearing,
            load: 0.0,
            seen_hours: 0.0,
            repaired_hours: 0.0,
        };
        machine.repair(dice, 0.0);
        machine.wear = dice.random();
        machine.repaired_hours = -machine.wear / machine.wear_an_hour;
        machine.level = machine.readings(dice, 1.0);
        machine
    }

    fn repair(&mut self, dice: &mut Dice, now_hours: f64) {
        self.wear = 0.0;
        self.wear_an_hour = 1.0 / log_normal(dice, LIFE_HOURS, 0.35);
        self.fault = pick(dice, &[Fault::Bearing, Fault::Leak, Fault::Cooling]);
        self.repaired_hours = now_hours;
    }

    fn run_until(&mut self, dice: &mut Dice, now_hours: f64) {
        self.wear += (now_hours - self.seen_hours) * self.wear_an_hour * (1.0 + 0.5 * self.load);
        self.seen_hours = now_hours;
        if self.wear >= BROKEN {
            self.repair(dice, now_hours);
        }
    }

    /// What the sensors show; `rhythm` is how busy the hour is.
    fn readings(&mut self, dice: &mut Dice, rhythm: f64) -> Readings {
        let busy = 0.6 * (rhythm - 1.0);
        self.load = (0.9 * self.load + 0.1 * busy + 0.12 * normal(dice)).clamp(-1.0, 1.0);
        // Nothing shows at half the life, and all at its end.
        let harm = (2.0 * self.wear - 1.0).max(0.0).powi(2);
        let (hotter, shakier, leakier) = match self.fault {
            Fault::Bearing => (7.0, 2.4, 0.1),
            Fault::Leak => (4.0, 0.4, 2.0),
            Fault::Cooling => (26.0, 0.5, 0.1),
        };
        let Self { usual, load, .. } = *self;
        Readings {
            temperature: usual.temperature + 7.0 * load + hotter * harm + 1.6 * normal(dice),
            vibration: usual.vibration * log_normal(dice, 1.0 + 0.2 * load + shakier * harm, 0.11),
            pressure: usual.pressure + 0.25 * load - leakier * harm + 0.13 * normal(dice),
            rpm: usual.rpm * (1.0 + 0.05 * load) - 45.0 * harm + (6.0 + 22.0 * harm) * normal(dice),
        }
    }

    fn condition(&self) -> &'static str {
        match self.wear {
            wear if wear < WEAR_SHOWS => "normal",
            wear if wear < FAILING => "wear",
            _ => "failing",
        }
    }
}

/// The endless stream of one partition.
#[derive(Clone, Debug)]
pub struct Sensors {
    id: u64,
    first_machine: u64,
    dice: Dice,
    clock: Clock,
    machines: Vec<Machine>,
}

impl Sensors {
    #[must_use]
    pub fn new(seed: u64, partition: i32) -> Self {
        let mut dice = dice(seed, partition);
        let machines = (0..MACHINES).map(|_| Machine::new(&mut dice)).collect();
        let first_machine = u64::from(partition.unsigned_abs()) * MACHINES as u64;
        Self { id: 0, first_machine, dice, clock: Clock::new(), machines }
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
        let dice = &mut self.dice;
        self.clock.advance(dice, GAP_MS);
        let number = skewed(dice, MACHINES);
        let machine = &mut self.machines[number];
        machine.run_until(dice, self.clock.hours());
        let seen = machine.readings(dice, self.clock.rhythm());
        let change = seen.zip(machine.level, |now, level| now - level);
        machine.level = machine.level.zip(change, |level, change| level + LEVEL_PACE * change);

        row.id(self.id);
        row.time("time", self.clock.ms());
        row.entity("machine", 'm', self.first_machine + number as u64);
        row.decimal("temperature", seen.temperature, 1);
        row.decimal("vibration", seen.vibration, 2);
        row.decimal("pressure", seen.pressure, 2);
        row.decimal("rpm", seen.rpm, 1);
        row.decimal("temperature_change", change.temperature, 1);
        row.decimal("vibration_change", change.vibration, 2);
        row.decimal("pressure_change", change.pressure, 2);
        row.decimal("rpm_change", change.rpm, 1);
        row.decimal("hours_since_repair", self.clock.hours() - machine.repaired_hours, 1);
        row.truth("condition", machine.condition());
        self.id += 1;
    }
}
