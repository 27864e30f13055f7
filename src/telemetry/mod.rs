//! Logging, progress bars, metrics, and what a run shows of itself. Bars and log lines share stderr and keep out of each
//! other's way.

pub mod history;
pub mod http;
mod logs;
pub mod meter;
pub mod metrics;
pub mod progress;
mod repeats;
pub mod status;

use std::{error::Error, iter};

pub use self::logs::{LogFormat, Logs, init_logging};

/// An error and what led to it, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    joined(causes.map(|cause| cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The same, where lines stay lines.
#[must_use]
pub fn chain_in_lines(error: &(dyn Error + 'static)) -> String {
    joined(iter::successors(Some(error), |&error| error.source()).map(ToString::to_string))
}

fn joined(causes: impl Iterator<Item = String>) -> String {
    let mut told = String::new();
    for cause in causes {
        // Some errors, those of libraries above all, repeat their cause in their own words.
        if !told.contains(&cause) {
            told += if told.is_empty() { "" } else { ": " };
            told += &cause;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn a_chain_is_one_line_that_repeats_nothing() {
        let root = Told("answer:\n<Error>\n  <Code>SlowDown</Code>", None);
        let middle = Told("PUT failed: answer: <Error> <Code>SlowDown</Code>", Some(Box::new(root)));
        let error = Told("write x", Some(Box::new(middle)));
        assert_eq!(chain(&error), "write x: PUT failed: answer: <Error> <Code>SlowDown</Code>");
        let root = Told("two\nlines", None);
        assert_eq!(chain_in_lines(&Told("open x: two\nlines", Some(Box::new(root)))), "open x: two\nlines");
    }
}
