//! What can go wrong in the lake, by what the caller must do about it.

use object_store::path::Path;

use crate::{objects::OpenError, offset::LaneId};

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store failed or could not be reached.
    #[error("{action} {path}")]
    Store { action: &'static str, path: String, source: object_store::Error },

    /// An attempt is left alone: unsettled after every try, or so old that its staging may be swept.
    #[error("gave up the commit of {id} at offset {start}: {reason}")]
    Abandoned { id: LaneId, start: i64, reason: &'static str },

    #[error("lake {0}")]
    Url(#[from] OpenError),

    /// Law L9.
    #[error(
        "the store at {url} can't hold a lake: {reason}; use a store that honours conditional writes (If-None-Match)"
    )]
    Unfit { url: String, reason: String },

    #[error("{path}: {reason}")]
    Corrupt { path: Path, reason: String },

    #[error("generation {generation} is more than the column `_generation` holds; the largest is {}", i32::MAX)]
    Generation { generation: u32 },

    #[error("encode {what}")]
    Encode { what: &'static str, source: parquet::errors::ParquetError },

    #[error("assemble {what}")]
    Assemble { what: &'static str, source: arrow::error::ArrowError },

    /// The lane handed over a batch that doesn't follow the one before.
    #[error("{id}: a batch from offset {found} can't follow offset {expected}")]
    Discontinuous { id: LaneId, expected: i64, found: i64 },
}

impl LakeError {
    pub(super) fn store(action: &'static str, path: &Path) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store { action, path: path.to_string(), source }
    }

    /// Whether going on from the ledger may mend it; everything else needs a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use object_store::Error as E;
        match self {
            Self::Abandoned { .. } => true,
            Self::Store { source, .. } => !matches!(
                source,
                E::PermissionDenied { .. }
                    | E::Unauthenticated { .. }
                    | E::NotSupported { .. }
                    | E::NotImplemented { .. }
                    | E::InvalidPath { .. }
                    | E::UnknownConfigurationKey { .. }
            ),
            _ => false,
        }
    }
}
