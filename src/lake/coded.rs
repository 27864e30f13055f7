//! A column of few words: texts, floats or small integers that come up again and again, written by their numbers.
//!
//! Owns: which number each row has. Does not own: the words ([`super::words`]), the pages ([`super::pages`]), what becomes
//! of a column that has more than a few ([`super::growing`]).
//!
//! parquet's own writer looks each row up in a dictionary that is made for large ones, or compresses floats that are the same
//! again and again; together that was most of what encoding cost. What a reader finds is the same.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, PrimitiveArray,
        types::{ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int32Type, UInt8Type},
    },
    compute::{CastOptions, cast_with_options},
    datatypes::DataType,
    error::ArrowError,
};
use parquet::{basic::Compression, errors::Result, schema::types::ColumnDescPtr};

use super::{
    pages::{self, Chunk, PAGE_ROWS, PageRows},
    words::{Kind, Words, lower},
};

/// The rows of a chunk so far.
#[derive(Debug)]
pub(super) struct Coded {
    column: ColumnDescPtr,
    compression: Compression,
    words: Words,
    /// All but the last have as many rows as a page has.
    pages: Vec<PageRows>,
}

/// Whether rows were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// None of them: with them, there would be more than a few words.
    TooMany,
}

impl Coded {
    /// For a column of this kind, if it can be written so at all.
    pub(super) fn new(kind: &DataType, column: &ColumnDescPtr, compression: Compression) -> Option<Self> {
        let kind = match kind {
            DataType::Float64 => Kind::Double,
            DataType::Float32 => Kind::Float,
            DataType::Int32 | DataType::Date32 => Kind::Int,
            DataType::Utf8 | DataType::Binary => Kind::Bytes,
            DataType::Dictionary(_, words) if **words == DataType::Utf8 => Kind::Bytes,
            _ => return None,
        };
        Some(Self { column: column.clone(), compression, words: Words::new(kind), pages: vec![] })
    }

    pub(super) fn column(&self) -> &ColumnDescPtr {
        &self.column
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    pub(super) fn memory(&self) -> usize {
        let levels = |page: &PageRows| page.levels.as_ref().map_or(0, Vec::capacity);
        let of_page = |page: &PageRows| page.numbers.capacity() * size_of::<u16>() + levels(page);
        self.words.memory() + self.pages.iter().map(of_page).sum::<usize>()
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &dyn Array) -> Taken {
        let before = (self.pages.len(), self.pages.last().map_or((0, 0), |page| (page.len(), page.numbers.len())));
        let mut start = 0;
        while start < rows.len() {
            let taken = self.room().min(rows.len() - start);
            if self.add(&rows.slice(start, taken)).is_none() {
                self.back_to(before);
                return Taken::TooMany;
            }
            start += taken;
        }
        Taken::Yes
    }

    pub(super) fn close(self) -> Result<Chunk> {
        pages::coded(self.column, &self.words, self.pages, self.compression)
    }

    /// How many rows fit into the last page, which is a new one if the one before is full.
    fn room(&mut self) -> usize {
        if let Some(page) = self.pages.last().filter(|page| page.len() < PAGE_ROWS) {
            return PAGE_ROWS - page.len();
        }
        // It will be filled as the one before was; in a short file there is no other.
        let (rows, values) = self.pages.last().map_or((0, 0), |page| (page.len(), page.numbers.len()));
        let levels = (self.column.max_def_level() > 0).then(|| Vec::with_capacity(rows));
        self.pages.push(PageRows { numbers: Vec::with_capacity(values), levels });
        PAGE_ROWS
    }

    /// Takes back what was added since there were so many pages, and so many rows and values in the last.
    fn back_to(&mut self, (pages, (rows, values)): (usize, (usize, usize))) {
        self.pages.truncate(pages);
        if let Some(last) = self.pages.last_mut() {
            last.numbers.truncate(values);
            if let Some(levels) = &mut last.levels {
                levels.truncate(rows);
            }
        }
    }

    /// The rows as they came, for another way to write them.
    pub(super) fn rows(&self, kind: &DataType) -> Result<ArrayRef, ArrowError> {
        let bits = |number: Option<usize>| number.map(|number| self.words.bits_of(number));
        let half = |number: Option<usize>| bits(number).map(lower);
        let rows: ArrayRef = match self.words.kind() {
            Kind::Double => {
                Arc::new(self.each(|n| bits(n).map(f64::from_bits)).collect::<PrimitiveArray<Float64Type>>())
            }
            Kind::Float => {
                Arc::new(self.each(|n| half(n).map(f32::from_bits)).collect::<PrimitiveArray<Float32Type>>())
            }
            Kind::Int => Arc::new(self.each(|n| half(n).map(u32::cast_signed)).collect::<PrimitiveArray<Int32Type>>()),
            Kind::Bytes => {
                let bytes: ArrayRef =
                    Arc::new(self.each(|n| n.map(|n| self.words.bytes_of(n))).collect::<BinaryArray>());
                if *kind == DataType::Binary {
                    return Ok(bytes);
                }
                strictly(&bytes, &DataType::Utf8)?
            }
        };
        strictly(&rows, kind)
    }

    /// Something of each row, by its word's number, if it has one.
    fn each<T>(&self, of: impl Fn(Option<usize>) -> T + Copy) -> impl Iterator<Item = T> {
        self.pages.iter().flat_map(move |page| {
            let mut numbers = page.numbers.iter().map(|number| usize::from(*number));
            let has_value = |row| page.levels.as_ref().is_none_or(|levels| levels.get(row) == Some(&1));
            (0..page.len()).map(move |row| of(if has_value(row) { numbers.next() } else { None }))
        })
    }

    /// Adds rows to the last page; none if there would be too many words.
    fn add(&mut self, rows: &dyn Array) -> Option<()> {
        let PageRows { numbers, levels } = self.pages.last_mut()?;
        let mut numbered = Numbered { words: &mut self.words, numbers };
        match rows.data_type() {
            DataType::Float64 => numbered.add_bits::<Float64Type>(rows, f64::to_bits),
            DataType::Float32 => numbered.add_bits::<Float32Type>(rows, |x| x.to_bits().into()),
            DataType::Int32 => numbered.add_bits::<Int32Type>(rows, |x| x.cast_unsigned().into()),
            DataType::Date32 => numbered.add_bits::<Date32Type>(rows, |x| x.cast_unsigned().into()),
            DataType::Utf8 => numbered.add_bytes(rows.as_string_opt::<i32>()?.iter().flatten().map(str::as_bytes)),
            DataType::Binary => numbered.add_bytes(rows.as_binary_opt::<i32>()?.iter().flatten()),
            DataType::Dictionary(..) => numbered.add_numbered(rows),
            _ => None,
        }?;
        if let Some(levels) = levels {
            match rows.nulls() {
                Some(nulls) => levels.extend(nulls.iter().map(u8::from)),
                None => levels.resize(levels.len() + rows.len(), 1),
            }
        }
        Some(())
    }
}

/// The numbers of values, one after the other; none if there would be too many words.
struct Numbered<'c> {
    words: &'c mut Words,
    numbers: &'c mut Vec<u16>,
}

impl Numbered<'_> {
    fn add_bits<T: ArrowPrimitiveType>(&mut self, rows: &dyn Array, bits: impl Fn(T::Native) -> u64) -> Option<()> {
        let rows = rows.as_primitive_opt::<T>()?;
        self.numbers.reserve(rows.len() - rows.null_count());
        let mut add = |value| {
            self.numbers.push(self.words.number_of_bits(bits(value))?);
            Some(())
        };
        if rows.null_count() > 0 {
            rows.iter().flatten().try_for_each(&mut add)
        } else {
            rows.values().iter().copied().try_for_each(&mut add)
        }
    }

    fn add_bytes<'r>(&mut self, values: impl Iterator<Item = &'r [u8]>) -> Option<()> {
        for value in values {
            let number = self.words.number_of_bytes(value)?;
            self.numbers.push(number);
        }
        Some(())
    }

    /// Rows that have numbers already, though perhaps others.
    fn add_numbered(&mut self, rows: &dyn Array) -> Option<()> {
        let rows = rows.as_dictionary_opt::<UInt8Type>()?;
        let words = rows.values().as_string_opt::<i32>()?;
        let numbers = words.iter().map(|word| self.words.number_of_bytes(word?.as_bytes()));
        let numbers = numbers.collect::<Option<Vec<_>>>()?;
        self.numbers.reserve(rows.len() - rows.null_count());
        for number in rows.keys().iter().flatten() {
            self.numbers.push(*numbers.get(usize::from(number))?);
        }
        Some(())
    }
}

/// Nothing becomes a null that was none.
fn strictly(rows: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(rows, kind, &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Date32Array, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
            UInt8Array,
        },
        datatypes::{Field, Schema},
    };
    use bytes::Bytes;
    use parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        basic::{Encoding, ZstdLevel},
        file::{
            metadata::{ColumnChunkMetaData, ParquetMetaData},
            properties::WriterProperties,
            reader::FileReader,
            serialized_reader::SerializedFileReader,
            statistics::Statistics,
        },
    };
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::lake::{growing::Growing, layout::ROW_GROUP_ROWS_MAX, pages::PAGE_ROWS};

    fn rows(numbers: &[u8], words: &[String]) -> RecordBatch {
        let text = DictionaryArray::try_new(
            UInt8Array::from(numbers.to_vec()),
            Arc::new(StringArray::from_iter_values(words)) as ArrayRef,
        );
        let text = text.unwrap();
        let place = Int64Array::from_iter_values((0..).take(numbers.len()));
        let fields = [("place", DataType::Int64), ("word", text.data_type().clone())];
        let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(place), Arc::new(text)]).unwrap()
    }

    fn ours(batches: &[RecordBatch]) -> Bytes {
        let mut file = Growing::new(batches[0].schema_ref(), &Arc::new(WriterProperties::new())).unwrap();
        for batch in batches {
            file.write(batch).unwrap();
        }
        file.finish().unwrap().into()
    }

    fn texts(file: &Bytes) -> Vec<String> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
        let column = |batch: RecordBatch| arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
        let columns: Vec<ArrayRef> = reader.map(|batch| column(batch.unwrap())).collect();
        columns
            .iter()
            .flat_map(|column| column.as_string::<i32>().iter().map(|word| word.unwrap().to_owned()))
            .collect()
    }

    fn words(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("word {number}")).collect()
    }

    #[test]
    fn what_is_said_of_a_column_is_what_parquets_own_writer_says() {
        let batch = rows(&[2, 1, 2, 2, 1], &words(4));
        let mut theirs = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
        theirs.write(&batch).unwrap();
        let files = [ours(std::slice::from_ref(&batch)), theirs.into_inner().unwrap().into()];
        let [one, other] = files.map(|file| SerializedFileReader::new(file).unwrap().metadata().clone());
        let [one, other] = [&one, &other].map(|file| file.row_group(0).column(1));
        let told = |chunk: &ColumnChunkMetaData| {
            let encodings: std::collections::BTreeSet<_> = chunk.encodings().map(|e| e.to_string()).collect();
            let extent = chunk
                .statistics()
                .map(|s| (s.min_bytes_opt().map(<[u8]>::to_vec), s.max_bytes_opt().map(<[u8]>::to_vec)));
            (chunk.num_values(), encodings, extent, chunk.statistics().and_then(Statistics::null_count_opt))
        };
        assert_eq!(told(one), told(other));
        assert_eq!(told(one).2, Some((Some(b"word 1".to_vec()), Some(b"word 2".to_vec()))));
    }

    #[test]
    fn any_number_of_words_and_rows_comes_back() {
        for count in [1, 2, 3, 4, 5, 16, 17, 255, 256] {
            let words = words(count);
            for length in [1, 7, 8, 9, PAGE_ROWS, PAGE_ROWS + 1] {
                let numbers: Vec<u8> = (0..length).map(|row| u8::try_from(row * 7 % count).unwrap()).collect();
                let expected: Vec<_> = numbers.iter().map(|number| words[usize::from(*number)].clone()).collect();
                assert!(texts(&ours(&[rows(&numbers, &words)])) == expected, "{count} words, {length} rows");
            }
        }
    }

    #[test]
    fn a_column_alike_in_all_rows_takes_hardly_a_byte_a_page() {
        let files = [1, 40 * PAGE_ROWS].map(|length| ours(&[rows(&vec![0; length], &words(1))]));
        let [short, long] =
            files.map(|file| SerializedFileReader::new(file).unwrap().metadata().row_group(0).column(1).clone());
        assert!(long.compressed_size() - short.compressed_size() < 39 * 40, "{long:?}");
    }

    /// A file of one column that may be null, and what a reader finds in it.
    fn read_back(batches: &[ArrayRef], properties: WriterProperties) -> (ParquetMetaData, ArrayRef) {
        let kind = batches[0].data_type().clone();
        let schema = Arc::new(Schema::new(vec![Field::new("value", kind, true)]));
        let mut file = Growing::new(&schema, &Arc::new(properties)).unwrap();
        for batch in batches {
            file.write(&RecordBatch::try_new(schema.clone(), vec![batch.clone()]).unwrap()).unwrap();
        }
        let file = Bytes::from(file.finish().unwrap());
        let metadata = SerializedFileReader::new(file.clone()).unwrap().metadata().clone();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let columns: Vec<_> = reader.map(|batch| batch.unwrap().column(0).clone()).collect();
        (metadata, concat(&columns))
    }

    fn concat(columns: &[ArrayRef]) -> ArrayRef {
        arrow::compute::concat(&columns.iter().map(|column| &**column).collect::<Vec<_>>()).unwrap()
    }

    fn is_coded(metadata: &ParquetMetaData) -> bool {
        metadata.row_group(0).column(0).encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY)
    }

    fn doubles(values: impl Iterator<Item = f64>) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(values))
    }

    #[test]
    fn floats_that_come_again_are_written_by_their_numbers_and_others_as_they_are() {
        let row = |row: i32| f64::from(row);
        let few = doubles((0..50_000).map(|n| row(n % 4_000)));
        let many = doubles((0..50_000).map(row));
        let not_at_first = [doubles((0..50_000).map(|n| row(n % 4_000))), doubles((0..5_000).map(|n| row(-n)))];
        let with_nan = doubles([1.0, f64::NAN, 1.0].into_iter());
        for (batches, coded) in
            [(vec![few], true), (vec![many], false), (not_at_first.to_vec(), false), (vec![with_nan], false)]
        {
            let plain = WriterProperties::builder().set_dictionary_enabled(false).build();
            let (metadata, read) = read_back(&batches, plain);
            let expected = concat(&batches);
            assert_eq!(is_coded(&metadata), coded);
            let bits = |column: &ArrayRef| -> Vec<u64> {
                column.as_primitive::<Float64Type>().values().iter().map(|x| x.to_bits()).collect()
            };
            assert!(bits(&read) == bits(&expected));
        }
    }

    #[test]
    fn a_column_of_too_many_words_is_not_tried_again_in_the_next_row_group() {
        let many = doubles((0..i32::try_from(ROW_GROUP_ROWS_MAX + 10).unwrap()).map(f64::from));
        let (metadata, read) =
            read_back(std::slice::from_ref(&many), WriterProperties::builder().set_dictionary_enabled(false).build());
        assert_eq!(metadata.num_row_groups(), 2);
        assert!(metadata.row_groups().iter().all(|group| group.column(0).dictionary_page_offset().is_none()));
        assert!(read.to_data() == many.to_data());
    }

    #[test]
    fn rows_of_too_many_words_are_taken_back_beyond_the_page_that_they_began_in() {
        let few = |row: usize| (!row.is_multiple_of(7)).then(|| format!("w{}", row % 5));
        let many = |row: usize| (!row.is_multiple_of(3)).then(|| format!("word {row}"));
        let before: StringArray = (0..PAGE_ROWS + 500).map(few).collect();
        let beyond: StringArray = (0..PAGE_ROWS).map(few).chain((0..2 * PAGE_ROWS).map(many)).collect();
        let after: StringArray = (0..10).map(few).collect();
        let batches = [before, beyond, after].map(|batch| Arc::new(batch) as ArrayRef);
        let (metadata, read) = read_back(&batches, WriterProperties::builder().set_dictionary_enabled(false).build());
        assert!(!is_coded(&metadata));
        assert!(read.to_data() == concat(&batches).to_data());
        let (metadata, read) = read_back(&batches[..1], WriterProperties::new());
        assert!(is_coded(&metadata));
        assert!(read.to_data() == batches[0].to_data());
    }

    #[test]
    fn the_extent_of_a_page_and_of_a_column_holds_zeros_of_either_sign() {
        let zeros: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.0), None, Some(-0.0), Some(0.0)]));
        let (metadata, _) = read_back(&[zeros], WriterProperties::new());
        let statistics = metadata.row_group(0).column(0).statistics().unwrap();
        let bits = [statistics.min_bytes_opt(), statistics.max_bytes_opt()].map(|bytes| bytes.unwrap().to_vec());
        assert_eq!(bits, [(-0.0_f32).to_le_bytes().to_vec(), 0.0_f32.to_le_bytes().to_vec()]);
        assert_eq!(statistics.null_count_opt(), Some(1));
    }

    #[test]
    fn pages_are_compressed_where_that_makes_them_shorter() {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let thrown: Vec<u8> = (0..20_000).map(|_| dice.random()).collect();
        let even = doubles(thrown.iter().map(|number| f64::from(*number)));
        let uneven = doubles(thrown.iter().map(|number| f64::from(if *number < 250 { *number % 2 } else { *number })));
        let clumped = doubles((0..20_000).map(|n| f64::from(n / 7 % 5)));
        let [zstd, snappy] = [Compression::ZSTD(ZstdLevel::default()), Compression::SNAPPY];
        for (column, asked, codec) in [
            (&uneven, zstd, zstd),
            (&even, zstd, Compression::UNCOMPRESSED),
            (&clumped, snappy, snappy),
            (&even, snappy, Compression::UNCOMPRESSED),
            (&clumped, Compression::UNCOMPRESSED, Compression::UNCOMPRESSED),
        ] {
            let properties = WriterProperties::builder().set_compression(asked).build();
            let (metadata, read) = read_back(std::slice::from_ref(column), properties);
            assert_eq!(metadata.row_group(0).column(0).compression(), codec);
            assert!(read.to_data() == column.to_data());
        }
    }

    /// A column of some kind, by numbers and what they are as texts.
    type Make = fn(&[Option<i32>], &dyn Fn(&Option<i32>) -> Option<String>) -> ArrayRef;

    proptest! {
        #[test]
        fn rows_come_back_however_they_came_in(
            parts in prop::collection::vec(prop::collection::vec(0_u8..5, 1..60), 1..6),
        ) {
            let words = words(5);
            let batches: Vec<_> = parts.iter().map(|part| rows(part, &words)).collect();
            let expected: Vec<_> = parts.concat().iter().map(|number| words[usize::from(*number)].clone()).collect();
            prop_assert_eq!(texts(&ours(&batches)), expected);
        }

        #[test]
        fn whatever_kind_a_column_is_its_rows_come_back_with_their_nulls(
            parts in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, -3_i32..300), 1..200), 1..5),
            run in 1_usize..70,
            zstd in any::<bool>(),
        ) {
            // Runs of one value, of whatever length.
            let parts: Vec<Vec<Option<i32>>> = parts
                .iter()
                .map(|part| part.iter().flat_map(|value| std::iter::repeat_n(*value, if value.is_some_and(|v| v < 30) { run } else { 1 })).collect())
                .collect();
            let text = |value: &Option<i32>| value.map(|value| format!("w{value}"));
            let kinds: [Make; 6] = [
                |part, _| Arc::new(part.iter().map(|value| value.map(|v| f64::from(v) / 7.0)).collect::<Float64Array>()),
                |part, _| Arc::new(part.iter().map(|value| value.map(|v| f32::from(i16::try_from(v).unwrap()) / 7.0)).collect::<Float32Array>()),
                |part, _| Arc::new(part.iter().copied().collect::<Int32Array>()),
                |part, _| Arc::new(part.iter().copied().collect::<Date32Array>()),
                |part, text| Arc::new(part.iter().map(text).collect::<StringArray>()),
                |part, text| Arc::new(part.iter().map(|v| text(v).map(String::into_bytes)).collect::<BinaryArray>()),
            ];
            let mut properties = WriterProperties::builder();
            if zstd {
                properties = properties.set_compression(Compression::ZSTD(ZstdLevel::default()));
            }
            for make in kinds {
                let batches: Vec<ArrayRef> = parts.iter().map(|part| make(part, &text)).collect();
                let (_, read) = read_back(&batches, properties.clone().build());
                prop_assert_eq!(&read, &concat(&batches));
            }
        }
    }
}
