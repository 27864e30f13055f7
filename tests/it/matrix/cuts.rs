//! A writer that is cut before and after every single call to its store, or finds that a rival has been there.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use alluvium::lake::{Claim, Genesis, Kind, Store, names};
use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, memory::InMemory};
use tempfile::TempDir;

use crate::support::{
    faulty::{Call, Fault, Faulty, Meddle},
    proof::{OF_THE_LEDGER, Promise, Proof},
    writer::{END, final_names, lane, work},
};

/// An empty lake with two ways to it.
pub struct Ground {
    /// For looking at it.
    pub objects: Arc<dyn ObjectStore>,
    pub sound: Store,
    /// Meddled with.
    pub cut: Store,
    /// What was called through `cut` so far.
    pub log: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What lives as long as the lake.
    #[expect(dead_code, reason = "held, never read")]
    pub keep: Box<dyn Any + Send>,
}

impl Ground {
    fn memory(renames_by_copy: bool, meddle: Meddle) -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let cut = Faulty::meddled(objects.clone(), renames_by_copy, meddle);
        let sound = Store::over(objects.clone(), "memory");
        Self {
            objects,
            sound,
            cut: Store::over(cut.clone(), "memory"),
            log: Box::new(move || cut.log()),
            keep: Box::new(()),
        }
    }

    fn local(meddle: Meddle) -> Self {
        let folder = quick_folder();
        let root = folder.path().canonicalize().unwrap();
        let objects: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&root).unwrap());
        let cut = Faulty::meddled(objects.clone(), false, meddle);
        let sound = Store::over_local(objects.clone(), root.clone());
        let log = cut.clone();
        Self {
            objects,
            sound,
            cut: Store::over_local(cut, root),
            log: Box::new(move || log.log()),
            keep: Box::new(folder),
        }
    }
}

/// In memory where there is such a place: thousands of syncs would take a disk minutes.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a reader and an auditor find in a lake of the made-up writer.
#[derive(Debug, Default)]
pub struct Look {
    /// Data files, with their bytes.
    visible: BTreeMap<String, Bytes>,
    /// Genesis and claims, byte for byte.
    ledger: BTreeMap<String, Bytes>,
}

impl Look {
    pub async fn at(objects: &Arc<dyn ObjectStore>) -> Self {
        let all: Vec<_> = objects.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
        let mut look = Self::default();
        for path in all {
            let name = path.to_string();
            let is_data = name.starts_with("scored/") || name.starts_with("rejected/");
            if is_data || (name.starts_with("_ledger/") && path != names::hint(&lane())) {
                let bytes = objects.get(&path).await.unwrap().bytes().await.unwrap();
                if is_data { &mut look.visible } else { &mut look.ledger }.insert(name, bytes);
            }
        }
        look
    }

    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        let claims = self.ledger.iter().filter(|(name, _)| !name.ends_with("genesis.json"));
        claims.map(|(_, json)| serde_json::from_slice(json).expect("a claim is never half written"))
    }

    /// Readers see files of claims alone, and each as it was staged.
    pub fn assert_nothing_early(&self, what: &str) {
        let named: BTreeMap<_, _> =
            self.claims().flat_map(|claim| claim.files).map(|file| (file.path.clone(), file)).collect();
        for (name, bytes) in &self.visible {
            let file = named.get(name).unwrap_or_else(|| panic!("{what}: {name} is visible before its claim"));
            assert_eq!(
                (bytes.len() as u64, crc32c::crc32c(bytes)),
                (file.bytes, file.crc32c),
                "{what}: {name} is whole"
            );
        }
    }

    /// What stood there before stands there still, as it was.
    pub fn assert_keeps(&self, before: &Self, what: &str) {
        for (earlier, now) in [(&before.visible, &self.visible), (&before.ledger, &self.ledger)] {
            for (name, bytes) in earlier {
                assert_eq!(now.get(name), Some(bytes), "{what}: {name} was there, and is gone or another");
            }
        }
    }

    /// From genesis to `end` by claims, each under the name of its start; what they name is visible, and nothing else.
    pub fn assert_tiled_from_genesis(&self, end: i64) {
        let genesis = &self.ledger[names::genesis(&lane()).as_ref()];
        let genesis: Genesis = serde_json::from_slice(genesis).unwrap();
        let claims: BTreeMap<_, _> = self.claims().map(|claim| (claim.start, claim)).collect();
        assert_eq!(claims.len() + 1, self.ledger.len(), "a genesis and the claims: {:?}", self.ledger.keys());
        let (mut at, mut named) = (genesis.start, BTreeSet::new());
        for claim in claims.values() {
            assert_eq!(claim.start, at, "{claim:?}");
            assert!(self.ledger.contains_key(names::claim(&lane(), at).as_ref()), "{claim:?}");
            assert!(claim.counts.account_for(claim.range()), "{claim:?}");
            named.extend(claim.files.iter().map(|file| file.path.clone()));
            if claim.kind == Kind::Segment {
                assert_eq!(claim.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), final_names(at));
            }
            at = claim.end;
        }
        assert_eq!(at, end);
        assert_eq!(self.visible.keys().cloned().collect::<BTreeSet<_>>(), named);
    }
}

/// Cuts before and after every call, once and for ever; then another writer goes on.
pub async fn cut_everywhere(proof: &Proof, ground: impl AsyncFn(Meddle) -> Ground) {
    let whole = ground(Fault::meddle(None)).await;
    work(whole.cut.clone(), "whole").await.unwrap();
    let calls = (whole.log)();
    assert!(calls.len() > 20, "a run of several segments: {calls:?}");
    let (mut lost_answers, mut lost_hints) = (0, 0);
    for (at, call) in calls.iter().enumerate() {
        for after_effect in [false, true] {
            for for_ever in [false, true] {
                let what = format!("call {at} ({call}), after effect: {after_effect}, for ever: {for_ever}");
                let ground = ground(Fault::meddle(Some(Fault { at, after_effect, for_ever }))).await;
                let first = work(ground.cut.clone(), "first").await;
                let is_claim =
                    (call.starts_with("put _ledger") || call.starts_with("copy _ledger")) && call.contains("000.json");
                if is_claim && after_effect && !for_ever {
                    first.unwrap_or_else(|error| panic!("{what}: the claim is its own: {error}"));
                    lost_answers += 1;
                }
                lost_hints += usize::from(call.ends_with("latest.json") && !after_effect && for_ever);
                goes_on(&ground, &what).await;
            }
        }
    }
    assert!(lost_answers > 0 && lost_hints > 0, "{calls:?}");
    proof.shown(&[Promise::L7, Promise::L8]);
    proof.shown(&[Promise::L1, Promise::L2, Promise::L4, Promise::L5]);
    proof.shown(&[Promise::NoneLost, Promise::NoneDoubled, Promise::NoneEarly]);
}

/// Before and after every call, a rival does all the work while this writer stands still; then it goes on.
pub async fn frozen_everywhere(proof: &Proof, ground: impl AsyncFn(Meddle) -> Ground) {
    let whole = ground(Fault::meddle(None)).await;
    work(whole.cut.clone(), "whole").await.unwrap();
    let mut fenced = 0;
    for (at, call) in (whole.log)().iter().enumerate() {
        for after_effect in [false, true] {
            let what = format!("frozen at call {at} ({call}), after effect: {after_effect}");
            let rival = Arc::new(std::sync::OnceLock::<Store>::new());
            let frozen = Arc::new(AtomicBool::new(false));
            let ground = ground(freeze(at, after_effect, rival.clone(), frozen.clone())).await;
            rival.set(ground.sound.clone()).unwrap();
            work(ground.cut.clone(), "frozen").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(frozen.load(SeqCst), "{what}");
            let look = Look::at(&ground.objects).await;
            look.assert_nothing_early(&what);
            look.assert_tiled_from_genesis(END);
            fenced += usize::from(look.claims().all(|claim| claim.writer == "rival"));
        }
    }
    assert!(fenced > 0, "the rival was first at least once");
    proof.shown(&[Promise::L6]);
}

/// A second writer ends what the first one left, and takes nothing back.
async fn goes_on(ground: &Ground, what: &str) {
    let left = Look::at(&ground.objects).await;
    left.assert_nothing_early(what);
    work(ground.sound.clone(), "second").await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let whole = Look::at(&ground.objects).await;
    whole.assert_nothing_early(what);
    whole.assert_keeps(&left, what);
    whole.assert_tiled_from_genesis(END);
}

fn freeze(at: usize, after_effect: bool, rival: Arc<std::sync::OnceLock<Store>>, frozen: Arc<AtomicBool>) -> Meddle {
    Arc::new(move |call: Call| {
        let (rival, frozen) = (rival.clone(), frozen.clone());
        async move {
            if call.number == at && call.after_effect == after_effect {
                frozen.store(true, SeqCst);
                let rival = rival.get().expect("there is a way around the meddler").clone();
                work(rival, "rival").await.expect("nobody hinders the rival");
            }
            true
        }
        .boxed()
    })
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_memory_loses_and_doubles_nothing() {
    let proof = Proof::of("a cut at every call: memory", OF_THE_LEDGER);
    cut_everywhere(&proof, async |meddle| Ground::memory(false, meddle)).await;
    frozen_everywhere(&proof, async |meddle| Ground::memory(false, meddle)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_between_the_two_halves_of_a_rename_loses_and_doubles_nothing() {
    let proof = Proof::of("a cut at every call: memory, publishing by copy and delete", OF_THE_LEDGER);
    cut_everywhere(&proof, async |meddle| Ground::memory(true, meddle)).await;
    frozen_everywhere(&proof, async |meddle| Ground::memory(true, meddle)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_on_a_local_folder_loses_and_doubles_nothing() {
    let proof = Proof::of("a cut at every call: local folder", OF_THE_LEDGER);
    cut_everywhere(&proof, async |meddle| Ground::local(meddle)).await;
    frozen_everywhere(&proof, async |meddle| Ground::local(meddle)).await;
}
