//! What the columns of a table hold, found out in one pass and in bounded memory.
//!
//! Owns: guessing what cells mean, and counting. Does not own: what is made of it.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type, UInt64Type},
};

use super::{
    distinct::{Distinct, hash},
    value::{Number, boolean, is_missing},
};

/// A cell that is shown to a person is cut here.
const SHOWN_CHARS_MAX: usize = 40;

/// About what a number takes as text.
const BYTES_OF_A_NUMBER: u64 = 8;

/// What is known of each of some columns.
#[derive(Debug)]
pub struct Survey {
    columns: Vec<ColumnSurvey>,
    rows: u64,
}

/// What all the values of a column can be taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// No value at all.
    #[default]
    Nothing,
    Numbers,
    Booleans,
    Words,
}

/// What is known of one column.
#[derive(Clone, Debug, Default)]
pub struct ColumnSurvey {
    found: Found,
    values: u64,
    empty: u64,
    /// The cells that say that there is no number, by their hash: if the column turns out to be one of words, they are
    /// words like others.
    no_number: BTreeMap<u64, u64>,
    distinct: Distinct,
    has_fractions: bool,
    last_whole: Option<i64>,
    skips: bool,
    spoiler: Option<String>,
    infinite: Option<String>,
    words: u64,
    text_bytes: u64,
}

impl Survey {
    /// A survey of columns; for each, whether it holds words, whatever they look like.
    #[must_use]
    pub fn new(as_words: impl IntoIterator<Item = bool>) -> Self {
        let column = |as_words| ColumnSurvey {
            found: if as_words { Found::Words } else { Found::Nothing },
            ..ColumnSurvey::default()
        };
        Self { columns: as_words.into_iter().map(column).collect(), rows: 0 }
    }

    /// Takes in some rows; `name_of_row` is for what a person is told.
    pub fn add(&mut self, batch: &RecordBatch, name_of_row: impl Fn(usize) -> String) {
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.add(array, &name_of_row);
        }
        self.rows += batch.num_rows() as u64;
    }

    #[must_use]
    pub fn columns(&self) -> &[ColumnSurvey] {
        &self.columns
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

impl ColumnSurvey {
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    /// How many rows have no value.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.empty + if self.found == Found::Words { 0 } else { self.no_number.values().sum() }
    }

    /// `None` is more than [`super::DISTINCT_MAX`].
    #[must_use]
    pub fn distinct(&self) -> Option<usize> {
        self.distinct.count()
    }

    /// Whole numbers or words of which none is there twice, and most rows have one.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        let identifies = matches!(self.found, Found::Numbers | Found::Words) && !self.has_fractions;
        identifies && self.distinct.all_differ() && self.values > self.missing()
    }

    /// Each row's number is one more than that of the row before it.
    #[must_use]
    pub fn counts_up(&self) -> bool {
        self.found == Found::Numbers && !self.has_fractions && !self.skips && self.missing() == 0
    }

    /// Some number is not whole.
    #[must_use]
    pub fn has_fractions(&self) -> bool {
        self.has_fractions
    }

    /// Parted by spaces, in a row that has a value.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a mean for a rule of thumb")]
    pub fn words_mean(&self) -> f64 {
        self.words as f64 / self.values.max(1) as f64
    }

    /// Of all values together, if they are words.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Which row made a column of words of one of numbers or booleans, and its cell.
    #[must_use]
    pub fn spoiler(&self) -> Option<&str> {
        self.spoiler.as_deref()
    }

    /// The first row whose number is infinite.
    #[must_use]
    pub fn infinite(&self) -> Option<&str> {
        self.infinite.as_deref()
    }

    fn add(&mut self, array: &ArrayRef, name_of_row: &impl Fn(usize) -> String) {
        self.empty += array.null_count() as u64;
        match array.data_type() {
            DataType::Int64 => {
                for value in array.as_primitive::<Int64Type>().iter().flatten() {
                    self.number(Number::whole(value), hash(value));
                }
            }
            DataType::UInt64 => {
                for value in array.as_primitive::<UInt64Type>().iter().flatten() {
                    self.unsigned(value);
                }
            }
            DataType::Float64 => {
                for (row, value) in array.as_primitive::<Float64Type>().iter().enumerate() {
                    if let Some(value) = value {
                        self.float(value, || name_of_row(row));
                    }
                }
            }
            DataType::Boolean => array.as_boolean().iter().flatten().for_each(|value| self.boolean(value)),
            DataType::Utf8 => {
                for (row, cell) in array.as_string::<i32>().iter().enumerate() {
                    if let Some(cell) = cell {
                        self.cell(cell, || name_of_row(row));
                    }
                }
            }
            // A table has no other types.
            _ => {}
        }
    }

    fn cell(&mut self, cell: &str, name_of_row: impl Fn() -> String) {
        if self.found == Found::Words {
            return self.word(cell);
        }
        if matches!(self.found, Found::Nothing | Found::Numbers)
            && let Some(number) = Number::parse(cell)
        {
            if number.value.is_infinite() && self.infinite.is_none() {
                self.infinite = Some(name_of_row());
            }
            return self.number(number, if self.distinct.is_settled() { 0 } else { hash(cell) });
        }
        if is_missing(cell) {
            *self.no_number.entry(hash(cell)).or_default() += 1;
            return;
        }
        match (self.found, boolean(cell)) {
            (Found::Nothing | Found::Booleans, Some(value)) => self.boolean(value),
            _ => self.turn_to_words(cell, &name_of_row),
        }
    }

    /// What was a column of something else is one of words.
    fn turn_to_words(&mut self, cell: &str, name_of_row: impl Fn() -> String) {
        let what = match self.found {
            Found::Numbers => Some("numbers"),
            Found::Booleans => Some("true and false"),
            Found::Nothing | Found::Words => None,
        };
        let shown: String = cell.chars().take(SHOWN_CHARS_MAX).collect();
        self.spoiler = what.map(|what| format!("{} holds `{shown}` among {what}", name_of_row()));
        self.found = Found::Words;
        (self.words, self.text_bytes) = (self.values, self.values * BYTES_OF_A_NUMBER);
        for (hash, times) in std::mem::take(&mut self.no_number) {
            (self.values, self.words) = (self.values + times, self.words + times);
            (0..times.min(2)).for_each(|_| self.distinct.insert(hash));
        }
        self.infinite = None;
        self.word(cell);
    }

    fn word(&mut self, cell: &str) {
        self.values += 1;
        self.words += cell.split_ascii_whitespace().count() as u64;
        self.text_bytes += cell.len() as u64;
        if !self.distinct.is_settled() {
            self.distinct.insert(hash(cell));
        }
    }

    fn number(&mut self, number: Number, hash: u64) {
        if self.found == Found::Nothing {
            self.found = Found::Numbers;
        }
        let follows = match (number.whole, self.last_whole) {
            (Some(now), Some(before)) => before.checked_add(1) == Some(now),
            (Some(_), None) => self.values == 0,
            (None, _) => false,
        };
        self.skips |= !follows;
        self.last_whole = number.whole;
        if number.whole.is_none() && !self.has_fractions {
            self.has_fractions = true;
            self.distinct.expect_repetition();
        }
        self.values += 1;
        self.distinct.insert(hash);
    }

    /// One too large for a signed number is no less a whole one.
    #[allow(clippy::cast_precision_loss, reason = "a column of numbers is one of floats")]
    fn unsigned(&mut self, value: u64) {
        match i64::try_from(value) {
            Ok(whole) => self.number(Number::whole(whole), hash(whole)),
            Err(_) => self.number(Number { value: value as f64, whole: Some(i64::MAX) }, hash(value)),
        }
    }

    fn float(&mut self, value: f64, name_of_row: impl Fn() -> String) {
        let Some(number) = Number::float(value) else {
            self.empty += 1;
            return;
        };
        if value.is_infinite() && self.infinite.is_none() {
            self.infinite = Some(name_of_row());
        }
        // Two noughts that differ in the sign are one number.
        self.number(number, hash((value + 0.0).to_bits()));
    }

    fn boolean(&mut self, value: bool) {
        if self.found == Found::Nothing {
            self.found = Found::Booleans;
        }
        self.values += 1;
        self.distinct.insert(hash(if value { "true" } else { "false" }));
    }
}
