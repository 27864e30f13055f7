//! Alluvium reads a Kafka-compatible broker, scores every record, and lands the results as Parquet, each exactly once.
//!
//! What follows is `ARCHITECTURE.md`, the guided tour.
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod objects;
pub mod offset;
pub mod record;
pub mod secret;
pub mod tls;

pub mod cli;
pub mod config;
pub mod pipeline;

pub mod lane;

pub mod outlet;

pub mod broker;
pub mod decode;
pub mod infer;
pub mod lake;
pub mod model;
pub mod registry;

pub mod table;

pub mod simulate;
pub mod telemetry;
