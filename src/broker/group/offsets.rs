//! Offsets committed to the group: how far the lake is, for people and tools. Owns no truth: the ledger alone is believed.

use super::{
    coordinator::Coordinator, members::ask_max, messages::OffsetCommit, seat::Seat, subscription::by_topic,
    trouble::Trouble,
};

/// Tells what is not told yet. What comes to nothing is told the next time.
pub(super) async fn commit_offsets(seat: &mut Seat, coordinator: &mut Coordinator) {
    let unsaid = seat.unsaid();
    if unsaid.is_empty() {
        return;
    }
    let limit = ask_max(seat, coordinator);
    let offsets =
        by_topic(unsaid.iter().map(|(partition, offset)| (&*partition.topic, (partition.partition, *offset))));
    let request = OffsetCommit { speaker: seat.speaker(), offsets: &offsets };
    let told = match coordinator.ask(request, limit).await {
        Ok(told) => told.error.map_or(Ok(()), |error| Err(Trouble::from(error))),
        Err(cause) => Err(cause.into()),
    };
    if let Err(trouble) = told {
        // A rebalance refuses them for a moment; the members' next heartbeats tell what matters of all the rest.
        tracing::debug!(group = seat.settings.name, ?trouble, "offsets were not committed to the group");
        seat.said_nothing(unsaid);
    }
}
