//! Two models on the same labelled rows: how often each is right, and whether the difference is more than luck.
//!
//! Owns the counting, and bringing a table's columns to what each model reads. Does not own reading the table.

use std::{path::PathBuf, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use serde::Serialize;

use super::{
    FeatureKind, Model,
    error::ModelError,
    evaluation::{McNemar, mcnemar},
};
use crate::table::{self, Table};

/// What a table says of two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub label: String,
    pub rows: u64,
    /// Rows that each got right.
    pub right: [u64; 2],
    /// Rows for which both said the same.
    pub agree: u64,
    pub mcnemar: McNemar,
}

/// Counts of rows, as they come.
#[derive(Default)]
struct Tally {
    rows: u64,
    both: u64,
    first_only: u64,
    second_only: u64,
    agree: u64,
}

/// Scores every row of a table with both. A label that a model has no class for is one that it gets wrong.
pub fn compare(models: [&Model; 2], table: &Table, label: &str) -> Result<Comparison, ModelError> {
    let names = models.iter().flat_map(|model| model.manifest().features.iter().map(|feature| feature.name.as_str()));
    let mut wanted = vec![index(table, label, "the label is to be")?];
    for name in names {
        let index = index(table, name, "a model needs")?;
        if !wanted.contains(&index) {
            wanted.push(index);
        }
    }
    let mut tally = Tally::default();
    let mut batches = table.batches(&wanted);
    while let Some(batch) = batches.next() {
        let batch = batch?;
        let told = |row: usize, fault: String| data(table, format!("{}: {fault}", batches.name_of_row(row)));
        let truth = labels(&batch, label, told)?;
        let first = predictions(models[0], &batch, told)?;
        let second = predictions(models[1], &batch, told)?;
        for ((truth, first), second) in truth.iter().flatten().zip(first).zip(second) {
            tally.add(truth, first, second);
        }
    }
    if tally.rows == 0 {
        return Err(data(table, "it has no rows to compare on".to_owned()));
    }
    Ok(tally.finish(label))
}

impl Tally {
    fn add(&mut self, truth: &str, first: &str, second: &str) {
        self.rows += 1;
        self.agree += u64::from(first == second);
        match (first == truth, second == truth) {
            (true, true) => self.both += 1,
            (true, false) => self.first_only += 1,
            (false, true) => self.second_only += 1,
            (false, false) => {}
        }
    }

    fn finish(self, label: &str) -> Comparison {
        Comparison {
            label: label.to_owned(),
            rows: self.rows,
            right: [self.both + self.first_only, self.both + self.second_only],
            agree: self.agree,
            mcnemar: mcnemar(self.first_only, self.second_only),
        }
    }
}

fn index(table: &Table, name: &str, why: &str) -> Result<usize, ModelError> {
    let found = table.columns().iter().position(|column| column.name == name);
    found.ok_or_else(|| data(table, format!("{why} the column `{name}`, which is not there")))
}

fn labels(
    batch: &RecordBatch,
    label: &str,
    told: impl Fn(usize, String) -> ModelError,
) -> Result<StringArray, ModelError> {
    let words = table::words(column(batch, label)?)?;
    match (0..words.len()).find(|&row| words.is_null(row) || words.value(row).is_empty()) {
        Some(row) => Err(told(row, format!("the label `{label}` is missing"))),
        None => Ok(words),
    }
}

/// The name of the class that the model sees in each row.
fn predictions<'a>(
    model: &'a Model,
    batch: &RecordBatch,
    told: impl Fn(usize, String) -> ModelError,
) -> Result<Vec<&'a str>, ModelError> {
    let rows = features(model, batch)?;
    let scores = model.scorer(rows.schema_ref())?.score(&rows).map_err(|error| match error {
        ModelError::Value { row, feature, fault } => told(row, format!("`{feature}` {fault}, and the model needs it")),
        error => error,
    })?;
    let class = |class: &u8| model.classes().get(usize::from(*class)).map_or("", String::as_str);
    Ok(scores.class.iter().map(class).collect())
}

/// The columns that the model reads, of the types that it was trained on.
fn features(model: &Model, batch: &RecordBatch) -> Result<RecordBatch, ModelError> {
    let features = &model.manifest().features;
    let typed = |feature: &super::Feature| -> Result<ArrayRef, ModelError> {
        let column = column(batch, &feature.name)?;
        Ok(match feature.kind {
            FeatureKind::Numeric { .. } => Arc::new(table::numbers(column)?),
            FeatureKind::Boolean => Arc::new(table::booleans(column)?),
            FeatureKind::Categorical { .. } | FeatureKind::Text(_) => Arc::new(table::words(column)?),
        })
    };
    let columns = features.iter().map(typed).collect::<Result<Vec<_>, _>>()?;
    let fields =
        features.iter().zip(&columns).map(|(of, column)| Field::new(&of.name, column.data_type().clone(), true));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ModelError> {
    batch.column_by_name(name).ok_or_else(|| ModelError::Schema(format!("the column `{name}` is not there")))
}

fn data(table: &Table, fault: String) -> ModelError {
    ModelError::Data { path: PathBuf::from(table.place()), fault }
}
