//! Log lines on stderr: which, in what form, each on a line of its own.
//!
//! Does not own: what is logged, and how often one and the same ([`super::repeats`]).

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    progress,
    repeats::{LimitRepeats, Repeats, tell_from_time_to_time},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

/// Held as long as anything may be logged; let go, it tells how many lines were held back.
#[derive(Debug)]
pub struct Logs(Arc<Repeats>);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.tell_all();
    }
}

/// Sends log lines to stderr. A filter that can't be read is said, and the default is used.
#[must_use = "logging ends with it"]
pub fn init_logging(filter: &str, format: LogFormat) -> Logs {
    let filter = EnvFilter::try_new(directives(filter)).unwrap_or_else(|error| {
        eprintln!("warning: --log {filter}: {error}; logging at info");
        EnvFilter::new(directives("info"))
    });
    let is_terminal = io::stderr().is_terminal();
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !is_terminal);
    let lines = tracing_subscriber::fmt::layer().with_writer(BesideBars);
    let lines = if json { lines.json().boxed() } else { lines.with_ansi(is_terminal).with_target(false).boxed() };
    let repeats = Arc::new(Repeats::default());
    tracing_subscriber::registry().with(filter).with(LimitRepeats(repeats.clone())).with(lines).init();
    tokio::spawn(tell_from_time_to_time(Arc::downgrade(&repeats)));
    Logs(repeats)
}

/// A level alone is about our own lines: the libraries below have one for every request. Their failures reach us as
/// errors, and are told with what they mean.
fn directives(filter: &str) -> String {
    if filter.contains(['=', ',']) { filter.to_owned() } else { format!("error,rskafka=off,alluvium={filter}") }
}

/// A name with a line feed in it must not pass for a line of ours; what a terminal obeys the formatter has escaped.
fn one_line(written: &[u8]) -> Cow<'_, [u8]> {
    let text = written.strip_suffix(b"\n").unwrap_or(written);
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(written);
    }
    let mut line = Vec::with_capacity(written.len() + 16);
    for byte in text {
        match byte {
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    Cow::Owned(line)
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
        progress::suspend(|| io::stderr().lock().write_all(&one_line(line)))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_whatever_is_in_it() {
        assert!(matches!(one_line(b"a line\n"), Cow::Borrowed(b"a line\n")));
        assert_eq!(&*one_line(b"topic=a\r\nERROR forged\n"), b"topic=a\\r\\nERROR forged\n");
    }
}
