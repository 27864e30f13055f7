//! The story of one partition of one outlet: claim after claim, from its position on.
//!
//! Owns: the order of things, and what is to be sent of a claim ([`contents`]). Does not own: how anything is sent, and
//! when it is tried again.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arrow::{array::AsArray, datatypes::Int64Type, record_batch::RecordBatch};
use futures::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, time::timeout};

use super::{Arrived, Mark, Outlet, OutletError, Source, Target, postgres, revisions, topic};
use crate::lake::{Claim, Expiries, FileEntry, FileKind, Genesis, Held, LakeError, Ledger, Rows};

/// The ledger is looked at so often if no lane of this process tells of a commit.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Rows after which the position is kept: of a table, what one transaction holds.
const SLICE_ROWS_MAX: usize = 200_000;
/// Claims without anything to send after which the position is kept all the same.
const EMPTY_CLAIMS_MAX: usize = 64;

/// What a follower is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// For ever.
    Follow,
    /// The lane has ended there: up to it, and no further.
    Drain(i64),
    /// The partition is another worker's.
    Quit,
}

/// One partition of one outlet: everything it works with.
#[derive(Debug)]
pub struct Follower {
    pub outlet: Arc<Outlet>,
    pub topic: Arc<str>,
    pub ledger: Ledger,
    pub commits: watch::Receiver<i64>,
    pub order: watch::Receiver<Order>,
    pub arrived: Arc<Arrived>,
}

/// How far it is, and how much of that the target's side remembers.
#[derive(Clone, Copy, Debug)]
struct Place {
    kept: Mark,
    reached: Mark,
    /// Claims since it was kept.
    unkept: usize,
}

/// Follows until it is told to stop.
pub fn run(follower: &mut Follower) -> BoxFuture<'_, Result<(), OutletError>> {
    follow(follower).boxed()
}

async fn follow(follower: &mut Follower) -> Result<(), OutletError> {
    let Some(genesis) = begun(follower).await? else { return Ok(()) };
    let source = Source::of(&follower.ledger, &follower.topic, &genesis);
    let mut unsent = None;
    let mut place = Place::at(follower.outlet.mark(&source).await?);
    loop {
        follower.show(place.reached);
        follower.commits.borrow_and_update();
        let order = *follower.order.borrow_and_update();
        if order == Order::Quit {
            return Ok(());
        }
        let done = matches!(order, Order::Drain(end) if place.reached.position >= end);
        let next = if done { None } else { follower.ledger.claim_at(place.reached.claim).await? };
        let Some(claim) = next else {
            match follower.outlet.keep(&source, &mut place).await {
                Err(OutletError::Fenced) => place = Place::at(follower.outlet.mark(&source).await?),
                kept => kept?,
            }
            if follower.hand_on(&source, &mut unsent).await? {
                continue;
            }
            if order != Order::Follow {
                return Ok(());
            }
            wait(follower).await;
            continue;
        };
        match follower.carry(&source, &genesis, &claim, &mut place).await {
            Err(OutletError::Fenced) => {
                let (lane, outlet) = (&source.id, follower.outlet.name);
                tracing::info!(%lane, outlet, "another worker has sent this; going on behind it");
                count(outlet, "alluvium_outlet_fences_total");
                place = Place::at(follower.outlet.mark(&source).await?);
            }
            carried => carried?,
        }
    }
}

/// Where the claims begin, as soon as a lane has begun them; none, if there is nothing to wait for.
async fn begun(follower: &mut Follower) -> Result<Option<Genesis>, OutletError> {
    loop {
        follower.commits.borrow_and_update();
        let order = *follower.order.borrow_and_update();
        match follower.ledger.genesis().await? {
            Some(genesis) => return Ok(Some(genesis)),
            None if order != Order::Follow => return Ok(None),
            None => wait(follower).await,
        }
    }
}

/// Until something has changed, or it is time to look.
async fn wait(follower: &mut Follower) {
    let Follower { commits, order, .. } = follower;
    let changed = async {
        tokio::select! {
            Ok(()) = commits.changed() => {}
            Ok(()) = order.changed() => {}
            else => std::future::pending().await,
        }
    };
    // A look is due; nothing else follows from it.
    let _ = timeout(LOOK_EVERY, changed).await;
}

impl Place {
    fn at(mark: Mark) -> Self {
        Self { kept: mark, reached: mark, unkept: 0 }
    }

    fn kept_at(&mut self, mark: Mark) {
        *self = Self::at(mark);
    }
}

impl Follower {
    /// Sends what is to be sent of a claim, slice by slice.
    async fn carry(
        &mut self,
        source: &Source,
        genesis: &Genesis,
        claim: &Claim,
        place: &mut Place,
    ) -> Result<(), OutletError> {
        let outlet = self.outlet.clone();
        // Never closed.
        let _on_its_way = outlet.gate.acquire().await;
        let Some(mut rows) = self.contents(genesis, claim).await? else {
            place.reached = Mark::at(claim.end);
            place.unkept += 1;
            return if place.unkept > EMPTY_CLAIMS_MAX { outlet.keep(source, place).await } else { Ok(()) };
        };
        let mut next = rows.next(place.reached.position).await?;
        while place.reached.claim == claim.start {
            let mut load = outlet.target.begin(&outlet, source, place.kept).await?;
            let (mut taken, mut last) = (0, None);
            while let Some(batch) = next.take() {
                let (first, end) = extent(&batch)?;
                // A record's rows stay together.
                if taken >= SLICE_ROWS_MAX && last.is_some_and(|last| last < first) {
                    next = Some(batch);
                    break;
                }
                taken += batch.num_rows();
                last = Some(end);
                load.add(source, &batch).await?;
                next = rows.next(place.reached.position).await?;
            }
            let mark = match (&next, last) {
                (Some(_), Some(last)) => Mark { claim: claim.start, position: last + 1 },
                _ => Mark::at(claim.end),
            };
            let sent = load.end(source, place.kept, mark).await?;
            outlet.sent.fetch_add(sent, Relaxed);
            metrics::counter!("alluvium_outlet_records_total", "outlet" => outlet.name).increment(sent);
            place.kept_at(mark);
            self.show(mark);
            if *self.order.borrow() == Order::Quit {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends the next of the revisions that were there when it had caught up; whether there was one.
    async fn hand_on(
        &self,
        source: &Source,
        unsent: &mut Option<VecDeque<revisions::Place>>,
    ) -> Result<bool, OutletError> {
        let Self { outlet, ledger, .. } = self;
        let left = match unsent {
            Some(left) => left,
            None => unsent.insert(revisions::unsent(outlet, ledger, source).await?),
        };
        let Some(next) = left.pop_front() else { return Ok(false) };
        revisions::send(outlet, ledger, source, next).await?;
        Ok(true)
    }

    /// What is to be sent of a claim: the rows of its own files that are still there; of rejects, what replays have left.
    /// What they made rows of goes out by itself ([`revisions`]).
    async fn contents(&self, genesis: &Genesis, claim: &Claim) -> Result<Option<Rows>, OutletError> {
        loop {
            let held = self.held(claim).await?;
            let ours = held.files().into_iter().filter(|file| file.entry.kind == self.outlet.kind);
            let files: Vec<&FileEntry> = ours.map(|file| file.entry).collect();
            if files.is_empty() {
                return Ok(None);
            }
            let (rows, there) = Rows::open(&self.outlet.store, &files).await?;
            if !there.contains(&false) {
                return Ok(Some(rows));
            }
            // Only the newest claim can be unpublished, and a claim's newest revision; anybody may finish either.
            self.ledger.head(genesis).await?;
            self.ledger.settle_held(&held).await?;
            let (rows, there) = Rows::open(&self.outlet.store, &files).await?;
            let gone: Vec<_> = files.iter().zip(&there).filter(|(_, there)| !**there).map(|(file, _)| *file).collect();
            if gone.is_empty() {
                return Ok(Some(rows));
            }
            if self.held(claim).await?.number() == held.number() {
                self.outlet.leave_out(&self.ledger, claim, &gone).await?;
                return Ok(there.contains(&true).then_some(rows));
            }
        }
    }

    /// The claim; of rejects, with what replays have left of it.
    async fn held(&self, claim: &Claim) -> Result<Held, OutletError> {
        Ok(match self.outlet.kind {
            FileKind::Scored => Held::new(claim.clone()),
            FileKind::Rejected => self.ledger.held(claim.clone()).await?,
        })
    }

    fn show(&self, mark: Mark) {
        self.arrived.reached(mark.position);
    }
}

impl Outlet {
    /// Leaves out what an expiry deleted, and nothing else.
    pub(super) async fn leave_out(
        &self,
        ledger: &Ledger,
        claim: &Claim,
        gone: &[&FileEntry],
    ) -> Result<(), OutletError> {
        let (id, outlet) = (ledger.id(), self.name);
        let notes = Expiries::read(self.store.objects().as_ref(), &id.dataset).await?;
        if let Some(lost) = gone.iter().find(|file| notes.covering(id, claim, file).is_none()) {
            return Err(OutletError::Gone(lost.path.as_str().into()));
        }
        let rows: u64 = gone.iter().map(|file| file.rows).sum();
        tracing::warn!(lane = %id, outlet, offsets = %claim.range(), rows, "expired before they were sent, and left out");
        self.skipped.fetch_add(rows, Relaxed);
        metrics::counter!("alluvium_outlet_expired_total", "outlet" => outlet).increment(rows);
        Ok(())
    }

    pub(super) async fn mark(&self, source: &Source) -> Result<Mark, OutletError> {
        match &self.target {
            Target::Topic(topic) => topic.mark(&self.store, source).await,
            Target::Table(table) => table.mark(source).await,
        }
    }

    /// Keeps the position where claims without anything to send have led.
    async fn keep(&self, source: &Source, place: &mut Place) -> Result<(), OutletError> {
        if place.kept != place.reached {
            let load = self.target.begin(self, source, place.kept).await?;
            load.end(source, place.kept, place.reached).await?;
            place.kept_at(place.reached);
        }
        Ok(())
    }
}

/// Rows on their way to a target. Dropped before its end, it has sent nothing that counts.
pub(super) enum Load<'a> {
    Topic(topic::Load<'a>),
    Table(Box<postgres::Load<'a>>),
}

impl Target {
    async fn begin<'a>(&'a self, outlet: &'a Outlet, source: &Source, kept: Mark) -> Result<Load<'a>, OutletError> {
        Ok(match self {
            Self::Topic(topic) => Load::Topic(topic.begin(&outlet.store, source).await?),
            Self::Table(table) => Load::Table(Box::new(table.begin(source, kept).await?)),
        })
    }
}

impl Load<'_> {
    pub(super) async fn add(&mut self, source: &Source, rows: &RecordBatch) -> Result<(), OutletError> {
        match self {
            Self::Topic(load) => load.add(source, rows).await,
            Self::Table(load) => load.add(rows).await,
        }
    }

    /// Keeps the position with what was sent; how much that was.
    async fn end(self, source: &Source, from: Mark, to: Mark) -> Result<u64, OutletError> {
        match self {
            Self::Topic(load) => load.end(source, to).await,
            Self::Table(load) => load.end(source, from, to).await,
        }
    }
}

/// The first offset and the last.
fn extent(batch: &RecordBatch) -> Result<(i64, i64), OutletError> {
    let offsets = batch.column_by_name("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let offsets = offsets.map(|offsets| offsets.values().as_ref());
    match offsets {
        Some([first, .., last]) => Ok((*first, *last)),
        Some([only]) => Ok((*only, *only)),
        _ => Err(LakeError::Corrupt { path: "scored".into(), reason: "rows without offsets".into() }.into()),
    }
}

fn count(outlet: &'static str, counter: &'static str) {
    metrics::counter!(counter, "outlet" => outlet).increment(1);
}
