//! What can go wrong with an outlet, by what its follower does next.

use object_store::path::Path;

use crate::{
    broker::{BrokerError, BrokerErrorKind},
    lake::LakeError,
    registry::RegistryError,
};

#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{doing}: {}", told(source))]
    Postgres { doing: &'static str, source: tokio_postgres::Error },
    #[error("{doing}: no answer from PostgreSQL within {seconds} s")]
    Silent { doing: &'static str, seconds: u64 },
    /// Another worker has sent these rows meanwhile; nothing was written twice.
    #[error("another worker has written these rows to the table")]
    Fenced,
    /// The table or its columns.
    #[error("{0}")]
    Misfit(String),
    #[error("{0} is gone, and no note says that it was expired: `alluvium audit` tells what is missing")]
    Gone(Path),
    #[error("turn rows into {what}")]
    Encode { what: &'static str, source: arrow::error::ArrowError },
    /// It can't be sent as it is, by any number of tries.
    #[error("{0}")]
    Unfit(String),
}

impl OutletError {
    /// Whether another try may mend it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broker(error) => error.kind() != BrokerErrorKind::Person || error.unknown_topic(),
            Self::Lake(error) => error.is_transient(),
            Self::Registry(error) => error.is_transient(),
            Self::Postgres { source, .. } => passes(source),
            Self::Silent { .. } | Self::Fenced => true,
            Self::Misfit(_) | Self::Gone(_) | Self::Encode { .. } | Self::Unfit(_) => false,
        }
    }
}

/// The server ended a transaction that idled.
const IDLE: &str = "25P03";

/// Without a code it is about the connection. Of the codes' classes: the connection, what the server has too little of,
/// what another transaction forced, what the server's people did, and faults of its machine.
fn passes(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    let class = code.code().get(..2).unwrap_or_default();
    // Its own transaction stood still for too long; the next one may not.
    code.code() == IDLE || matches!(class, "08" | "40" | "53" | "55" | "57" | "58")
}

/// The driver says only "db error" of what the server said.
fn told(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            let next_text = next.to_string();
            if !text.contains(&next_text) {
                text = format!("{text}: {next_text}");
            }
            cause = next.source();
        }
        return text;
    };
    let more = |label: &str, text: Option<&str>| text.map(|text| format!("; {label}{text}")).unwrap_or_default();
    format!(
        "PostgreSQL says: {} ({}){}{}",
        server.message(),
        server.code().code(),
        more("", server.detail()),
        more("hint: ", server.hint())
    )
}
