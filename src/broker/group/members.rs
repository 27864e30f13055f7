//! What members of both protocols do alike.
//!
//! Owns: how long is waited, and what is lost when. Does not own: either protocol.

use std::time::Duration;

use rskafka::client::error::ProtocolError;
use tokio::time::{Instant, sleep};

use super::{super::cause::Cause, GroupSettings, coordinator::Coordinator, seat::Seat, trouble::Trouble};

/// How many of a session's heartbeats may fail before the session is over.
const TRIES_A_SESSION: u32 = 3;
/// Longer than the longest session that a broker allows a member of the `consumer` protocol, unless it was told to.
const NAME_TAKEN_MAX: Duration = Duration::from_secs(90);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Longer each time.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_FIRST)
    }
}

impl Pause {
    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// Makes ready to join again, or gives back what only a person can mend.
pub(super) async fn recover(
    seat: &mut Seat,
    coordinator: &mut Coordinator,
    trouble: Trouble,
    no_generation: i32,
) -> Result<(), Cause> {
    let trouble = match trouble {
        Trouble::Passing(cause) => {
            tracing::info!(group = seat.settings.name, cause = cause.text, "the coordinator is asked again");
            coordinator.moved();
            seat.session_over().err()
        }
        Trouble::NameTaken => return name_taken(seat),
        trouble => Some(trouble),
    };
    match trouble {
        None | Some(Trouble::Named | Trouble::NameTaken | Trouble::Passing(_)) => {}
        Some(Trouble::Again) => seat.rebalance("the group formed anew"),
        Some(Trouble::Person(cause)) => return Err(cause),
        Some(Trouble::Expelled { why, forgotten }) => {
            seat.generation = no_generation;
            if forgotten {
                seat.member.clear();
            }
            seat.lose(why).await;
        }
    }
    Ok(())
}

/// One that was killed keeps its name until its session is over; who lives longer is another worker.
fn name_taken(seat: &mut Seat) -> Result<(), Cause> {
    let group = &seat.settings.name;
    if seat.name_taken_since.is_none() {
        tracing::warn!(
            group,
            instance = seat.settings.instance,
            "another member has this `group_instance`; waiting for its session to end"
        );
    }
    let since = *seat.name_taken_since.get_or_insert_with(Instant::now);
    if since.elapsed() < NAME_TAKEN_MAX { Ok(()) } else { Err(ProtocolError::FencedInstanceId.into()) }
}

/// The longest that a plain question may take.
pub(super) fn ask_max(seat: &Seat, coordinator: &Coordinator) -> Duration {
    (seat.settings.session_timeout / TRIES_A_SESSION).min(coordinator.limits().request_timeout)
}

pub(super) fn refused(error: Option<ProtocolError>) -> Result<(), Trouble> {
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// The group waits a little longer than a hand-over may take, so that one that takes its full time is not too late.
pub(super) fn rebalance_timeout(settings: &GroupSettings) -> Duration {
    settings.handover_max + 2 * settings.heartbeat_every
}

pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
