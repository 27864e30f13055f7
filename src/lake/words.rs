//! The different values of a column, as long as they are few.
//!
//! Owns: which number a value has, and how a value stands in Parquet. Does not own: the rows ([`super::coded`]).

use std::{cmp::Ordering, hash::BuildHasher};

use foldhash::fast::FixedState;
use parquet::{data_type::ByteArray, file::statistics::Statistics};

use super::numbers::Number;

/// A column of more is not one of few words.
pub(super) const WORDS_MAX: usize = 1 << 12;
/// A longer value is no word; readers are told no longer ones as the smallest and the largest of a column either.
pub(super) const WORD_BYTES_MAX: usize = 64;
/// So many places are looked at before a value counts as one too many: whoever makes up values can't make us slow.
const TRIES_MAX: usize = 32;
/// A power of two.
const SLOTS_MIN: usize = 256;
/// So many slots for each word, so that most words are in the first that is looked at.
const SLOTS_PER_WORD: usize = 8;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int,
    Bytes,
}

/// The words in the order in which they came up, which is their numbers'.
#[derive(Debug)]
pub(super) struct Words {
    kind: Kind,
    /// Of all kinds but bytes: the bits of each.
    bits: Vec<u64>,
    /// Of bytes: one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Where a word is found by its hash: its number and one, or nothing.
    slots: Vec<u16>,
}

/// The smallest and the largest of some words.
pub(super) struct Extent<'w> {
    words: &'w Words,
    ends: Option<(usize, usize)>,
}

impl Words {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, bits: vec![], bytes: vec![], ends: vec![], slots: vec![0; SLOTS_MIN] }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn len(&self) -> usize {
        self.bits.len() + self.ends.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.bits.capacity() * size_of::<u64>()
            + self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.slots.capacity() * size_of::<u16>()
    }

    /// The number of a value that is not bytes; none if it would be one too many, or is no number.
    #[inline]
    pub(super) fn number_of_bits(&mut self, bits: u64) -> Option<u16> {
        let hash = mixed(bits);
        match self.first(hash) {
            Some(number) if self.bits.get(usize::from(number)) == Some(&bits) => Some(number),
            _ => self.search_bits(hash, bits),
        }
    }

    /// The number of a value of bytes; none if it would be one too many.
    #[inline]
    pub(super) fn number_of_bytes(&mut self, bytes: &[u8]) -> Option<u16> {
        if bytes.len() > WORD_BYTES_MAX {
            return None;
        }
        let hash = hashed(bytes);
        match self.first(hash) {
            Some(number) if self.bytes_of(usize::from(number)) == bytes => Some(number),
            _ => self.search_bytes(hash, bytes),
        }
    }

    #[inline]
    fn first(&self, hash: usize) -> Option<u16> {
        self.slots.get(hash & (self.slots.len() - 1))?.checked_sub(1)
    }

    #[inline(never)]
    fn search_bits(&mut self, hash: usize, bits: u64) -> Option<u16> {
        let (found, slot) = self.find(hash, |number| self.bits.get(number) == Some(&bits))?;
        if let Some(number) = found {
            return Some(number);
        }
        let is_number = match self.kind {
            Kind::Double => !f64::from_bits(bits).is_nan(),
            Kind::Float => !f32::from_bits(lower(bits)).is_nan(),
            Kind::Int | Kind::Bytes => true,
        };
        let number = self.next().filter(|_| is_number)?;
        self.bits.push(bits);
        self.enter(number, slot);
        Some(number)
    }

    #[inline(never)]
    fn search_bytes(&mut self, hash: usize, bytes: &[u8]) -> Option<u16> {
        let (found, slot) = self.find(hash, |number| self.bytes_of(number) == bytes)?;
        if let Some(number) = found {
            return Some(number);
        }
        let number = self.next()?;
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.enter(number, slot);
        Some(number)
    }

    pub(super) fn bits_of(&self, number: usize) -> u64 {
        self.bits.get(number).copied().unwrap_or_default()
    }

    pub(super) fn bytes_of(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(number).copied().unwrap_or_default();
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// All of them as Parquet's plain encoding has them.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = vec![];
        for number in 0..self.len() {
            match self.kind {
                Kind::Double => plain.extend(self.bits_of(number).to_le_bytes()),
                Kind::Float | Kind::Int => plain.extend(lower(self.bits_of(number)).to_le_bytes()),
                Kind::Bytes => {
                    let bytes = self.bytes_of(number);
                    plain.extend(u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
                    plain.extend_from_slice(bytes);
                }
            }
        }
        plain
    }

    /// Of those among the words that are `used`.
    pub(super) fn extent(&self, used: &[bool]) -> Extent<'_> {
        let used = || (0..self.len()).filter(|&number| used.get(number) == Some(&true));
        let smallest = used().min_by(|one, other| self.compare(*one, *other));
        let largest = used().max_by(|one, other| self.compare(*one, *other));
        Extent { words: self, ends: smallest.zip(largest) }
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        match self.kind {
            Kind::Double => self.double(one).total_cmp(&self.double(other)),
            Kind::Float => self.float(one).total_cmp(&self.float(other)),
            Kind::Int => self.int(one).cmp(&self.int(other)),
            Kind::Bytes => self.bytes_of(one).cmp(self.bytes_of(other)),
        }
    }

    fn double(&self, number: usize) -> f64 {
        f64::from_bits(self.bits_of(number))
    }

    fn float(&self, number: usize) -> f32 {
        f32::from_bits(lower(self.bits_of(number)))
    }

    fn int(&self, number: usize) -> i32 {
        lower(self.bits_of(number)).cast_signed()
    }

    /// The number of the word that `is` the one, or the slot where it would stand.
    fn find(&self, hash: usize, is: impl Fn(usize) -> bool) -> Option<(Option<u16>, usize)> {
        let mask = self.slots.len() - 1;
        for try_ in 0..TRIES_MAX {
            let slot = hash.wrapping_add(try_) & mask;
            match self.slots.get(slot).copied()?.checked_sub(1) {
                None => return Some((None, slot)),
                Some(number) if is(usize::from(number)) => return Some((Some(number), slot)),
                Some(_) => {}
            }
        }
        None
    }

    fn next(&self) -> Option<u16> {
        u16::try_from(self.len()).ok().filter(|number| usize::from(*number) < WORDS_MAX)
    }

    fn enter(&mut self, number: u16, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = number + 1;
        }
        if self.len() * SLOTS_PER_WORD > self.slots.len() {
            self.grow();
        }
    }

    /// Twice as many slots. A word that finds no place any more gets a second number if it comes again, which is as good.
    #[cold]
    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        for number in 0..self.len() {
            let hash =
                if self.kind == Kind::Bytes { hashed(self.bytes_of(number)) } else { mixed(self.bits_of(number)) };
            let Some((None, slot)) = self.find(hash, |_| false) else { continue };
            if let (Some(slot), Ok(number)) = (self.slots.get_mut(slot), u16::try_from(number + 1)) {
                *slot = number;
            }
        }
    }
}

impl Extent<'_> {
    /// As Parquet's index of pages has them; nothing where there are only nulls.
    pub(super) fn bytes(&self) -> Option<[Vec<u8>; 2]> {
        let words = self.words;
        let (smallest, largest) = self.ends?;
        let ends = [smallest, largest];
        Some(match words.kind {
            Kind::Double => f64::with_both_zeros(ends.map(|end| words.double(end))).map(Number::bytes),
            Kind::Float => f32::with_both_zeros(ends.map(|end| words.float(end))).map(Number::bytes),
            Kind::Int => ends.map(|end| words.int(end).to_le_bytes().to_vec()),
            Kind::Bytes => ends.map(|end| words.bytes_of(end).to_vec()),
        })
    }

    pub(super) fn statistics(&self, nulls: u64) -> Statistics {
        let words = self.words;
        match words.kind {
            Kind::Double => {
                let (smallest, largest) = self.of(|ends| f64::with_both_zeros(ends.map(|end| words.double(end))));
                f64::statistics(smallest, largest, nulls)
            }
            Kind::Float => {
                let (smallest, largest) = self.of(|ends| f32::with_both_zeros(ends.map(|end| words.float(end))));
                f32::statistics(smallest, largest, nulls)
            }
            Kind::Int => {
                let (smallest, largest) = self.of(|ends| ends.map(|end| words.int(end)));
                Statistics::int32(smallest, largest, None, Some(nulls), false)
            }
            Kind::Bytes => {
                let bytes = |end| ByteArray::from(words.bytes_of(end).to_vec());
                let (smallest, largest) = self.of(|ends| ends.map(bytes));
                Statistics::byte_array(smallest, largest, None, Some(nulls), false)
            }
        }
    }

    fn of<T>(&self, values: impl Fn([usize; 2]) -> [T; 2]) -> (Option<T>, Option<T>) {
        self.ends.map(|(smallest, largest)| values([smallest, largest]).into()).unzip()
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the upper half is not used")]
pub(super) fn lower(bits: u64) -> u32 {
    bits as u32
}

/// All bits have a say in those that choose a slot: of small whole numbers only the first few are set.
#[inline]
fn mixed(bits: u64) -> usize {
    let product = u128::from(bits) * 0x9E37_79B9_7F4A_7C15;
    (product ^ (product >> u64::BITS)) as usize
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
fn hashed(bytes: &[u8]) -> usize {
    FixedState::default().hash_one(bytes) as usize
}
