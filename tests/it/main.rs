//! Whole journeys: real brokers, real stores, the real binary.

#![cfg(feature = "embedded")]

mod broker;
mod check;
mod docs;
mod duckdb;
mod journey;
mod s3;
mod support;
