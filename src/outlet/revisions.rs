//! Rows that replays made of rejects, handed on: each revision of a claim as a unit, with a mark of its own.
//!
//! A replay revises claims that followers have long passed. So a follower sends of a claim what the claim itself has made
//! rows of, never a revision's; and these are sent here, by whoever comes first: the replay, or a follower that has
//! caught up for the first time.
//!
//! Owns: which revisions are yet to be sent, and what is sent of one. Does not own: how anything is sent, and when it is
//! tried again. Invariant: a mark is made with its revision's rows or after them, and says that all of them have arrived.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{Outlet, OutletError, Source, Target, follow::Load};
use crate::lake::{FileEntry, FileKind, Held, LakeError, Ledger, Revision, Rows, names};

/// The start of a claim, and the number of one of its revisions.
pub(super) type Place = (i64, u32);

/// Sends what replays have made rows of in this partition, and nobody has sent yet. Does nothing where the outlet has not
/// begun: whoever begins there sends it all.
pub async fn hand_on(outlet: &Outlet, ledger: &Ledger, topic: &Arc<str>) -> Result<(), OutletError> {
    let Some(genesis) = ledger.genesis().await? else { return Ok(()) };
    let source = Source::of(ledger, topic, &genesis);
    if !outlet.has_begun(&source).await? {
        return Ok(());
    }
    for place in unsent(outlet, ledger, &source).await? {
        send(outlet, ledger, &source, place).await?;
    }
    Ok(())
}

/// In the order in which they are to be sent.
pub(super) async fn unsent(outlet: &Outlet, ledger: &Ledger, source: &Source) -> Result<VecDeque<Place>, OutletError> {
    let made = if outlet.kind == FileKind::Scored { ledger.revisions().await? } else { BTreeSet::new() };
    if made.is_empty() {
        return Ok(VecDeque::new());
    }
    // Tells whether it is this ledger's that is known there, and makes what is missing.
    outlet.mark(source).await?;
    let sent = match &outlet.target {
        Target::Topic(topic) => topic.revisions(&outlet.store, source).await?,
        Target::Table(table) => table.revisions(source).await?,
    };
    Ok(made.difference(&sent).copied().collect())
}

/// One revision, as a unit.
pub(super) async fn send(outlet: &Outlet, ledger: &Ledger, source: &Source, place: Place) -> Result<(), OutletError> {
    // Never closed.
    let _on_its_way = outlet.gate.acquire().await;
    let (start, number) = place;
    let source = Source { revision: Some(place), ..source.clone() };
    let rows = contents(outlet, ledger, place).await?;
    let mut load = outlet.target.begin_revision(outlet, &source).await?;
    if let Some(mut rows) = rows {
        while let Some(batch) = rows.next(start).await? {
            load.add(&source, &batch).await?;
        }
    }
    let Some(sent) = load.end_revision(&source, place).await? else {
        tracing::info!(lane = %source.id, outlet = outlet.name, start, number, "another has handed this revision on");
        return Ok(());
    };
    tracing::info!(lane = %source.id, outlet = outlet.name, start, number, rows = sent, "handed on what a replay made rows of");
    outlet.sent.fetch_add(sent, Relaxed);
    metrics::counter!("alluvium_outlet_records_total", "outlet" => outlet.name).increment(sent);
    Ok(())
}

/// The rows of its files that are still there.
async fn contents(outlet: &Outlet, ledger: &Ledger, (start, number): Place) -> Result<Option<Rows>, OutletError> {
    let claim = ledger.claim_at(start).await?;
    let held = match claim {
        Some(claim) => Some(ledger.held(claim).await?),
        None => None,
    };
    let found =
        held.as_ref().and_then(|held| Some((held, held.revisions.iter().find(|found| found.number == number)?)));
    let Some((held, revision)) = found else {
        let path = names::revision(ledger.id(), start, number);
        let reason = "follows nothing: `alluvium audit` tells what is missing".to_owned();
        return Err(LakeError::Corrupt { path, reason }.into());
    };
    open(outlet, ledger, held, revision).await
}

async fn open(outlet: &Outlet, ledger: &Ledger, held: &Held, revision: &Revision) -> Result<Option<Rows>, OutletError> {
    let files: Vec<&FileEntry> = revision.files.iter().filter(|file| file.kind == outlet.kind).collect();
    let (mut rows, mut there) = Rows::open(&outlet.store, &files).await?;
    if there.contains(&false) {
        // Only a claim's newest revision can be unpublished, and anybody may finish it.
        ledger.settle_held(held).await?;
        (rows, there) = Rows::open(&outlet.store, &files).await?;
        let gone: Vec<_> = files.iter().zip(&there).filter(|(_, there)| !**there).map(|(file, _)| *file).collect();
        if !gone.is_empty() {
            outlet.leave_out(ledger, &held.claim, &gone).await?;
        }
    }
    Ok(there.contains(&true).then_some(rows))
}

impl Outlet {
    /// Whether anything of this partition's has ever been followed.
    async fn has_begun(&self, source: &Source) -> Result<bool, OutletError> {
        match &self.target {
            Target::Topic(topic) => topic.has_begun(&self.store, source).await,
            Target::Table(table) => table.has_begun(source).await,
        }
    }
}

impl Target {
    async fn begin_revision<'a>(&'a self, outlet: &'a Outlet, source: &Source) -> Result<Load<'a>, OutletError> {
        Ok(match self {
            Self::Topic(topic) => Load::Topic(topic.begin(&outlet.store, source).await?),
            Self::Table(table) => Load::Table(Box::new(table.begin_revision(source).await?)),
        })
    }
}

impl Load<'_> {
    /// Makes the mark with what was sent; how much that was. `None` if another has made it: then nothing was sent.
    async fn end_revision(self, source: &Source, place: Place) -> Result<Option<u64>, OutletError> {
        match self {
            Self::Topic(load) => load.end_revision(source, place).await.map(Some),
            Self::Table(load) => load.end_revision(source, place).await,
        }
    }
}
