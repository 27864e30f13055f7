//! Workers that share a topic by a group: they come and go, and others take over what they held.
//!
//! Owns: how long a partition waits for its next worker. Does not own: who that is, which the group decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::ensure;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{LOOK_EVERY, Role, Round};
use crate::{plan::WORKERS_MAX, tally::TakeOver};

/// A partition that nobody takes within that, beyond the session, is a fault of its own.
const TAKEN_OVER_WITHIN: Duration = Duration::from_mins(1);

impl Round<'_> {
    /// Another one comes: who is away, or somebody new.
    pub(super) async fn join(&mut self, role: Role) -> anyhow::Result<()> {
        match self.workers.first_away() {
            Some(away) => self.workers.restart(away).map(drop),
            None if self.workers.count() < WORKERS_MAX => self.workers.hire(role),
            None => self.leave(0).await,
        }
    }

    /// One goes, unless it is the last.
    pub(super) async fn leave(&mut self, worker: usize) -> anyhow::Result<()> {
        if self.workers.present().len() < 2 {
            return Ok(());
        }
        self.workers.terminate(worker).await?;
        self.workers.stays_away(worker)?;
        self.tally.terms += 1;
        Ok(())
    }

    /// One dies, and comes again when others have all that it held.
    pub(super) async fn fall(&mut self, worker: usize) -> anyhow::Result<()> {
        let Some((pid, held)) = self.held_by(worker).await? else { return self.kill(&[worker], 0).await };
        self.tally.kills += u64::from(self.workers.kill(worker).await?);
        self.workers.stays_away(worker)?;
        let died = chrono::Utc::now().timestamp_millis();
        let waits = self.taken_over(pid, held, Some(died)).await?;
        let session_ms = self.plan.session_ms;
        self.tally.take_overs.extend(waits.into_iter().map(|ms| TakeOver { ms, session_ms }));
        self.workers.restart(worker).map(drop)
    }

    /// One leaves, and comes again when others have all that it held.
    pub(super) async fn hand_over(&mut self, worker: usize) -> anyhow::Result<()> {
        // A group that waits for the dead waits with all it has to do.
        while Instant::now() < self.calm_at {
            self.progress().await?;
            sleep(LOOK_EVERY).await;
        }
        let Some((pid, held)) = self.held_by(worker).await? else { return self.terminate(worker, 0).await };
        self.workers.terminate(worker).await?;
        self.workers.stays_away(worker)?;
        self.tally.terms += 1;
        let waits = self.taken_over(pid, held, None).await?;
        // A member with a name is waited for, as it is meant to come again.
        if !self.plan.named_members {
            self.tally.stalls_ms.extend(waits.into_iter().max());
        }
        self.workers.restart(worker).map(drop)
    }

    /// A worker's process, and the partitions that it was the last to write; none, if there is nobody to take over.
    async fn held_by(&mut self, worker: usize) -> anyhow::Result<Option<(u32, BTreeSet<i32>)>> {
        self.heads.committed().await?;
        let pid = self.workers.pid(worker).filter(|_| self.workers.present().len() > 1);
        Ok(pid.map(|pid| (pid, self.heads.held_by(pid))))
    }

    /// How long each partition waited for the first claim by another worker, in milliseconds: from `since` on, or from the
    /// last claim of the one that is gone; but never for a record that had not been sent.
    async fn taken_over(&mut self, pid: u32, held: BTreeSet<i32>, since: Option<i64>) -> anyhow::Result<Vec<u64>> {
        let deadline = Instant::now() + Duration::from_millis(self.plan.session_ms) + TAKEN_OVER_WITHIN;
        let (mut open, mut waits) = (held, vec![]);
        let mut waiting_since = BTreeMap::new();
        while !open.is_empty() {
            self.progress().await?;
            self.keep_waiting(&open, &mut waiting_since);
            open.retain(|partition| {
                let taken = self.heads.succession(*partition, pid);
                let sent = waiting_since.get(partition).copied().flatten();
                waits.extend(taken.map(|(last, first)| wait_ms(since.unwrap_or(last), sent, first)));
                taken.is_none() && !self.is_drained(*partition)
            });
            ensure!(Instant::now() < deadline, "nobody takes over {open:?} from process {pid}");
            sleep(LOOK_EVERY).await;
        }
        Ok(waits)
    }

    /// Sees to it that there is something to do in each partition, and notes since when; none is from the beginning.
    fn keep_waiting(&mut self, open: &BTreeSet<i32>, waiting_since: &mut BTreeMap<i32, Option<i64>>) {
        let first_look = waiting_since.is_empty();
        for &partition in open {
            if self.sent.end(partition) > self.heads.of(partition) {
                let now = chrono::Utc::now().timestamp_millis();
                waiting_since.entry(partition).or_insert((!first_look).then_some(now));
            } else {
                let one_more = self.sent.len() + 1;
                self.allowed.send_if_modified(|allowed| {
                    let more = *allowed < one_more;
                    *allowed = one_more.max(*allowed);
                    more
                });
            }
        }
    }

    /// All was sent, and all of this partition is in the lake.
    fn is_drained(&self, partition: i32) -> bool {
        let sent_all = self.sending.as_ref().is_none_or(AbortOnDropHandle::is_finished);
        sent_all && self.sent.end(partition) <= self.heads.of(partition)
    }
}

fn wait_ms(since: i64, sent: Option<i64>, first: i64) -> u64 {
    u64::try_from(first - sent.map_or(since, |sent| sent.max(since))).unwrap_or_default()
}
