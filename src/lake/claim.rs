//! What stands in the ledger: one genesis a partition, then claims end to end.
//!
//! Owns: the JSON of a claim, and the names that follow from it. Does not own: reading or writing it ([`super::ledger`]).

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{offset::OffsetRange, record::ModelRef};

/// The version of this JSON; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// Where a partition's claims begin. Created once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    pub format: u32,
    pub start: i64,
    pub topic: String,
    pub writer: String,
    pub created: DateTime<Utc>,
}

/// One claim: these offsets are settled, and this is where they went. Created once, never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub format: u32,
    pub start: i64,
    pub end: i64,
    #[serde(flatten)]
    pub kind: Kind,
    /// Names the staging folder, and tells a writer its own claim from another's.
    pub attempt: Uuid,
    pub writer: String,
    pub committed: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    pub counts: Counts,
    /// Of the last record in the range, or before it where the range has none; by it a re-created topic is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    pub files: Vec<FileEntry>,
}

impl Claim {
    #[must_use]
    pub fn range(&self) -> OffsetRange {
        OffsetRange { start: self.start, end: self.end }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Records were read; `files` holds them.
    Segment,
    /// The broker no longer had these offsets.
    Gap { reason: String },
}

/// Where each offset of the range went: `records = scored + rejected + filtered`, and `records + absent` is its length. The
/// scored files hold `scored + further_rows` rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub records: u64,
    pub scored: u64,
    pub rejected: u64,
    pub filtered: u64,
    /// Offsets without a record: retention, compaction, control markers.
    pub absent: u64,
    /// Rows beyond one a scored record. A release that doesn't know of them finds more rows than it expects, and says so.
    #[serde(default, skip_serializing_if = "is_none")]
    pub further_rows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_none(rows: &u64) -> bool {
    *rows == 0
}

impl Counts {
    /// Whether the counts account for every offset of `range`, once.
    #[must_use]
    pub fn account_for(self, range: OffsetRange) -> bool {
        let settled = self.scored.checked_add(self.rejected).and_then(|n| n.checked_add(self.filtered));
        settled == Some(self.records) && self.records.checked_add(self.absent) == Some(range.len())
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.scored += other.scored;
        self.rejected += other.rejected;
        self.filtered += other.filtered;
        self.absent += other.absent;
        self.further_rows += other.further_rows;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub offset: i64,
    pub timestamp_ms: i64,
    /// CRC-32C over key, value and headers.
    pub crc32c: u32,
}

/// One Parquet file of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub kind: FileKind,
    /// Both relative to the lake.
    pub staged: String,
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    pub crc32c: u32,
    /// There are rejects in it that have no time of their own, so that its folder doesn't tell how old they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    Scored,
    Rejected,
}

impl FileKind {
    /// The lake's top folder for this kind.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}
