//! A table, split and packed: all that a network needs to be trained and judged.
//!
//! Owns the two passes over the table: one that learns what the features are from the training rows, one that packs every
//! row. Does not own what is learned from them.

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
};

use super::{
    labelled::Labelled,
    packed::Packed,
    split::{Purpose, Split},
};
use crate::model::{
    error::ModelError,
    features::{Encoder, Feature, Fitter, Numbers},
};

/// Test rows that are kept as they came.
const SAMPLE_ROWS_MAX: usize = 20_000;

#[derive(Debug)]
pub(super) struct Prepared {
    pub features: Vec<Feature>,
    /// Of each feature that is a number, on the training rows.
    pub numbers: Vec<Option<Numbers>>,
    /// Of each feature, on all rows.
    pub missing: Vec<u64>,
    pub train: Part,
    pub validation: Part,
    pub test: Part,
    pub sample: Sample,
}

/// The rows of one purpose.
#[derive(Debug)]
pub(super) struct Part {
    pub packed: Packed,
    /// For each row, the index of its class.
    pub labels: Vec<u8>,
}

/// Some of the test rows, evenly taken, as the columns of the table.
#[derive(Debug)]
pub(super) struct Sample {
    pub rows: RecordBatch,
    pub labels: Vec<u8>,
}

impl Prepared {
    pub(super) fn new(table: &Labelled, split: &Split, memory_bytes_max: u64) -> Result<Self, ModelError> {
        let (fitter, missing) = fit(table, split)?;
        let features = fitter.features().map_err(ModelError::Training)?;
        let encoder = Encoder::bind(&features, &table.schema())?;
        let mut packing = Packing::new(table, split, &encoder, memory_bytes_max);
        each_batch(table, split, |batch, purposes| packing.add(&batch, purposes))?;
        let (parts, sample) = packing.finish(table)?;
        let [train, validation, test] = parts;
        Ok(Self { numbers: fitter.numbers().collect(), features, missing, train, validation, test, sample })
    }
}

fn fit(table: &Labelled, split: &Split) -> Result<(Fitter, Vec<u64>), ModelError> {
    let mut fitter = Fitter::new(&table.features);
    let mut missing = vec![0; table.features.len()];
    each_batch(table, split, |batch, purposes| {
        for (count, column) in missing.iter_mut().zip(batch.columns()) {
            *count += column.null_count() as u64;
        }
        fitter.add(&of_purpose(&batch, purposes, Purpose::Train)?);
        Ok(())
    })?;
    Ok((fitter, missing))
}

/// Goes through the table, each batch with the purposes of its rows.
fn each_batch(
    table: &Labelled,
    split: &Split,
    mut take: impl FnMut(RecordBatch, &[Purpose]) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let mut start = 0;
    for batch in table.batches()? {
        let batch = batch?;
        let end = start + batch.num_rows();
        let changed = || ModelError::Training("the table has other rows than a moment ago; train again".to_owned());
        let purposes = split.purposes().get(start..end).ok_or_else(changed)?;
        take(batch, purposes)?;
        start = end;
    }
    Ok(())
}

fn of_purpose(batch: &RecordBatch, purposes: &[Purpose], purpose: Purpose) -> Result<RecordBatch, ModelError> {
    let wanted: BooleanArray = purposes.iter().map(|has| Some(*has == purpose)).collect();
    Ok(filter_record_batch(batch, &wanted)?)
}

/// The second pass.
struct Packing<'a> {
    encoder: &'a Encoder,
    parts: [Part; 3],
    /// Bytes that may still be held in memory.
    room: u64,
    /// Every so many test rows, one is kept for the sample.
    stride: usize,
    tested: usize,
    sample: Vec<RecordBatch>,
    sampled: Vec<usize>,
}

impl<'a> Packing<'a> {
    fn new(table: &Labelled, split: &Split, encoder: &'a Encoder, memory_bytes_max: u64) -> Self {
        let part = |purpose| Part { packed: Packed::new(encoder), labels: split.labels(&table.labels, purpose) };
        let parts = Purpose::ALL.map(part);
        let stride = parts[2].labels.len().div_ceil(SAMPLE_ROWS_MAX).max(1);
        Self { encoder, parts, room: memory_bytes_max, stride, tested: 0, sample: vec![], sampled: vec![] }
    }

    fn add(&mut self, batch: &RecordBatch, purposes: &[Purpose]) -> Result<(), ModelError> {
        for (purpose, part) in Purpose::ALL.into_iter().zip(&mut self.parts) {
            let rows = of_purpose(batch, purposes, purpose)?;
            part.packed.extend(&self.encoder.encode(&rows, 0..rows.num_rows())?, &mut self.room)?;
            if purpose == Purpose::Test {
                let places = self.tested..self.tested + rows.num_rows();
                let is_kept = |place: &usize| place.is_multiple_of(self.stride);
                let mask: BooleanArray = places.clone().map(|place| Some(is_kept(&place))).collect();
                self.sample.push(filter_record_batch(&rows, &mask)?);
                self.sampled.extend(places.filter(is_kept));
                self.tested += rows.num_rows();
            }
        }
        Ok(())
    }

    fn finish(mut self, table: &Labelled) -> Result<([Part; 3], Sample), ModelError> {
        for part in &mut self.parts {
            part.packed.finish(&mut self.room)?;
        }
        let rows = concat_batches(&table.schema(), &self.sample)?;
        let labels = self.sampled.iter().filter_map(|row| self.parts[2].labels.get(*row).copied()).collect();
        Ok((self.parts, Sample { rows, labels }))
    }
}
