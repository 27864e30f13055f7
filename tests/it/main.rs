//! Whole journeys: real brokers, real stores, the real binary.

#![cfg(feature = "embedded")]

mod broker;
mod check;
mod cli;
mod docs;
mod duckdb;
mod faults;
mod journey;
mod s3;
#[cfg(unix)]
mod signals;
mod support;
