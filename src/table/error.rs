//! What can go wrong with a table in files, told so that a person knows what to mend.

use std::io;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// Why a table can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// What was asked for can't be: no such file, a name that tells no format.
    #[error("{place}: {fault}")]
    Choice { place: String, fault: String },
    /// What stands in the file is not a table, or not the one it should be.
    #[error("{place}: {fault}")]
    Data { place: String, fault: String },
    #[error("{action} {place}")]
    Io { action: &'static str, place: String, source: io::Error },
    #[error("{action} {place}")]
    Store { action: &'static str, place: String, source: object_store::Error },
    #[error("{action} {place}")]
    Parquet { action: &'static str, place: String, source: ParquetError },
    #[error("{action} {place}")]
    Arrow { action: &'static str, place: String, source: ArrowError },
}

impl TableError {
    pub(super) fn choice(place: &str, fault: impl Into<String>) -> Self {
        Self::Choice { place: place.to_owned(), fault: fault.into() }
    }

    pub(super) fn data(place: &str, fault: impl Into<String>) -> Self {
        Self::Data { place: place.to_owned(), fault: fault.into() }
    }

    pub(super) fn io(action: &'static str, place: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, place: place.to_owned(), source }
    }

    pub(super) fn store(action: &'static str, place: &str) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store { action, place: place.to_owned(), source }
    }

    pub(super) fn parquet(action: &'static str, place: &str) -> impl FnOnce(ParquetError) -> Self {
        move |source| Self::Parquet { action, place: place.to_owned(), source }
    }

    pub(super) fn arrow(action: &'static str, place: &str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { action, place: place.to_owned(), source }
    }
}
