//! Whole journeys: real brokers, real stores, the real binary.

#[cfg(feature = "embedded")]
mod journey;
#[cfg(feature = "embedded")]
mod s3;
mod support;
