//! A column of numbers that can't be null: floats as they are, such as the model's probabilities, and integers by their
//! differences, such as offsets and times.
//!
//! Owns: a column's values, and how numbers stand in Parquet. Does not own: the pages ([`super::pages`]).
//!
//! parquet's own writer takes such a column value by value, and compresses it whether or not that makes it shorter.

use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray},
    datatypes::{
        DataType, Field, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
};
use parquet::{
    basic::{Compression, Encoding},
    errors::{ParquetError, Result},
    file::statistics::Statistics,
    schema::types::ColumnDescPtr,
};

use super::pages::{Chunk, DataPage, PAGE_ROWS, Pages, varint};

/// Differences stand in blocks of so many, each with its own least one.
const BLOCK: usize = 256;
/// …and in parts of so many, each with a width of its own.
const PART: usize = 64;

/// The rows of a chunk so far.
#[derive(Debug)]
pub(super) enum Numbers {
    Single(Stored<f32>),
    Double(Stored<f64>),
    Whole(Stored<i64>),
}

#[derive(Debug)]
pub(super) struct Stored<N> {
    column: ColumnDescPtr,
    compression: Compression,
    /// Those that are whole.
    pages: Option<Pages>,
    rows: usize,
    extent: Option<[N; 2]>,
    /// Of the page that grows.
    values: Vec<N>,
}

impl Numbers {
    /// Whether a column is written so.
    pub(super) fn takes(field: &Field) -> bool {
        let kind = matches!(
            field.data_type(),
            DataType::Float32 | DataType::Float64 | DataType::Int64 | DataType::Timestamp(..)
        );
        kind && !field.is_nullable()
    }

    pub(super) fn new(field: &Field, column: &ColumnDescPtr, compression: Compression) -> Option<Self> {
        if !Self::takes(field) {
            return None;
        }
        Some(match field.data_type() {
            DataType::Float32 => Self::Single(Stored::new(column, compression)),
            DataType::Float64 => Self::Double(Stored::new(column, compression)),
            _ => Self::Whole(Stored::new(column, compression)),
        })
    }

    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Single(column) => column.memory(),
            Self::Double(column) => column.memory(),
            Self::Whole(column) => column.memory(),
        }
    }

    pub(super) fn write(&mut self, rows: &dyn Array) -> Result<()> {
        match self {
            Self::Single(column) => column.write(values::<Float32Type>(rows)?),
            Self::Double(column) => column.write(values::<Float64Type>(rows)?),
            Self::Whole(column) => column.write(match rows.data_type() {
                DataType::Timestamp(TimeUnit::Millisecond, _) => values::<TimestampMillisecondType>(rows)?,
                DataType::Timestamp(TimeUnit::Microsecond, _) => values::<TimestampMicrosecondType>(rows)?,
                DataType::Timestamp(TimeUnit::Nanosecond, _) => values::<TimestampNanosecondType>(rows)?,
                DataType::Timestamp(TimeUnit::Second, _) => values::<TimestampSecondType>(rows)?,
                _ => values::<Int64Type>(rows)?,
            }),
        }
    }

    pub(super) fn close(self) -> Result<Chunk> {
        match self {
            Self::Single(column) => column.close(),
            Self::Double(column) => column.close(),
            Self::Whole(column) => column.close(),
        }
    }
}

fn values<T: ArrowPrimitiveType>(rows: &dyn Array) -> Result<&[T::Native]> {
    let misfit = || ParquetError::General("a column of numbers holds something else".into());
    rows.as_primitive_opt::<T>().filter(|rows| rows.null_count() == 0).map(|rows| &**rows.values()).ok_or_else(misfit)
}

impl<N: Number> Stored<N> {
    fn new(column: &ColumnDescPtr, compression: Compression) -> Self {
        Self { column: column.clone(), compression, pages: None, rows: 0, extent: None, values: vec![] }
    }

    fn memory(&self) -> usize {
        self.values.capacity() * size_of::<N>() + self.pages.as_ref().map_or(0, Pages::memory)
    }

    fn write(&mut self, mut rows: &[N]) -> Result<()> {
        while let Some((page, rest)) = rows.split_at_checked(PAGE_ROWS.saturating_sub(self.values.len())) {
            self.values.extend_from_slice(page);
            self.end_page()?;
            rows = rest;
        }
        self.values.extend_from_slice(rows);
        Ok(())
    }

    fn end_page(&mut self) -> Result<()> {
        let bytes = N::encoded(&self.values);
        let extent = N::extent(&self.values);
        let pages = match &mut self.pages {
            Some(pages) => pages,
            none => none.insert(Pages::new(self.column.physical_type(), self.compression, &bytes)?),
        };
        pages.data(
            DataPage {
                rows: self.values.len(),
                nulls: 0,
                encoding: N::ENCODING,
                extent: extent.map(|ends| ends.map(Number::bytes)),
            },
            bytes,
        )?;
        self.rows += self.values.len();
        self.extent = N::extent(&self.extent.into_iter().chain(extent).flatten().collect::<Vec<_>>());
        self.values.clear();
        Ok(())
    }

    fn close(mut self) -> Result<Chunk> {
        if !self.values.is_empty() || self.pages.is_none() {
            self.end_page()?;
        }
        let (smallest, largest) = self.extent.map(Into::into).unzip();
        let pages = self.pages.ok_or_else(|| ParquetError::General("a column without a page".into()))?;
        pages.close(self.column, self.rows, N::statistics(smallest, largest, 0))
    }
}

/// How numbers of a kind stand in Parquet.
pub(super) trait Number: Copy + PartialOrd {
    const ENCODING: Encoding;
    /// The largest there is, and the smallest.
    const LIMITS: [Self; 2];

    /// Of a page.
    fn encoded(values: &[Self]) -> Vec<u8>;

    fn bytes(self) -> Vec<u8>;

    fn statistics(smallest: Option<Self>, largest: Option<Self>, nulls: u64) -> Statistics;

    /// A reader may take one zero for the other.
    fn with_both_zeros(ends: [Self; 2]) -> [Self; 2];

    /// The smallest and the largest of those that are numbers, if there is one.
    fn extent(values: &[Self]) -> Option<[Self; 2]> {
        let wider = |[smallest, largest]: [Self; 2], value: Self| {
            [if value < smallest { value } else { smallest }, if value > largest { value } else { largest }]
        };
        let [smallest, largest] = values.iter().copied().fold(Self::LIMITS, wider);
        (smallest <= largest).then(|| Self::with_both_zeros([smallest, largest]))
    }
}

macro_rules! float {
    ($kind:ty, $statistics:path) => {
        impl Number for $kind {
            const ENCODING: Encoding = Encoding::PLAIN;
            const LIMITS: [Self; 2] = [Self::INFINITY, Self::NEG_INFINITY];

            fn encoded(values: &[Self]) -> Vec<u8> {
                let mut bytes = vec![0; size_of_val(values)];
                bytes.as_chunks_mut().0.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_le_bytes());
                bytes
            }

            fn bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn statistics(smallest: Option<Self>, largest: Option<Self>, nulls: u64) -> Statistics {
                $statistics(smallest, largest, None, Some(nulls), false)
            }

            fn with_both_zeros([smallest, largest]: [Self; 2]) -> [Self; 2] {
                [if smallest == 0.0 { -0.0 } else { smallest }, if largest == 0.0 { 0.0 } else { largest }]
            }
        }
    };
}

float!(f32, Statistics::float);
float!(f64, Statistics::double);

impl Number for i64 {
    const ENCODING: Encoding = Encoding::DELTA_BINARY_PACKED;
    const LIMITS: [Self; 2] = [Self::MAX, Self::MIN];

    fn encoded(values: &[Self]) -> Vec<u8> {
        differences(values)
    }

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn statistics(smallest: Option<Self>, largest: Option<Self>, nulls: u64) -> Statistics {
        Statistics::int64(smallest, largest, None, Some(nulls), false)
    }

    fn with_both_zeros(ends: [Self; 2]) -> [Self; 2] {
        ends
    }
}

/// Integers by their differences: blocks, each with its least difference and what every other is more, in as many bits as
/// the largest of a part of the block takes.
fn differences(values: &[i64]) -> Vec<u8> {
    let mut bytes = vec![];
    for number in [BLOCK as u64, (BLOCK / PART) as u64, values.len() as u64] {
        varint(&mut bytes, number);
    }
    let (mut before, rest) = values.split_first().map_or((0, values), |(first, rest)| (*first, rest));
    varint(&mut bytes, zigzag(before));
    let mut block = Vec::with_capacity(BLOCK);
    for values in rest.chunks(BLOCK) {
        block.clear();
        for value in values {
            block.push(value.wrapping_sub(before));
            before = *value;
        }
        pack(&mut bytes, &block);
    }
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "a word is cut into its halves")]
fn pack(bytes: &mut Vec<u8>, block: &[i64]) {
    let least = block.iter().copied().min().unwrap_or_default();
    varint(bytes, zigzag(least));
    let widths = bytes.len();
    bytes.resize(widths + BLOCK / PART, 0);
    for (part, differences) in block.chunks(PART).enumerate() {
        let more = |difference: &i64| difference.wrapping_sub(least).cast_unsigned();
        let bits = u64::BITS - differences.iter().map(more).fold(0, |all, more| all | more).leading_zeros();
        if bits == 0 {
            continue;
        }
        if let (Some(width), Ok(bits)) = (bytes.get_mut(widths + part), u8::try_from(bits)) {
            *width = bits;
        }
        let (mut word, mut filled) = (0_u128, 0);
        // What is missing of the last part is written too.
        for more in differences.iter().map(more).chain(std::iter::repeat(0)).take(PART) {
            word |= u128::from(more) << filled;
            filled += bits;
            if filled >= u64::BITS {
                bytes.extend((word as u64).to_le_bytes());
                word >>= u64::BITS;
                filled -= u64::BITS;
            }
        }
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray},
        datatypes::Schema,
    };
    use bytes::Bytes;
    use parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        basic::ZstdLevel,
        file::{
            metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
            page_index::column_index::ColumnIndexMetaData,
            properties::WriterProperties,
        },
    };
    use proptest::prelude::*;

    use super::*;
    use crate::lake::growing::Growing;

    /// A file of one column, in batches as they are.
    fn ours(batches: &[ArrayRef], properties: WriterProperties) -> Bytes {
        let schema = schema(&batches[0]);
        let mut file = Growing::new(&schema, &Arc::new(properties)).unwrap();
        for batch in batches {
            file.write(&RecordBatch::try_new(schema.clone(), vec![batch.clone()]).unwrap()).unwrap();
        }
        file.finish().unwrap().into()
    }

    fn schema(column: &ArrayRef) -> Arc<Schema> {
        Arc::new(Schema::new(vec![Field::new("value", column.data_type().clone(), false)]))
    }

    fn read(file: Bytes) -> ArrayRef {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        concat(&reader.map(|batch| batch.unwrap().column(0).clone()).collect::<Vec<_>>())
    }

    fn concat(columns: &[ArrayRef]) -> ArrayRef {
        arrow::compute::concat(&columns.iter().map(|column| &**column).collect::<Vec<_>>()).unwrap()
    }

    fn metadata(file: &Bytes) -> ParquetMetaData {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        reader.parse_and_finish(file).unwrap()
    }

    fn index(metadata: &ParquetMetaData) -> &ColumnIndexMetaData {
        &metadata.column_index().unwrap()[0][0]
    }

    #[test]
    fn what_is_said_of_numbers_is_what_parquets_own_writer_says() {
        let whole: ArrayRef = Arc::new(Int64Array::from_iter_values((0..50_000).map(|n| (n * 7_919) % 10_007 - 5_000)));
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from_iter_values(1_700_000_000_000_000..1_700_000_000_050_000));
        let floats: ArrayRef = Arc::new(Float64Array::from_iter_values((0..50_000).map(|n| f64::from(n).sin())));
        let singles: ArrayRef = Arc::new(Float32Array::from_iter_values((0..50_000_u16).map(|n| f32::from(n).cos())));
        for column in [whole, times, floats, singles] {
            let properties = || WriterProperties::builder().set_dictionary_enabled(false).build();
            let rows = RecordBatch::try_new(schema(&column), vec![column.clone()]).unwrap();
            let mut theirs = ArrowWriter::try_new(vec![], rows.schema(), Some(properties())).unwrap();
            theirs.write(&rows).unwrap();
            let theirs = metadata(&theirs.into_inner().unwrap().into());
            let file = ours(std::slice::from_ref(&column), properties());
            let ours = metadata(&file);
            let [one, other] = [&ours, &theirs].map(|file| file.row_group(0).column(0));
            assert_eq!(one.statistics(), other.statistics());
            assert_eq!(one.num_values(), other.num_values());
            assert_eq!(index(&ours).null_counts(), index(&theirs).null_counts());
            let pages = |file: &ParquetMetaData| {
                let offsets = &file.offset_index().unwrap()[0][0];
                offsets.page_locations.iter().map(|page| page.first_row_index).collect::<Vec<_>>()
            };
            assert_eq!(pages(&ours), pages(&theirs));
            assert!(read(file).to_data() == column.to_data());
        }
    }

    #[test]
    fn floats_that_are_no_numbers_come_back_and_are_not_told_as_an_extent() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 2.0, f64::INFINITY, f64::NAN]));
        let none: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
        let file = ours(std::slice::from_ref(&column), WriterProperties::new());
        let statistics = metadata(&file).row_group(0).column(0).statistics().cloned().unwrap();
        assert_eq!(statistics.min_bytes_opt(), Some(2.0_f64.to_le_bytes().as_slice()));
        assert_eq!(statistics.max_bytes_opt(), Some(f64::INFINITY.to_le_bytes().as_slice()));
        let back = read(file);
        let bits =
            |column: &ArrayRef| column.as_primitive::<Float64Type>().values().iter().map(|x| x.to_bits()).collect();
        let (back, sent): (Vec<u64>, Vec<u64>) = (bits(&back), bits(&column));
        assert_eq!(back, sent);
        let file = ours(&[none], WriterProperties::new());
        let statistics = metadata(&file).row_group(0).column(0).statistics().cloned().unwrap();
        assert_eq!((statistics.min_bytes_opt(), statistics.max_bytes_opt()), (None, None));
    }

    proptest! {
        #[test]
        fn integers_come_back_however_far_apart_and_however_many(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![any::<i64>(), -3_i64..3], 1..700), 1..4),
            zstd in any::<bool>(),
        ) {
            let batches: Vec<ArrayRef> =
                parts.iter().map(|part| Arc::new(Int64Array::from(part.clone())) as ArrayRef).collect();
            let mut properties = WriterProperties::builder();
            if zstd {
                properties = properties.set_compression(Compression::ZSTD(ZstdLevel::default()));
            }
            prop_assert_eq!(&read(ours(&batches, properties.build())), &concat(&batches));
        }
    }
}
