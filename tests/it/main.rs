//! Whole journeys: real brokers, real stores, the real binary.

#![cfg(feature = "embedded")]
// A journey is one future; laying it out goes deeper than the compiler's default.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod broker;
mod brokers;
mod browser;
mod check;
mod cli;
mod commands;
mod containers;
mod docs;
mod duckdb;
mod faults;
mod formats;
mod fuzz;
mod groups;
mod guarantees;
mod health;
mod hostile;
mod journey;
mod logs;
mod matrix;
mod metrics;
mod models;
mod outlets;
mod page;
mod produce;
mod pytorch;
mod registry;
mod rejects;
mod repair;
mod rescore;
mod s3;
mod score;
mod secrets;
mod secured;
#[cfg(unix)]
mod signals;
mod sources;
mod stores;
mod support;
mod swap;
mod tables;
mod upkeep;
