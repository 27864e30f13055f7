//! A table to learn from: which column is the label, what kind each other is, which are left out and why.
//!
//! Owns the guessing, what a person may choose instead, and the columns as the features want them. Does not own reading
//! the files, nor what the network makes of a column.

mod choice;
mod classes;

use std::{path::PathBuf, sync::Arc, thread};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

pub use self::choice::Columns;
use self::{choice::Candidates, classes::Classes};
use crate::{
    model::error::ModelError,
    table::{self, ColumnSurvey, Holds, Survey, Table},
};

/// The columns of a smaller table are held in memory; those of a larger one are read again each time.
const HELD_BYTES_MAX: u64 = 256 << 20;

/// Columns left out that one error tells of.
const COLUMNS_SHOWN_MAX: usize = 5;

/// A table with a label, looked through once from end to end.
#[derive(Debug)]
pub struct Labelled {
    pub label: String,
    pub classes: Vec<String>,
    /// For each row, the index of its class.
    pub labels: Vec<u8>,
    /// Every column of the table but the label, used or not, in its order.
    pub columns: Vec<Column>,
    /// The columns to learn from: name, kind, and whether some row has no value.
    pub features: Vec<(String, ColumnKind, bool)>,
    /// SHA-256 of the files, in hex.
    pub digest: String,
    table: Table,
    /// Where the features stand in the table.
    wanted: Vec<usize>,
    held: Option<Vec<RecordBatch>>,
}

/// What became of a column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// What it is; for a column left out, why.
    pub told: String,
    pub used: bool,
}

/// What a column is to the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Numeric,
    Boolean,
    Categorical,
    Text,
}

impl ColumnKind {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Boolean => "boolean",
            Self::Categorical => "categorical",
            Self::Text => "text",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Numeric => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Categorical | Self::Text => DataType::Utf8,
        }
    }
}

/// What one pass over the table found out.
struct Pass {
    survey: Survey,
    classes: Vec<String>,
    labels: Vec<u8>,
}

impl Labelled {
    /// Opens files, folders and URLs as one table, and looks through it.
    pub fn open(inputs: &[String], columns: &Columns) -> Result<Self, ModelError> {
        let table = Table::open(inputs)?;
        let candidates = columns.candidates(table.columns()).map_err(ModelError::Choice)?;
        let (pass, digest) = thread::scope(|scope| {
            let digest = scope.spawn(|| table.digest());
            let pass = pass(&table, &candidates);
            (pass, digest.join())
        });
        let (pass, digest) = (pass?, digest.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        let rows = pass.survey.rows();
        let bytes: u64 = pass.survey.columns().iter().map(|column| bytes_held(column, rows)).sum();
        let settled = columns.settle(table.columns(), candidates, &pass.survey).map_err(ModelError::Choice)?;
        if settled.features.is_empty() {
            return Err(data(&table, nothing_to_learn_from(&settled.columns)));
        }
        let mut labelled = Self {
            label: columns.label.clone(),
            classes: pass.classes,
            labels: pass.labels,
            columns: settled.columns,
            features: settled.features,
            digest,
            table,
            wanted: settled.wanted,
            held: None,
        };
        if bytes <= HELD_BYTES_MAX {
            let held = labelled.batches()?.collect::<Result<_, _>>()?;
            labelled.held = Some(held);
        }
        Ok(labelled)
    }

    /// The features' columns, typed `Float64`, `Boolean` or `Utf8`, a few thousand rows at a time, in the order of the
    /// rows. May be called any number of times.
    pub fn batches(&self) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, ModelError>> + Send + '_>, ModelError> {
        if let Some(held) = &self.held {
            return Ok(Box::new(held.iter().cloned().map(Ok)));
        }
        let schema = self.schema();
        let typed = move |batch: RecordBatch| -> Result<RecordBatch, ModelError> {
            let columns = batch.columns().iter().zip(&self.features);
            let arrays = columns.map(|(array, (_, kind, _))| typed(array, *kind)).collect::<Result<_, _>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&schema), arrays)?)
        };
        Ok(Box::new(self.table.batches(&self.wanted).map(move |batch| typed(batch?))))
    }

    /// Of the batches.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let field = |(name, kind, _): &(String, ColumnKind, bool)| Field::new(name, kind.data_type(), true);
        Arc::new(Schema::new(self.features.iter().map(field).collect::<Vec<_>>()))
    }
}

fn typed(array: &ArrayRef, kind: ColumnKind) -> Result<ArrayRef, ModelError> {
    Ok(match kind {
        ColumnKind::Numeric => Arc::new(table::numbers(array)?),
        ColumnKind::Boolean => Arc::new(table::booleans(array)?),
        ColumnKind::Categorical | ColumnKind::Text => Arc::new(table::words(array)?),
    })
}

/// Looks through the whole table once.
fn pass(table: &Table, candidates: &Candidates) -> Result<Pass, ModelError> {
    let holds_words = |index: &usize| {
        let is_text = table.columns().get(*index).is_some_and(|column| column.holds == Holds::Typed(DataType::Utf8));
        is_text || candidates.as_words.contains(index)
    };
    let mut survey = Survey::new(candidates.surveyed.iter().map(holds_words));
    let mut classes = Classes::default();
    let wanted: Vec<usize> = candidates.surveyed.iter().copied().chain([candidates.label]).collect();
    let mut batches = table.batches(&wanted);
    while let Some(batch) = batches.next() {
        let batch = batch?;
        survey.add(&batch, |row| batches.name_of_row(row));
        let label = batch.columns().last().ok_or_else(|| data(table, "the label column is gone".to_owned()))?;
        classes
            .add(label, |row| batches.name_of_row(row))
            .map_err(|fault| fault.about(table, &candidates.label_name))?;
    }
    if survey.rows() == 0 {
        return Err(data(table, "it has a header, and no rows".to_owned()));
    }
    let (classes, labels) = classes.finish().map_err(|fault| fault.about(table, &candidates.label_name))?;
    Ok(Pass { survey, classes, labels })
}

/// What a column takes in memory, about.
fn bytes_held(column: &ColumnSurvey, rows: u64) -> u64 {
    8 * rows + column.text_bytes()
}

fn data(table: &Table, fault: String) -> ModelError {
    ModelError::Data { path: PathBuf::from(table.place()), fault }
}

fn nothing_to_learn_from(columns: &[Column]) -> String {
    let told = |column: &Column| format!("`{}` is {}", column.name, column.told);
    let shown: Vec<String> = columns.iter().take(COLUMNS_SHOWN_MAX).map(told).collect();
    let rest = columns.len() - shown.len();
    let rest = if rest == 0 { String::new() } else { format!("; and {rest} more") };
    if shown.is_empty() {
        return "it has no column but the label".to_owned();
    }
    format!("it has no column to learn from: {}{rest}", shown.join("; "))
}

#[cfg(test)]
mod tests;
