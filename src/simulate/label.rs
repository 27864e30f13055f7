//! Whom a record is about and what is true of it, caught while the record is drawn, whatever format it is written in.

use super::row::{Row, push_entity};

/// What a record's key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Key {
    /// No key
    #[default]
    None,
    /// The record's `id`, as text
    Id,
    /// Whom the record is about: its card, machine, user or visitor; of a flower, its `id`
    Entity,
}

/// What tells a record from others, and the answer that a model is to find.
#[derive(Clone, Copy, Debug, Default)]
pub struct Label {
    id: u64,
    time: Option<(&'static str, i64)>,
    entity: Option<(&'static str, char, u64)>,
    truth: Option<(&'static str, &'static str)>,
}

impl Label {
    #[must_use]
    pub fn key(&self, key: Key) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        match (key, self.entity) {
            (Key::None, _) => return None,
            (Key::Entity, Some((_, letter, number))) => push_entity(&mut text, letter, number),
            (Key::Id | Key::Entity, _) => text.extend_from_slice(itoa::Buffer::new().format(self.id).as_bytes()),
        }
        Some(text)
    }

    /// Gives the label as a record of its own: id, time, entity and truth, each under the name that it has in the record.
    pub fn draw(&self, row: &mut impl Row) {
        row.id(self.id);
        if let Some((name, ms)) = self.time {
            row.time(name, ms);
        }
        if let Some((name, letter, number)) = self.entity {
            row.entity(name, letter, number);
        }
        if let Some((name, class)) = self.truth {
            row.truth(name, class);
        }
    }
}

/// A row that passes on what it gets, and keeps the label.
#[derive(Debug)]
pub struct Labelled<R> {
    pub row: R,
    pub label: Label,
}

impl<R> Labelled<R> {
    pub fn new(row: R) -> Self {
        Self { row, label: Label::default() }
    }
}

impl<R: Row> Row for Labelled<R> {
    #[inline]
    fn id(&mut self, id: u64) {
        self.label.id = id;
        self.row.id(id);
    }

    #[inline]
    fn whole(&mut self, name: &'static str, value: i64) {
        self.row.whole(name, value);
    }

    #[inline]
    fn decimal(&mut self, name: &'static str, value: f64, places: u32) {
        self.row.decimal(name, value, places);
    }

    #[inline]
    fn flag(&mut self, name: &'static str, value: bool) {
        self.row.flag(name, value);
    }

    #[inline]
    fn text(&mut self, name: &'static str, value: &str) {
        self.row.text(name, value);
    }

    #[inline]
    fn time(&mut self, name: &'static str, ms: i64) {
        self.label.time = Some((name, ms));
        self.row.time(name, ms);
    }

    #[inline]
    fn entity(&mut self, name: &'static str, letter: char, number: u64) {
        self.label.entity = Some((name, letter, number));
        self.row.entity(name, letter, number);
    }

    #[inline]
    fn truth(&mut self, name: &'static str, class: &'static str) {
        self.label.truth = Some((name, class));
        self.row.truth(name, class);
    }
}
