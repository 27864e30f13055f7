//! The golden sample: rows, and the exact answers that the network gave when it was made. It shows whether the same
//! network still gives the same answers, here and now.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Schema},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Feature, FeatureKind, Model, error::ModelError};

/// Rows in a golden sample.
pub(super) const GOLDEN_ROWS_MAX: usize = 32;

/// A larger file is not ours.
pub(super) const GOLDEN_BYTES_MAX: u64 = 64 << 20;

/// How far an answer may be off on another processor or in another build, which may add up in another order.
pub(super) const DRIFT_MAX: f32 = 1e-5;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    pub rows: Vec<GoldenRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    /// By the feature's name; what is missing is null.
    pub values: BTreeMap<String, Value>,
    /// In the order of the classes, exact.
    pub probabilities: Vec<f32>,
}

impl Golden {
    /// Scores the first of these rows, and keeps them with the answers.
    pub(super) fn of(model: &Model, rows: &RecordBatch) -> Result<Self, ModelError> {
        let rows = rows.slice(0, rows.num_rows().min(GOLDEN_ROWS_MAX));
        let features = &model.manifest().features;
        let columns = features.iter().map(|feature| column(feature, &rows)).collect::<Result<Vec<_>, _>>()?;
        let values = |row: usize| {
            features.iter().zip(&columns).map(|(feature, column)| (feature.name.clone(), value(column, row))).collect()
        };
        let unanswered: Vec<_> =
            (0..rows.num_rows()).map(|row| GoldenRow { values: values(row), probabilities: vec![] }).collect();
        let answers = Self { rows: unanswered }.answers(model)?;
        let rows = (0..rows.num_rows()).zip(answers);
        Ok(Self { rows: rows.map(|(row, probabilities)| GoldenRow { values: values(row), probabilities }).collect() })
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let golden: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if golden.rows.is_empty() {
            return Err("it has no rows".to_owned());
        }
        if golden.rows.len() > GOLDEN_ROWS_MAX {
            return Err(format!("it has {} rows, and the limit is {GOLDEN_ROWS_MAX}", golden.rows.len()));
        }
        Ok(golden)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // A row a line, so that the file can be read.
        let rows: Vec<_> = self.rows.iter().filter_map(|row| serde_json::to_string(row).ok()).collect();
        format!("{{\"rows\": [\n{}\n]}}\n", rows.join(",\n")).into_bytes()
    }

    /// The largest difference between the answers kept and those that the model gives now.
    pub(super) fn drift(&self, model: &Model) -> Result<f32, ModelError> {
        let answers = self.answers(model)?;
        let mut drift = 0.0_f32;
        for (row, now) in self.rows.iter().zip(&answers) {
            if row.probabilities.len() != now.len() {
                let (kept, classes) = (row.probabilities.len(), now.len());
                return Err(ModelError::Schema(format!("a row has {kept} probabilities for {classes} classes")));
            }
            let pairs = row.probabilities.iter().zip(now);
            drift = pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).map(|(a, b)| (a - b).abs()).fold(drift, f32::max);
        }
        Ok(drift)
    }

    fn answers(&self, model: &Model) -> Result<Vec<Vec<f32>>, ModelError> {
        let features = &model.manifest().features;
        let columns = features.iter().map(|feature| self.column(feature)).collect::<Result<Vec<_>, _>>()?;
        let fields =
            features.iter().zip(&columns).map(|(f, column)| Field::new(&f.name, column.data_type().clone(), true));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?;
        let scores = model.scorer(batch.schema_ref())?.score(&batch)?;
        let row = |row: usize| scores.probabilities.iter().filter_map(|class| class.get(row).copied()).collect();
        Ok((0..batch.num_rows()).map(row).collect())
    }

    /// A feature's values as the column that it is read from.
    fn column(&self, feature: &Feature) -> Result<ArrayRef, ModelError> {
        let mut values = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let value = row.values.get(&feature.name).unwrap_or(&Value::Null);
            let fits = match data_type(feature) {
                _ if value.is_null() => true,
                DataType::Float64 => value.is_number(),
                DataType::Boolean => value.is_boolean(),
                _ => value.is_string(),
            };
            if !fits {
                return Err(ModelError::Schema(format!(
                    "`{}` is {value}, which does not fit the feature",
                    feature.name
                )));
            }
            values.push(value);
        }
        Ok(match data_type(feature) {
            DataType::Float64 => Arc::new(values.iter().map(|value| value.as_f64()).collect::<Float64Array>()),
            DataType::Boolean => Arc::new(values.iter().map(|value| value.as_bool()).collect::<BooleanArray>()),
            _ => Arc::new(values.iter().map(|value| value.as_str()).collect::<StringArray>()),
        })
    }
}

fn data_type(feature: &Feature) -> DataType {
    match feature.kind {
        FeatureKind::Numeric { .. } => DataType::Float64,
        FeatureKind::Boolean => DataType::Boolean,
        FeatureKind::Categorical { .. } | FeatureKind::Text(_) => DataType::Utf8,
    }
}

fn column(feature: &Feature, rows: &RecordBatch) -> Result<ArrayRef, ModelError> {
    let gone = || ModelError::Schema(format!("the sample rows lack the column `{}`", feature.name));
    Ok(cast(rows.column_by_name(&feature.name).ok_or_else(gone)?, &data_type(feature))?)
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        _ => column.as_string::<i32>().value(row).into(),
    }
}
