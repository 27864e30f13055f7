//! Rows as the network takes them, packed: what is nearly always nought is kept only where it is not.
//!
//! Owns the form of packed rows, in memory and in a temporary file. Does not own which rows they are.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    sync::Arc,
};

use crate::model::{error::ModelError, features::Encoder};

/// Rows packed together; read from the file at once.
pub(super) const BLOCK_ROWS: usize = 8_192;

/// Some rows, in blocks.
#[derive(Debug)]
pub(super) struct Packed {
    slots: Slots,
    blocks: Vec<Place>,
    rows: usize,
    /// What has come since the last whole block.
    open: Block,
    file: Option<Spilled>,
}

/// Where a block is.
#[derive(Debug)]
enum Place {
    Memory(Arc<Block>),
    File { at: u64, bytes: usize },
}

#[derive(Debug)]
struct Spilled {
    file: File,
    end: u64,
}

/// Which floats of a row are kept as they are, and which only if they are not nought.
#[derive(Clone, Debug)]
struct Slots {
    width: usize,
    dense: Vec<Range<usize>>,
    sparse: Vec<Range<usize>>,
}

/// Up to [`BLOCK_ROWS`] rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block {
    rows: usize,
    dense: Vec<f32>,
    /// One more than there are rows: where each row's entries begin.
    starts: Vec<u32>,
    slots: Vec<u16>,
    floats: Vec<f32>,
}

impl Packed {
    pub(super) fn new(encoder: &Encoder) -> Self {
        let mut slots = Slots { width: encoder.width(), dense: vec![], sparse: vec![] };
        for (range, is_sparse) in encoder.slots() {
            push_range(if is_sparse { &mut slots.sparse } else { &mut slots.dense }, range);
        }
        Self { slots, blocks: vec![], rows: 0, open: Block::default(), file: None }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn width(&self) -> usize {
        self.slots.width
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Takes in rows, each as wide as the network's input. A whole block goes to a file if memory has no room for it.
    pub(super) fn extend(&mut self, rows: &[f32], room: &mut u64) -> Result<(), ModelError> {
        for row in rows.chunks_exact(self.slots.width) {
            self.open.push(row, &self.slots);
            self.rows += 1;
            if self.open.rows == BLOCK_ROWS {
                self.close(room)?;
            }
        }
        Ok(())
    }

    /// To be called once after the last rows.
    pub(super) fn finish(&mut self, room: &mut u64) -> Result<(), ModelError> {
        if self.open.rows > 0 { self.close(room) } else { Ok(()) }
    }

    fn close(&mut self, room: &mut u64) -> Result<(), ModelError> {
        let block = std::mem::take(&mut self.open);
        let bytes = block.bytes() as u64;
        let place = if bytes <= *room {
            *room -= bytes;
            Place::Memory(Arc::new(block))
        } else {
            self.spill(&block).map_err(|source| spill_error("write", source))?
        };
        self.blocks.push(place);
        Ok(())
    }

    fn spill(&mut self, block: &Block) -> io::Result<Place> {
        let spilled = match &mut self.file {
            Some(spilled) => spilled,
            // It has no name, so nothing of it is left behind.
            none => none.insert(Spilled { file: tempfile::tempfile()?, end: 0 }),
        };
        let bytes = block.to_bytes();
        spilled.file.seek(SeekFrom::Start(spilled.end))?;
        spilled.file.write_all(&bytes)?;
        let at = spilled.end;
        spilled.end += bytes.len() as u64;
        Ok(Place::File { at, bytes: bytes.len() })
    }

    pub(super) fn block(&self, index: usize) -> Result<Arc<Block>, ModelError> {
        match (&self.blocks[index], &self.file) {
            (Place::Memory(block), _) => Ok(Arc::clone(block)),
            (Place::File { at, bytes }, Some(spilled)) => {
                read(&spilled.file, *at, *bytes).map(Arc::new).map_err(|source| spill_error("read", source))
            }
            (Place::File { .. }, None) => Err(ModelError::Compute("packed rows have lost their file".to_owned())),
        }
    }

    /// Writes a row of the block as the network takes it; `row` is all noughts before.
    pub(super) fn unpack(&self, block: &Block, index: usize, row: &mut [f32]) {
        self.each(block, index, |slot, float| row[slot] = float);
    }

    /// Calls `put` with every float of the row that may not be nought, and its place.
    pub(super) fn each(&self, block: &Block, index: usize, mut put: impl FnMut(usize, f32)) {
        let dense: usize = self.slots.dense.iter().map(Range::len).sum();
        let floats = &block.dense[index * dense..(index + 1) * dense];
        self.slots.dense.iter().cloned().flatten().zip(floats).for_each(|(slot, float)| put(slot, *float));
        let entries = block.starts[index] as usize..block.starts[index + 1] as usize;
        let (slots, floats) = (&block.slots[entries.clone()], &block.floats[entries]);
        slots.iter().zip(floats).for_each(|(slot, float)| put(usize::from(*slot), *float));
    }

    /// Which floats are nought in every row.
    pub(super) fn silent(&self) -> Result<Vec<bool>, ModelError> {
        let mut silent = vec![true; self.width()];
        for index in 0..self.blocks() {
            let block = self.block(index)?;
            for row in 0..block.rows {
                self.each(&block, row, |slot, float| silent[slot] &= float == 0.0);
            }
        }
        Ok(silent)
    }
}

fn push_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

impl Block {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn push(&mut self, row: &[f32], slots: &Slots) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        for range in &slots.dense {
            self.dense.extend_from_slice(&row[range.clone()]);
        }
        for slot in slots.sparse.iter().cloned().flatten().filter(|slot| row[*slot] != 0.0) {
            // The width of an input is limited to what both types hold.
            self.slots.push(u16::try_from(slot).unwrap_or(u16::MAX));
            self.floats.push(row[slot]);
        }
        self.starts.push(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.rows += 1;
    }

    fn bytes(&self) -> usize {
        4 * (self.dense.len() + self.starts.len() + self.floats.len()) + 2 * self.slots.len()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let lengths = [self.rows, self.dense.len(), self.starts.len(), self.slots.len()];
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.bytes());
        for length in lengths {
            bytes.extend_from_slice(&(length as u64).to_le_bytes());
        }
        self.dense.iter().for_each(|float| bytes.extend_from_slice(&float.to_le_bytes()));
        self.starts.iter().for_each(|start| bytes.extend_from_slice(&start.to_le_bytes()));
        self.floats.iter().for_each(|float| bytes.extend_from_slice(&float.to_le_bytes()));
        self.slots.iter().for_each(|slot| bytes.extend_from_slice(&slot.to_le_bytes()));
        bytes
    }

    /// `None` if these are not the bytes of a block.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let mut lengths = header.as_chunks::<8>().0.iter().map(|length| usize::try_from(u64::from_le_bytes(*length)));
        let mut length = || lengths.next()?.ok();
        let (rows, dense, starts, sparse) = (length()?, length()?, length()?, length()?);
        let (dense, rest) = rest.split_at_checked(4 * dense)?;
        let (starts, rest) = rest.split_at_checked(4 * starts)?;
        let (floats, slots) = rest.split_at_checked(4 * sparse)?;
        if slots.len() != 2 * sparse {
            return None;
        }
        let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        Some(Self {
            rows,
            dense: dense.as_chunks().0.iter().map(float).collect(),
            starts: starts.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            floats: floats.as_chunks().0.iter().map(float).collect(),
            slots: slots.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect(),
        })
    }
}

const HEADER_BYTES: usize = 32;

fn read(mut file: &File, at: u64, bytes: usize) -> io::Result<Block> {
    let mut buffer = vec![0; bytes];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut buffer)?;
    Block::from_bytes(&buffer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn spill_error(action: &'static str, source: io::Error) -> ModelError {
    ModelError::Io { action, path: std::env::temp_dir(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

    use super::*;
    use crate::model::{Feature, FeatureKind};

    const ROWS: usize = 2 * BLOCK_ROWS + 5;

    fn batch() -> RecordBatch {
        let words = ["a", "b", "c", "z"];
        let number = |row: usize| f64::from(u32::try_from(row).unwrap());
        RecordBatch::try_from_iter([
            ("w", Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| words[row % 4]))) as ArrayRef),
            ("x", Arc::new(Float64Array::from_iter_values((0..ROWS).map(number)))),
        ])
        .unwrap()
    }

    fn encoder(batch: &RecordBatch) -> Encoder {
        let vocabulary = ["a", "b", "c"].map(String::from).to_vec();
        let kinds = [FeatureKind::Categorical { vocabulary }, FeatureKind::Numeric { mean: 0.0, std: 1.0 }];
        let feature = |(name, kind): (&str, FeatureKind)| Feature { name: name.to_owned(), missing: false, kind };
        let features: Vec<_> = ["w", "x"].into_iter().zip(kinds).map(feature).collect();
        Encoder::bind(&features, batch.schema_ref()).unwrap()
    }

    fn packed(mut room: u64) -> (Packed, Vec<f32>) {
        let batch = batch();
        let encoder = encoder(&batch);
        let rows = encoder.encode(&batch, 0..ROWS).unwrap();
        let mut packed = Packed::new(&encoder);
        for part in rows.chunks(encoder.width() * 1_000) {
            packed.extend(part, &mut room).unwrap();
        }
        packed.finish(&mut room).unwrap();
        (packed, rows)
    }

    fn unpacked(packed: &Packed) -> Vec<f32> {
        let mut rows = vec![0.0; packed.rows() * packed.width()];
        let mut lines = rows.chunks_exact_mut(packed.width());
        for index in 0..packed.blocks() {
            let block = packed.block(index).unwrap();
            (0..block.rows()).for_each(|row| packed.unpack(&block, row, lines.next().unwrap()));
        }
        rows
    }

    #[test]
    fn rows_come_back_as_they_were_from_memory_and_from_the_file() {
        for (room, spilled) in [(u64::MAX, 0), (0, 3), (150_000, 1)] {
            let (packed, rows) = packed(room);
            let in_file = packed.blocks.iter().filter(|place| matches!(place, Place::File { .. })).count();
            assert_eq!((packed.rows(), packed.blocks(), in_file), (ROWS, 3, spilled), "room for {room}");
            assert!(unpacked(&packed) == rows, "room for {room}");
        }
    }

    #[test]
    fn words_take_room_only_for_the_one_that_is_there() {
        let (packed, _) = packed(u64::MAX);
        let block = packed.block(0).unwrap();
        assert_eq!((block.dense.len(), block.slots.len()), (BLOCK_ROWS, BLOCK_ROWS));
    }

    #[test]
    fn what_is_nought_in_every_row_is_known() {
        let (packed, _) = packed(u64::MAX);
        assert_eq!(packed.silent().unwrap(), [false; 5]);
        let batch = batch().slice(0, 1);
        let encoder = encoder(&batch);
        let mut one = Packed::new(&encoder);
        one.extend(&encoder.encode(&batch, 0..1).unwrap(), &mut 0).unwrap();
        one.finish(&mut 0).unwrap();
        assert_eq!(one.silent().unwrap(), [false, true, true, true, true]);
    }

    #[test]
    fn bytes_that_are_no_block_are_none() {
        let bytes = packed(u64::MAX).0.block(2).unwrap().to_bytes();
        assert!((0..bytes.len()).all(|end| Block::from_bytes(&bytes[..end]).is_none()));
    }
}
