//! One group of the embedded broker: who is in it, what its generation is, who has what.
//!
//! Owns: the rules, as Apache Kafka has them. Does not own: waiting ([`super::groups`]). No clock of its own.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tansu_sans_io::{
    Body, ErrorCode,
    join_group_request::JoinGroupRequestProtocol,
    join_group_response::{JoinGroupResponse, JoinGroupResponseMember},
    sync_group_request::SyncGroupRequestAssignment,
};
use tokio::time::Instant;
use uuid::Uuid;

/// How long a name is kept for one that was told to join by it.
const NAME_KEPT: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Group {
    generation: i32,
    phase: Phase,
    leader: String,
    protocol: String,
    protocol_type: String,
    members: BTreeMap<String, Member>,
    /// Names that were given out, and until when they can be used.
    named: BTreeMap<String, Instant>,
    /// Those who have not joined by then are out.
    joined_by: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until all members have joined again, or the slowest has had its time.
    Joining,
    /// Until the leader has shared out the partitions.
    Assigning,
    #[default]
    Stable,
}

#[derive(Debug)]
struct Member {
    instance: Option<String>,
    session: Duration,
    rebalance: Duration,
    protocols: Vec<JoinGroupRequestProtocol>,
    heard: Instant,
    /// Into the generation that is being formed.
    has_joined: bool,
    /// The leader came back under its instance's name, and what it shared out stands.
    keeps_plan: bool,
    assignment: Bytes,
}

/// A request to join.
#[derive(Debug)]
pub(super) struct Joiner<'a> {
    pub(super) client: &'a str,
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocol_type: &'a str,
    pub(super) protocols: &'a [JoinGroupRequestProtocol],
}

impl Group {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The name that it has joined by; or the one it is to know, and why it has not joined.
    pub(super) fn join(&mut self, joiner: &Joiner<'_>) -> Result<String, (String, ErrorCode)> {
        if !self.understands(joiner) {
            return Err((joiner.member.to_owned(), ErrorCode::InconsistentGroupProtocol));
        }
        let member = self.named(joiner)?;
        let protocols = joiner.protocols.to_vec();
        let known = self.members.get(&member);
        let as_before = known.is_some_and(|known| known.protocols == protocols);
        let back = joiner.instance.is_some() && joiner.member.is_empty() && known.is_some();
        // Who leads joins again to have the partitions shared out anew; others only if they have something to say.
        let stands = match self.phase {
            Phase::Stable => back || (as_before && self.leader != member),
            Phase::Assigning => as_before,
            Phase::Joining => false,
        };
        let assignment = known.map_or_else(Bytes::new, |known| known.assignment.clone());
        let newest = Member {
            instance: joiner.instance.map(str::to_owned),
            session: joiner.session,
            rebalance: joiner.rebalance,
            protocols,
            heard: Instant::now(),
            has_joined: true,
            keeps_plan: back && stands,
            assignment,
        };
        self.named.remove(&member);
        self.members.insert(member.clone(), newest);
        if !stands && self.phase != Phase::Joining {
            self.rebalance(&member);
        }
        Ok(member)
    }

    fn understands(&self, joiner: &Joiner<'_>) -> bool {
        let spoken = |member: &Member| joiner.protocols.iter().any(|one| member.speaks(&one.name));
        let others = || self.members.iter().filter(|(name, _)| name.as_str() != joiner.member);
        !joiner.protocols.is_empty()
            && others().all(|(_, member)| spoken(member))
            && (others().next().is_none() || self.protocol_type == joiner.protocol_type)
    }

    fn named(&mut self, joiner: &Joiner<'_>) -> Result<String, (String, ErrorCode)> {
        let of_instance = |group: &Self, instance: &str| {
            let mut members = group.members.iter();
            members.find(|(_, member)| member.instance.as_deref() == Some(instance)).map(|(name, _)| name.clone())
        };
        let new = |prefix: &str| format!("{prefix}-{}", Uuid::new_v4());
        joiner.protocol_type.clone_into(&mut self.protocol_type);
        match (joiner.instance, joiner.member) {
            (None, "") => {
                let name = new(joiner.client);
                self.named.insert(name.clone(), Instant::now() + NAME_KEPT);
                Err((name, ErrorCode::MemberIdRequired))
            }
            (Some(instance), "") => {
                let name = new(instance);
                if let Some(before) = of_instance(self, instance) {
                    self.rename(&before, &name);
                }
                Ok(name)
            }
            (Some(instance), member) if of_instance(self, instance).is_some_and(|name| name != member) => {
                Err((member.to_owned(), ErrorCode::FencedInstanceId))
            }
            (_, member) if self.members.contains_key(member) || self.named.contains_key(member) => {
                Ok(member.to_owned())
            }
            (_, member) => Err((member.to_owned(), ErrorCode::UnknownMemberId)),
        }
    }

    fn rename(&mut self, before: &str, name: &str) {
        if let Some(member) = self.members.remove(before) {
            self.members.insert(name.to_owned(), member);
        }
        if self.leader == before {
            name.clone_into(&mut self.leader);
        }
    }

    /// All but `first` are to join again.
    fn rebalance(&mut self, first: &str) {
        self.phase = Phase::Joining;
        for (name, member) in &mut self.members {
            member.has_joined = name == first;
        }
        let longest = self.members.values().map(|member| member.rebalance).max();
        self.joined_by = longest.map(|longest| Instant::now() + longest);
    }

    pub(super) fn form_if_all_have_joined(&mut self, now: Instant) {
        let late = self.joined_by.is_some_and(|by| by <= now);
        if self.phase != Phase::Joining || !(late || self.members.values().all(|member| member.has_joined)) {
            return;
        }
        self.members.retain(|_, member| member.has_joined);
        self.joined_by = None;
        self.generation += 1;
        self.phase = Phase::Assigning;
        let Some(first) = self.members.keys().next() else {
            self.phase = Phase::Stable;
            return;
        };
        if !self.members.contains_key(&self.leader) {
            self.leader.clone_from(first);
        }
        let common = |name: &str| self.members.values().all(|member| member.speaks(name));
        let spoken = self.members.values().flat_map(|member| &member.protocols).find(|one| common(&one.name));
        self.protocol = spoken.map_or_else(String::new, |one| one.name.clone());
        for member in self.members.values_mut() {
            member.heard = now;
        }
    }

    /// What a member is told that has joined, when the generation has formed.
    pub(super) fn joined(&mut self, name: &str) -> Option<Body> {
        // One that has not joined the next generation yet is told of its own: it has formed, if it is over already.
        if self.phase == Phase::Joining && self.members.get(name).is_some_and(|member| member.has_joined) {
            return None;
        }
        let answer = JoinGroupResponse::default().throttle_time_ms(Some(0)).member_id(name.to_owned());
        let Some(member) = self.members.get_mut(name) else {
            let unknown = answer.error_code(ErrorCode::UnknownMemberId.into()).generation_id(-1);
            let unknown = unknown.protocol_type(None).protocol_name(Some(String::new())).leader(String::new());
            return Some(unknown.skip_assignment(Some(false)).members(Some(vec![])).into());
        };
        let skip = std::mem::take(&mut member.keeps_plan);
        let told = if self.leader == name { self.said() } else { vec![] };
        let answer = answer.error_code(ErrorCode::None.into()).generation_id(self.generation);
        let answer = answer.protocol_type(Some(self.protocol_type.clone())).protocol_name(Some(self.protocol.clone()));
        Some(answer.leader(self.leader.clone()).skip_assignment(Some(skip)).members(Some(told)).into())
    }

    fn said(&self) -> Vec<JoinGroupResponseMember> {
        let said = |(name, member): (&String, &Member)| {
            let metadata = member.protocols.iter().find(|one| one.name == self.protocol);
            JoinGroupResponseMember::default()
                .member_id(name.clone())
                .group_instance_id(member.instance.clone())
                .metadata(metadata.map_or_else(Bytes::new, |one| one.metadata.clone()))
        };
        self.members.iter().map(said).collect()
    }

    pub(super) fn leads(&self, member: &str, generation: i32) -> bool {
        self.phase == Phase::Assigning && self.leader == member && self.generation == generation
    }

    pub(super) fn assign(&mut self, assignments: &[SyncGroupRequestAssignment]) {
        for (name, member) in &mut self.members {
            let given = assignments.iter().find(|given| given.member_id == *name);
            member.assignment = given.map_or_else(Bytes::new, |given| given.assignment.clone());
        }
        self.phase = Phase::Stable;
    }

    pub(super) fn assignment(&self, member: &str) -> Bytes {
        self.members.get(member).map_or_else(Bytes::new, |member| member.assignment.clone())
    }

    /// A word from a member is one whatever it says: its session goes on.
    pub(super) fn known(&mut self, member: &str, instance: Option<&str>, generation: i32) -> Result<(), ErrorCode> {
        let fenced = |known: &Member| instance.is_some() && known.instance.as_deref() == instance;
        if !self.members.contains_key(member) && self.members.values().any(fenced) {
            return Err(ErrorCode::FencedInstanceId);
        }
        let known = self.members.get_mut(member).ok_or(ErrorCode::UnknownMemberId)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        known.heard = Instant::now();
        Ok(())
    }

    /// Whether it was there.
    pub(super) fn leave(&mut self, member: &str, instance: Option<&str>) -> bool {
        let before = self.members.len();
        let leaving = |name: &str, known: &Member| {
            if member.is_empty() { instance.is_some() && known.instance.as_deref() == instance } else { name == member }
        };
        self.members.retain(|name, known| !leaving(name, known));
        let left = self.members.len() < before;
        if left && self.phase != Phase::Joining {
            self.rebalance("");
        }
        left
    }

    /// Puts out those who were not heard of for a session. Who has joined waits for the others, and can't be heard.
    pub(super) fn expire(&mut self, now: Instant) {
        self.named.retain(|_, until| now < *until);
        let before = self.members.len();
        let waits = |member: &Member| self.phase == Phase::Joining && member.has_joined;
        self.members.retain(|_, member| waits(member) || now < member.heard + member.session);
        if self.members.len() < before && self.phase != Phase::Joining {
            self.rebalance("");
        }
    }
}

impl Member {
    fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|one| one.name == protocol)
    }
}
