//! Logging, progress bars, metrics, and what a run shows of itself. Bars and log lines share stderr and keep out of each
//! other's way.

pub mod history;
pub mod http;
pub mod meter;
pub mod metrics;
pub mod progress;
pub mod status;

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Sends log lines to stderr, as text or JSON. A filter that can't be read is said, and the default is used.
pub fn init_logging(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(directives(filter)).unwrap_or_else(|error| {
        eprintln!("warning: --log {filter}: {error}; logging at info");
        EnvFilter::new(directives("info"))
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(BesideBars);
    if json {
        logs.json().init();
    } else {
        logs.with_ansi(io::stderr().is_terminal()).with_target(false).init();
    }
}

/// A level alone is about our own lines: the libraries below have one for every request. Their failures reach us as
/// errors, and are told with what they mean.
fn directives(filter: &str) -> String {
    if filter.contains(['=', ',']) { filter.to_owned() } else { format!("error,rskafka=off,alluvium={filter}") }
}

/// An error and what led to it, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = String::new();
    for cause in std::iter::successors(Some(error), |&error| error.source()) {
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // Some libraries repeat the cause in their own words.
        if !told.contains(&cause) {
            told += if told.is_empty() { "" } else { ": " };
            told += &cause;
        }
    }
    told
}

/// Writes a line with the progress bars lifted for a moment.
#[derive(Clone, Copy)]
struct BesideBars;

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::suspend(|| io::stderr().lock().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
    }
}
