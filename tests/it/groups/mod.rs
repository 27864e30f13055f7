//! Consumer groups: members alone, and whole pipelines that share a topic.

mod hands;
mod member;
mod pipeline;
#[cfg(unix)]
mod steps;
mod topics;
