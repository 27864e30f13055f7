//! What can go wrong with a broker, told by what the caller does next.

use std::{borrow::Cow, fmt, sync::Arc};

/// What the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// Trying again may mend it.
    Transient,
    /// The offset is not kept by the partition: retention took it, or it was never there.
    OutOfRange,
    /// It will not get better until a person does something.
    Person,
}

/// Where it happened, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub topic: Option<Arc<str>>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
}

/// A call to a broker failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}{place}: {cause}; {remedy}")]
pub struct BrokerError {
    pub(super) kind: BrokerErrorKind,
    /// A verb phrase: `fetch`, `create the topic`.
    pub(super) doing: &'static str,
    pub(super) place: Place,
    pub(super) cause: String,
    pub(super) remedy: Cow<'static, str>,
    pub(super) unknown_topic: bool,
    pub(super) unreadable: bool,
}

impl BrokerError {
    #[must_use]
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }

    /// The broker knows no such topic, or no such partition of it.
    #[must_use]
    pub fn unknown_topic(&self) -> bool {
        self.unknown_topic
    }

    /// What stands at the place itself can't be read, by any number of tries.
    #[must_use]
    pub fn unreadable(&self) -> bool {
        self.unreadable
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Place {
    pub(super) fn topic(topic: &str) -> Self {
        Self { topic: Some(topic.into()), ..Self::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = " (";
        if let Some(topic) = &self.topic {
            write!(f, "{before}topic `{topic}`")?;
            before = ", ";
        }
        if let Some(partition) = self.partition {
            write!(f, "{before}partition {partition}")?;
            before = ", ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{before}offset {offset}")?;
            before = ", ";
        }
        f.write_str(if before == ", " { ")" } else { "" })
    }
}
