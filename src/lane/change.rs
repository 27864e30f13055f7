//! Says from which offset on a partition's rows are another version's.
//!
//! Owns: the log line and the count of a change. Does not own: the change; it stands in the claims, and is told when its
//! claim is won.

use super::Lane;
use crate::lake::Claim;

/// Notes which version scored the newest claim that the lane found.
pub(super) fn found(lane: &Lane, newest: &Claim) {
    if let Some(model) = &newest.model {
        lane.status.scored_by(model);
    }
}

/// Says so if the claim is the first that another version scored.
pub(super) fn committed(lane: &Lane, claim: &Claim) {
    let Some(model) = &claim.model else { return };
    if let Some(before) = lane.status.scored_by(model).filter(|before| before != model) {
        let id = lane.ledger.id();
        tracing::info!(lane = %id, offset = claim.start, from = %before, to = %model, "the model has changed");
        metrics::counter!("alluvium_model_changes_total").increment(1);
        lane.status.changed_at(claim.start);
        lane.journal.tell("swap", &format!("{id}: from offset {} on it is {model}, no more {before}", claim.start));
    }
}
