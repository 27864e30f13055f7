//! Whether a value suits its field, and what it is as one. Pure.

use std::{borrow::Cow, ops::RangeInclusive};

use super::{
    decimal,
    slot::{Slot, Unit},
    time::{date_days, rfc3339_micros},
};
use crate::record::{FieldKind, Reason, TimestampFormat};

/// What is wrong with a field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    WrongType,
    OutOfRange,
    Missing,
    NotANumber,
}

impl Fault {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::WrongType | Self::OutOfRange => Reason::WrongType,
            Self::Missing => Reason::MissingField,
            Self::NotANumber => Reason::NotANumber,
        }
    }
}

/// Below this, every whole `f64` is the number that was written.
const EXACT_END: f64 = 9_007_199_254_740_992.0;
/// One more than the largest `i64`.
const I64_END: f64 = 9_223_372_036_854_775_808.0;
const INT32: RangeInclusive<i64> = -(1 << 31)..=(1 << 31) - 1;

/// Turns what the record has into what the column takes: `Int` for integers, times and dates, `Float`, `Bool`, `Text`, or
/// nothing. A slot with a fault is left as it was.
#[inline]
pub(super) fn settle(slot: &mut Slot<'_>, kind: FieldKind, required: bool) -> Result<(), Fault> {
    match (&*slot, kind) {
        // As most values are: nothing to be done.
        (Slot::Float(_), FieldKind::Float64)
        | (Slot::Int(_), FieldKind::Int64)
        | (Slot::Text(_), FieldKind::String)
        | (Slot::Bool(_), FieldKind::Bool) => return Ok(()),
        (Slot::Absent | Slot::Null, _) if required => return Err(Fault::Missing),
        (Slot::Absent | Slot::Null, _) => return Ok(()),
        _ => {}
    }
    *slot = match kind {
        FieldKind::Int32 => Slot::Int(whole(slot, &INT32)?),
        FieldKind::Int64 => Slot::Int(whole(slot, &(i64::MIN..=i64::MAX))?),
        FieldKind::Float32 => Slot::Float(single(slot)?),
        FieldKind::Float64 => Slot::Float(float(slot)?),
        FieldKind::Timestamp(format) if matches!(slot, Slot::Instant(..)) => Slot::Int(instant(slot, format)?),
        FieldKind::Timestamp(TimestampFormat::Rfc3339) => Slot::Int(parsed(slot, rfc3339_micros)?),
        FieldKind::Timestamp(format) => Slot::Int(epoch(slot, format)?),
        FieldKind::Date => Slot::Int(if let Slot::Days(days) = slot { *days } else { parsed(slot, date_days)? }),
        FieldKind::Bool => return Err(misfit(slot)),
        FieldKind::String => Slot::Text(text(slot)?),
    };
    Ok(())
}

fn misfit(slot: &Slot<'_>) -> Fault {
    match slot {
        Slot::NotFinite(_) => Fault::NotANumber,
        _ => Fault::WrongType,
    }
}

#[inline]
fn whole(slot: &Slot<'_>, range: &RangeInclusive<i64>) -> Result<i64, Fault> {
    let value = match slot {
        Slot::Int(value) | Slot::Days(value) | Slot::Instant(value, _) => *value,
        Slot::Huge(_) => return Err(Fault::OutOfRange),
        Slot::Float(value) if value.abs() >= EXACT_END => return Err(Fault::OutOfRange),
        Slot::Float(value) if value.fract() == 0.0 => to_i64(*value)?,
        Slot::Decimal(bytes, scale) => {
            let whole = decimal::whole(bytes, *scale).ok_or_else(|| misfit(slot))?;
            i64::try_from(whole).map_err(|_| Fault::OutOfRange)?
        }
        _ => return Err(misfit(slot)),
    };
    if range.contains(&value) { Ok(value) } else { Err(Fault::OutOfRange) }
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "an integer becomes the float nearest to it, as any other number does")]
fn float(slot: &Slot<'_>) -> Result<f64, Fault> {
    match slot {
        Slot::Float(value) => Ok(*value),
        Slot::Int(value) => Ok(*value as f64),
        Slot::Huge(value) => Ok(*value as f64),
        Slot::Decimal(bytes, scale) => decimal::float(bytes, *scale).ok_or(Fault::OutOfRange),
        Slot::Text(text) if matches!(&**text, "NaN" | "Infinity" | "-Infinity") => Err(Fault::NotANumber),
        _ => Err(misfit(slot)),
    }
}

/// What is a text in other clothes.
fn text<'a>(slot: &Slot<'a>) -> Result<Cow<'a, str>, Fault> {
    match slot {
        Slot::Bytes(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Fault::WrongType),
        Slot::Decimal(bytes, scale) => decimal::text(bytes, *scale).map(Cow::Owned).ok_or(Fault::OutOfRange),
        _ => Err(misfit(slot)),
    }
}

#[inline]
fn single(slot: &Slot<'_>) -> Result<f64, Fault> {
    let value = float(slot)?;
    if to_f32(value).is_finite() { Ok(value) } else { Err(Fault::NotANumber) }
}

fn parsed<T: Into<i64>>(slot: &Slot<'_>, parse: impl Fn(&str) -> Option<T>) -> Result<i64, Fault> {
    match slot {
        Slot::Text(text) => parse(text).map(Into::into).ok_or(Fault::WrongType),
        _ => Err(misfit(slot)),
    }
}

/// Time since 1970 in the column's unit: nanoseconds if written so, else microseconds. A fraction is rounded to it.
fn epoch(slot: &Slot<'_>, format: TimestampFormat) -> Result<i64, Fault> {
    let factor = match format {
        TimestampFormat::Seconds => 1_000_000,
        TimestampFormat::Milliseconds => 1_000,
        TimestampFormat::Microseconds | TimestampFormat::Nanoseconds | TimestampFormat::Rfc3339 => 1,
    };
    match slot {
        Slot::Int(value) => value.checked_mul(i64::from(factor)).ok_or(Fault::OutOfRange),
        Slot::Huge(_) => Err(Fault::OutOfRange),
        Slot::Float(value) => to_i64((value * f64::from(factor)).round()),
        _ => Err(misfit(slot)),
    }
}

/// An instant says itself how fine it is told, so that the field's unit only says how fine the column is.
fn instant(slot: &Slot<'_>, format: TimestampFormat) -> Result<i64, Fault> {
    let Slot::Instant(time, unit) = slot else { return Err(misfit(slot)) };
    let nanos = match unit {
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    };
    let column = if format == TimestampFormat::Nanoseconds { 1 } else { 1_000 };
    let time = (i128::from(*time) * nanos).div_euclid(column);
    i64::try_from(time).map_err(|_| Fault::OutOfRange)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn to_i64(value: f64) -> Result<i64, Fault> {
    if value.abs() < I64_END { Ok(value as i64) } else { Err(Fault::OutOfRange) }
}

/// The nearest `f32`; infinite if there is none.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(super) fn to_f32(value: f64) -> f32 {
    value as f32
}
