//! The bytes of a message, field by field.
//!
//! Owns: Protobuf's binary encoding. Invariant: nothing is allocated, and each step takes a byte at least.

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Ends,
    Number,
    Tag,
    Group,
    Deep,
    Utf8,
    /// A field is written in another way than its type has it.
    Kind(u32),
}

/// The longest a 64-bit number may be, in bytes.
const NUMBER_BYTES_MAX: usize = 10;
/// Groups within groups that are stepped over.
const GROUPS_MAX: usize = 100;
const FIELD_MAX: u64 = (1 << 29) - 1;

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Eight,
    Counted,
    Group,
    GroupEnd,
    Four,
}

#[derive(Clone, Debug)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for (place, byte) in self.rest.iter().take(NUMBER_BYTES_MAX).enumerate() {
            // The tenth byte has room for one bit.
            if place == NUMBER_BYTES_MAX - 1 && *byte > 1 {
                return Err(Broken::Number);
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(if self.rest.len() < NUMBER_BYTES_MAX { Broken::Ends } else { Broken::Number })
    }

    /// The next field's number and how it is written.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, Kind), Broken> {
        let tag = self.number()?;
        let kind = match tag & 7 {
            0 => Kind::Number,
            1 => Kind::Eight,
            2 => Kind::Counted,
            3 => Kind::Group,
            4 => Kind::GroupEnd,
            5 => Kind::Four,
            _ => return Err(Broken::Tag),
        };
        match u32::try_from(tag >> 3) {
            Ok(field) if field > 0 && u64::from(field) <= FIELD_MAX => Ok((field, kind)),
            _ => Err(Broken::Tag),
        }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Broken::Ends)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(self.number()?).map_err(|_| Broken::Ends)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Broken::Ends)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Steps over a field whose tag was read.
    pub(super) fn skip(&mut self, field: u32, kind: Kind) -> Result<(), Broken> {
        match kind {
            Kind::Number => self.number().map(drop),
            Kind::Eight => self.array::<8>().map(drop),
            Kind::Four => self.array::<4>().map(drop),
            Kind::Counted => self.counted().map(drop),
            Kind::Group => self.skip_group(field, GROUPS_MAX),
            Kind::GroupEnd => Err(Broken::Group),
        }
    }

    fn skip_group(&mut self, of: u32, deeper: usize) -> Result<(), Broken> {
        let deeper = deeper.checked_sub(1).ok_or(Broken::Deep)?;
        loop {
            match self.tag()? {
                (field, Kind::GroupEnd) if field == of => return Ok(()),
                (field, Kind::Group) => self.skip_group(field, deeper)?,
                (field, kind) => self.skip(field, kind)?,
            }
        }
    }
}

impl Broken {
    pub(super) fn told(self) -> String {
        match self {
            Self::Ends => "the message ends in the middle".into(),
            Self::Number => "a number goes on for too many bytes".into(),
            Self::Tag => "there is no such field or kind of field".into(),
            Self::Group => "a group ends that has not begun".into(),
            Self::Deep => "groups are nested too deeply".into(),
            Self::Utf8 => "a text is not UTF-8".into(),
            Self::Kind(field) => format!("field {field} is written in another way than its schema has it"),
        }
    }
}
