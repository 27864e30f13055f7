//! Sources of test streams: the records, and how they are fed to a topic.
//!
//! Owns: what is sent and at what pace. Does not own: the connection to the broker.

pub mod feed;
pub mod iris;

/// What is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Measurements of iris flowers of three species.
    #[default]
    Iris,
}
