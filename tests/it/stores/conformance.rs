//! One suite for every store: what a lake asks of it, tried through the verbs that the product uses.

use std::{collections::BTreeSet, sync::Arc};

use alluvium::lake::{LakeError, Published, Store};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, path::Path, prefix::PrefixStore};
use uuid::Uuid;

use crate::support::{
    foreign::{Foreign, named},
    s3::S3Server,
};

/// More than a page of a listing holds.
const KEYS: usize = 1_050;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Whatever else is in the bucket: the suite has a prefix of its own.
fn lake_in(bucket: Arc<dyn ObjectStore>) -> Store {
    Store::over(Arc::new(PrefixStore::new(bucket, Uuid::new_v4().to_string())), "s3://lake")
}

async fn conforms(store: &Store) {
    creates_once_and_reads(store).await;
    replaces_and_publishes(store).await;
    takes_three_parts(store).await;
    lists_beyond_a_page_and_after_a_key(store).await;
    store.probe().await.unwrap();
}

async fn creates_once_and_reads(store: &Store) {
    let path = Path::from("contract/created");
    assert_eq!(store.read(&path).await.unwrap(), None);
    assert!(matches!(store.objects().head(&path).await, Err(StoreError::NotFound { .. })));
    store.create(&path, bytes("one")).await.unwrap();
    let again = store.create(&path, bytes("two")).await;
    assert!(matches!(again, Err(LakeError::Store { source: StoreError::AlreadyExists { .. }, .. })), "{again:?}");
    assert_eq!(store.read(&path).await.unwrap().unwrap(), "one");
    assert_eq!(store.objects().head(&path).await.unwrap().size, 3);
    store.remove(&path).await;
    store.remove(&path).await;
    store.create(&path, bytes("three")).await.unwrap();
    assert_eq!(store.read(&path).await.unwrap().unwrap(), "three", "after a deletion it can be created again");
}

async fn replaces_and_publishes(store: &Store) {
    let (staged, path) = (Path::from("contract/staged"), Path::from("contract/date=2026-11-21/hour=07/a b ä.parquet"));
    store.write(&staged, bytes("old")).await.unwrap();
    store.write(&staged, bytes("new")).await.unwrap();
    assert_eq!(store.publish(&staged, &path).await.unwrap(), Published::Now);
    assert_eq!(store.read(&staged).await.unwrap(), None);
    assert_eq!(store.read(&path).await.unwrap().unwrap(), "new");
    assert_eq!(store.publish(&staged, &path).await.unwrap(), Published::Before);
    store.write(&staged, bytes("new")).await.unwrap();
    assert_eq!(store.publish(&staged, &path).await.unwrap(), Published::Now, "over what is there already");
    store.remove(&path).await;
    assert_eq!(store.publish(&staged, &path).await.unwrap(), Published::Missing);
}

async fn takes_three_parts(store: &Store) {
    let path = Path::from("contract/large");
    let large: Vec<u8> = (0..17 << 20).map(|n: u32| (n % 251) as u8).collect();
    let large = Bytes::from(large);
    store.write(&path, large.clone()).await.unwrap();
    assert!(store.read(&path).await.unwrap().unwrap() == large, "every part arrived, in order");
    let across = 8_388_600..8_388_620;
    let range = store.objects().get_range(&path, across.clone()).await.unwrap();
    assert_eq!(range, large.slice(8_388_600..8_388_620), "{across:?}");
}

async fn lists_beyond_a_page_and_after_a_key(store: &Store) {
    let folder = Path::from("contract/many");
    let path = |n: usize| folder.clone().join(format!("{n:020}.json"));
    let puts = stream::iter(0..KEYS).map(|n| async move {
        let folder = Path::from("contract/many");
        store.objects().put(&folder.join(format!("{n:020}.json")), bytes("x").into()).await
    });
    puts.buffer_unordered(32).try_for_each(async |_| Ok(())).await.unwrap();
    let listed: Vec<Path> = store.list(&folder).map_ok(|object| object.location).try_collect().await.unwrap();
    assert_eq!(listed.len(), KEYS, "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), (0..KEYS).map(path).collect());
    let after = store.objects().list_with_offset(Some(&folder), &path(KEYS - 3));
    let mut after: Vec<Path> = after.map_ok(|object| object.location).try_collect().await.unwrap();
    after.sort();
    assert_eq!(after, [path(KEYS - 2), path(KEYS - 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(&Store::open("memory://").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&Store::open(folder.path().join("a lake, läke").to_str().unwrap()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_own_s3_conforms() {
    let server = S3Server::start(true).await;
    conforms(&lake_in(Arc::new(server.client()))).await;
    server.set_page_keys_max(7);
    lists_beyond_a_page_and_after_a_key(&lake_in(Arc::new(server.client()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_conforms() {
    let Some(server) = Foreign::minio().await else { return };
    conforms(&lake_in(Arc::new(server.client()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_that_the_environment_names_conforms() {
    let Some(objects) = named() else { return };
    conforms(&lake_in(objects.store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_conforms() {
    let Some(server) = Foreign::moto().await else { return };
    conforms(&lake_in(Arc::new(server.client()))).await;
}
