//! What can go wrong with a model, told so that a person knows what to mend.

use std::{io, path::PathBuf};

use arrow::error::ArrowError;

use crate::{objects::OpenError, table::TableError};

/// Why a model can't be read, trained or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The artifact is incomplete or wrong.
    #[error("model {place}: {fault}")]
    Artifact { place: String, fault: String },
    /// The store of the models did not do as asked.
    #[error("{action} {place}")]
    Store { action: &'static str, place: String, source: object_store::Error },
    #[error("{action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// This build can't compute as asked.
    #[error("{0}")]
    Backend(String),
    /// The columns at hand are not the ones that the model was trained on.
    #[error("{0}")]
    Schema(String),
    /// The decoder should have made a reject of this row.
    #[error("row {row}: `{feature}` {fault}; the decoder must keep such a row from the model")]
    Value { row: usize, feature: String, fault: &'static str },
    #[error("compute the network: {0}")]
    Compute(String),
    /// What was asked of training can't be: a column that isn't there.
    #[error("{0}")]
    Choice(String),
    /// The training data is not fit to train on.
    #[error("{}: {fault}", path.display())]
    Data { path: PathBuf, fault: String },
    #[error(transparent)]
    Table(TableError),
    /// Training came to nothing.
    #[error("{0}")]
    Training(String),
    #[error("arrange columns")]
    Arrow(#[from] ArrowError),
}

impl ModelError {
    pub(super) fn artifact(place: &str, fault: impl Into<String>) -> Self {
        Self::Artifact { place: place.to_owned(), fault: fault.into() }
    }
}

impl From<OpenError> for ModelError {
    fn from(error: OpenError) -> Self {
        Self::Artifact { place: error.url, fault: error.reason }
    }
}

impl From<TableError> for ModelError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Choice { .. } => Self::Choice(error.to_string()),
            error => Self::Table(error),
        }
    }
}
