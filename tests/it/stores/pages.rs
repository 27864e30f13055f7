//! A store that lists in small pages.

use std::{sync::Arc, time::Duration};

use alluvium::lake::names;
use object_store::{ObjectStoreExt as _, path::Path};

use super::Scene;
use crate::support::{
    proof::{Promise, Proof},
    s3::{Act, Verb},
    stage::DATASET,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_found_through_many_pages_where_the_hint_is_gone() {
    let proof = Proof::of(
        "a listing in pages",
        &[Promise::L1, Promise::L2, Promise::L8, Promise::NoneLost, Promise::NoneDoubled],
    );
    let mut scene = Scene::new().await;
    scene.server.set_page_keys_max(3);
    let first = scene.stream(Duration::from_secs(30)).await;
    for _ in 0..12 {
        scene.send(25).await;
        scene.all_visible().await;
    }
    first.stop().await;
    let lane = alluvium::offset::LaneId { dataset: Arc::from(DATASET), generation: 0, partition: 0 };
    scene.objects.delete(&names::hint(&lane)).await.unwrap();
    scene.server.play(|_| Act::Pass);
    let second = scene.stream(Duration::from_secs(30)).await;
    scene.send(50).await;
    scene.all_visible().await;
    second.stop().await;
    let ledger = Path::from_iter(["_ledger", DATASET]);
    let pages = scene
        .server
        .log()
        .iter()
        .filter(|asked| asked.verb == Verb::List && asked.key.starts_with(ledger.as_ref()))
        .count();
    assert!(pages >= 4, "twelve claims and a genesis, three to a page: {pages}");
    proof.shown(&[Promise::L8]);
    proof.lake(&scene.objects, &scene.sent).await;
}
