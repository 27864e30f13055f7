//! The story of one partition, from its first fetch to its last commit.

use std::time::Duration;

/// The limits of a lane, and of all lanes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What all lanes together may hold in memory: fetched records and segments.
    pub memory_bytes_max: usize,
    /// From the first signal to the end of the process.
    pub stop_timeout: Duration,
    /// How long a batch run keeps retrying what a retry may mend; a stream never gives up.
    pub retry_for_max: Duration,
    /// How often a stream looks for new partitions.
    pub partitions_refresh: Duration,
    /// How many batches are decoded, scored and encoded at once.
    pub cpu_threads: usize,
}
