//! What a cell means, and columns as numbers, booleans or words. Pure.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type},
    error::ArrowError,
};

/// What stands for a missing number or boolean in a CSV.
const MISSING: [&str; 4] = ["na", "n/a", "nan", "null"];

/// Whole numbers up to here are exact as floats.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// A number, and what it is as a whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    pub(super) value: f64,
    pub(super) whole: Option<i64>,
}

impl Number {
    /// A NaN is no number.
    pub(super) fn parse(cell: &str) -> Option<Self> {
        if let Ok(whole) = cell.parse::<i64>() {
            return Some(Self::whole(whole));
        }
        cell.parse().ok().and_then(Self::float)
    }

    #[allow(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
    pub(super) fn float(value: f64) -> Option<Self> {
        let is_whole = value.fract() == 0.0 && value.abs() < EXACT_BELOW;
        (!value.is_nan()).then_some(Self { value, whole: is_whole.then_some(value as i64) })
    }

    #[allow(clippy::cast_precision_loss, reason = "a column of numbers is one of floats")]
    pub(super) fn whole(value: i64) -> Self {
        Self { value: value as f64, whole: Some(value) }
    }
}

pub(super) fn boolean(cell: &str) -> Option<bool> {
    let is = |word: &str| cell.eq_ignore_ascii_case(word);
    if is("true") { Some(true) } else { is("false").then_some(false) }
}

/// Whether a cell says that there is no number, and no boolean.
#[must_use]
pub fn is_missing(cell: &str) -> bool {
    cell.len() <= 4 && MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A column as numbers. A cell that says that there is none, a NaN, and what is no number, are null.
pub fn numbers(array: &ArrayRef) -> Result<Float64Array, ArrowError> {
    let number = |value: f64| (!value.is_nan()).then_some(value);
    if array.data_type() == &DataType::Utf8 {
        let cell = |cell: &str| Number::parse(cell).map(|number| number.value);
        return Ok(array.as_string::<i32>().iter().map(|text| text.and_then(cell)).collect());
    }
    let floats = cast(array, &DataType::Float64)?;
    Ok(floats.as_primitive::<Float64Type>().iter().map(|value| value.and_then(number)).collect())
}

/// A column as booleans. What is neither `true` nor `false` is null.
pub fn booleans(array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().iter().map(|cell| cell.and_then(boolean)).collect()),
        _ => Ok(cast(array, &DataType::Boolean)?.as_boolean().clone()),
    }
}

/// A column as words, as they stand in a CSV.
pub fn words(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
}
