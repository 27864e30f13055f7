//! What the program counts, looked at by a test.
//!
//! The counters are the process's, and other tests count too: that one has moved says that somebody counts it. If nobody
//! does, it never moves.

use std::{collections::BTreeMap, sync::OnceLock};

use alluvium::telemetry::{
    metrics::{self, Rendered},
    status::Status,
};

/// A counter since a moment.
#[derive(Debug)]
pub struct Counted {
    name: &'static str,
    before: f64,
}

impl Counted {
    pub fn of(name: &'static str) -> Self {
        assert!(metrics::TABLE.iter().any(|metric| metric.name == name), "{name} is in no table");
        Self { name, before: now(name) }
    }

    pub fn has_moved(&self) -> bool {
        now(self.name) > self.before
    }

    #[track_caller]
    pub fn assert_moved(&self) {
        assert!(self.has_moved(), "{} stands at {}", self.name, self.before);
    }
}

/// What `/metrics` says of a status.
pub fn page(status: &Status) -> BTreeMap<String, f64> {
    series(&rendered().render(status))
}

/// The series of a page and their values.
pub fn series(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

/// The name of a metric, of the name of one of its series.
pub fn metric_of(series: &str) -> &str {
    let name = series.split('{').next().unwrap_or_default();
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    histogram.filter(|name| metrics::TABLE.iter().any(|metric| metric.name == *name)).unwrap_or(name)
}

/// Over all its labels.
fn now(name: &str) -> f64 {
    page(&Status::default()).iter().filter(|(series, _)| metric_of(series) == name).map(|(_, value)| value).sum()
}

fn rendered() -> &'static Rendered {
    static RENDERED: OnceLock<Rendered> = OnceLock::new();
    RENDERED.get_or_init(|| metrics::install().expect("nobody else counts in this process"))
}
