//! The embedded broker's group coordinator, as Apache Kafka's is: nobody has a share before all have joined.
//!
//! Owns: members, generations, sessions, in memory. Does not own: committed offsets, which the broker's own coordinator
//! keeps. That one lets members into a generation one by one, so that a group of three may never come to rest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tansu_broker::{
    Result,
    coordinator::group::{Coordinator, OffsetCommit, administrator::Controller},
};
use tansu_sans_io::{
    Body, ErrorCode,
    heartbeat_response::HeartbeatResponse,
    join_group_request::JoinGroupRequestProtocol,
    join_group_response::JoinGroupResponse,
    leave_group_request::MemberIdentity,
    leave_group_response::{LeaveGroupResponse, MemberResponse},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    sync_group_request::SyncGroupRequestAssignment,
    sync_group_response::SyncGroupResponse,
};
use tansu_storage::StorageContainer;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::group::{Group, Joiner, Phase};

/// How soon those who wait for others notice that a session has ended.
const SESSIONS_SEEN_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(super) struct Groups {
    by_name: Arc<Mutex<HashMap<String, Group>>>,
    changed: watch::Sender<()>,
    offsets: Controller<StorageContainer>,
}

impl Groups {
    pub(super) fn new(storage: StorageContainer) -> Result<Self> {
        let offsets = Controller::with_storage(storage)?;
        Ok(Self { by_name: Arc::default(), changed: watch::Sender::new(()), offsets })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a group, changes it, and lets those look again who wait for that.
    fn with<T>(&self, group: &str, change: impl FnOnce(&mut Group) -> T) -> T {
        let outcome = {
            let mut groups = self.locked();
            let group = groups.entry(group.to_owned()).or_default();
            group.expire(Instant::now());
            let outcome = change(group);
            group.form_if_all_have_joined(Instant::now());
            outcome
        };
        self.changed.send_replace(());
        outcome
    }

    /// Until the group has come so far.
    async fn wait<T>(&self, group: &str, mut look: impl FnMut(&mut Group) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            let found = {
                let mut groups = self.locked();
                let group = groups.entry(group.to_owned()).or_default();
                group.expire(Instant::now());
                group.form_if_all_have_joined(Instant::now());
                look(group)
            };
            if let Some(found) = found {
                return found;
            }
            // Over time alone, sessions end and hand-overs are too late.
            let _either = timeout(SESSIONS_SEEN_EVERY, changed.changed()).await;
        }
    }
}

fn refused_join(member: &str, error: ErrorCode) -> Body {
    JoinGroupResponse::default()
        .throttle_time_ms(Some(0))
        .error_code(error.into())
        .generation_id(-1)
        .protocol_type(None)
        .protocol_name(Some(String::new()))
        .leader(String::new())
        .skip_assignment(Some(false))
        .member_id(member.to_owned())
        .members(Some(vec![]))
        .into()
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[async_trait]
impl Coordinator for Groups {
    async fn join(
        &mut self,
        client_id: Option<&str>,
        group_id: &str,
        session_timeout_ms: i32,
        rebalance_timeout_ms: Option<i32>,
        member_id: &str,
        group_instance_id: Option<&str>,
        protocol_type: &str,
        protocols: Option<&[JoinGroupRequestProtocol]>,
        _reason: Option<&str>,
    ) -> Result<Body> {
        let joiner = Joiner {
            client: client_id.unwrap_or_default(),
            member: member_id,
            instance: group_instance_id,
            session: millis(session_timeout_ms),
            rebalance: millis(rebalance_timeout_ms.unwrap_or(session_timeout_ms)),
            protocol_type,
            protocols: protocols.unwrap_or_default(),
        };
        let member = match self.with(group_id, |group| group.join(&joiner)) {
            Ok(member) => member,
            Err((member, error)) => return Ok(refused_join(&member, error)),
        };
        Ok(self.wait(group_id, |group| group.joined(&member)).await)
    }

    async fn sync(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
        _protocol_type: Option<&str>,
        _protocol_name: Option<&str>,
        assignments: Option<&[SyncGroupRequestAssignment]>,
    ) -> Result<Body> {
        self.with(group_id, |group| {
            if group.leads(member_id, generation_id) {
                group.assign(assignments.unwrap_or_default());
            }
        });
        let known = |group: &mut Group| group.known(member_id, group_instance_id, generation_id);
        let outcome = self.wait(group_id, |group| match (known(group), group.phase()) {
            (Err(error), _) => Some(Err(error)),
            (Ok(()), Phase::Joining) => Some(Err(ErrorCode::RebalanceInProgress)),
            (Ok(()), Phase::Assigning) => None,
            (Ok(()), Phase::Stable) => Some(Ok(group.assignment(member_id))),
        });
        let (error, assignment) = match outcome.await {
            Ok(assignment) => (ErrorCode::None, assignment),
            Err(error) => (error, bytes::Bytes::new()),
        };
        let synced = SyncGroupResponse::default().throttle_time_ms(Some(0)).error_code(error.into());
        Ok(synced.protocol_type(None).protocol_name(None).assignment(assignment).into())
    }

    async fn heartbeat(
        &mut self,
        group_id: &str,
        generation_id: i32,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<Body> {
        let error = self.with(group_id, |group| match group.known(member_id, group_instance_id, generation_id) {
            Err(error) => error,
            Ok(()) if matches!(group.phase(), Phase::Joining) => ErrorCode::RebalanceInProgress,
            Ok(()) => ErrorCode::None,
        });
        Ok(HeartbeatResponse::default().throttle_time_ms(Some(0)).error_code(error.into()).into())
    }

    async fn leave(
        &mut self,
        group_id: &str,
        member_id: Option<&str>,
        members: Option<&[MemberIdentity]>,
    ) -> Result<Body> {
        let one = member_id.map(|member| (member, None));
        let many = members.unwrap_or_default().iter();
        let many = many.map(|member| (member.member_id.as_str(), member.group_instance_id.as_deref()));
        let left = self.with(group_id, |group| {
            let leave = |(member, instance): (&str, Option<&str>)| {
                let error = if group.leave(member, instance) { ErrorCode::None } else { ErrorCode::UnknownMemberId };
                let left = MemberResponse::default().member_id(member.to_owned()).error_code(error.into());
                left.group_instance_id(instance.map(str::to_owned))
            };
            one.into_iter().chain(many).map(leave).collect::<Vec<_>>()
        });
        let answer = LeaveGroupResponse::default().throttle_time_ms(Some(0)).error_code(ErrorCode::None.into());
        Ok(answer.members(Some(left)).into())
    }

    async fn offset_commit(&mut self, detail: OffsetCommit<'_>) -> Result<Body> {
        self.offsets.offset_commit(detail).await
    }

    async fn offset_fetch(
        &mut self,
        group_id: Option<&str>,
        topics: Option<&[OffsetFetchRequestTopic]>,
        groups: Option<&[OffsetFetchRequestGroup]>,
        require_stable: Option<bool>,
    ) -> Result<Body> {
        self.offsets.offset_fetch(group_id, topics, groups, require_stable).await
    }
}
