//! The laws of the ledger, and a cut before and after every call to the store.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory};

use super::*;
use crate::{
    lake::{
        FileKind, PartitionBy,
        faulty::{Fault, Faulty},
        names::Bucket,
        segment::EncodedFile,
    },
    record::ModelRef,
};

const END: i64 = 9;

fn lane() -> LaneId {
    LaneId { dataset: "iris".into(), generation: 0, partition: 3 }
}

fn ledger(store: Store, writer: &str) -> Ledger {
    Ledger::new(store, lane(), writer.into())
}

fn memory() -> (Arc<dyn ObjectStore>, Store) {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (objects.clone(), Store::over(objects, "memory"))
}

/// A segment over `[start, end)` with a file in each of two hours, and one of rejects.
fn segment(start: i64, end: i64) -> Finished {
    let file = |kind, hour: i64, rows| {
        let bytes = Bytes::from(format!("{kind} {start}..{end} {hour}"));
        let crc32c = crc32c::crc32c(&bytes);
        EncodedFile { kind, bucket: Bucket::of(hour * 3_600_000, PartitionBy::Hour), rows, bytes, crc32c }
    };
    let records = u64::try_from(end - start).unwrap();
    Finished {
        range: OffsetRange { start, end },
        counts: Counts { records, scored: records - 1, rejected: 1, ..Counts::default() },
        fingerprint: None,
        model: ModelRef { name: "iris".into(), version: 1, digest: "d".into() },
        files: vec![
            file(FileKind::Scored, 1, records - 1),
            file(FileKind::Scored, 2, 0),
            file(FileKind::Rejected, 1, 1),
        ],
    }
}

/// A writer's whole work: opens the partition and commits three offsets at a time up to [`END`].
async fn work(store: Store, writer: &str) -> Result<(), LakeError> {
    let ledger = ledger(store, writer);
    let genesis = match ledger.genesis().await? {
        Some(genesis) => genesis,
        None => ledger.begin("flowers", 0).await?,
    };
    loop {
        let head = ledger.head(&genesis).await?;
        ledger.sweep(head.newest.as_ref()).await?;
        let mut position = head.position;
        while position < END {
            match ledger.commit(segment(position, (position + 3).min(END))).await? {
                Outcome::Won(claim) => position = claim.end,
                Outcome::Fenced { .. } => break,
            }
        }
        if position >= END {
            return Ok(());
        }
    }
}

/// Claims tile [0, END), every file they name is at its final name, and no other data file exists.
async fn assert_whole(objects: &Arc<dyn ObjectStore>, what: &str) {
    let (mut at, mut named) = (0, BTreeSet::new());
    while at < END {
        let json = objects.get(&names::claim(&lane(), at)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let claim: Claim = parse(&json.bytes().await.unwrap()).unwrap();
        assert!(claim.counts.account_for(claim.range()), "{what}");
        named.extend(claim.files.iter().map(|file| file.path.clone()));
        at = claim.end;
    }
    assert_eq!(at, END, "{what}");
    let all: Vec<_> = objects.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    let visible: BTreeSet<_> =
        all.iter().filter(|path| path.starts_with("scored/") || path.starts_with("rejected/")).cloned().collect();
    assert_eq!(visible, named, "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_or_after_any_call_to_the_store_loses_and_doubles_nothing() {
    cut_everywhere(Faulty::new).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_between_the_two_halves_of_a_rename_loses_and_doubles_nothing() {
    cut_everywhere(Faulty::without_rename).await;
}

async fn cut_everywhere(faulty: fn(Arc<dyn ObjectStore>, Option<Fault>) -> Arc<Faulty>) {
    let (objects, _) = memory();
    let whole = faulty(objects, None);
    work(Store::over(whole.clone(), "memory"), "whole").await.unwrap();
    let calls = whole.calls();
    assert!(calls > 30, "the matrix covers a run of several segments: {:?}", whole.log());
    for at in 0..calls {
        for after_effect in [false, true] {
            for for_ever in [false, true] {
                let what =
                    format!("call {at} ({}), after effect: {after_effect}, for ever: {for_ever}", whole.log()[at]);
                let (objects, store) = memory();
                let cut = faulty(objects.clone(), Some(Fault { at, after_effect, for_ever }));
                let _ = work(Store::over(cut, "memory"), "first").await;
                work(store, "second").await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_whole(&objects, &what).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_on_a_local_folder_loses_and_doubles_nothing() {
    let open = |fault| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let objects: Arc<dyn ObjectStore> =
            Arc::new(object_store::local::LocalFileSystem::new_with_prefix(&root).unwrap());
        let faulty = Faulty::new(objects.clone(), fault);
        (
            folder,
            objects.clone(),
            Store::over_local(objects, root.clone()),
            faulty.clone(),
            Store::over_local(faulty, root),
        )
    };
    let (_folder, _, _, whole, store) = open(None);
    work(store, "whole").await.unwrap();
    for at in 0..whole.calls() {
        for after_effect in [false, true] {
            let what = format!("call {at} ({}), after effect: {after_effect}", whole.log()[at]);
            let (_folder, objects, sound, _, cut) = open(Some(Fault { at, after_effect, for_ever: true }));
            let _ = work(cut, "first").await;
            work(sound, "second").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_whole(&objects, &what).await;
        }
    }
}

#[tokio::test]
async fn writers_on_one_partition_waste_work_and_corrupt_nothing() {
    let (objects, store) = memory();
    let rivals = (0..5).map(|n| {
        tokio::spawn({
            let store = store.clone();
            async move { work(store, &format!("rival {n}")).await }
        })
    });
    for rival in futures::future::join_all(rivals).await {
        rival.unwrap().unwrap();
    }
    assert_whole(&objects, "five rivals").await;
    let staged = objects.list(Some(&Path::from("_staging"))).try_collect::<Vec<_>>().await.unwrap();
    assert!(staged.is_empty(), "losers drop their staging: {staged:?}");
}

#[tokio::test]
async fn what_stands_in_the_ledger_is_never_changed_and_never_deleted() {
    let (objects, store) = memory();
    work(store.clone(), "first").await.unwrap();
    let before = ledger_objects(&objects).await;
    assert_eq!(before.len(), 4, "a genesis and three claims: {:?}", before.keys());
    let late = ledger(store.clone(), "late");
    late.begin("other", 5).await.unwrap();
    for start in [0, 3, 6] {
        assert!(matches!(late.commit(segment(start, END)).await.unwrap(), Outcome::Fenced { .. }));
        assert!(matches!(late.gap(OffsetRange { start, end: END }, "x").await.unwrap(), Outcome::Fenced { .. }));
    }
    late.sweep(None).await.unwrap();
    work(store, "second").await.unwrap();
    assert_eq!(ledger_objects(&objects).await, before);
}

/// Everything in the ledger but the hint.
async fn ledger_objects(objects: &Arc<dyn ObjectStore>) -> BTreeMap<String, Bytes> {
    let folder = names::ledger(&lane());
    let listed: Vec<_> = objects.list(Some(&folder)).map_ok(|object| object.location).try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for path in listed.into_iter().filter(|path| *path != names::hint(&lane())) {
        all.insert(path.to_string(), objects.get(&path).await.unwrap().bytes().await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_lost_claim_names_the_winner() {
    let (_, store) = memory();
    let (ours, theirs) = (ledger(store.clone(), "ours"), ledger(store, "theirs"));
    assert!(matches!(theirs.commit(segment(0, 5)).await.unwrap(), Outcome::Won(_)));
    let Outcome::Fenced { by } = ours.commit(segment(0, 3)).await.unwrap() else { panic!("offset 0 is theirs") };
    assert_eq!(by, "theirs");
}

#[tokio::test]
async fn a_genesis_is_made_once_and_the_loser_adopts_it() {
    let (_, store) = memory();
    let first = ledger(store.clone(), "first").begin("flowers", 7).await.unwrap();
    let second = ledger(store, "second").begin("flowers", 0).await.unwrap();
    assert_eq!((second.start, second.writer.as_str()), (7, "first"));
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_gap_is_claimed_and_the_next_claim_follows_it() {
    let (_, store) = memory();
    let ledger = ledger(store, "w");
    let genesis = ledger.begin("flowers", 0).await.unwrap();
    ledger.gap(OffsetRange { start: 0, end: 40 }, "retention").await.unwrap();
    let head = ledger.head(&genesis).await.unwrap();
    assert_eq!(head.position, 40);
    let gap = head.newest.unwrap();
    assert_eq!(gap.kind, Kind::Gap { reason: "retention".into() });
    assert!(gap.counts.account_for(gap.range()));
}

#[tokio::test]
async fn the_head_is_found_without_the_hint_and_with_a_wrong_one() {
    let (objects, store) = memory();
    work(store.clone(), "w").await.unwrap();
    let ledger = ledger(store, "w");
    let genesis = ledger.genesis().await.unwrap().unwrap();
    let hint = names::hint(&lane());
    for wrong in [&b"{\"start\": 4}"[..], b"{\"start\": 0}", b"not json"] {
        objects.put(&hint, Bytes::from_static(b"").into()).await.unwrap();
        objects.put(&hint, wrong.to_vec().into()).await.unwrap();
        assert_eq!(ledger.head(&genesis).await.unwrap().position, END);
    }
    objects.delete(&hint).await.unwrap();
    assert_eq!(ledger.head(&genesis).await.unwrap().position, END);
}

#[tokio::test]
async fn with_a_good_hint_the_head_is_found_without_a_listing() {
    let (objects, store) = memory();
    work(store, "w").await.unwrap();
    let faulty = Faulty::new(objects, None);
    let ledger = ledger(Store::over(faulty.clone(), "memory"), "w");
    let genesis = ledger.genesis().await.unwrap().unwrap();
    ledger.head(&genesis).await.unwrap();
    assert!(!faulty.log().iter().any(|call| call.starts_with("list")), "{:?}", faulty.log());
}

#[tokio::test]
async fn a_claim_of_a_newer_release_is_refused_with_the_remedy() {
    let (objects, store) = memory();
    work(store.clone(), "w").await.unwrap();
    let path = names::claim(&lane(), 6);
    let claim = objects.get(&path).await.unwrap().bytes().await.unwrap();
    let newer = String::from_utf8(claim.to_vec()).unwrap().replace("\"format\": 1", "\"format\": 2");
    objects.put(&path, newer.into_bytes().into()).await.unwrap();
    let ledger = ledger(store, "w");
    let error = ledger.head(&ledger.genesis().await.unwrap().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("use a newer release"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn the_sweep_leaves_fresh_staging_alone() {
    let (objects, store) = memory();
    let staged = names::staging(&lane(), Uuid::new_v4()).join("0000.parquet");
    objects.put(&staged, Bytes::from_static(b"x").into()).await.unwrap();
    assert_eq!(ledger(store, "w").sweep(None).await.unwrap(), 0);
    assert!(objects.head(&staged).await.is_ok());
}
