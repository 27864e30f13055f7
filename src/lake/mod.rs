//! The lake: Parquet segments, the ledger that says who owns which offsets, and the audit that proves it.

use std::time::Duration;

pub mod audit;
mod blocks;
mod claim;
mod coded;
mod error;
mod expire;
mod expiry;
mod folder;
mod growing;
pub(crate) mod hold;
mod lanes;
mod layout;
pub mod ledger;
pub mod names;
mod numbers;
mod origin;
mod pages;
mod recast;
mod rejects;
mod repair;
mod revise;
mod revision;
mod rows;
mod seen;
mod segment;
mod store;
mod words;

pub use claim::{Claim, Counts, FileEntry, FileKind, Fingerprint, Genesis, Kind};
pub use error::LakeError;
pub use expire::{Expire, Expired};
pub use expiry::{Expiries, Expiry, Means};
pub use layout::Layout;
pub use ledger::{Head, Ledger, Outcome};
pub use origin::{LateOrigins, Origin};
pub use recast::{Recast, Recasted};
pub use rejects::{Place, RejectFiles, Rejected, RejectedFile, Wanted};
pub use repair::{Repaired, repair};
pub use revise::Revised;
pub use revision::{Held, HeldFile, Moved, Replaced, Revision};
pub use rows::Rows;
pub use seen::{CONFIDENCE_BOUNDS, Refused, Row, Sample, Seen, Sure};
pub use segment::{EncodedFile, Example, Finished, Scored, Segment};
pub use store::{Published, Store};

/// Where results land and how they are cut into files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeSettings {
    /// A path, `file://…`, or `s3://bucket/prefix`.
    pub url: String,
    pub generation: u32,
    pub partition_by: PartitionBy,
    pub compression: Compression,
    pub roll: Roll,
    /// The most `date=/hour=` folders that one segment may write to; it is cut early before the next.
    pub segment_hours_max: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartitionBy {
    #[default]
    Hour,
    Day,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    #[default]
    Zstd,
}

/// A segment is committed when it reaches any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    pub rows_max: u64,
    /// Encoded, in memory.
    pub bytes_max: usize,
    /// Since its first record.
    pub age_max: Duration,
}
