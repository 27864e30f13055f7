//! What a [`Status`] says, as Prometheus text: what is there of each partition, and what is measured once a batch.
//!
//! Taken from the status whenever it is asked for, so that what a worker has given up is gone from it too.

use std::fmt::Write as _;

use super::table::{CLASSES_SHOWN_MAX, Kind, PARTITIONS_SHOWN_MAX, TABLE};
use crate::telemetry::status::{Class, Histogram, Partition, State, Status};

/// What the classes beyond [`CLASSES_SHOWN_MAX`] are counted as.
const OTHER_CLASSES: &str = "(others)";

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All that is taken from a status.
pub(super) fn text(status: &Status) -> String {
    let mut page = Page::default();
    of_the_run(&mut page, status);
    of_partitions(&mut page, status);
    of_outlets(&mut page, status);
    of_classes(&mut page, &status.classes);
    of_steps(&mut page, status);
    page.text
}

/// Text as it grows, family after family.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A family of the table; nothing, if there is nothing in it.
    fn family<'a>(&mut self, name: &'static str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(name);
        }
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    fn one(&mut self, name: &'static str, value: f64) {
        self.family(name, [(vec![], value)]);
    }

    fn histograms<'a>(&mut self, name: &'static str, all: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>) {
        let mut all = all.into_iter().peekable();
        if all.peek().is_some() {
            self.head(name);
        }
        for (labels, histogram) in all {
            let mut below = 0;
            let ends = histogram.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (end, count) in ends.zip(&histogram.buckets) {
                below += count;
                let labels: Labels<'_> = labels.iter().copied().chain([("le", end.as_str())]).collect();
                self.sample(name, "_bucket", &labels, float(below));
            }
            self.sample(name, "_sum", &labels, histogram.sum);
            self.sample(name, "_count", &labels, float(histogram.count()));
        }
    }

    fn head(&mut self, name: &'static str) {
        let metric = TABLE.iter().find(|metric| metric.name == name);
        let (kind, meaning) = metric.map_or((Kind::Gauge, ""), |metric| (metric.kind, metric.meaning));
        // Writing to a string can't fail.
        let _ = write!(self.text, "# HELP {name} {meaning}\n# TYPE {name} {}\n", kind.name());
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &Labels<'_>, value: f64) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{suffix}{labels} {value}");
    }
}

fn of_the_run(page: &mut Page, status: &Status) {
    let build =
        vec![("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
    page.family("alluvium_build_info", [(build, 1.0)]);
    page.one("alluvium_ready", f64::from(u8::from(status.ready)));
    let totals = &status.totals;
    let opening = totals.lanes - totals.lanes_open - totals.lanes_waiting - totals.lanes_stopped - totals.lanes_ended;
    let by_state = [
        (State::Opening, opening),
        (State::Running, totals.lanes_open),
        (State::Waiting, totals.lanes_waiting),
        (State::Stopped, totals.lanes_stopped),
        (State::Ended, totals.lanes_ended),
    ];
    page.family("alluvium_lanes", by_state.map(|(state, lanes)| (vec![("state", state.name())], float(lanes))));
    page.family("alluvium_group_partitions", status.group.iter().map(|group| (vec![], float(group.partitions))));
    page.one("alluvium_lag_records", float(totals.lag_records));
    page.family("alluvium_lag_seconds", totals.lag_seconds.map(|age| (vec![], age)));
    page.family("alluvium_freshness_seconds", totals.freshness_seconds.map(|age| (vec![], age)));
    let rejects = status.rejects.iter();
    let rejects = rejects.map(|rejects| (vec![("reason", rejects.reason.as_str())], float(rejects.records)));
    page.family("alluvium_rejects_total", rejects);
    let model = status.model.iter().map(|model| (vec![("model", model.name.as_str())], f64::from(model.version)));
    page.family("alluvium_model_in_use_version", model);
    page.one("alluvium_memory_bytes", float(status.memory.used_bytes));
    page.one("alluvium_memory_peak_bytes", float(status.memory.peak_bytes));
    page.one("alluvium_memory_limit_bytes", float(status.memory.limit_bytes));
}

/// Of the worst; how many are not shown stands beside them.
fn of_partitions(page: &mut Page, status: &Status) {
    let there = status.partitions.len() as u64 + status.partitions_left_out;
    let shown: Vec<(&Partition, String)> = shown(status).map(|lane| (lane, lane.partition.to_string())).collect();
    page.one("alluvium_partitions_not_shown", float(there.saturating_sub(PARTITIONS_SHOWN_MAX as u64)));
    let mut family = |name, value: fn(&Partition) -> Option<f64>| {
        let samples = shown.iter().filter(|(lane, _)| lane.open).filter_map(|(lane, number)| {
            let labels = vec![("dataset", lane.dataset.as_str()), ("partition", number.as_str())];
            Some((labels, value(lane)?))
        });
        page.family(name, samples);
    };
    family("alluvium_partition_position", |lane| Some(offset(lane.position)));
    family("alluvium_partition_end", |lane| Some(offset(lane.end)));
    family("alluvium_partition_lag_records", |lane| Some(float(lane.lag_records)));
    family("alluvium_partition_lag_seconds", |lane| lane.lag_seconds);
    family("alluvium_partition_freshness_seconds", |lane| lane.freshness_seconds);
    family("alluvium_rejected_share", |lane| lane.rejected_share);
    family("alluvium_model_changed_at_offset", |lane| lane.model_changed_at.map(offset));
    let versions = shown.iter().filter_map(|(lane, number)| {
        let (model, _) = lane.model.as_deref()?.rsplit_once('@')?;
        let labels = vec![("dataset", lane.dataset.as_str()), ("model", model), ("partition", number.as_str())];
        Some((labels, f64::from(lane.model_version?)))
    });
    page.family("alluvium_model_version", versions);
}

fn of_outlets(page: &mut Page, status: &Status) {
    let shown: Vec<(&Partition, String)> = shown(status).map(|lane| (lane, lane.partition.to_string())).collect();
    let places = shown.iter().flat_map(|(lane, number)| lane.outlets.iter().map(move |place| (*lane, number, place)));
    let places = places.map(|(lane, number, place)| {
        let labels: Labels<'_> =
            vec![("outlet", place.name.as_str()), ("dataset", lane.dataset.as_str()), ("partition", number.as_str())];
        (labels, place)
    });
    let places: Vec<_> = places.collect();
    let positions = places.iter().map(|(labels, place)| (labels.clone(), offset(place.position)));
    page.family("alluvium_outlet_position", positions);
    page.family(
        "alluvium_outlet_lag_offsets",
        places.iter().map(|(labels, place)| (labels.clone(), float(place.behind))),
    );
}

fn shown(status: &Status) -> impl Iterator<Item = &Partition> {
    status.partitions.iter().take(PARTITIONS_SHOWN_MAX)
}

/// Of the model's first classes; the others together.
fn of_classes(page: &mut Page, classes: &[Class]) {
    let (shown, others) = classes.split_at_checked(CLASSES_SHOWN_MAX).unwrap_or((classes, &[]));
    let others = (!others.is_empty()).then(|| together(others));
    let shown: Vec<&Class> = shown.iter().chain(&others).collect();
    let predictions = shown.iter().flat_map(|class| {
        class.datasets.iter().map(|(dataset, rows)| {
            let labels = vec![("dataset", dataset.as_str()), ("class", class.name.as_str())];
            (labels, float(*rows))
        })
    });
    page.family("alluvium_predictions_total", predictions);
    page.histograms(
        "alluvium_confidence",
        shown.iter().map(|class| (vec![("class", class.name.as_str())], &class.confidence)),
    );
}

fn together(classes: &[Class]) -> Class {
    let none = Class { name: OTHER_CLASSES.to_owned(), ..Class::default() };
    classes.iter().fold(none, |mut all, class| {
        all.records += class.records;
        for (dataset, rows) in &class.datasets {
            *all.datasets.entry(dataset.clone()).or_default() += rows;
        }
        all.confidence.bounds.clone_from(&class.confidence.bounds);
        all.confidence.buckets.resize(class.confidence.buckets.len(), 0);
        all.confidence.buckets.iter_mut().zip(&class.confidence.buckets).for_each(|(sum, rows)| *sum += rows);
        all.confidence.sum += class.confidence.sum;
        all
    })
}

fn of_steps(page: &mut Page, status: &Status) {
    let steps = status.steps.iter().map(|(name, step)| (vec![("step", name.as_str())], &step.took));
    page.histograms("alluvium_step_seconds", steps);
    page.histograms("alluvium_segment_bytes", [(vec![], &status.segment_bytes)]);
    page.histograms("alluvium_segment_rows", [(vec![], &status.segment_rows)]);
}

/// As the text format wants the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn float(n: u64) -> f64 {
    n as f64
}

/// Offsets beyond 2^53 lose their last digits here; the log and the claims have them exactly.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floats")]
fn offset(offset: i64) -> f64 {
    offset as f64
}

#[cfg(test)]
mod tests;
