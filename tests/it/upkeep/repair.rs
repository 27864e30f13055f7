//! What is mended, what is left, and that nothing else is touched.

use std::sync::Arc;

use alluvium::{
    lake::{Expire, LakeError, Store, names, repair},
    offset::LaneId,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use uuid::Uuid;

use super::{
    DATASET, HOUR_MS, audited, commit, faulty, fill, first_delete, lane, ledger, ledger_objects, memory, paths,
    unpublish,
};
use crate::support::faulty::Fault;

/// A store in which everything is two days old.
#[derive(Debug)]
struct Aged(Arc<dyn ObjectStore>);

impl std::fmt::Display for Aged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("aged")
    }
}

#[async_trait]
impl ObjectStore for Aged {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(path, payload, opts).await
    }

    async fn put_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(path, opts).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let age =
            |object: ObjectMeta| ObjectMeta { last_modified: object.last_modified - TimeDelta::days(2), ..object };
        self.0.list(prefix).map(move |object| object.map(age)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

fn aged(objects: &Arc<dyn ObjectStore>) -> Store {
    Store::over(Arc::new(Aged(objects.clone())), "aged")
}

async fn put(objects: &Arc<dyn ObjectStore>, path: &Path) {
    objects.put(path, Bytes::from_static(b"x").into()).await.unwrap();
}

#[tokio::test]
async fn a_sound_lake_is_left_as_it_is() {
    let (objects, store) = memory();
    fill(&store).await;
    let before = paths(&objects, "").await;
    let done = repair(&store, DATASET, "test").await.unwrap();
    assert_eq!((done.published.len(), done.swept, done.expiries, done.left.len()), (0, 0, 0, 0));
    assert_eq!(paths(&objects, "").await, before);
}

#[tokio::test]
async fn what_claims_name_is_published_the_newest_s_and_an_older_one_s() {
    for start in [0, 10] {
        let (objects, store) = memory();
        fill(&store).await;
        let files = paths(&objects, "scored").await;
        let claims = ledger_objects(&objects).await;
        unpublish(&objects, &store, start).await;
        assert_eq!(audited(&objects).await.is_clean(), start == 10);
        let done = repair(&store, DATASET, "test").await.unwrap();
        assert_eq!(done.left, Vec::<String>::new());
        assert_eq!(done.published.len(), if start == 0 { 4 } else { 2 });
        assert_eq!((paths(&objects, "scored").await, ledger_objects(&objects).await), (files, claims));
        let report = audited(&objects).await;
        assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn a_staged_file_that_is_not_whole_is_left_and_said_however_old_it_is() {
    let (objects, store) = memory();
    fill(&store).await;
    unpublish(&objects, &store, 0).await;
    let staged = ledger(&store).claim_at(0).await.unwrap().unwrap().files[0].staged.clone();
    put(&objects, &Path::from(staged.as_str())).await;
    let done = repair(&aged(&objects), DATASET, "test").await.unwrap();
    let [why] = &done.left[..] else { panic!("{done:?}") };
    assert!(why.contains(&staged) && why.contains("not whole"), "{why}");
    assert_eq!((done.published.len(), done.swept), (3, 0));
    assert_eq!(audited(&objects).await.faults.found, 2, "it is not published, and not whole");
}

#[tokio::test]
async fn a_staged_file_beside_a_damaged_one_is_kept_however_old_it_is() {
    let (objects, store) = memory();
    fill(&store).await;
    let entry = ledger(&store).claim_at(0).await.unwrap().unwrap().files[0].clone();
    let (staged, path) = (Path::from(entry.staged.as_str()), Path::from(entry.path.as_str()));
    objects.rename(&path, &staged).await.unwrap();
    put(&objects, &path).await;
    let done = repair(&aged(&objects), DATASET, "test").await.unwrap();
    let [why] = &done.left[..] else { panic!("{done:?}") };
    assert!(why.contains(&entry.path) && why.contains(&entry.staged) && why.contains("is damaged"), "{why}");
    assert_eq!((done.published.len(), done.swept), (0, 0));
    objects.delete(&path).await.unwrap();
    assert_eq!(repair(&aged(&objects), DATASET, "test").await.unwrap().published, [entry.path]);
    assert!(audited(&objects).await.is_clean());
}

#[tokio::test]
async fn stale_staging_is_swept_that_of_no_partition_too_and_fresh_staging_is_not() {
    let (objects, store) = memory();
    fill(&store).await;
    let stale = [
        names::staging(&lane(), Uuid::new_v4()).join("0000.parquet"),
        names::staging(&LaneId { generation: 7, ..lane() }, Uuid::new_v4()).join("0000.parquet"),
        Path::from("_staging/iris/expired/draft-1.json"),
        Path::from("_staging/_probes/1/once"),
    ];
    for path in &stale {
        put(&objects, path).await;
    }
    let elsewhere = Path::from("_staging/iris2/g0/p0000/a/0000.parquet");
    put(&objects, &elsewhere).await;
    assert_eq!(repair(&store, DATASET, "test").await.unwrap().swept, 0);
    let done = repair(&aged(&objects), DATASET, "test").await.unwrap();
    assert_eq!((done.swept, done.swept_bytes), (4, 4));
    assert_eq!(paths(&objects, "_staging").await, [elsewhere.to_string()].into());
}

#[tokio::test]
async fn nothing_is_swept_where_the_way_through_the_ledger_is_broken() {
    for broken in [0, 10] {
        let (objects, store) = memory();
        fill(&store).await;
        commit(&store, 20, 30, &[]).await;
        unpublish(&objects, &store, 10).await;
        objects.delete(&names::claim(&lane(), broken)).await.unwrap();
        let staged = paths(&objects, "_staging").await;
        let done = repair(&aged(&objects), DATASET, "test").await.unwrap();
        assert_eq!(done.swept, 0);
        assert!(done.left[0].contains("its ledger is not whole"), "{done:?}");
        assert_eq!(paths(&objects, "_staging").await, staged);
    }
}

async fn expire(store: &Store) -> std::result::Result<(), LakeError> {
    let before = DateTime::from_timestamp_millis(3 * HOUR_MS).unwrap();
    Expire { store, dataset: DATASET, before, reason: "old", writer: "test" }.delete().await.map(drop)
}

#[tokio::test]
async fn an_expiry_that_was_cut_short_is_finished_and_a_file_that_was_brought_back_is_left() {
    let (objects, store) = memory();
    fill(&store).await;
    // The first delete does its work, and everything after it fails.
    let at = first_delete(expire).await;
    let (cut, _) = faulty(&objects, Some(Fault { at, after_effect: true, for_ever: true }));
    expire(&cut).await.unwrap_err();
    let report = audited(&objects).await;
    assert!(report.is_clean() && report.notes.iter().any(|note| note.contains("is not finished")), "{report:?}");

    let kept = paths(&objects, "scored").await.into_iter().next().unwrap();
    let kept = Path::from(kept);
    let bytes = objects.get(&kept).await.unwrap().bytes().await.unwrap();
    let done = repair(&store, DATASET, "test").await.unwrap();
    assert_eq!((done.expiries, done.expired_files), (1, 3));
    assert!(audited(&objects).await.notes.is_empty());

    objects.put(&kept, bytes.into()).await.unwrap();
    assert_eq!(repair(&store, DATASET, "test").await.unwrap().expired_files, 0);
    assert!(objects.head(&kept).await.is_ok(), "what a person brought back is no crash's doing");
    let report = audited(&objects).await;
    assert!(report.is_clean() && report.notes[0].contains("files of expired hours are there"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_or_after_any_call_does_no_harm_and_the_next_run_mends_the_rest() {
    let (objects, store) = memory();
    fill(&store).await;
    unpublish(&objects, &store, 0).await;
    let (whole, calls) = faulty(&objects, None);
    repair(&whole, DATASET, "test").await.unwrap();
    for (at, call) in calls.log().into_iter().enumerate() {
        for after_effect in [false, true] {
            let what = format!("call {at} ({call}), after effect: {after_effect}");
            let (objects, store) = memory();
            fill(&store).await;
            let (files, claims) = (paths(&objects, "scored").await, ledger_objects(&objects).await);
            unpublish(&objects, &store, 0).await;
            let fault = Fault { at, after_effect, for_ever: true };
            let (cut, _) = faulty(&objects, Some(fault));
            let _ = repair(&cut, DATASET, "test").await;
            repair(&store, DATASET, "test").await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(audited(&objects).await.is_clean(), "{what}");
            assert_eq!((paths(&objects, "scored").await, ledger_objects(&objects).await), (files, claims), "{what}");
        }
    }
}
