//! What a coordinator's refusal means to a member.
//!
//! Owns: which refusal is answered how. Does not own: the answer.

use rskafka::client::error::ProtocolError;

use super::super::{cause::Cause, error::BrokerErrorKind};

/// Codes of the `consumer` protocol that rskafka has no names for.
const FENCED_MEMBER_EPOCH: i16 = 110;
const UNRELEASED_INSTANCE_ID: i16 = 111;
const STALE_MEMBER_EPOCH: i16 = 113;

/// Why a request to the coordinator came to nothing, by what follows from it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The group forms anew; what is held stays held.
    Again,
    /// The coordinator chose the name to join by.
    Named,
    /// The group has gone on without this member, under whose name another may have come.
    Expelled { why: String, forgotten: bool },
    /// Another member has this one's name; it may be what it was before it was restarted.
    NameTaken,
    /// Trying again may mend it, maybe elsewhere.
    Passing(Cause),
    /// Only a person can mend it.
    Person(Cause),
}

impl Trouble {
    pub(super) fn expelled(why: impl Into<String>) -> Self {
        Self::Expelled { why: why.into(), forgotten: false }
    }
}

impl From<Cause> for Trouble {
    fn from(cause: Cause) -> Self {
        if cause.kind == BrokerErrorKind::Transient { Self::Passing(cause) } else { Self::Person(cause) }
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        use ProtocolError as E;

        match error {
            E::RebalanceInProgress | E::Unknown(STALE_MEMBER_EPOCH) => Self::Again,
            E::MemberIdRequired => Self::Named,
            E::IllegalGeneration | E::Unknown(FENCED_MEMBER_EPOCH) => {
                Self::expelled("the group has gone on without this member")
            }
            E::UnknownMemberId | E::GroupIdNotFound => {
                let why = "the group does not know this member any more".into();
                Self::Expelled { why, forgotten: true }
            }
            E::Unknown(UNRELEASED_INSTANCE_ID) => Self::NameTaken,
            error => Cause::from(error).into(),
        }
    }
}
