//! Rows of a batch to floats of the network's input, by the features of a manifest.
//!
//! Owns the order of the floats. Does not own what a feature is, nor what becomes of the floats.

use std::{collections::HashMap, ops::Range};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema},
};

use super::{DEVIATIONS_MAX, Feature, FeatureKind, Text, did_you_mean};
use crate::model::error::ModelError;

/// The features of a model, bound to the columns of a schema.
#[derive(Debug)]
pub(in crate::model) struct Encoder {
    bound: Vec<Bound>,
    width: usize,
}

/// A feature, where its column stands in the batch, and where its floats stand in a row of the input.
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
        let mut floats = vec![0.0; rows.len() * self.width];
        for bound in &self.bound {
            let lines = floats.chunks_exact_mut(self.width);
            bound.fill(batch, rows.clone(), lines)?;
        }
        Ok(floats)
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

    /// Writes the feature's floats into the lines of these rows.
    fn fill<'a>(
        &self,
        batch: &RecordBatch,
        rows: Range<usize>,
        lines: impl Iterator<Item = &'a mut [f32]>,
    ) -> Result<(), ModelError> {
        let array = batch.columns().get(self.column).ok_or_else(|| self.feature.unreadable(&DataType::Null))?;
        let lines = rows.zip(lines);
        match &self.feature.kind {
            FeatureKind::Numeric { mean, std } => self.fill_numbers(array, lines, |x| standardised(x, *mean, *std)),
            FeatureKind::Boolean => self.fill_numbers(array, lines, |x| Some(if x == 0.0 { 0.0 } else { 1.0 })),
            FeatureKind::Categorical { .. } => self.fill_words(array, lines),
            FeatureKind::Text(text) => self.fill_text(text, array, lines),
        }
    }

    fn fill_numbers<'a>(
        &self,
        array: &ArrayRef,
        lines: impl Iterator<Item = (usize, &'a mut [f32])>,
        float: impl Fn(f64) -> Option<f32>,
    ) -> Result<(), ModelError> {
        match array.data_type() {
            DataType::Boolean => {
                let array = array.as_boolean();
                self.each(array, lines, |row, slots| put(slots, float(f64::from(u8::from(array.value(row))))))
            }
            DataType::Int32 => self.fill_primitives(array.as_primitive::<Int32Type>(), lines, f64::from, float),
            #[allow(clippy::cast_precision_loss, reason = "the network's own floats are coarser still")]
            DataType::Int64 => self.fill_primitives(array.as_primitive::<Int64Type>(), lines, |x| x as f64, float),
            DataType::Float32 => self.fill_primitives(array.as_primitive::<Float32Type>(), lines, f64::from, float),
            DataType::Float64 => self.fill_primitives(array.as_primitive::<Float64Type>(), lines, |x| x, float),
            other => Err(self.feature.unreadable(other)),
        }
    }

    fn fill_primitives<'a, T: ArrowPrimitiveType>(
        &self,
        array: &PrimitiveArray<T>,
        lines: impl Iterator<Item = (usize, &'a mut [f32])>,
        number: impl Fn(T::Native) -> f64,
        float: impl Fn(f64) -> Option<f32>,
    ) -> Result<(), ModelError> {
        self.each(array, lines, |row, slots| put(slots, float(number(array.value(row)))))
    }

    fn fill_words<'a>(
        &self,
        array: &ArrayRef,
        lines: impl Iterator<Item = (usize, &'a mut [f32])>,
    ) -> Result<(), ModelError> {
        match array.data_type() {
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                self.each(array, lines, |row, slots| self.put_word(slots, array.value(row)))
            }
            DataType::Boolean => {
                let array = array.as_boolean();
                self.each(array, lines, |row, slots| {
                    self.put_word(slots, if array.value(row) { "true" } else { "false" })
                })
            }
            other => Err(self.feature.unreadable(other)),
        }
    }

    fn fill_text<'a>(
        &self,
        text: &Text,
        array: &ArrayRef,
        lines: impl Iterator<Item = (usize, &'a mut [f32])>,
    ) -> Result<(), ModelError> {
        let DataType::Utf8 = array.data_type() else { return Err(self.feature.unreadable(array.data_type())) };
        let array = array.as_string::<i32>();
        let mut plain = String::new();
        self.each(array, lines, |row, slots| {
            text.fill(array.value(row), &mut plain, &mut slots[..text.buckets]);
            true
        })
    }

    fn put_word(&self, slots: &mut [f32], word: &str) -> bool {
        let unknown = slots.len() - 1;
        let slot = self.words.get(word).copied().unwrap_or(unknown);
        put(&mut slots[slot..], Some(1.0))
    }

    /// Calls `write` for each row that has a value, and marks those that have none. `write` is false for a value that
    /// is not a finite number.
    fn each<'a>(
        &self,
        array: &dyn Array,
        lines: impl Iterator<Item = (usize, &'a mut [f32])>,
        mut write: impl FnMut(usize, &mut [f32]) -> bool,
    ) -> Result<(), ModelError> {
        let nulls = array.nulls();
        for (row, line) in lines {
            let slots = &mut line[self.slots.clone()];
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                if !self.feature.missing {
                    return Err(self.value_error(row, "is missing, and the training data had no missing value there"));
                }
                // A flag or the unknown slot: either way the last.
                put(&mut slots[self.slots.len() - 1..], Some(1.0));
            } else if !write(row, slots) {
                return Err(self.value_error(row, "is not a finite number"));
            }
        }
        Ok(())
    }

    fn value_error(&self, row: usize, fault: &'static str) -> ModelError {
        ModelError::Value { row, feature: self.feature.name.clone(), fault }
    }
}

/// Writes the first slot; false if there is no value to write.
fn put(slots: &mut [f32], value: Option<f32>) -> bool {
    if let Some(value) = value {
        slots[0] = value;
    }
    value.is_some()
}

#[allow(clippy::cast_possible_truncation, reason = "clamped to what an f32 holds")]
fn standardised(x: f64, mean: f64, std: f64) -> Option<f32> {
    x.is_finite().then(|| ((x - mean) / std).clamp(-DEVIATIONS_MAX, DEVIATIONS_MAX) as f32)
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
        text.fill("good", &mut String::new(), &mut good);
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
    fn the_largest_numbers_stay_finite() {
        let floats = encode(
            &[numeric_feature("x", false)],
            vec![("x", Arc::new(Float64Array::from(vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE])))],
        );
        assert_eq!(floats.unwrap(), [1e6, -1e6, -5.0]);
    }
}
