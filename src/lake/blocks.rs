//! Bytes that are written one after the other, and never moved for those that come after them.
//!
//! Owns: in how many pieces they are. Does not own: what they mean.
//!
//! A `Vec` that grows is copied again and again into memory that nobody has touched yet, which costs more than the bytes.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use parquet::{
    errors::Result,
    file::reader::{ChunkReader, Length},
};

const BLOCK_BYTES_MIN: usize = 4 << 10;
/// More than this in one piece saves nothing.
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// Each block is as large as all before it together, within limits.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    full: Vec<Bytes>,
    open: Vec<u8>,
    len: usize,
}

impl Blocks {
    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        self.len - self.open.len() + self.open.capacity()
    }

    pub(super) fn close(mut self) -> Written {
        self.full.push(self.open.into());
        Written { blocks: self.full, len: self.len }
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.len() == self.open.capacity() {
            let next = Vec::with_capacity(self.len.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX));
            self.full.push(std::mem::replace(&mut self.open, next).into());
        }
        let fits = bytes.len().min(self.open.capacity() - self.open.len());
        let (now, _) = bytes.split_at(fits);
        self.open.extend_from_slice(now);
        self.len += now.len();
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All of it, to be read.
#[derive(Debug)]
pub(super) struct Written {
    blocks: Vec<Bytes>,
    len: usize,
}

impl Length for Written {
    fn len(&self) -> u64 {
        self.len as u64
    }
}

impl ChunkReader for Written {
    type T = Reader;

    fn get_read(&self, start: u64) -> Result<Reader> {
        let mut blocks = self.blocks.clone().into_iter();
        let mut skip = usize::try_from(start)?;
        let mut block = blocks.next().unwrap_or_default();
        while skip >= block.len()
            && let Some(next) = blocks.next()
        {
            skip -= block.len();
            block = next;
        }
        block.advance(skip.min(block.len()));
        Ok(Reader { block, blocks })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads block after block.
#[derive(Debug)]
pub(super) struct Reader {
    block: Bytes,
    blocks: std::vec::IntoIter<Bytes>,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty()
            && let Some(next) = self.blocks.next()
        {
            self.block = next;
        }
        let read = to.len().min(self.block.len());
        let (to, _) = to.split_at_mut(read);
        self.block.copy_to_slice(to);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces as short as a page's header and longer than a block.
    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..50),
            (0..20_u8, 0..600_000_usize).prop_map(|(seed, length)| (0..length)
                .map(|at| seed.wrapping_add((at % 251).to_le_bytes()[0]))
                .collect())
        ];
        prop::collection::vec(piece, 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_written_is_read_from_anywhere(pieces in pieces(), start in 0_usize..1_000_000) {
            let mut blocks = Blocks::default();
            for piece in &pieces {
                blocks.write_all(piece).unwrap();
            }
            let all = pieces.concat();
            prop_assert!(blocks.memory() >= all.len());
            prop_assert!(blocks.memory() <= 2 * all.len() + BLOCK_BYTES_MIN);
            let written = blocks.close();
            prop_assert_eq!(written.len(), all.len() as u64);
            let start = start.min(all.len());
            let mut read = vec![];
            written.get_read(start as u64).unwrap().read_to_end(&mut read).unwrap();
            prop_assert!(read == all[start..]);
            let some = (all.len() - start) / 2;
            prop_assert!(written.get_bytes(start as u64, some).unwrap() == all[start..start + some]);
            prop_assert!(written.get_bytes(start as u64, all.len() - start + 1).is_err());
        }
    }
}
