//! The laws of the ledger, law by law, with a made-up writer.

use std::{collections::BTreeMap, sync::Arc};

use alluvium::{
    lake::{Kind, Outcome, Store, names},
    offset::OffsetRange,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use uuid::Uuid;

use crate::support::{
    faulty::{Fault, Faulty},
    proof::{Promise, Proof},
    writer::{END, lane, ledger, memory, segment, work},
};

#[tokio::test]
async fn losers_drop_their_staging() {
    let (objects, store) = memory();
    let rivals = (0..5).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { work(store, &format!("rival {n}")).await })
    });
    for rival in futures::future::join_all(rivals).await {
        rival.unwrap().unwrap();
    }
    let staged = objects.list(Some(&Path::from("_staging"))).try_collect::<Vec<_>>().await.unwrap();
    assert!(staged.is_empty(), "{staged:?}");
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
        assert!(matches!(late.gap(OffsetRange { start, end: END }, None, "x").await.unwrap(), Outcome::Fenced { .. }));
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
    let proof = Proof::of("nothing in particular", &[Promise::L3]);
    let (_, store) = memory();
    let ledger = ledger(store, "w");
    let genesis = ledger.begin("flowers", 0).await.unwrap();
    ledger.gap(OffsetRange { start: 0, end: 40 }, None, "retention").await.unwrap();
    let head = ledger.head(&genesis).await.unwrap();
    assert_eq!(head.position, 40);
    let gap = head.newest.unwrap();
    assert_eq!(gap.kind, Kind::Gap { reason: "retention".into() });
    assert!(gap.counts.account_for(gap.range()));
    assert_eq!(gap.counts.absent, 40);
    proof.shown(&[Promise::L3]);
}

#[tokio::test]
async fn the_head_is_found_without_the_hint_and_with_a_wrong_one() {
    let proof = Proof::of("nothing in particular", &[Promise::L8]);
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
    proof.shown(&[Promise::L8]);
}

#[tokio::test]
async fn with_a_good_hint_the_head_is_found_without_a_listing() {
    let (objects, store) = memory();
    work(store, "w").await.unwrap();
    let faulty = Faulty::meddled(objects, false, Fault::meddle(None));
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
