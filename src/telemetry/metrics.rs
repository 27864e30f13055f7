//! The counters of a run, as Prometheus text.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use super::status::Status;

/// What has been counted, to be told.
#[derive(Clone)]
pub struct Rendered(PrometheusHandle);

/// From now on, what is counted is kept. Once a process.
pub fn install() -> Result<Rendered, BuildError> {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    describe();
    Ok(Rendered(recorder))
}

impl Rendered {
    #[must_use]
    pub fn render(&self, _status: &Status) -> String {
        self.0.render()
    }
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered")
    }
}

/// Says what each counter means, and shows it from the start, at nought.
fn describe() {
    let counters = [
        ("alluvium_segments_total", "Segments committed to the lake"),
        ("alluvium_further_rows_total", "Rows committed to the lake beyond one a scored record"),
        ("alluvium_gap_offsets_total", "Offsets that were deleted before they were read"),
        ("alluvium_fences_total", "Segments dropped because another writer had committed their offsets"),
        ("alluvium_retries_total", "Times that a lane went back to the ledger after a passing fault"),
        ("alluvium_registry_requests_total", "Requests to the schema registry, by whether there was an answer"),
        ("alluvium_model_changes_total", "Times that a partition went over to another version of the model"),
        ("alluvium_model_refusals_total", "Promoted versions that a stream could not use, and went on without"),
        ("alluvium_group_rebalances_total", "Times that the group gave this worker its partitions anew"),
        ("alluvium_group_losses_total", "Times that this worker lost all its partitions, as the group had gone on"),
        ("alluvium_reject_stops_total", "Lanes that stopped because too many records were rejects"),
        ("alluvium_outlet_altered_total", "Values that PostgreSQL could not hold as they are"),
        ("alluvium_lanes_stopped_total", "Lanes that stopped for something that a person must mend"),
    ];
    for (name, meaning) in counters {
        metrics::describe_counter!(name, meaning);
        metrics::counter!(name).absolute(0);
    }
    let version = "Version that scored the partition's newest segment";
    metrics::describe_gauge!("alluvium_model_version", version);
    let changed_at = "First offset that the version of now has scored, if the model has changed";
    metrics::describe_gauge!("alluvium_model_changed_at_offset", changed_at);
    let held = "Partitions that the group has given to this worker";
    metrics::describe_gauge!("alluvium_group_partitions", held);
    let share = "Share of the records read within the last minute, or `stop_window`, that were rejects";
    metrics::describe_gauge!("alluvium_rejected_share", share);
    describe_outlets();
    metrics::describe_counter!("alluvium_records_total", "Records committed to the lake, by what became of them");
    for outcome in ["scored", "rejected", "filtered"] {
        metrics::counter!("alluvium_records_total", "outcome" => outcome).absolute(0);
    }
}

/// By outlet, so that those that a pipeline does not have don't show.
fn describe_outlets() {
    for (name, meaning) in [
        ("alluvium_outlet_records_total", "Rows or records that have arrived at an outlet"),
        ("alluvium_outlet_errors_total", "Times that an outlet failed, and was tried again or given up"),
        ("alluvium_outlet_fences_total", "Times that another worker had sent what this one was about to"),
        ("alluvium_outlet_expired_total", "Rows that an expiry deleted before an outlet had sent them"),
    ] {
        metrics::describe_counter!(name, meaning);
    }
    metrics::describe_gauge!("alluvium_outlet_position", "Offset below which all of a partition has arrived");
    let lag = "Offsets that are in the lake and have not been looked at by an outlet";
    metrics::describe_gauge!("alluvium_outlet_lag_offsets", lag);
}
