//! Raw: the whole value is the one declared field's text. Owns: nothing but that it must be UTF-8.

use std::borrow::Cow;

use super::{Reader, plan::Plan, refusal::Refusal, slot::Slot};
use crate::record::Reason;

#[derive(Debug)]
pub(super) struct RawReader<'a> {
    slots: Vec<Slot<'a>>,
}

impl RawReader<'_> {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { slots: vec![Slot::Absent; plan.slots()] }
    }
}

impl<'a> Reader<'a> for RawReader<'a> {
    #[inline]
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let text = str::from_utf8(bytes).map_err(|error| Refusal::not_utf8(Reason::NotUtf8, error))?;
        self.slots.fill(Slot::Text(Cow::Borrowed(text)));
        Ok(())
    }

    #[inline]
    fn slots(&mut self) -> &mut [Slot<'a>] {
        &mut self.slots
    }
}
