//! The classifier: how a row becomes floats, the network, training, the artifact on disk, scoring.

use std::path::PathBuf;

/// Which model scores the records, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    /// The folder of all its versions: `models/iris`.
    pub path: PathBuf,
    /// `None` is the champion.
    pub version: Option<u32>,
    pub backend: Backend,
}

/// Which of Burn's backends computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    #[default]
    NdArray,
    /// Only in a build with the cargo feature `flex`.
    Flex,
}
