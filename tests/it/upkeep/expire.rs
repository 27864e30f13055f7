//! Expiry, and a cut before and after every call to the store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use alluvium::{
    lake::{Expire, FileKind::Scored, Kind, Outcome, Store, audit::audit, names},
    offset::OffsetRange,
};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use super::{
    DATASET, HOUR_MS, audited, commit, faulty, fill, first_delete, lane, ledger, ledger_objects, memory, paths,
    unpublish,
};
use crate::support::faulty::Fault;

fn hour(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(hours * HOUR_MS).unwrap()
}

fn expire(store: &Store, before: i64) -> Expire<'_> {
    Expire { store, dataset: DATASET, before: hour(before), reason: "old", writer: "test" }
}

/// The hours that have scored files, and how many.
async fn scored_hours(objects: &Arc<dyn ObjectStore>) -> Vec<String> {
    let hour_of = |path: String| path.split('/').find_map(|part| part.strip_prefix("hour=").map(str::to_owned));
    paths(objects, "scored").await.into_iter().filter_map(hour_of).collect()
}

#[tokio::test]
async fn whole_hours_go_and_the_audit_tells_them_from_lost_ones() {
    let (objects, store) = memory();
    fill(&store).await;
    let before = ledger_objects(&objects).await;
    let told = expire(&store, 3).delete().await.unwrap();
    assert_eq!((told.found.files, told.found.scored, told.found.rejected), (4, 7, 1));
    assert_eq!(told.found.hours, [hour(1), hour(2)].into());
    assert_eq!(scored_hours(&objects).await, ["03"]);

    let report = audited(&objects).await;
    assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.totals.offsets, report.totals.expired_files, report.totals.expired_rows), (20, 4, 8));
    let after = ledger_objects(&objects).await;
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "nothing of the ledger has changed");
    assert_eq!(after.len(), before.len() + 2, "a note, and its end");
}

#[tokio::test]
async fn a_reject_without_a_time_stays_until_its_claim_is_old() {
    let (objects, store) = memory();
    fill(&store).await;
    expire(&store, 3).delete().await.unwrap();
    assert_eq!(paths(&objects, "rejected").await.len(), 1);
    let later = Utc::now() + TimeDelta::hours(1);
    let told = Expire { before: later, ..expire(&store, 3) }.delete().await.unwrap();
    assert_eq!((told.found.scored, told.found.rejected), (2, 1));
    assert!(audited(&objects).await.is_clean());
}

#[tokio::test]
async fn a_survey_changes_nothing_and_tells_what_would_go() {
    let (objects, store) = memory();
    fill(&store).await;
    let (before, files) = (ledger_objects(&objects).await, paths(&objects, "scored").await);
    let told = expire(&store, 2).survey().await.unwrap();
    assert_eq!((told.found.files, told.found.scored, told.found.rejected, told.note), (2, 3, 1, None));
    assert_eq!((ledger_objects(&objects).await, paths(&objects, "scored").await), (before, files));
}

#[tokio::test]
async fn a_survey_tells_what_an_expiry_had_left_undone_though_its_date_is_later() {
    let (objects, store) = memory();
    fill(&store).await;
    let at = first_delete(async |store| expire(store, 3).delete().await.map(drop)).await;
    let (cut, _) = faulty(&objects, Some(Fault { at, after_effect: false, for_ever: true }));
    expire(&cut, 3).delete().await.unwrap_err();
    let told = expire(&store, 1).survey().await.unwrap();
    assert!(told.found.files > 0 && told.finished == 1, "{told:?}");
    assert!(audited(&objects).await.is_clean());
    let done = expire(&store, 1).delete().await.unwrap();
    assert_eq!((done.finished, done.found.files), (1, told.found.files));
    assert_eq!(scored_hours(&objects).await, ["03"]);
}

#[tokio::test]
async fn an_expiry_that_can_not_be_finished_is_taken_over_by_the_next_one() {
    let (objects, store) = memory();
    fill(&store).await;
    commit(&store, 20, 30, &[(Scored, 1, &[20]), (Scored, 2, &[21])]).await;
    objects.put(&names::claim(&lane(), 0), Bytes::from_static(b"{}").into()).await.unwrap();
    let mut finished = vec![];
    for before in [2, 3, 4, 5] {
        commit(&store, 20 + before * 10, 30 + before * 10, &[(Scored, before - 1, &[20 + before * 10])]).await;
        let told = expire(&store, before).delete().await.unwrap();
        assert!(!told.found.kept.is_empty(), "the files of a claim that can't be read are kept: {told:?}");
        finished.push(told.finished);
    }
    assert_eq!(finished, [0, 1, 1, 1], "and no more each time");
}

#[tokio::test]
async fn what_is_gone_already_makes_no_further_note() {
    let (objects, store) = memory();
    fill(&store).await;
    expire(&store, 3).delete().await.unwrap();
    let notes = paths(&objects, "_ledger/iris/expired").await;
    let again = expire(&store, 3).delete().await.unwrap();
    assert_eq!((again.found.files, again.note, again.finished), (0, None, 0));
    assert_eq!(paths(&objects, "_ledger/iris/expired").await, notes);
}

#[tokio::test]
async fn a_file_that_is_lost_from_a_younger_hour_or_a_later_claim_stays_a_fault() {
    let (objects, store) = memory();
    fill(&store).await;
    expire(&store, 3).delete().await.unwrap();
    // Rows come late for an expired hour: they are there, and the note is not about them.
    commit(&store, 20, 30, &[(Scored, 1, &[20, 21])]).await;
    assert!(audited(&objects).await.is_clean());
    assert_eq!(scored_hours(&objects).await, ["01", "03"]);
    for file in paths(&objects, "scored").await {
        objects.delete(&Path::from(file)).await.unwrap();
    }
    let report = audited(&objects).await;
    assert_eq!(report.faults.found, 2, "{report:?}");
    assert!(report.faults.named.iter().all(|fault| fault.to_string().contains("is missing")));
}

#[tokio::test]
async fn what_a_lifecycle_rule_took_is_declared() {
    let (objects, store) = memory();
    fill(&store).await;
    let [first, ..] = &paths(&objects, "scored").await.into_iter().collect::<Vec<_>>()[..] else { panic!("no files") };
    objects.delete(&Path::from(first.as_str())).await.unwrap();
    assert!(!audited(&objects).await.is_clean());
    let told = expire(&store, 2).declare().await.unwrap();
    assert_eq!((told.found.files, told.found.rejected), (1, 1), "a file that the rule has not taken yet");
    let report = audited(&objects).await;
    assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.totals.expired_files, 1);
}

#[tokio::test]
async fn a_stranger_in_an_old_folder_is_not_deleted() {
    let (objects, store) = memory();
    fill(&store).await;
    let strangers = [
        "scored/iris/date=1970-01-01/hour=01/notes.txt",
        "scored/iris/date=1970-01-01/hour=01/g0-p0000-00000000000000000010.parquet",
    ];
    for stranger in strangers {
        objects.put(&Path::from(stranger), Bytes::from_static(b"x").into()).await.unwrap();
    }
    expire(&store, 3).delete().await.unwrap();
    let left = paths(&objects, "scored").await;
    assert!(strangers.iter().all(|stranger| left.contains(*stranger)), "{left:?}");
}

#[tokio::test]
async fn files_whose_claim_can_not_be_read_are_kept_and_said() {
    let (objects, store) = memory();
    fill(&store).await;
    let claim = names::claim(&lane(), 0);
    objects.put(&claim, Bytes::from_static(b"{}").into()).await.unwrap();
    let told = expire(&store, 3).delete().await.unwrap();
    assert_eq!(told.found.files, 1, "the second claim's");
    assert!(told.found.kept.iter().all(|why| why.contains(claim.as_ref())), "{told:?}");
    assert_eq!(scored_hours(&objects).await, ["01", "02", "03"]);
}

#[tokio::test]
async fn the_newest_claim_is_published_first_so_that_nothing_comes_to_light_later() {
    let (objects, store) = memory();
    fill(&store).await;
    unpublish(&objects, &store, 10).await;
    expire(&store, 3).delete().await.unwrap();
    assert_eq!((scored_hours(&objects).await, paths(&objects, "_staging").await.len()), (vec!["03".to_owned()], 0));
    // The writer goes on as if nothing had been.
    let ledger = ledger(&store);
    let genesis = ledger.genesis().await.unwrap().unwrap();
    assert_eq!(ledger.head(&genesis).await.unwrap().position, 20);
    assert_eq!(scored_hours(&objects).await, ["03"]);
    assert!(audited(&objects).await.is_clean());
}

#[test]
fn an_expiry_can_run_on_any_thread() {
    fn is_send(_: &impl Send) {}
    let (_, store) = memory();
    is_send(&expire(&store, 3).delete());
}

#[tokio::test]
async fn a_gap_has_nothing_to_expire() {
    let (objects, store) = memory();
    fill(&store).await;
    let gap = ledger(&store).gap(OffsetRange { start: 20, end: 25 }, None, "retention").await.unwrap();
    assert!(matches!(gap, Outcome::Won(claim) if matches!(claim.kind, Kind::Gap { .. })));
    expire(&store, 9).delete().await.unwrap();
    let report = audited(&objects).await;
    assert_eq!((report.is_clean(), report.totals.expired_files), (true, 5));
}

#[tokio::test]
async fn a_file_that_goes_while_the_audit_runs_is_no_fault() {
    let (objects, store) = memory();
    fill(&store).await;
    let begun = AtomicBool::new(false);
    let expire_once = |_| {
        if !begun.swap(true, SeqCst) {
            expire(&store, 9).delete().now_or_never().expect("memory does not make anybody wait").unwrap();
        }
    };
    let report = audit(&objects, DATASET, &BTreeMap::new(), expire_once).await;
    let report = report.unwrap();
    assert!(report.is_clean() && report.totals.expired_files > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiries_beside_a_writer_and_each_other_leave_a_clean_lake() {
    let (objects, store) = memory();
    fill(&store).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for start in (20..420).step_by(10) {
                commit(&store, start, start + 10, &[(Scored, 1, &[start, start + 1]), (Scored, 5, &[start + 2])]).await;
                tokio::task::yield_now().await;
            }
        }
    });
    while !writer.is_finished() {
        let (three, four) = (expire(&store, 3), expire(&store, 4));
        let (one, two) = tokio::join!(three.delete(), four.delete());
        one.unwrap();
        two.unwrap();
        assert!(audited(&objects).await.is_clean());
    }
    writer.await.unwrap();
    expire(&store, 4).delete().await.unwrap();
    let hours = scored_hours(&objects).await;
    assert_eq!((hours.len(), hours.iter().all(|hour| hour == "05")), (40, true), "{hours:?}");
    let report = audited(&objects).await;
    assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.totals.offsets, report.totals.expired_rows), (420, 10 + 80));
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_or_after_any_call_leaves_a_clean_lake_and_the_next_run_finishes() {
    let (objects, store) = memory();
    fill(&store).await;
    unpublish(&objects, &store, 10).await;
    let (whole, calls) = faulty(&objects, None);
    expire(&whole, 3).delete().await.unwrap();
    for (at, call) in calls.log().into_iter().enumerate() {
        for after_effect in [false, true] {
            let what = format!("call {at} ({call}), after effect: {after_effect}");
            let (objects, store) = memory();
            fill(&store).await;
            unpublish(&objects, &store, 10).await;
            let fault = Fault { at, after_effect, for_ever: true };
            let (cut, _) = faulty(&objects, Some(fault));
            let _ = expire(&cut, 3).delete().await;
            let report = audited(&objects).await;
            assert!(report.is_clean(), "{what}: {report:?}");

            expire(&store, 3).delete().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(scored_hours(&objects).await, ["03"], "{what}");
            let report = audited(&objects).await;
            assert!(report.is_clean() && report.notes.is_empty(), "{what}: {report:?}");
            assert_eq!(report.totals.expired_rows, 8, "{what}");
        }
    }
}
