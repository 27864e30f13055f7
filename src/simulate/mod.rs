//! Sources of test streams: the records, and how they are fed to a topic or drawn as a table.
//!
//! Owns: what is sent, in what form and at what pace. Does not own: the connection to the broker, the files of tables.

use std::ops::Range;

use self::{
    columns::Columns,
    iris::Iris,
    label::Labelled,
    posts::Posts,
    row::{Json, Row},
    sensors::Sensors,
    transactions::Transactions,
    weblogs::Weblogs,
};

pub mod avro;
pub mod columns;
pub mod corruption;
mod csv;
mod dice;
mod disorder;
pub mod encoding;
pub mod feed;
pub mod fields;
mod iris;
mod label;
mod pace;
pub mod playback;
mod posts;
pub mod row;
mod script;
mod sensors;
mod share;
mod spans;
#[cfg(test)]
mod tests;
mod transactions;
mod weblogs;

pub use self::{
    disorder::Disorder,
    label::{Key, Label},
    pace::{Rate, duration},
    share::Share,
};

/// What is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Measurements of iris flowers; the truth is their species
    #[default]
    Iris,
    /// Card payments; the truth is whether they are fraud
    Transactions,
    /// Readings from a fleet of machines; the truth is their condition
    Sensors,
    /// Short posts in English; the truth is their sentiment
    Posts,
    /// Requests of a web server; the truth is whether a person, a crawler or an attack made them
    Weblogs,
}

impl Source {
    pub const ALL: [Self; 5] = [Self::Iris, Self::Transactions, Self::Sensors, Self::Posts, Self::Weblogs];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iris => "iris",
            Self::Transactions => "transactions",
            Self::Sensors => "sensors",
            Self::Posts => "posts",
            Self::Weblogs => "weblogs",
        }
    }

    /// The field that holds the truth.
    #[must_use]
    pub const fn truth(self) -> &'static str {
        match self {
            Self::Iris => "species",
            Self::Transactions => "verdict",
            Self::Sensors => "condition",
            Self::Posts => "sentiment",
            Self::Weblogs => "kind",
        }
    }

    /// The endless stream of one partition: the same for the same seed and partition, whatever the day and the pace.
    #[must_use]
    pub fn stream(self, seed: u64, partition: i32) -> Stream {
        match self {
            Self::Iris => Stream::Iris(Iris::new(seed, partition)),
            Self::Transactions => Stream::Transactions(Transactions::new(seed, partition)),
            Self::Sensors => Stream::Sensors(Sensors::new(seed, partition)),
            Self::Posts => Stream::Posts(Posts::new(seed, partition)),
            Self::Weblogs => Stream::Weblogs(Weblogs::new(seed, partition)),
        }
    }
}

/// The records of one partition, one after the other.
#[derive(Clone, Debug)]
pub enum Stream {
    Iris(Iris),
    Transactions(Transactions),
    Sensors(Sensors),
    Posts(Posts),
    Weblogs(Weblogs),
}

impl Stream {
    /// The `id` of the next record: 0, 1, 2 and so on in each partition.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        match self {
            Self::Iris(stream) => stream.next_id(),
            Self::Transactions(stream) => stream.next_id(),
            Self::Sensors(stream) => stream.next_id(),
            Self::Posts(stream) => stream.next_id(),
            Self::Weblogs(stream) => stream.next_id(),
        }
    }

    /// Appends the next record's JSON to `value`, with the truth only if asked, and tells where in `value` its natural
    /// key stands.
    pub fn json(&mut self, value: &mut Vec<u8>, with_truth: bool) -> Range<usize> {
        let mut row = Labelled::new(Json::begin(value, with_truth));
        self.next(&mut row);
        row.row.end()
    }

    /// The stream's own time, in milliseconds since 1970: that of the record that was drawn last.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Iris(stream) => stream.now_ms(),
            Self::Transactions(stream) => stream.now_ms(),
            Self::Sensors(stream) => stream.now_ms(),
            Self::Posts(stream) => stream.now_ms(),
            Self::Weblogs(stream) => stream.now_ms(),
        }
    }

    /// Appends the next record to a table, with the truth as the last column.
    pub fn columns(&mut self, columns: &mut Columns) {
        self.next(columns);
        columns.end();
    }

    fn next(&mut self, row: &mut impl Row) {
        match self {
            Self::Iris(stream) => stream.next(row),
            Self::Transactions(stream) => stream.next(row),
            Self::Sensors(stream) => stream.next(row),
            Self::Posts(stream) => stream.next(row),
            Self::Weblogs(stream) => stream.next(row),
        }
    }
}
