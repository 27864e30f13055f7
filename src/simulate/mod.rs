//! Sources of test streams.
