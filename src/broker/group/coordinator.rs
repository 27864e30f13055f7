//! The connection to the broker that keeps the group.
//!
//! Owns: finding it, and finding it again when it has moved. Does not own: what is said ([`super::messages`]).

use std::{io::Cursor, sync::Arc, time::Duration};

use rskafka::protocol::messages::{ReadVersionedType, RequestBody, WriteVersionedType};

use super::{
    super::{
        BrokerLimits,
        cause::Cause,
        link::{Link, within},
        wire::Wire,
    },
    codec::{Ask, Request, Told},
};

/// A connection of its own: an answer to a join may take as long as the slowest member's hand-over.
#[derive(Debug)]
pub(super) struct Coordinator {
    link: Arc<Link>,
    group: String,
    wire: Option<Wire>,
}

impl Coordinator {
    pub(super) fn new(link: Arc<Link>, group: String) -> Self {
        Self { link, group, wire: None }
    }

    pub(super) fn limits(&self) -> BrokerLimits {
        self.link.limits
    }

    /// One question. Whoever no longer answers it is looked for again by the next.
    pub(super) async fn ask<R>(&mut self, request: R, limit: Duration) -> Result<R::Answer, Cause>
    where
        R: Request + Send + Sync,
        R::Answer: Send,
        Ask<R>: RequestBody<ResponseBody = Told<R>> + WriteVersionedType<Vec<u8>>,
        Told<R>: ReadVersionedType<Cursor<Vec<u8>>>,
    {
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.link.coordinator(&self.group, limit.min(self.limits().request_timeout)).await?,
        };
        // Put back when all went well: a call that is given up halfway leaves no connection behind to be used again.
        let answer = within(limit, Box::pin(wire.ask(request))).await;
        if !answer.as_ref().is_err_and(|cause| cause.connection_lost) {
            self.wire = Some(wire);
        }
        answer
    }

    /// The broker is the group's coordinator no longer, or is none yet.
    pub(super) fn moved(&mut self) {
        self.wire = None;
    }
}
