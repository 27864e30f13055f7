//! How requests and answers are written, in the two forms that the protocol has for strings, bytes and arrays.
//!
//! Owns: the forms, and which version asks for which. Does not own: what is in a request ([`super::messages`]).

use std::io::{Cursor, Read};

use rskafka::protocol::{
    api_key::ApiKey,
    api_version::{ApiVersion, ApiVersionRange},
    messages::{ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType},
    primitives::{
        Bytes, CompactBytes, CompactNullableString, CompactString, Int8, Int16, Int32, Int64, NullableString, String_,
        TaggedFields, UnsignedVarint,
    },
    traits::{ReadError, ReadType, WriteError, WriteType},
};

/// A request, and what is asked for by it.
pub(in crate::broker) trait Request {
    const KEY: ApiKey;
    /// The first version and the last that are known here.
    const VERSIONS: (i16, i16);
    /// From this version on lengths are short and fields may be added by tags.
    const FLEXIBLE: i16;
    type Answer: Answer;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError>;
}

pub(in crate::broker) trait Answer: Sized {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError>;
}

/// A request as rskafka's messenger takes it.
#[derive(Debug)]
pub(in crate::broker) struct Ask<R>(pub(in crate::broker) R);

#[derive(Debug)]
pub(in crate::broker) struct Told<R: Request>(pub(in crate::broker) R::Answer);

impl<R: Request> RequestBody for Ask<R> {
    type ResponseBody = Told<R>;
    const API_KEY: ApiKey = R::KEY;
    const API_VERSION_RANGE: ApiVersionRange =
        ApiVersionRange::new(ApiVersion(Int16(R::VERSIONS.0)), ApiVersion(Int16(R::VERSIONS.1)));
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(R::FLEXIBLE));
}

impl<R: Request> WriteVersionedType<Vec<u8>> for Ask<R> {
    fn write_versioned(&self, to: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        let version = version.0.0;
        let mut writer = Writer { to, flexible: version >= R::FLEXIBLE };
        self.0.write(&mut writer, version)?;
        Ok(writer.tags()?)
    }
}

impl<R: Request> ReadVersionedType<Cursor<Vec<u8>>> for Told<R> {
    fn read_versioned(from: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let version = version.0.0;
        let mut reader = Reader { from, flexible: version >= R::FLEXIBLE };
        let answer = R::Answer::read(&mut reader, version)?;
        reader.tags()?;
        Ok(Self(answer))
    }
}

#[derive(Debug)]
pub(in crate::broker) struct Writer<'a> {
    to: &'a mut Vec<u8>,
    flexible: bool,
}

impl<'a> Writer<'a> {
    /// For what is written without a request around it, always in the older form.
    pub(super) fn plain(to: &'a mut Vec<u8>) -> Self {
        Self { to, flexible: false }
    }

    pub(super) fn int8(&mut self, value: i8) -> Result<(), WriteError> {
        Int8(value).write(self.to)
    }

    pub(super) fn int16(&mut self, value: i16) -> Result<(), WriteError> {
        Int16(value).write(self.to)
    }

    pub(super) fn int32(&mut self, value: i32) -> Result<(), WriteError> {
        Int32(value).write(self.to)
    }

    pub(super) fn int64(&mut self, value: i64) -> Result<(), WriteError> {
        Int64(value).write(self.to)
    }

    pub(super) fn bool(&mut self, value: bool) -> Result<(), WriteError> {
        self.int8(value.into())
    }

    pub(super) fn string(&mut self, value: &str) -> Result<(), WriteError> {
        self.nullable(Some(value))
    }

    pub(super) fn nullable(&mut self, value: Option<&str>) -> Result<(), WriteError> {
        let value = value.map(str::to_owned);
        if self.flexible { CompactNullableString(value).write(self.to) } else { NullableString(value).write(self.to) }
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> Result<(), WriteError> {
        let value = value.to_vec();
        if self.flexible { CompactBytes(value).write(self.to) } else { Bytes(value).write(self.to) }
    }

    pub(super) fn uuid(&mut self, value: uuid::Uuid) {
        self.to.extend_from_slice(value.as_bytes());
    }

    pub(super) fn array<T>(
        &mut self,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let count = i32::try_from(items.len())?;
        if self.flexible {
            UnsignedVarint(u64::try_from(count)? + 1).write(self.to)?;
        } else {
            self.int32(count)?;
        }
        items.iter().try_for_each(|one| item(self, one))
    }

    /// No field of ours comes by a tag.
    pub(super) fn tags(&mut self) -> Result<(), WriteError> {
        if self.flexible { TaggedFields::default().write(self.to) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(in crate::broker) struct Reader<'a> {
    from: &'a mut Cursor<Vec<u8>>,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// For what is read without an answer around it, always in the older form.
    pub(super) fn plain(from: &'a mut Cursor<Vec<u8>>) -> Self {
        Self { from, flexible: false }
    }

    pub(super) fn bool(&mut self) -> Result<bool, ReadError> {
        Ok(self.int8()? != 0)
    }

    pub(super) fn int16(&mut self) -> Result<i16, ReadError> {
        Ok(Int16::read(self.from)?.0)
    }

    pub(super) fn int32(&mut self) -> Result<i32, ReadError> {
        Ok(Int32::read(self.from)?.0)
    }

    pub(super) fn string(&mut self) -> Result<String, ReadError> {
        if self.flexible { Ok(CompactString::read(self.from)?.0) } else { Ok(String_::read(self.from)?.0) }
    }

    pub(super) fn nullable(&mut self) -> Result<Option<String>, ReadError> {
        if self.flexible {
            Ok(CompactNullableString::read(self.from)?.0)
        } else {
            Ok(NullableString::read(self.from)?.0)
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, ReadError> {
        if self.flexible { Ok(CompactBytes::read(self.from)?.0) } else { Ok(Bytes::read(self.from)?.0) }
    }

    pub(super) fn uuid(&mut self) -> Result<uuid::Uuid, ReadError> {
        let mut bytes = [0; 16];
        self.from.read_exact(&mut bytes)?;
        Ok(uuid::Uuid::from_bytes(bytes))
    }

    pub(super) fn int8(&mut self) -> Result<i8, ReadError> {
        Ok(Int8::read(self.from)?.0)
    }

    /// A structure that may be left out, as one byte before it tells.
    pub(super) fn struct_if_there<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        if self.int8()? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// None and empty are one here.
    pub(super) fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let count = if self.flexible {
            UnsignedVarint::read(self.from)?.0.saturating_sub(1)
        } else {
            u64::try_from(self.int32()?).unwrap_or(0)
        };
        // Grows with what is there, not with what is said to be there.
        (0..count).map(|_| item(self)).collect::<Result<_, _>>()
    }

    /// Fields that came later, and that nothing here asks for.
    pub(super) fn tags(&mut self) -> Result<(), ReadError> {
        if self.flexible { TaggedFields::read(self.from).map(drop) } else { Ok(()) }
    }
}
