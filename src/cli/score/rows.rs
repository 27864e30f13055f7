//! Tables, by the same reading of their cells as in training.

use std::sync::Arc;

use anyhow::Context;
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Float64Type, Schema},
};

use super::{Added, Tally, Writer};
use crate::{
    model::Model,
    record::{self, FieldKind},
    table::{self, Format, Holds, Table},
};

/// A longer cell is cut where it is told what is wrong with it.
const SHOWN_CHARS_MAX: usize = 60;

/// The columns that are read, and what the model makes of them.
struct Plan {
    /// Indices into the table's columns.
    read: Vec<usize>,
    names: Vec<String>,
    features: Vec<Feature>,
}

/// A feature and where its column stands among those that are read.
struct Feature {
    field: record::Field,
    column: usize,
}

/// Scores a table's rows; they keep their columns. As CSV, a cell stays the text that it was.
pub(super) fn score(
    table: &Table,
    model: &Model,
    format: Format,
    out: &mut Writer,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let added = Added::new(model.classes());
    let plan = Plan::new(table, model, &added);
    let scorer = model.scorer(&plan.schema_of_features())?;
    let mut begun = false;
    let mut batches = table.batches(&plan.read);
    while let Some(batch) = batches.next() {
        let batch = batch?;
        let typed = plan.typed(&batch).context("read the features")?;
        let mut keep = vec![true; batch.num_rows()];
        for (row, why) in plan.faults(&batch, &typed) {
            tally.bad(&format!("{} of {}", batches.name_of_row(row), table.place()), &why)?;
            keep.get_mut(row).into_iter().for_each(|keep| *keep = false);
        }
        let keep = BooleanArray::from(keep);
        let (batch, typed) = (filter_record_batch(&batch, &keep)?, filter_record_batch(&typed, &keep)?);
        let answers = scorer.score(&typed)?;
        tally.scored += typed.num_rows() as u64;
        let rows = if format == Format::Csv { batch } else { plan.with_features(&batch, &typed)? };
        out.write(&added.to_rows(&rows, answers)?)?;
        begun = true;
    }
    if !begun {
        out.write(&RecordBatch::new_empty(added.schema(&plan.schema_of_rows(table))))?;
    }
    Ok(())
}

impl Plan {
    /// Reads every column that can be read; those that scoring adds anew are left behind.
    fn new(table: &Table, model: &Model, added: &Added) -> Self {
        let readable = |column: &table::Column| !matches!(column.holds, Holds::Other(_)) && !added.has(&column.name);
        let columns = table.columns().iter().enumerate().filter(|(_, column)| readable(column));
        let (read, names): (Vec<usize>, Vec<String>) =
            columns.map(|(index, column)| (index, column.name.clone())).unzip();
        let place = |name: &str| names.iter().position(|column| column == name);
        let features = model.fields().into_iter().filter_map(|field| {
            let column = place(&field.name)?;
            Some(Feature { field, column })
        });
        let features = features.collect();
        Self { read, names, features }
    }

    /// A feature without a column is missing here, and the model says so.
    fn schema_of_features(&self) -> Schema {
        Schema::new(self.features.iter().map(Feature::as_column).collect::<Vec<_>>())
    }

    /// What the features' cells mean.
    fn typed(&self, batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
        let columns = self.features.iter().map(|feature| {
            let cells = batch.columns().get(feature.column).context("a column is missing")?;
            feature.read(cells)
        });
        let columns = columns.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::new(self.schema_of_features()), columns)?)
    }

    /// The rows that can't be scored, in their order, and for each the first reason.
    fn faults(&self, batch: &RecordBatch, typed: &RecordBatch) -> Vec<(usize, String)> {
        let columns = || self.features.iter().zip(typed.columns());
        let fault = |row| {
            columns().find_map(|(feature, array)| {
                let fault = feature.fault(batch.columns().get(feature.column)?, array, row)?;
                Some((row, format!("`{}` {fault}", feature.field.name)))
            })
        };
        (0..batch.num_rows()).filter_map(fault).collect()
    }

    /// The rows, with the features as the model sees them.
    fn with_features(&self, batch: &RecordBatch, typed: &RecordBatch) -> anyhow::Result<RecordBatch> {
        let (mut fields, mut columns) = (batch.schema().fields().to_vec(), batch.columns().to_vec());
        for (feature, array) in self.features.iter().zip(typed.columns()) {
            if let (Some(field), Some(column)) = (fields.get_mut(feature.column), columns.get_mut(feature.column)) {
                *field = Arc::new(feature.as_column());
                *column = Arc::clone(array);
            }
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// The columns of a table that has no rows to tell them.
    fn schema_of_rows(&self, table: &Table) -> Schema {
        let holds = |index: &usize| match table.columns().get(*index).map(|column| &column.holds) {
            Some(Holds::Typed(data_type)) => data_type.clone(),
            _ => DataType::Utf8,
        };
        let field = |(name, index): (&String, &usize)| Field::new(name, holds(index), true);
        Schema::new(self.names.iter().zip(&self.read).map(field).collect::<Vec<_>>())
    }
}

impl Feature {
    fn as_column(&self) -> Field {
        let data_type = match self.field.kind {
            FieldKind::Bool => DataType::Boolean,
            FieldKind::String => DataType::Utf8,
            _ => DataType::Float64,
        };
        Field::new(&self.field.name, data_type, true)
    }

    fn read(&self, cells: &ArrayRef) -> anyhow::Result<ArrayRef> {
        Ok(match self.field.kind {
            FieldKind::Bool => Arc::new(table::booleans(cells)?),
            FieldKind::String => Arc::new(table::words(cells)?),
            _ => Arc::new(table::numbers(cells)?),
        })
    }

    /// Why a row can't be scored; `array` is what its `cells` mean.
    fn fault(&self, cells: &ArrayRef, array: &ArrayRef, row: usize) -> Option<String> {
        if array.is_valid(row) {
            let number = array.as_primitive_opt::<Float64Type>().map(|numbers| numbers.value(row));
            return number
                .filter(|number| !number.is_finite())
                .map(|number| format!("is {number}, and no finite number"));
        }
        let text = cells.as_string_opt::<i32>().filter(|text| text.is_valid(row)).map(|text| text.value(row));
        match text.filter(|text| !table::is_missing(text)) {
            Some(text) => {
                let wanted = if self.field.kind == FieldKind::Bool { "true or false" } else { "a number" };
                Some(format!("is `{}`, and not {wanted}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>()))
            }
            None => {
                (!self.field.nullable).then(|| "is missing, and the model was trained without missing ones".to_owned())
            }
        }
    }
}
