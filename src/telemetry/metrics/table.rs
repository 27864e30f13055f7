//! The closed list of what `/metrics` shows. Whatever is counted anywhere has a row here, and nothing else is shown.
//!
//! Owns: names, units, labels, and what they mean. Does not own: the values.

use std::fmt::Write as _;

/// Partitions that are shown one by one, the worst of them; sums are of all.
pub const PARTITIONS_SHOWN_MAX: usize = 100;
/// Classes that are shown one by one, the model's first; what it judged otherwise is counted together.
pub const CLASSES_SHOWN_MAX: usize = 50;
/// Series that one process shows, whatever it reads.
pub const SERIES_MAX: usize = 4_000;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub from: From,
    /// What it is in; none for what says yes or no.
    pub unit: &'static str,
    pub labels: &'static [Label],
    pub meaning: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As Prometheus has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where a value is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// It is counted where it happens.
    Counted,
    /// It is part of a [`crate::telemetry::status::Status`].
    Status,
}

/// A label, and all that it can be; nothing, where that depends on what is read.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: &'static [&'static str],
}

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values }
}

const DATASET: Label = label("dataset", &[]);
const PARTITION: Label = label("partition", &[]);
const OUTLET: Label = label("outlet", &["results", "rejected", "postgres"]);
const LANE: &[Label] = &[DATASET, PARTITION];
const CLASS: Label = label("class", &[]);

/// A counter that is counted where it happens.
const fn counter(name: &'static str, unit: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, from: From::Counted, unit, labels, meaning }
}

const fn gauge(name: &'static str, unit: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, from: From::Status, unit, labels, meaning }
}

const fn histogram(name: &'static str, unit: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, from: From::Status, unit, labels, meaning }
}

/// In the order of the questions that they answer: what was done, is it well, is it keeping up, what is predicted, where is
/// the time going.
pub const TABLE: &[Metric] = &[
    counter(
        "alluvium_records_total",
        "records",
        &[label("outcome", &["scored", "rejected", "filtered"])],
        "Records committed to the lake, by what became of them",
    ),
    counter("alluvium_further_rows_total", "rows", &[], "Rows committed to the lake beyond one a scored record"),
    counter("alluvium_segments_total", "segments", &[], "Segments committed to the lake"),
    counter(
        "alluvium_fetched_bytes_total",
        "bytes",
        &[],
        "Keys, values and headers of the records that came from the broker, as they are without compression",
    ),
    counter(
        "alluvium_written_bytes_total",
        "bytes",
        &[label("kind", &["scored", "rejected"])],
        "Files committed to the lake",
    ),
    Metric {
        from: From::Status,
        ..counter("alluvium_rejects_total", "records", &[label("reason", &[])], "Rejects in the lake, by their reason")
    },
    counter("alluvium_gap_offsets_total", "offsets", &[], "Offsets that were deleted before they were read"),
    counter(
        "alluvium_fences_total",
        "segments",
        &[],
        "Segments dropped because another writer had committed their offsets",
    ),
    counter(
        "alluvium_retries_total",
        "retries",
        &[label("cause", &["broker", "store", "credentials", "registry"])],
        "Times that a lane went back to the ledger after a passing fault, by who was in the way",
    ),
    counter(
        "alluvium_lane_restarts_total",
        "restarts",
        &[],
        "Times that a lane found its place in the ledger once more, after a fault or a fence",
    ),
    counter("alluvium_lanes_stopped_total", "lanes", &[], "Lanes that stopped for something that a person must mend"),
    counter("alluvium_reject_stops_total", "lanes", &[], "Lanes that stopped because too many records were rejects"),
    counter(
        "alluvium_registry_requests_total",
        "requests",
        &[label("outcome", &["answered", "failed"])],
        "Requests to the schema registry, by whether there was an answer",
    ),
    counter(
        "alluvium_group_rebalances_total",
        "times",
        &[],
        "Times that the group gave this worker its partitions anew",
    ),
    counter(
        "alluvium_group_losses_total",
        "times",
        &[],
        "Times that this worker lost all its partitions, as the group had gone on",
    ),
    gauge("alluvium_group_partitions", "partitions", &[], "Partitions that the group has given to this worker"),
    gauge(
        "alluvium_build_info",
        "",
        &[label("version", &[]), label("os", &[]), label("arch", &[])],
        "Always 1; the labels say which build this is",
    ),
    gauge("alluvium_ready", "", &[], "1 while every lane is open, as /readyz tells it; else 0"),
    gauge(
        "alluvium_lanes",
        "lanes",
        &[label("state", &["opening", "running", "waiting", "stopped", "ended"])],
        "Lanes of this worker, by where they stand",
    ),
    gauge(
        "alluvium_partitions_not_shown",
        "partitions",
        &[],
        "Partitions of this worker that are only in the sums, as there are too many",
    ),
    gauge(
        "alluvium_lag_records",
        "offsets",
        &[],
        "Offsets that the broker has and the lake has not, of all partitions",
    ),
    gauge(
        "alluvium_lag_seconds",
        "seconds",
        &[],
        "Age of the oldest record that is not in the lake, by the broker's time of it; 0 where all are",
    ),
    gauge(
        "alluvium_freshness_seconds",
        "seconds",
        &[],
        "Age of the newest record that is in the lake, of the partition where it is oldest among those that lag; where \
         none lags, of all",
    ),
    gauge("alluvium_partition_position", "offset", LANE, "Offset below which all of a partition is in the lake"),
    gauge("alluvium_partition_end", "offset", LANE, "Offset that the partition's next record will get"),
    gauge("alluvium_partition_lag_records", "offsets", LANE, "Offsets that the broker has and the lake has not"),
    gauge(
        "alluvium_partition_lag_seconds",
        "seconds",
        LANE,
        "Age of the partition's oldest record that is not in the lake, by the broker's time of it; 0 where all are",
    ),
    gauge(
        "alluvium_partition_freshness_seconds",
        "seconds",
        LANE,
        "Age of the partition's newest record that is in the lake, by the broker's time of it",
    ),
    gauge(
        "alluvium_rejected_share",
        "share of 1",
        LANE,
        "Share of the records read within the last minute, or `stop_window`, that were rejects",
    ),
    gauge(
        "alluvium_model_version",
        "version",
        &[DATASET, label("model", &[]), PARTITION],
        "Version that scored the partition's newest segment",
    ),
    gauge(
        "alluvium_model_changed_at_offset",
        "offset",
        LANE,
        "First offset that the version of now has scored, if the model has changed",
    ),
    gauge(
        "alluvium_model_in_use_version",
        "version",
        &[label("model", &[])],
        "Version that new segments are scored by; each partition changes over with its next one",
    ),
    counter(
        "alluvium_model_changes_total",
        "times",
        &[],
        "Times that a partition went over to another version of the model",
    ),
    counter(
        "alluvium_model_refusals_total",
        "times",
        &[],
        "Promoted versions that a stream could not use, and went on without",
    ),
    Metric {
        from: From::Status,
        ..counter(
            "alluvium_predictions_total",
            "rows",
            &[DATASET, CLASS],
            "Scored rows in the lake, by predicted class",
        )
    },
    histogram(
        "alluvium_confidence",
        "probability",
        &[CLASS],
        "How sure the model was of scored rows, by the class that it predicted",
    ),
    counter("alluvium_outlet_records_total", "rows", &[OUTLET], "Rows or records that have arrived at an outlet"),
    counter(
        "alluvium_outlet_errors_total",
        "times",
        &[OUTLET],
        "Times that an outlet failed, and was tried again or given up",
    ),
    counter(
        "alluvium_outlet_fences_total",
        "times",
        &[OUTLET],
        "Times that another worker had sent what this one was about to",
    ),
    counter(
        "alluvium_outlet_expired_total",
        "rows",
        &[OUTLET],
        "Rows that an expiry deleted before an outlet had sent them",
    ),
    counter("alluvium_outlet_altered_total", "values", &[], "Values that PostgreSQL could not hold as they are"),
    gauge(
        "alluvium_outlet_position",
        "offset",
        &[OUTLET, DATASET, PARTITION],
        "Offset below which all of a partition has arrived",
    ),
    gauge(
        "alluvium_outlet_lag_offsets",
        "offsets",
        &[OUTLET, DATASET, PARTITION],
        "Offsets that are in the lake and have not been looked at by an outlet",
    ),
    histogram(
        "alluvium_step_seconds",
        "seconds",
        &[label("step", &["fetch", "decode", "score", "encode", "stage", "claim", "publish"])],
        "Time that a step took, once a batch (fetch to encode) or a commit (encode to publish); a fetch waits for new records",
    ),
    histogram("alluvium_segment_bytes", "bytes", &[], "Files of a segment together, once a commit"),
    histogram("alluvium_segment_rows", "rows", &[], "Rows of a segment, once a commit"),
    gauge(
        "alluvium_memory_bytes",
        "bytes",
        &[],
        "What all lanes hold of the memory budget: fetched records and segments",
    ),
    gauge("alluvium_memory_peak_bytes", "bytes", &[], "The most that they ever held"),
    gauge("alluvium_memory_limit_bytes", "bytes", &[], "The memory budget"),
];

/// The table as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from("| Metric | Kind | In | Means |\n|---|---|---|---|\n");
    for Metric { name, kind, unit, labels, meaning, .. } in TABLE {
        let labels: Vec<_> = labels.iter().map(shown).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(", ")) };
        let unit = if unit.is_empty() { "-" } else { unit };
        let _ = writeln!(page, "| `{name}{labels}` | {} | {unit} | {meaning} |", kind.name());
    }
    page
}

fn shown(Label { name, values }: &Label) -> String {
    if values.is_empty() { (*name).to_owned() } else { format!("{name}={}", values.join("\\|")) }
}
