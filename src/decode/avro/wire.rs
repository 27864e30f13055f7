//! The bytes of a record, read from left to right.
//!
//! Owns: Avro's binary encoding of numbers and lengths. Invariant: nothing is allocated for a length that is only claimed.

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Ends,
    Number,
    Int,
    Length,
    Bool,
    Branch,
    Symbol,
    Utf8,
    Deep,
    /// Sound, but not what the reader's schema or the fields ask for: which of the plan's misfits.
    Misfit(usize),
}

impl Broken {
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Ends => "the value ends in the middle",
            Self::Number => "a number goes on for too many bytes",
            Self::Int => "a number is beyond 32 bits, where its schema says int",
            Self::Length => "a length is negative, or beyond the end",
            Self::Bool => "a boolean is neither 0 nor 1",
            Self::Branch => "a union has no such branch",
            Self::Symbol => "an enum has no such symbol",
            Self::Utf8 => "a text is not UTF-8",
            Self::Deep => "values are nested too deeply",
            Self::Misfit(_) => "the schemas do not fit",
        }
    }
}

/// The longest a 64-bit number may be, in bytes.
const NUMBER_BYTES_MAX: usize = 10;

#[derive(Clone, Debug)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Broken> {
        // Most numbers are lengths, branches and small ones.
        let zigzag = match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                u64::from(*byte)
            }
            _ => self.long_number()?,
        };
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn long_number(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for (place, byte) in self.rest.iter().take(NUMBER_BYTES_MAX).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if place == NUMBER_BYTES_MAX - 1 && *byte > 1 {
                return Err(Broken::Number);
            }
            number |= bits << (7 * place);
            if *byte < 0x80 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(if self.rest.len() < NUMBER_BYTES_MAX { Broken::Ends } else { Broken::Number })
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i64, Broken> {
        let value = self.long()?;
        if i32::try_from(value).is_ok() { Ok(value) } else { Err(Broken::Int) }
    }

    #[inline]
    pub(super) fn bool(&mut self) -> Result<bool, Broken> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Broken::Bool),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Broken::Ends)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Broken::Ends)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(self.long()?).map_err(|_| Broken::Length)?;
        self.take(length).map_err(|_| Broken::Length)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'a str, Broken> {
        str::from_utf8(self.bytes()?).map_err(|_| Broken::Utf8)
    }

    /// Which of `of` branches or symbols.
    #[inline]
    pub(super) fn choice(&mut self, of: usize, otherwise: Broken) -> Result<usize, Broken> {
        let index = self.long()?;
        usize::try_from(index).ok().filter(|index| *index < of).ok_or(otherwise)
    }

    /// The next block of an array or a map: how many items, and if it is told, how many bytes; none at its end.
    pub(super) fn block(&mut self) -> Result<Option<(u64, Option<usize>)>, Broken> {
        match self.long()? {
            0 => Ok(None),
            items if items > 0 => Ok(Some((items.unsigned_abs(), None))),
            items => {
                let bytes = usize::try_from(self.long()?).map_err(|_| Broken::Length)?;
                if bytes > self.rest.len() {
                    Err(Broken::Length)
                } else {
                    Ok(Some((items.unsigned_abs(), Some(bytes))))
                }
            }
        }
    }
}
