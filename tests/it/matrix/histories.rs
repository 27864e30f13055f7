//! Simulated histories: some workers, a broker that forgets, a store that loses answers, crashes, freezes, and a reader
//! that looks again and again. Each history follows from its seed; time is simulated, so an hour takes a moment.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use alluvium::{
    lake::{Kind, LakeError, Ledger, Outcome, Store, names},
    offset::OffsetRange,
};
use bytes::Bytes;
use futures::FutureExt;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::cuts::Look;
use crate::support::{
    faulty::{Call, Faulty, Meddle},
    proof::{Promise, Proof},
    writer::{lane, ledger, segment},
};

/// How many histories are tried; more with this variable, one alone with the other.
const HISTORIES: u64 = 1_000;
const HISTORIES_VARIABLE: &str = "ALLUVIUM_HISTORIES";
const SEED_VARIABLE: &str = "ALLUVIUM_HISTORY";
/// Where each made-up topic ends.
const END: i64 = 14;
const WORKERS_MAX: usize = 5;
/// A history that takes longer than this, in simulated time, has got stuck.
const LIFE_MAX: Duration = Duration::from_hours(12);

type Dice = Arc<Mutex<ChaCha8Rng>>;

fn dice(seed: u64, stream: u64) -> Dice {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(stream);
    Arc::new(Mutex::new(dice))
}

fn throw<T: rand::distr::uniform::SampleUniform + PartialOrd>(dice: &Dice, range: Range<T>) -> T {
    dice.lock().unwrap().random_range(range)
}

/// What happened, all histories together.
#[derive(Debug, Default)]
struct Tally {
    crashes: AtomicU64,
    freezes: AtomicU64,
    lost_answers: AtomicU64,
    failures: AtomicU64,
    fences: AtomicU64,
    gaps: AtomicU64,
    wrong_hints: AtomicU64,
    looks: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, SeqCst);
}

struct History {
    objects: Arc<dyn ObjectStore>,
    renames_by_copy: bool,
    /// The first offset that the broker still has.
    earliest: Arc<AtomicI64>,
    tally: Arc<Tally>,
}

impl History {
    /// A worker, from its first start to the one that reaches the end.
    async fn worker(self: Arc<Self>, number: usize, dice: Dice) {
        for life in 0.. {
            let crashed = CancellationToken::new();
            let cut = Faulty::meddled(self.objects.clone(), self.renames_by_copy, self.meddle(&dice, &crashed));
            let ledger = ledger(Store::over(cut, "memory"), &format!("{number}.{life}"));
            tokio::select! {
                biased;
                () = crashed.cancelled() => count(&self.tally.crashes),
                lived = self.live(&ledger, &dice) => match lived {
                    Ok(()) => return,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                },
            }
            sleep(Duration::from_millis(throw(&dice, 0..3_000))).await;
        }
    }

    async fn live(&self, ledger: &Ledger, dice: &Dice) -> Result<(), LakeError> {
        let genesis = match ledger.genesis().await? {
            Some(genesis) => genesis,
            None => ledger.begin("flowers", self.earliest.load(SeqCst)).await?,
        };
        loop {
            let head = ledger.head(&genesis).await?;
            ledger.sweep(head.newest.as_ref()).await?;
            let mut position = head.position;
            while position < END {
                match self.commit(ledger, position, dice).await? {
                    Outcome::Won(claim) => position = claim.end,
                    Outcome::Fenced { .. } => {
                        count(&self.tally.fences);
                        break;
                    }
                }
            }
            if position >= END {
                return Ok(());
            }
        }
    }

    /// A gap, if the broker has forgotten what comes next, else a segment.
    async fn commit(&self, ledger: &Ledger, position: i64, dice: &Dice) -> Result<Outcome, LakeError> {
        let earliest = self.earliest.load(SeqCst);
        if earliest > position {
            count(&self.tally.gaps);
            return ledger.gap(OffsetRange { start: position, end: earliest }, None, "retention").await;
        }
        let end = (position + throw(dice, 1..5)).min(END);
        sleep(Duration::from_millis(throw(dice, 0..500))).await;
        ledger.commit(segment(position, end)).await
    }

    /// Before and after each call something may happen to it.
    fn meddle(&self, dice: &Dice, crashed: &CancellationToken) -> Meddle {
        let (dice, crashed, tally) = (dice.clone(), crashed.clone(), self.tally.clone());
        Arc::new(move |call: Call| {
            let (dice, crashed, tally) = (dice.clone(), crashed.clone(), tally.clone());
            async move {
                match throw(&dice, 0..1_000) {
                    0..600 => tokio::task::yield_now().await,
                    600..940 => sleep(Duration::from_millis(throw(&dice, 0..2_000))).await,
                    940..960 => {
                        count(&tally.freezes);
                        sleep(Duration::from_secs(throw(&dice, 10..600))).await;
                    }
                    960..985 => {
                        count(if call.after_effect { &tally.lost_answers } else { &tally.failures });
                        return false;
                    }
                    _ => {
                        crashed.cancel();
                        std::future::pending::<()>().await;
                    }
                }
                true
            }
            .boxed()
        })
    }

    /// The broker forgets what is old, and somebody writes nonsense over the hint.
    async fn decay(self: Arc<Self>, dice: Dice) {
        loop {
            sleep(Duration::from_millis(throw(&dice, 500..20_000))).await;
            if throw(&dice, 0..2) == 0 && self.earliest.load(SeqCst) < END - 2 {
                self.earliest.fetch_add(throw(&dice, 1..3), SeqCst);
            }
            if throw(&dice, 0..4) == 0 {
                let nonsense = format!("{{\"start\": {}}}", throw(&dice, 0..2 * END));
                self.objects.put(&names::hint(&lane()), Bytes::from(nonsense).into()).await.unwrap();
                count(&self.tally.wrong_hints);
            }
        }
    }

    async fn reader(self: Arc<Self>, dice: Dice) {
        let mut before = Look::default();
        loop {
            before = self.look(&before).await;
            sleep(Duration::from_millis(throw(&dice, 200..30_000))).await;
        }
    }

    async fn look(&self, before: &Look) -> Look {
        let now = Look::at(&self.objects).await;
        now.assert_nothing_early("a look");
        now.assert_keeps(before, "a look");
        count(&self.tally.looks);
        now
    }
}

/// Plays one history to its end, and looks at what is left.
async fn play(seed: u64, tally: Arc<Tally>) {
    let fate = dice(seed, 0);
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let renames_by_copy = throw(&fate, 0..2) == 1;
    let history = Arc::new(History { objects, renames_by_copy, earliest: Arc::default(), tally });
    let mut beside = JoinSet::new();
    beside.spawn(history.clone().decay(dice(seed, 1)));
    beside.spawn(history.clone().reader(dice(seed, 2)));
    let mut workers = JoinSet::new();
    for (number, stream) in (0..=throw(&fate, 0..WORKERS_MAX)).zip(3..) {
        workers.spawn(history.clone().worker(number, dice(seed, stream)));
    }
    tokio::time::timeout(LIFE_MAX, async {
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(ended) => ended.expect("a worker ends well"),
                    None => break,
                },
                Some(ended) = beside.join_next() => ended.expect("the reader has nothing to complain of"),
            }
        }
    })
    .await
    .expect("the workers come to the end");
    beside.shutdown().await;
    // The last of them may have died after its claim: who comes next publishes it.
    let next = ledger(Store::over(history.objects.clone(), "memory"), "next");
    next.head(&next.genesis().await.unwrap().expect("it was begun")).await.unwrap();
    assert_whole(&history).await;
}

async fn assert_whole(history: &History) {
    let look = history.look(&Look::default()).await;
    look.assert_tiled_from_genesis(END);
    let earliest = history.earliest.load(SeqCst);
    for claim in look.claims() {
        let gap = matches!(claim.kind, Kind::Gap { .. });
        assert!(!gap || claim.end <= earliest, "only what the broker forgot may be a gap: {claim:?}");
        assert_eq!(claim.counts.absent > 0, gap, "{claim:?}");
    }
}

fn run(seed: u64, tally: &Arc<Tally>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(play(seed, tally.clone()))));
    assert!(
        played.is_ok(),
        "history {seed} went wrong; once more: {SEED_VARIABLE}={seed} cargo test --test it histories"
    );
}

#[test]
fn no_history_loses_or_doubles_anything() {
    let proof = Proof::of(
        "simulated histories: crashes, lost answers, delays, rivals, retention",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L3,
            Promise::L4,
            Promise::L5,
            Promise::L6,
            Promise::L7,
            Promise::L8,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
        ],
    );
    let number = |variable| std::env::var(variable).ok().map(|text| text.parse::<u64>().expect("a number"));
    let tally = Arc::new(Tally::default());
    if let Some(seed) = number(SEED_VARIABLE) {
        run(seed, &tally);
        return proof.left_out();
    }
    let histories = number(HISTORIES_VARIABLE).unwrap_or(HISTORIES);
    (0..histories).for_each(|seed| run(seed, &tally));
    eprintln!("{histories} histories: {tally:?}");
    let Tally { crashes, freezes, lost_answers, failures, fences, gaps, wrong_hints, looks } = &*tally;
    for happened in [crashes, freezes, lost_answers, failures, fences, gaps, wrong_hints, looks] {
        assert!(happened.load(SeqCst) > histories / 10, "all of it happened, and often: {tally:?}");
    }
    proof.shown(&[
        Promise::L1,
        Promise::L2,
        Promise::L3,
        Promise::L4,
        Promise::L5,
        Promise::L6,
        Promise::L7,
        Promise::L8,
    ]);
    proof.shown(&[Promise::NoneLost, Promise::NoneDoubled, Promise::NoneEarly]);
}
