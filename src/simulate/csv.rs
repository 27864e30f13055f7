//! A record as a line of CSV, without a header and without a line's end: one record is one value of a topic.

use super::row::{Row, push_entity, push_time, push_units, units};

/// A line at the end of a buffer; its cells are in the order in which the source gives its fields.
#[derive(Debug)]
pub struct Csv<'a> {
    value: &'a mut Vec<u8>,
    with_truth: bool,
}

impl<'a> Csv<'a> {
    pub fn begin(value: &'a mut Vec<u8>, with_truth: bool) -> Self {
        Self { value, with_truth }
    }

    /// The line is complete.
    pub fn end(self) {
        if self.value.last() == Some(&b',') {
            self.value.pop();
        }
    }

    #[inline]
    fn cell(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.value);
        self.value.push(b',');
    }
}

impl Row for Csv<'_> {
    #[inline]
    fn id(&mut self, id: u64) {
        self.cell(|value| value.extend_from_slice(itoa::Buffer::new().format(id).as_bytes()));
    }

    #[inline]
    fn whole(&mut self, _: &'static str, whole: i64) {
        self.cell(|value| value.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes()));
    }

    #[inline]
    fn decimal(&mut self, _: &'static str, decimal: f64, places: u32) {
        self.cell(|value| push_units(value, units(decimal, places), places));
    }

    #[inline]
    fn flag(&mut self, _: &'static str, flag: bool) {
        self.cell(|value| value.extend_from_slice(if flag { b"true" } else { b"false" }));
    }

    #[inline]
    fn text(&mut self, _: &'static str, text: &str) {
        self.cell(|value| push_cell(value, text));
    }

    #[inline]
    fn time(&mut self, _: &'static str, ms: i64) {
        self.cell(|value| push_time(value, ms));
    }

    #[inline]
    fn entity(&mut self, _: &'static str, letter: char, number: u64) {
        self.cell(|value| push_entity(value, letter, number));
    }

    #[inline]
    fn truth(&mut self, name: &'static str, class: &'static str) {
        if self.with_truth {
            self.text(name, class);
        }
    }
}

/// In quotation marks where it has to be, as RFC 4180 says.
#[inline]
pub(super) fn push_cell(value: &mut Vec<u8>, text: &str) {
    let is_plain = !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        value.extend_from_slice(text.as_bytes());
        return;
    }
    value.push(b'"');
    for (place, part) in text.split('"').enumerate() {
        if place > 0 {
            value.extend_from_slice(b"\"\"");
        }
        value.extend_from_slice(part.as_bytes());
    }
    value.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_a_cell() {
        let mut value = b"before ".to_vec();
        let mut csv = Csv::begin(&mut value, true);
        csv.id(1_000);
        csv.time("time", 1_735_689_600_007);
        csv.entity("card", 'c', 42);
        csv.decimal("amount", -0.054, 2);
        csv.flag("new", true);
        csv.text("said", "a \"b\", é\n");
        csv.text("more", "plain");
        csv.whole("status", -404);
        csv.truth("verdict", "fraud");
        csv.end();
        let wanted = "before 1000,2025-01-01T00:00:00.007Z,c0000042,-0.05,true,\"a \"\"b\"\", é\n\",plain,-404,fraud";
        assert_eq!(String::from_utf8(value).unwrap(), wanted);
    }

    #[test]
    fn the_truth_is_kept_out() {
        let mut value = vec![];
        let mut csv = Csv::begin(&mut value, false);
        csv.id(3);
        csv.truth("species", "setosa");
        csv.end();
        assert_eq!(value, b"3");
    }
}
