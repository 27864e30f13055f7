//! The pages of a column that we write ourselves, by the numbers of its words or as it is.
//!
//! Owns: the bytes of a column's chunk, and what the file must know of it. Does not own: which columns are written so
//! ([`super::coded`], [`super::numbers`]).

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, Type},
    column::{
        page::{CompressedPage, Page, PageWriteSpec, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder},
        reader::Length,
        statistics::Statistics,
        writer::{SerializedPageWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};

use super::{
    blocks::{Blocks, Written},
    words::Words,
};

/// As many as parquet's own writer puts into a page: the first multiple of what it looks at at once, from 20,000 on.
pub(super) const PAGE_ROWS: usize = 20 << 10;
/// Packed bits stand in groups of so many numbers.
const GROUP: usize = 8;
/// So many alike are written as a run, which is shorter then however few bits a number has.
const RUN_MIN: usize = 4 * GROUP;
/// What must be left of a page for compression to be worth its time, here and for readers.
const COMPRESSED_MAX: f64 = 0.9;

/// A chunk that is written, and what the file must know of it.
pub(super) struct Chunk {
    pub(super) bytes: Written,
    pub(super) close: ColumnCloseResult,
}

/// The rows of a page: for each value that is not null the number of its word, and which rows have one.
#[derive(Debug)]
pub(super) struct PageRows {
    pub(super) numbers: Vec<u16>,
    /// One for a value, zero for none; nothing where the column can't be null.
    pub(super) levels: Option<Vec<u8>>,
}

impl PageRows {
    pub(super) fn len(&self) -> usize {
        self.levels.as_ref().map_or(self.numbers.len(), Vec::len)
    }

    fn nulls(&self) -> usize {
        self.len() - self.numbers.len()
    }

    /// The page as it is before it is compressed: levels, then numbers.
    fn packed(&self, bits: u8) -> Result<Vec<u8>> {
        let mut page = vec![];
        if let Some(levels) = &self.levels {
            let mut packed = vec![];
            hybrid(&mut packed, levels, 1);
            page.extend(length(packed.len())?.to_le_bytes());
            page.append(&mut packed);
        }
        page.push(bits);
        hybrid(&mut page, &self.numbers, bits);
        Ok(page)
    }

    /// Which of so many words come up.
    fn used(&self, words: usize) -> Vec<bool> {
        let mut used = vec![false; words];
        for number in &self.numbers {
            if let Some(used) = used.get_mut(usize::from(*number)) {
                *used = true;
            }
        }
        used
    }
}

/// Writes the chunk of a column by its words and their numbers, page after page.
pub(super) fn coded(
    column: ColumnDescPtr,
    words: &Words,
    pages: Vec<PageRows>,
    compression: Compression,
) -> Result<Chunk> {
    let bits = bits(words.len());
    let rows = pages.iter().map(PageRows::len).sum();
    let nulls = pages.iter().map(PageRows::nulls).sum::<usize>();
    let packed = |page: PageRows| -> Result<(Vec<u8>, PageRows)> { Ok((page.packed(bits)?, page)) };
    let mut packed = pages.into_iter().map(packed).peekable();
    let first = match packed.peek() {
        Some(Ok((bytes, _))) => bytes.as_slice(),
        // An error comes again below.
        Some(Err(_)) | None => &[],
    };
    let mut chunk = Pages::new(column.physical_type(), compression, first)?;
    chunk.dictionary(words)?;
    let mut all = vec![false; words.len()];
    for page in packed {
        let (bytes, page) = page?;
        let used = page.used(words.len());
        all.iter_mut().zip(&used).for_each(|(before, now)| *before |= now);
        let extent = words.extent(&used).bytes();
        chunk.data(
            DataPage { rows: page.len(), nulls: page.nulls(), encoding: Encoding::RLE_DICTIONARY, extent },
            bytes,
        )?;
    }
    let statistics = words.extent(&all).statistics(nulls as u64);
    chunk.close(column, rows, statistics)
}

/// What there is to say of a page of data.
pub(super) struct DataPage {
    pub(super) rows: usize,
    pub(super) nulls: usize,
    pub(super) encoding: Encoding,
    /// The smallest and the largest of its values; nothing where there are none that can be compared.
    pub(super) extent: Option<[Vec<u8>; 2]>,
}

/// What it takes to tell so many words apart.
fn bits(words: usize) -> u8 {
    let largest = words.saturating_sub(1).max(1);
    u8::try_from(usize::BITS - largest.leading_zeros()).unwrap_or(u8::MAX)
}

/// What makes pages shorter.
enum Codec {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(Compression, zstd::bulk::Compressor<'static>),
}

impl Codec {
    /// The file's compression, if it makes a page like the first one enough shorter.
    fn worth(compression: Compression, first: &[u8]) -> Result<Self> {
        let mut codec = match compression {
            Compression::ZSTD(level) => {
                Self::Zstd(compression, zstd::bulk::Compressor::new(level.compression_level())?)
            }
            Compression::SNAPPY => Self::Snappy(Box::new(snap::raw::Encoder::new())),
            _ => return Ok(Self::None),
        };
        let compressed = codec.compressed(first)?.len();
        #[expect(clippy::cast_precision_loss, reason = "pages are small")]
        let worth = (compressed as f64) < COMPRESSED_MAX * first.len() as f64;
        Ok(if worth { codec } else { Self::None })
    }

    fn compression(&self) -> Compression {
        match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy(_) => Compression::SNAPPY,
            Self::Zstd(compression, _) => *compression,
        }
    }

    fn compressed(&mut self, page: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(page.to_vec()),
            Self::Snappy(encoder) => encoder.compress_vec(page).map_err(|error| ParquetError::External(error.into())),
            Self::Zstd(_, compressor) => Ok(compressor.compress(page)?),
        }
    }
}

/// The pages of a chunk as they are written.
pub(super) struct Pages {
    codec: Codec,
    sink: TrackedWrite<Blocks>,
    uncompressed: usize,
    dictionary: bool,
    data_from: Option<u64>,
    offsets: OffsetIndexBuilder,
    extents: ColumnIndexBuilder,
}

impl Pages {
    /// For pages like the first, which tells whether to compress them.
    pub(super) fn new(kind: Type, compression: Compression, first: &[u8]) -> Result<Self> {
        let codec = Codec::worth(compression, first)?;
        let (offsets, extents) = (OffsetIndexBuilder::new(), ColumnIndexBuilder::new(kind));
        let sink = TrackedWrite::new(Blocks::default());
        Ok(Self { codec, sink, uncompressed: 0, dictionary: false, data_from: None, offsets, extents })
    }

    pub(super) fn memory(&self) -> usize {
        self.sink.inner().memory()
    }

    fn dictionary(&mut self, words: &Words) -> Result<()> {
        let num_values = length(words.len())?;
        let page = |buf| Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false };
        self.dictionary = true;
        self.write(words.plain(), page).map(drop)
    }

    pub(super) fn data(&mut self, of: DataPage, bytes: Vec<u8>) -> Result<()> {
        let num_values = length(of.rows)?;
        let page = |buf| Page::DataPage {
            buf,
            num_values,
            encoding: of.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = self.write(bytes, page)?;
        self.data_from.get_or_insert(spec.offset);
        let too_large = |_| ParquetError::General("a page is larger than a page may be".into());
        self.offsets.append_row_count(i64::from(num_values));
        let size = i32::try_from(spec.compressed_size).map_err(too_large)?;
        self.offsets.append_offset_and_size(signed(spec.offset)?, size);
        self.offsets.append_unencoded_byte_array_data_bytes(None);
        let empty = of.extent.is_none();
        let [smallest, largest] = of.extent.unwrap_or_default();
        // A page whose values can't be compared says nothing to go by, unless that there are none.
        if empty && of.nulls < of.rows {
            self.extents.to_invalid();
        }
        self.extents.append(empty, smallest, largest, signed(of.nulls as u64)?);
        Ok(())
    }

    fn write(&mut self, bytes: Vec<u8>, page: impl FnOnce(Bytes) -> Page) -> Result<PageWriteSpec> {
        let uncompressed = bytes.len();
        let bytes = if matches!(self.codec, Codec::None) { bytes } else { self.codec.compressed(&bytes)? };
        let page = CompressedPage::new(page(bytes.into()), uncompressed);
        let spec = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.uncompressed += spec.uncompressed_size;
        Ok(spec)
    }

    pub(super) fn close(self, column: ColumnDescPtr, rows: usize, statistics: Statistics) -> Result<Chunk> {
        let bytes = self.sink.into_inner()?.close();
        let mut encodings = vec![Encoding::PLAIN, Encoding::RLE];
        encodings.extend(self.dictionary.then_some(Encoding::RLE_DICTIONARY));
        let metadata = ColumnChunkMetaData::builder(column)
            .set_encodings(encodings)
            .set_compression(self.codec.compression())
            .set_num_values(signed(rows as u64)?)
            .set_total_compressed_size(signed(bytes.len())?)
            .set_total_uncompressed_size(signed(self.uncompressed as u64)?)
            .set_dictionary_page_offset(self.dictionary.then_some(0))
            .set_data_page_offset(signed(self.data_from.unwrap_or_default())?)
            .set_statistics(statistics)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: bytes.len(),
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: if self.extents.valid() { Some(self.extents.build()?) } else { None },
            offset_index: Some(self.offsets.build()),
        };
        Ok(Chunk { bytes, close })
    }
}

/// Numbers of so many bits each: runs where many are alike, else one after the other.
fn hybrid<T: Copy + Eq + Into<u128>>(bytes: &mut Vec<u8>, numbers: &[T], bits: u8) {
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let run = run(rest);
        if run >= RUN_MIN || run == rest.len() {
            varint(bytes, (run as u64) << 1);
            let number: u128 = (*first).into();
            bytes.extend(number.to_le_bytes().into_iter().take(usize::from(bits.div_ceil(8))));
            rest = rest.get(run..).unwrap_or_default();
            continue;
        }
        let mut packed = GROUP.min(rest.len());
        while packed < rest.len() && rest.get(packed..).is_some_and(|ahead| run_is_short(ahead)) {
            packed = (packed + GROUP).min(rest.len());
        }
        let (literal, after) = rest.split_at(packed);
        varint(bytes, (literal.len().div_ceil(GROUP) as u64) << 1 | 1);
        for group in literal.chunks(GROUP) {
            let all = group.iter().rev().fold(0_u128, |all, number| all << bits | (*number).into());
            bytes.extend(all.to_le_bytes().into_iter().take(usize::from(bits)));
        }
        rest = after;
    }
}

/// How many are alike from the first on.
fn run<T: Eq>(numbers: &[T]) -> usize {
    let Some(first) = numbers.first() else { return 0 };
    numbers.iter().position(|number| number != first).unwrap_or(numbers.len())
}

/// Whether there is no run worth its name here; mostly told by two numbers.
#[inline]
fn run_is_short<T: Eq>(numbers: &[T]) -> bool {
    numbers.get(..RUN_MIN).is_none_or(|ahead| run(ahead) < RUN_MIN)
}

pub(super) fn varint(bytes: &mut Vec<u8>, mut number: u64) {
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

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("bytes", &self.sink.bytes_written()).finish_non_exhaustive()
    }
}
