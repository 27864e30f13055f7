//! Rows of a batch to floats of the network's input, by the features of a manifest.
//!
//! Column after column, because so a column of the batch is read and written in one plain loop, which the compiler makes
//! vectors of. Owns the order of the floats. Does not own what a feature is, nor what becomes of the floats.

use std::{collections::HashMap, ops::Range};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema},
};

use super::{DEVIATIONS_MAX, Feature, FeatureKind, Text, did_you_mean, text::Counted};
use crate::model::error::ModelError;

/// Rows that are turned at once, when they are wanted row after row.
const TURNED_ROWS: usize = 256;

/// The features of a model, bound to the columns of a schema.
#[derive(Debug)]
pub(in crate::model) struct Encoder {
    bound: Vec<Bound>,
    width: usize,
}

/// A feature, where its column stands in the batch, and which of a row's floats are its own.
#[derive(Debug)]
struct Bound {
    feature: Feature,
    column: usize,
    slots: Range<usize>,
    /// Of a categorical feature: which of its slots is each word's.
    words: HashMap<String, usize>,
}

impl Encoder {
    pub(in crate::model) fn bind(features: &[Feature], schema: &Schema) -> Result<Self, ModelError> {
        let mut bound = Vec::with_capacity(features.len());
        let mut width = 0;
        for feature in features {
            let slots = width..width + feature.width();
            width = slots.end;
            bound.push(Bound::new(feature, slots, schema)?);
        }
        Ok(Self { bound, width })
    }

    pub(in crate::model) fn width(&self) -> usize {
        self.width
    }

    /// Where each feature's floats stand in a row, and whether nearly all of them are nought in any one.
    pub(in crate::model) fn slots(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        self.bound.iter().map(|bound| (bound.slots.clone(), bound.feature.is_sparse()))
    }

    /// The floats of some rows of the batch, row after row.
    pub(in crate::model) fn encode(&self, batch: &RecordBatch, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let mut floats = Vec::with_capacity(rows.len() * self.width);
        for start in rows.clone().step_by(TURNED_ROWS) {
            let turned = start..rows.end.min(start + TURNED_ROWS);
            let stride = turned.len();
            let columns = self.columns(batch, turned, stride)?;
            let line = |row: usize| columns.iter().skip(row).step_by(stride).copied();
            (0..stride).for_each(|row| floats.extend(line(row)));
        }
        Ok(floats)
    }

    /// The floats of some rows of the batch: `stride` of them for each slot, of which those past the rows are nought.
    pub(in crate::model) fn columns(
        &self,
        batch: &RecordBatch,
        rows: Range<usize>,
        stride: usize,
    ) -> Result<Vec<f32>, ModelError> {
        if rows.len() > stride || rows.end > batch.num_rows() {
            let (has, stride) = (batch.num_rows(), stride.min(rows.len()));
            return Err(ModelError::Compute(format!("rows {rows:?} of {has} rows do not go into {stride}")));
        }
        let mut floats = vec![0.0; stride * self.width];
        for bound in &self.bound {
            let lines = &mut floats[bound.slots.start * stride..bound.slots.end * stride];
            bound.fill(batch, rows.clone(), &mut Lines { floats: lines, stride })?;
        }
        Ok(floats)
    }
}

/// The floats of one feature: a line for each of its slots, with a float for each row.
struct Lines<'a> {
    floats: &'a mut [f32],
    stride: usize,
}

impl Lines<'_> {
    fn set(&mut self, slot: usize, row: usize, float: f32) {
        self.floats[slot * self.stride + row] = float;
    }
}

impl Bound {
    fn new(feature: &Feature, slots: Range<usize>, schema: &Schema) -> Result<Self, ModelError> {
        let (column, field) = schema.column_with_name(&feature.name).ok_or_else(|| {
            let hint = did_you_mean(&feature.name, schema.fields().iter().map(|field| field.name().as_str()));
            ModelError::Schema(format!("the model needs the column `{}`, which is not there{hint}", feature.name))
        })?;
        if !feature.reads(field.data_type()) {
            return Err(feature.unreadable(field.data_type()));
        }
        let words = match &feature.kind {
            FeatureKind::Categorical { vocabulary } => vocabulary.iter().cloned().zip(0..).collect(),
            FeatureKind::Numeric { .. } | FeatureKind::Boolean | FeatureKind::Text(_) => HashMap::new(),
        };
        Ok(Self { feature: feature.clone(), column, slots, words })
    }

    /// Writes the feature's floats for these rows.
    fn fill(&self, batch: &RecordBatch, rows: Range<usize>, lines: &mut Lines<'_>) -> Result<(), ModelError> {
        let array = batch.columns().get(self.column).ok_or_else(|| self.feature.unreadable(&DataType::Null))?;
        let array = array.slice(rows.start, rows.len());
        let unsound = match &self.feature.kind {
            FeatureKind::Numeric { mean, std } => self.fill_numbers(&array, lines, *mean, *std)?,
            FeatureKind::Boolean => self.fill_flags(&array, lines)?,
            FeatureKind::Categorical { .. } => self.fill_words(&array, lines)?,
            FeatureKind::Text(text) => self.fill_text(text, &array, lines)?,
        };
        self.mark_missing(&array, rows.start, lines)?;
        unsound.map_or(Ok(()), |row| Err(self.value_error(rows.start + row, "is not a finite number")))
    }

    /// Returns the first row that has a value which is not a finite number.
    fn fill_numbers(
        &self,
        array: &ArrayRef,
        lines: &mut Lines<'_>,
        mean: f64,
        std: f64,
    ) -> Result<Option<usize>, ModelError> {
        let line = &mut *lines.floats;
        let all_finite = match array.data_type() {
            DataType::Boolean => {
                let numbers = array.as_boolean().values().iter().map(|on| f64::from(u8::from(on)));
                standardise(numbers, line, mean, std)
            }
            DataType::Int32 => {
                standardise(array.as_primitive::<Int32Type>().values().iter().map(|x| f64::from(*x)), line, mean, std)
            }
            #[allow(clippy::cast_precision_loss, reason = "the network's own floats are coarser still")]
            DataType::Int64 => {
                standardise(array.as_primitive::<Int64Type>().values().iter().map(|x| *x as f64), line, mean, std)
            }
            DataType::Float32 => {
                standardise(array.as_primitive::<Float32Type>().values().iter().map(|x| f64::from(*x)), line, mean, std)
            }
            DataType::Float64 => {
                standardise(array.as_primitive::<Float64Type>().values().iter().copied(), line, mean, std)
            }
            other => return Err(self.feature.unreadable(other)),
        };
        Ok(if all_finite { None } else { first_unsound(array) })
    }

    fn fill_flags(&self, array: &ArrayRef, lines: &mut Lines<'_>) -> Result<Option<usize>, ModelError> {
        let DataType::Boolean = array.data_type() else { return Err(self.feature.unreadable(array.data_type())) };
        for (float, on) in lines.floats.iter_mut().zip(array.as_boolean().values()) {
            *float = f32::from(u8::from(on));
        }
        Ok(None)
    }

    fn fill_words(&self, array: &ArrayRef, lines: &mut Lines<'_>) -> Result<Option<usize>, ModelError> {
        let unknown = self.slots.len() - 1;
        let mut put = |row: usize, word: &str| lines.set(self.words.get(word).copied().unwrap_or(unknown), row, 1.0);
        match array.data_type() {
            DataType::Utf8 => {
                let words = array.as_string::<i32>().iter().enumerate();
                words.for_each(|(row, word)| word.into_iter().for_each(|word| put(row, word)));
            }
            DataType::Boolean => {
                let flags = array.as_boolean().iter().enumerate();
                let word = |on: bool| if on { "true" } else { "false" };
                flags.for_each(|(row, on)| on.into_iter().for_each(|on| put(row, word(on))));
            }
            other => return Err(self.feature.unreadable(other)),
        }
        Ok(None)
    }

    fn fill_text(&self, text: &Text, array: &ArrayRef, lines: &mut Lines<'_>) -> Result<Option<usize>, ModelError> {
        let DataType::Utf8 = array.data_type() else { return Err(self.feature.unreadable(array.data_type())) };
        let mut counted = Counted::default();
        for (row, value) in array.as_string::<i32>().iter().enumerate() {
            let Some(value) = value else { continue };
            text.shares(value, &mut counted, |bucket, share| lines.set(bucket, row, share));
        }
        Ok(None)
    }

    /// A row without a value has nothing but its flag, or the unknown slot: either is the last.
    fn mark_missing(&self, array: &ArrayRef, start: usize, lines: &mut Lines<'_>) -> Result<(), ModelError> {
        let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(()) };
        for row in (0..array.len()).filter(|&row| nulls.is_null(row)) {
            if !self.feature.missing {
                let fault = "is missing, and the training data had no missing value there";
                return Err(self.value_error(start + row, fault));
            }
            lines.set(0, row, 0.0);
            lines.set(self.slots.len() - 1, row, 1.0);
        }
        Ok(())
    }

    fn value_error(&self, row: usize, fault: &'static str) -> ModelError {
        ModelError::Value { row, feature: self.feature.name.clone(), fault }
    }
}

/// Writes a float for each number; false if one of them is not finite.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "clamped to what an f32 holds")]
fn standardise(numbers: impl Iterator<Item = f64>, line: &mut [f32], mean: f64, std: f64) -> bool {
    let mut all_finite = true;
    for (float, x) in line.iter_mut().zip(numbers) {
        all_finite &= x.is_finite();
        *float = ((x - mean) / std).clamp(-DEVIATIONS_MAX, DEVIATIONS_MAX) as f32;
    }
    all_finite
}

/// What stands behind a null may be anything.
fn first_unsound(array: &ArrayRef) -> Option<usize> {
    let is_sound = |row: usize| match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => true,
    };
    (0..array.len()).find(|&row| array.is_valid(row) && !is_sound(row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    fn numeric_feature(name: &str, missing: bool) -> Feature {
        Feature { name: name.to_owned(), missing, kind: FeatureKind::Numeric { mean: 10.0, std: 2.0 } }
    }

    fn categorical(name: &str, missing: bool) -> Feature {
        let vocabulary = vec!["de".to_owned(), "fr".to_owned()];
        Feature { name: name.to_owned(), missing, kind: FeatureKind::Categorical { vocabulary } }
    }

    fn encode(features: &[Feature], columns: Vec<(&str, ArrayRef)>) -> Result<Vec<f32>, ModelError> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Encoder::bind(features, batch.schema_ref())?.encode(&batch, 0..batch.num_rows())
    }

    #[test]
    fn every_kind_of_column_lands_in_its_slots_in_the_features_order() {
        let boolean = Feature { name: "on".to_owned(), missing: true, kind: FeatureKind::Boolean };
        let features = [categorical("country", true), numeric_feature("x", true), boolean];
        let floats = encode(
            &features,
            vec![
                ("x", Arc::new(Float64Array::from(vec![Some(12.0), None, Some(10.0), Some(8.0)]))),
                ("unused", Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
                ("country", Arc::new(StringArray::from(vec![Some("fr"), Some("xx"), None, Some("de")]))),
                ("on", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
            ],
        );
        #[rustfmt::skip]
        assert_eq!(floats.unwrap(), [
            // de fr ? |  x   missing | on missing
            0.0, 1.0, 0.0,  1.0, 0.0,  1.0, 0.0,
            0.0, 0.0, 1.0,  0.0, 1.0,  0.0, 0.0,
            0.0, 0.0, 1.0,  0.0, 0.0,  0.0, 1.0,
            1.0, 0.0, 0.0, -1.0, 0.0,  1.0, 0.0,
        ]);
    }

    #[test]
    fn text_fills_its_buckets_after_which_a_flag_tells_that_there_was_none() {
        let text = Text { buckets: 4, words: 1, chars: None };
        let feature = Feature { name: "post".to_owned(), missing: true, kind: FeatureKind::Text(text.clone()) };
        let posts = StringArray::from(vec![Some("Good good"), None, Some(""), Some("good")]);
        let features = [feature, numeric_feature("x", false)];
        let x = Int32Array::from(vec![12; 4]);
        let floats = encode(&features, vec![("post", Arc::new(posts)), ("x", Arc::new(x))]).unwrap();
        let mut good = vec![0.0; 4];
        text.shares("good", &mut Counted::default(), |bucket, share| good[bucket] = share);
        good.extend([0.0, 1.0]);
        assert_eq!(
            floats,
            [good.clone(), vec![0.0, 0.0, 0.0, 0.0, 1.0, 1.0], vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0], good].concat()
        );
    }

    #[test]
    fn integers_floats_and_booleans_are_numbers_alike() {
        let x = |array: ArrayRef| encode(&[numeric_feature("x", false)], vec![("x", array)]).unwrap();
        assert_eq!(x(Arc::new(Int32Array::from(vec![14]))), [2.0]);
        assert_eq!(x(Arc::new(Int64Array::from(vec![14]))), [2.0]);
        assert_eq!(x(Arc::new(BooleanArray::from(vec![false]))), [-5.0]);
        assert_eq!(
            encode(&[categorical("x", false)], vec![("x", Arc::new(BooleanArray::from(vec![true])))]).unwrap(),
            [0.0, 0.0, 1.0]
        );
    }

    #[test]
    fn rows_are_taken_from_the_middle_of_a_sliced_batch() {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from_iter_values(0..10)) as ArrayRef)]);
        let batch = batch.unwrap().slice(2, 6);
        let encoder = Encoder::bind(&[numeric_feature("x", false)], batch.schema_ref()).unwrap();
        assert_eq!(encoder.encode(&batch, 1..3).unwrap(), [-3.5, -3.0]);
    }

    #[test]
    fn a_value_that_is_no_number_is_an_error_and_never_a_class() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error =
                encode(&[numeric_feature("x", true)], vec![("x", Arc::new(Float64Array::from(vec![1.0, bad])))]);
            assert!(error.unwrap_err().to_string().starts_with("row 1: `x` is not a finite number"));
        }
        let error = encode(&[numeric_feature("x", false)], vec![("x", Arc::new(Int32Array::from(vec![None])))]);
        assert!(error.unwrap_err().to_string().starts_with("row 0: `x` is missing"));
    }

    #[test]
    fn what_stands_behind_a_null_is_never_looked_at() {
        let nulls = arrow::buffer::NullBuffer::from(vec![true, false]);
        let x = Float64Array::new(vec![12.0, f64::NAN].into(), Some(nulls.clone()));
        let on = BooleanArray::new(vec![true, true].into(), Some(nulls));
        let boolean = Feature { name: "on".to_owned(), missing: true, kind: FeatureKind::Boolean };
        let floats = encode(&[numeric_feature("x", true), boolean], vec![("x", Arc::new(x)), ("on", Arc::new(on))]);
        assert_eq!(floats.unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn columns_are_filled_up_with_noughts() {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(vec![12, 14, 16])) as ArrayRef)]);
        let batch = batch.unwrap();
        let features = [numeric_feature("x", true)];
        let encoder = Encoder::bind(&features, batch.schema_ref()).unwrap();
        assert_eq!(encoder.columns(&batch, 1..3, 3).unwrap(), [2.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(encoder.columns(&batch, 0..3, 2).is_err() && encoder.columns(&batch, 2..4, 2).is_err());
    }

    #[test]
    fn rows_are_the_columns_turned_however_many_there_are() {
        let numbers = || Arc::new(Int32Array::from_iter_values(0..700));
        let floats = encode(
            &[numeric_feature("x", false), numeric_feature("y", true)],
            vec![("x", numbers()), ("y", numbers())],
        );
        let floats = floats.unwrap();
        assert_eq!(floats.len(), 2_100);
        let is_turned =
            |(x, line): (u16, &[f32])| line == [(f32::from(x) - 10.0) / 2.0, (f32::from(x) - 10.0) / 2.0, 0.0];
        assert!((0..).zip(floats.chunks_exact(3)).all(is_turned));
    }

    #[test]
    fn the_largest_numbers_stay_finite() {
        let floats = encode(
            &[numeric_feature("x", false)],
            vec![("x", Arc::new(Float64Array::from(vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE])))],
        );
        assert_eq!(floats.unwrap(), [1e6, -1e6, -5.0]);
    }
}
