//! How a row becomes floats: what the manifest says of each feature, and nothing else.
//!
//! Training and scoring both go through [`Encoder`], so they can't disagree.

use std::{collections::HashMap, ops::Range};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema},
};
use serde::{Deserialize, Serialize};

use super::error::ModelError;
use crate::record::{Field, FieldKind};

/// How far from the mean a number may lie, in standard deviations, before it is taken as lying just so far. With it, and
/// with the weights' bound, no finite number can make the network overflow.
pub(super) const DEVIATIONS_MAX: f64 = 1e6;

/// One thing that the model looks at: a field of the record, and one or more floats of the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The field's name.
    pub name: String,
    /// The training data had missing values here. Then a record may lack the field, and (unless the feature is
    /// categorical, where the unknown slot tells) a float of its own says so.
    pub missing: bool,
    pub kind: FeatureKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum FeatureKind {
    /// `(x - mean) / std`; a missing value takes the mean.
    Numeric { mean: f64, std: f64 },
    /// 0 or 1; a missing value takes 0.
    Boolean,
    /// A float for each word, and one for a word that training did not see.
    Categorical { vocabulary: Vec<String> },
}

impl Feature {
    /// How many floats of the network's input it fills.
    pub(super) fn width(&self) -> usize {
        match &self.kind {
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => 1 + usize::from(self.missing),
            FeatureKind::Categorical { vocabulary } => vocabulary.len() + 1,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let fault = match &self.kind {
            FeatureKind::Numeric { mean, .. } if !mean.is_finite() => format!("its mean is {mean}"),
            FeatureKind::Numeric { std, .. } if !(std.is_finite() && *std > 0.0) => format!("its std is {std}"),
            FeatureKind::Categorical { vocabulary } if vocabulary.is_empty() => "its vocabulary is empty".to_owned(),
            FeatureKind::Categorical { vocabulary } => match super::manifest::repeated(vocabulary.iter()) {
                Some(word) => format!("its vocabulary has `{word}` twice"),
                None => return Ok(()),
            },
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => return Ok(()),
        };
        Err(format!("feature `{}`: {fault}", self.name))
    }

    /// What keeps the feature from being read from these fields.
    pub(super) fn fault_among(&self, fields: &[Field]) -> Option<String> {
        let Some(field) = fields.iter().find(|field| field.name == self.name) else {
            let hint = did_you_mean(&self.name, fields.iter().map(|field| field.name.as_str()));
            return Some(format!("the model needs the field `{}`, which is not declared{hint}", self.name));
        };
        if self.reads(&field.kind.data_type()) {
            return None;
        }
        let (kind, wanted) = (self.kind.name(), self.kind.wanted());
        Some(format!("the field `{}` is {kind} to the model, so it must be {wanted}", self.name))
    }

    fn reads(&self, data_type: &DataType) -> bool {
        use DataType::{Boolean, Float32, Float64, Int32, Int64, Utf8};
        match self.kind {
            FeatureKind::Numeric { .. } => matches!(data_type, Int32 | Int64 | Float32 | Float64 | Boolean),
            FeatureKind::Boolean => matches!(data_type, Boolean),
            FeatureKind::Categorical { .. } => matches!(data_type, Utf8 | Boolean),
        }
    }
}

impl FeatureKind {
    /// For people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Numeric { .. } => "numeric",
            Self::Boolean => "boolean",
            Self::Categorical { .. } => "categorical",
        }
    }

    fn wanted(&self) -> &'static str {
        match self {
            Self::Numeric { .. } => "int32, int64, float32, float64 or bool",
            Self::Boolean => "bool",
            Self::Categorical { .. } => "string or bool",
        }
    }
}

/// `; did you mean …?` if one of the names is close, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> String {
    const LIKENESS_MIN: f64 = 0.8;
    let alike = |other: &&str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    others
        .map(|other| (alike(&other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map_or_else(String::new, |(_, other)| format!("; did you mean `{other}`?"))
}

/// The features of a model, bound to the columns of a schema.
#[derive(Debug)]
pub(super) struct Encoder {
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
    pub(super) fn bind(features: &[Feature], schema: &Schema) -> Result<Self, ModelError> {
        let mut bound = Vec::with_capacity(features.len());
        let mut width = 0;
        for feature in features {
            let slots = width..width + feature.width();
            width = slots.end;
            bound.push(Bound::new(feature, slots, schema)?);
        }
        Ok(Self { bound, width })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The floats of some rows of the batch, row after row.
    pub(super) fn encode(&self, batch: &RecordBatch, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
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
            FeatureKind::Numeric { .. } | FeatureKind::Boolean => HashMap::new(),
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
        write: impl Fn(usize, &mut [f32]) -> bool,
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

impl Feature {
    fn unreadable(&self, data_type: &DataType) -> ModelError {
        let (name, kind, wanted) = (&self.name, self.kind.name(), self.kind.wanted());
        ModelError::Schema(format!("the column `{name}` is {kind} to the model: {wanted} is wanted, not {data_type}"))
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

impl FieldKind {
    /// The type of the Arrow column that the model reads such a field from, if it reads it at all.
    fn data_type(self) -> DataType {
        match self {
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::String => DataType::Utf8,
            Self::Timestamp(_) | Self::Date => DataType::Null,
        }
    }
}

/// Learns each column's feature from the training rows. `missing` tells of the whole table, so that no held-out row has
/// a null that training did not see.
pub(super) fn fit(train: &RecordBatch, missing: &[bool]) -> Result<Vec<Feature>, String> {
    let columns = train.schema_ref().fields().iter().zip(train.columns());
    columns
        .zip(missing)
        .map(|((field, array), &missing)| {
            let kind = match array.data_type() {
                DataType::Boolean => FeatureKind::Boolean,
                DataType::Utf8 => FeatureKind::Categorical { vocabulary: vocabulary(array) },
                _ => numeric(array),
            };
            let feature = Feature { name: field.name().clone(), missing, kind };
            feature.check().map(|()| feature)
        })
        .collect()
}

fn vocabulary(array: &ArrayRef) -> Vec<String> {
    let words: std::collections::BTreeSet<&str> = array.as_string::<i32>().iter().flatten().collect();
    words.into_iter().map(String::from).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn numeric(array: &ArrayRef) -> FeatureKind {
    let values = || array.as_primitive::<Float64Type>().iter().flatten();
    let count = values().count().max(1) as f64;
    let mean = values().map(|x| x / count).sum::<f64>();
    let variance = values().map(|x| (x - mean) * (x - mean) / count).sum::<f64>();
    // All the training rows alike tells nothing of the scale.
    let std = if variance == 0.0 { 1.0 } else { variance.sqrt() };
    FeatureKind::Numeric { mean: to_digits(mean), std: to_digits(std) }
}

/// To twelve significant digits, so that what is read back from the manifest is to the last bit what was trained with:
/// `serde_json` is exact only for so few digits.
fn to_digits(x: f64) -> f64 {
    format!("{x:.11e}").parse().unwrap_or(x)
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

    #[test]
    fn fitting_looks_at_the_column_and_survives_json_to_the_last_bit() {
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(0.2), Some(0.4)])) as ArrayRef),
            ("c", Arc::new(StringArray::from(vec!["b", "a", "b", "a"]))),
            ("same", Arc::new(Float64Array::from(vec![7.0; 4]))),
        ]);
        let features = fit(&batch.unwrap(), &[true, false, false]).unwrap();
        assert_eq!(features[1].kind, FeatureKind::Categorical { vocabulary: vec!["a".to_owned(), "b".to_owned()] });
        assert_eq!(features[2].kind, FeatureKind::Numeric { mean: 7.0, std: 1.0 });
        let FeatureKind::Numeric { mean, std } = features[0].kind else { panic!("x is numeric") };
        assert!((mean - 0.7 / 3.0).abs() < 1e-11 && (std - 0.124_721_912_9).abs() < 1e-9);
        let json = serde_json::to_vec(&features).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Feature>>(&json).unwrap(), features);
    }

    #[test]
    fn a_field_that_does_not_fit_is_told_with_a_hint() {
        let field =
            |name: &str, kind| Field { name: name.to_owned(), kind, nullable: false, path: vec![name.to_owned()] };
        let feature = numeric_feature("petal_length", false);
        assert_eq!(feature.fault_among(&[field("petal_length", FieldKind::Float32)]), None);
        let missing = feature.fault_among(&[field("petal_lenght", FieldKind::Float64)]).unwrap();
        assert!(missing.ends_with("not declared; did you mean `petal_lenght`?"), "{missing}");
        let wrong = feature.fault_among(&[field("petal_length", FieldKind::String)]).unwrap();
        assert!(wrong.contains("`petal_length` is numeric to the model, so it must be int32"), "{wrong}");
        let unlike = feature.fault_among(&[field("colour", FieldKind::String)]).unwrap();
        assert!(unlike.ends_with("which is not declared"), "{unlike}");
    }
}
