//! Drawn records as the columns of a table.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
        TimestampMillisecondBuilder,
    },
    datatypes::{DataType, Field, Schema, TimeUnit},
    error::ArrowError,
};

use super::row::{Row, push_entity, scale, units};

/// As an offset, which needs no database of time zones to be shown.
const UTC: &str = "+00:00";

/// The rows of a table while they are drawn. Its columns are the fields of the first row, the truth included.
#[derive(Debug, Default)]
pub struct Columns {
    begun: Vec<Column>,
    /// Which column the next field goes to.
    place: usize,
    entity: Vec<u8>,
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Whole(Int64Builder),
    Decimal(Float64Builder),
    Flag(BooleanBuilder),
    Text(StringBuilder),
    Time(TimestampMillisecondBuilder),
}

impl Columns {
    /// The row is complete.
    pub fn end(&mut self) {
        self.place = 0;
    }

    /// The rows so far; what follows begins anew, with the same columns.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let fields: Vec<_> = self.begun.iter().map(|column| column.values.field(column.name)).collect();
        let arrays = self.begun.iter_mut().map(|column| column.values.builder().finish()).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }

    /// The values of the next column, which begins as `empty` in the first row.
    fn next(&mut self, name: &'static str, empty: impl FnOnce() -> Values) -> Option<&mut Values> {
        if self.place == self.begun.len() {
            self.begun.push(Column { name, values: empty() });
        }
        let column = self.begun.get_mut(self.place)?;
        self.place += 1;
        (column.name == name).then_some(&mut column.values)
    }
}

impl Values {
    fn builder(&mut self) -> &mut dyn ArrayBuilder {
        match self {
            Self::Whole(values) => values,
            Self::Decimal(values) => values,
            Self::Flag(values) => values,
            Self::Text(values) => values,
            Self::Time(values) => values,
        }
    }

    fn field(&self, name: &str) -> Field {
        let kind = match self {
            Self::Whole(_) => DataType::Int64,
            Self::Decimal(_) => DataType::Float64,
            Self::Flag(_) => DataType::Boolean,
            Self::Text(_) => DataType::Utf8,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
        };
        Field::new(name, kind, false)
    }
}

// A source gives the same fields in each row. One that did not would leave columns of unequal length, which `take`
// refuses.
impl Row for Columns {
    fn id(&mut self, id: u64) {
        self.whole("id", i64::try_from(id).unwrap_or(i64::MAX));
    }

    fn whole(&mut self, name: &'static str, value: i64) {
        if let Some(Values::Whole(values)) = self.next(name, || Values::Whole(Int64Builder::new())) {
            values.append_value(value);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "what was a float with a few places is one again")]
    fn decimal(&mut self, name: &'static str, value: f64, places: u32) {
        if let Some(Values::Decimal(values)) = self.next(name, || Values::Decimal(Float64Builder::new())) {
            values.append_value(units(value, places) as f64 / scale(places));
        }
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        if let Some(Values::Flag(values)) = self.next(name, || Values::Flag(BooleanBuilder::new())) {
            values.append_value(value);
        }
    }

    fn text(&mut self, name: &'static str, value: &str) {
        if let Some(Values::Text(values)) = self.next(name, || Values::Text(StringBuilder::new())) {
            values.append_value(value);
        }
    }

    fn time(&mut self, name: &'static str, ms: i64) {
        let empty = || Values::Time(TimestampMillisecondBuilder::new().with_timezone(UTC));
        if let Some(Values::Time(values)) = self.next(name, empty) {
            values.append_value(ms);
        }
    }

    fn entity(&mut self, name: &'static str, letter: char, number: u64) {
        let mut entity = std::mem::take(&mut self.entity);
        entity.clear();
        push_entity(&mut entity, letter, number);
        self.text(name, std::str::from_utf8(&entity).unwrap_or_default());
        self.entity = entity;
    }

    fn truth(&mut self, name: &'static str, class: &'static str) {
        self.text(name, class);
    }
}
