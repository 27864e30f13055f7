//! A column of few words, written by their numbers: what the model says of a row, and which model said it.
//!
//! Owns: a column's chunk, from the numbers of its rows to its pages. Does not own: the file around it ([`super::growing`]).
//!
//! parquet's own writer takes a row's text, looks it up in a dictionary of its own and compares it with the smallest and the
//! largest, only to write the number that we had; that was a third of what encoding cost. The pages are the same that it
//! would have written: a dictionary, then numbers as runs or packed bits.

use arrow::array::{Array, DictionaryArray, StringArray, types::UInt8Type};
use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, Type},
    column::{
        page::{CompressedPage, Page, PageWriteSpec, PageWriter},
        writer::ColumnCloseResult,
    },
    data_type::ByteArray,
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder},
        statistics::Statistics,
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};

/// As many as the other columns' pages have, so that a reader finds its way from one to the other.
const PAGE_ROWS: usize = 20_000;
/// Packed bits stand in groups of so many numbers.
const GROUP: usize = 8;

/// The rows of a chunk so far.
#[derive(Debug)]
pub(super) struct Coded {
    column: ColumnDescPtr,
    words: Option<StringArray>,
    numbers: Vec<u8>,
}

/// A chunk that is written, and what the file must know of it.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

impl Coded {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self { column, words: None, numbers: vec![] }
    }

    /// Whether a column can be written so.
    pub(super) fn takes(column: &dyn Array) -> bool {
        dictionary(column).is_some()
    }

    pub(super) fn memory(&self) -> usize {
        self.numbers.capacity()
    }

    /// Adds rows, which all have a value, and the same words as those before.
    pub(super) fn write(&mut self, column: &dyn Array) -> Result<()> {
        let misfit = || ParquetError::General("a column of words has other words than before".into());
        let (numbers, words) = dictionary(column).ok_or_else(misfit)?;
        if self.words.get_or_insert_with(|| words.clone()) != words {
            return Err(misfit());
        }
        if numbers.iter().any(|number| usize::from(*number) >= words.len()) {
            return Err(misfit());
        }
        self.numbers.extend_from_slice(numbers);
        Ok(())
    }

    pub(super) fn close(self) -> Result<Chunk> {
        let words = self.words.unwrap_or_else(|| StringArray::from_iter_values([""; 0]));
        let mut pages = Pages::default();
        pages.dictionary(&words)?;
        let bits = bits(words.len());
        for numbers in self.numbers.chunks(PAGE_ROWS) {
            pages.data(numbers, bits, &words)?;
        }
        pages.close(self.column, &self.numbers, &words)
    }
}

/// The numbers and the words of a column that is neither nullable nor of another kind.
fn dictionary(column: &dyn Array) -> Option<(&[u8], &StringArray)> {
    let column =
        column.as_any().downcast_ref::<DictionaryArray<UInt8Type>>().filter(|column| column.null_count() == 0)?;
    Some((column.keys().values(), column.values().as_any().downcast_ref::<StringArray>()?))
}

/// What it takes to tell so many words apart.
fn bits(words: usize) -> u8 {
    let largest = words.saturating_sub(1).max(1);
    u8::try_from(usize::BITS - largest.leading_zeros()).unwrap_or(u8::MAX)
}

/// The pages of a chunk as they are written.
struct Pages {
    sink: TrackedWrite<Vec<u8>>,
    uncompressed: usize,
    data_from: Option<u64>,
    offsets: OffsetIndexBuilder,
    extents: ColumnIndexBuilder,
}

impl Default for Pages {
    fn default() -> Self {
        let sink = TrackedWrite::new(vec![]);
        let (offsets, extents) = (OffsetIndexBuilder::new(), ColumnIndexBuilder::new(Type::BYTE_ARRAY));
        Self { sink, uncompressed: 0, data_from: None, offsets, extents }
    }
}

impl Pages {
    fn dictionary(&mut self, words: &StringArray) -> Result<()> {
        let mut buf = vec![];
        for word in words.iter().flatten() {
            buf.extend_from_slice(&length(word.len())?.to_le_bytes());
            buf.extend_from_slice(word.as_bytes());
        }
        let num_values = length(words.len())?;
        self.write(Page::DictionaryPage { buf: buf.into(), num_values, encoding: Encoding::PLAIN, is_sorted: false })?;
        Ok(())
    }

    fn data(&mut self, numbers: &[u8], bits: u8, words: &StringArray) -> Result<()> {
        let page = Page::DataPage {
            buf: packed(numbers, bits).into(),
            num_values: length(numbers.len())?,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = self.write(page)?;
        self.data_from.get_or_insert(spec.offset);
        let too_large = |_| ParquetError::General("a page is larger than a page may be".into());
        self.offsets.append_row_count(i64::from(spec.num_values));
        self.offsets
            .append_offset_and_size(signed(spec.offset)?, i32::try_from(spec.compressed_size).map_err(too_large)?);
        self.offsets.append_unencoded_byte_array_data_bytes(None);
        let [smallest, largest] = extent(numbers, words).map(|word| word.unwrap_or_default().as_bytes().to_vec());
        self.extents.append(false, smallest, largest, 0);
        Ok(())
    }

    fn write(&mut self, page: Page) -> Result<PageWriteSpec> {
        let bytes = page.buffer().len();
        let spec = SerializedPageWriter::new(&mut self.sink).write_page(CompressedPage::new(page, bytes))?;
        self.uncompressed += spec.uncompressed_size;
        Ok(spec)
    }

    fn close(self, column: ColumnDescPtr, numbers: &[u8], words: &StringArray) -> Result<Chunk> {
        let bytes = self.sink.into_inner()?;
        let metadata = ColumnChunkMetaData::builder(column)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_compression(Compression::UNCOMPRESSED)
            .set_num_values(signed(numbers.len() as u64)?)
            .set_total_compressed_size(signed(bytes.len() as u64)?)
            .set_total_uncompressed_size(signed(self.uncompressed as u64)?)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(signed(self.data_from.unwrap_or_default())?)
            .set_statistics(statistics(numbers, words))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: numbers.len() as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.extents.build()?),
            offset_index: Some(self.offsets.build()),
        };
        Ok(Chunk { bytes: bytes.into(), close })
    }
}

fn statistics(numbers: &[u8], words: &StringArray) -> Statistics {
    let [smallest, largest] = extent(numbers, words).map(|word| word.map(ByteArray::from));
    Statistics::byte_array(smallest, largest, None, Some(0), false)
}

/// The smallest and the largest of the words that come up.
fn extent<'w>(numbers: &[u8], words: &'w StringArray) -> [Option<&'w str>; 2] {
    let mut used = [false; u8::MAX as usize + 1];
    for number in numbers {
        used[usize::from(*number)] = true;
    }
    let of_rows = || words.iter().zip(used).filter(|(_, used)| *used).filter_map(|(word, _)| word);
    [of_rows().min(), of_rows().max()]
}

/// Numbers of so many bits each, behind that number of bits: one run if they are all alike, else one after the other.
fn packed(numbers: &[u8], bits: u8) -> Vec<u8> {
    let mut bytes = vec![bits];
    match numbers {
        [first, rest @ ..] if rest.iter().all(|number| number == first) => {
            varint(&mut bytes, numbers.len() << 1);
            bytes.push(*first);
        }
        _ => {
            varint(&mut bytes, numbers.len().div_ceil(GROUP) << 1 | 1);
            for group in numbers.chunks(GROUP) {
                let all = group.iter().rev().fold(0_u64, |all, number| all << bits | u64::from(*number));
                bytes.extend(all.to_le_bytes().into_iter().take(usize::from(bits)));
            }
        }
    }
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while let low @ 0x80.. = number {
        bytes.push(u8::try_from(low & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| ParquetError::General("a page holds more than a page may".into()))
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| ParquetError::General("a chunk is larger than a chunk may be".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt8Array},
        datatypes::{DataType, Field, Schema},
    };
    use parquet::{
        arrow::{ArrowSchemaConverter, ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        file::{properties::WriterProperties, reader::FileReader, serialized_reader::SerializedFileReader},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::lake::growing::Growing;

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
    fn other_words_than_before_are_an_error_and_never_other_rows() {
        let column = |count: usize| rows(&[0], &words(count)).column(1).clone();
        let schema = ArrowSchemaConverter::new().convert(&rows(&[0], &words(2)).schema()).unwrap();
        let mut coded = Coded::new(schema.column(1));
        coded.write(&column(2)).unwrap();
        assert!(coded.write(&column(3)).is_err());
        coded.write(&column(2)).unwrap();
    }

    #[test]
    fn a_column_alike_in_all_rows_takes_hardly_a_byte_a_page() {
        let files = [1, 40 * PAGE_ROWS].map(|length| ours(&[rows(&vec![0; length], &words(1))]));
        let [short, long] =
            files.map(|file| SerializedFileReader::new(file).unwrap().metadata().row_group(0).column(1).clone());
        assert!(long.compressed_size() - short.compressed_size() < 39 * 40, "{long:?}");
    }

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
    }
}
