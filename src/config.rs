//! The pipeline file: what was written, checked into [`crate::pipeline::Settings`].
