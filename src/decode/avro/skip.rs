//! What no field is read from, stepped over.
//!
//! Owns: how long a value is. Invariant: every step of a loop takes a byte at least, so that no count that a record
//! claims costs more than its bytes; recursion has a limit.

use super::{
    schema::{Form, TypeId, Types},
    wire::{Broken, Wire},
};

/// Values within values; schemas may point back at themselves, so that a record says how deep it is.
const NESTED_MAX: usize = 128;

/// How to step over each of a schema's types; has the same places.
#[derive(Debug)]
pub(super) struct Skips(Vec<Skip>);

#[derive(Debug)]
enum Skip {
    Nothing,
    Number,
    Bytes(usize),
    /// Its length stands before it.
    Counted,
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<TypeId>),
}

impl Skips {
    pub(super) fn new(types: &Types) -> Self {
        let forms = types.all();
        let mut weighty = vec![false; forms.len()];
        // A record has weight if any of its fields has; records point at each other, hence again until nothing changes.
        loop {
            let before = weighty.clone();
            for (id, form) in forms.iter().enumerate() {
                weighty[id] = weighty[id] || is_weighty(&form.form, &weighty);
            }
            if before == weighty {
                break;
            }
        }
        Self(forms.iter().zip(&weighty).map(|(form, weighty)| Skip::of(&form.form, *weighty)).collect())
    }

    pub(super) fn skip(&self, id: TypeId, wire: &mut Wire<'_>) -> Result<(), Broken> {
        self.nested(id, wire, NESTED_MAX)
    }

    /// Steps over an array's items, or a map's entries.
    pub(super) fn all(&self, items: TypeId, keyed: bool, wire: &mut Wire<'_>) -> Result<(), Broken> {
        self.items(items, keyed, wire, NESTED_MAX)
    }

    fn nested(&self, id: TypeId, wire: &mut Wire<'_>, deeper: usize) -> Result<(), Broken> {
        let Some(skip) = self.0.get(id) else { return Ok(()) };
        match skip {
            Skip::Nothing => Ok(()),
            Skip::Number => wire.long().map(drop),
            Skip::Bytes(bytes) => wire.take(*bytes).map(drop),
            Skip::Counted => wire.bytes().map(drop),
            Skip::Union(branches) => {
                let branch = wire.choice(branches.len(), Broken::Branch)?;
                self.nested(branches[branch], wire, below(deeper)?)
            }
            Skip::Record(fields) => {
                let deeper = below(deeper)?;
                fields.iter().try_for_each(|field| self.nested(*field, wire, deeper))
            }
            Skip::Array(items) => self.items(*items, false, wire, below(deeper)?),
            Skip::Map(values) => self.items(*values, true, wire, below(deeper)?),
        }
    }

    fn items(&self, items: TypeId, keyed: bool, wire: &mut Wire<'_>, deeper: usize) -> Result<(), Broken> {
        let weightless = !keyed && matches!(self.0.get(items), Some(Skip::Nothing) | None);
        while let Some((count, bytes)) = wire.block()? {
            if let Some(bytes) = bytes {
                wire.take(bytes)?;
            } else if !weightless {
                for _ in 0..count {
                    if keyed {
                        wire.bytes()?;
                    }
                    self.nested(items, wire, deeper)?;
                }
            }
        }
        Ok(())
    }
}

fn below(deeper: usize) -> Result<usize, Broken> {
    deeper.checked_sub(1).ok_or(Broken::Deep)
}

/// Whether a value takes a byte at least.
fn is_weighty(form: &Form, weighty: &[bool]) -> bool {
    match form {
        Form::Null | Form::Awaited(_) => false,
        Form::Fixed { size, .. } => *size > 0,
        Form::Record { fields, .. } => fields.iter().any(|field| weighty[field.of]),
        _ => true,
    }
}

impl Skip {
    fn of(form: &Form, weighty: bool) -> Self {
        match form {
            _ if !weighty => Self::Nothing,
            Form::Null | Form::Awaited(_) => Self::Nothing,
            Form::Bool => Self::Bytes(1),
            Form::Int | Form::Long | Form::Enum { .. } => Self::Number,
            Form::Float => Self::Bytes(4),
            Form::Double => Self::Bytes(8),
            Form::Bytes | Form::Text => Self::Counted,
            Form::Fixed { size, .. } => Self::Bytes(*size),
            Form::Array(items) => Self::Array(*items),
            Form::Map(values) => Self::Map(*values),
            Form::Union(branches) => Self::Union(branches.clone()),
            Form::Record { fields, .. } => Self::Record(fields.iter().map(|field| field.of).collect()),
        }
    }
}
