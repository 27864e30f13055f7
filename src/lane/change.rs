//! Says from which offset on a partition's rows are another version's.
//!
//! Owns: the log line and the metrics of a change. Does not own: the change; it stands in the claims, and is told when its
//! claim is won.

use super::Lane;
use crate::{lake::Claim, record::ModelRef};

/// Notes which version scored the newest claim that the lane found.
pub(super) fn found(lane: &Lane, newest: &Claim) {
    if let Some(model) = &newest.model {
        show_version(lane, model);
        lane.status.scored_by(model);
    }
}

/// Says so if the claim is the first that another version scored.
pub(super) fn committed(lane: &Lane, claim: &Claim) {
    let Some(model) = &claim.model else { return };
    show_version(lane, model);
    if let Some(before) = lane.status.scored_by(model).filter(|before| before != model) {
        let id = lane.ledger.id();
        tracing::info!(lane = %id, offset = claim.start, from = %before, to = %model, "the model has changed");
        metrics::counter!("alluvium_model_changes_total").increment(1);
        let (dataset, partition) = (id.dataset.to_string(), id.partition.to_string());
        let gauge = metrics::gauge!("alluvium_model_changed_at_offset", "dataset" => dataset, "partition" => partition);
        set(&gauge, claim.start);
    }
}

fn show_version(lane: &Lane, model: &ModelRef) {
    let id = lane.ledger.id();
    let (dataset, partition) = (id.dataset.to_string(), id.partition.to_string());
    let model_name = model.name.clone();
    let labels = [("dataset", dataset), ("model", model_name), ("partition", partition)];
    let gauge = metrics::gauge!("alluvium_model_version", &labels);
    gauge.set(f64::from(model.version));
}

/// Prometheus knows only floats; offsets beyond 2^53 lose their last digits there.
#[expect(clippy::cast_precision_loss, reason = "the log and the claim have it exactly")]
fn set(gauge: &metrics::Gauge, offset: i64) {
    gauge.set(offset as f64);
}
