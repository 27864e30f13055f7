//! The counters of a run, and the closed list of them, as Prometheus text.
//!
//! Owns: what `/metrics` says ([`TABLE`] has every name), and that the series stay few. Does not own: what is counted where,
//! and the server. Libraries below count nothing here: what is not in the table is not shown.

mod gauges;
mod table;

use std::io;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use self::table::{
    CLASSES_SHOWN_MAX, From, Kind, Label, Metric, PARTITIONS_SHOWN_MAX, SERIES_MAX, TABLE, markdown,
};
use super::status::Status;

/// What has been counted, ready to be shown.
#[derive(Clone, Debug)]
pub struct Rendered {
    counted: PrometheusHandle,
}

/// Counts from here on, for the whole process; may be done once.
pub fn install() -> io::Result<Rendered> {
    let (recorder, rendered) = recorder();
    metrics::set_global_recorder(recorder).map_err(io::Error::other)?;
    Ok(rendered)
}

/// What counts, with every counter of the table at nought, and what shows it.
#[must_use]
pub fn recorder() -> (PrometheusRecorder, Rendered) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = Rendered { counted: recorder.handle() };
    metrics::with_local_recorder(&recorder, begin);
    (recorder, rendered)
}

impl Rendered {
    /// The whole page, of now.
    #[must_use]
    pub fn render(&self, status: &Status) -> String {
        format!("{}{}", self.counted.render(), gauges::text(status))
    }
}

/// Says what each counter means, and shows it from the start, at nought.
fn begin() {
    for metric in TABLE.iter().filter(|metric| metric.from == From::Counted) {
        metrics::describe_counter!(metric.name, metric.meaning);
        match metric.labels {
            [] => metrics::counter!(metric.name).absolute(0),
            // Those of outlets are left out of the page of a pipeline that has none.
            [label] if label.name != "outlet" => {
                label.values.iter().for_each(|value| metrics::counter!(metric.name, label.name => *value).absolute(0));
            }
            _ => {}
        }
    }
}
