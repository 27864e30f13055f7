//! The cuts of the matrix at every single request to S3, and in the middle of an upload.

use std::{sync::Arc, time::Duration};

use alluvium::lake::{LakeError, Store};
use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::{ObjectStoreExt as _, path::Path};

use crate::{
    matrix::cuts::{Ground, Look, cut_everywhere, frozen_everywhere},
    support::{
        faulty::{Call, Meddle},
        proof::{Promise, Proof},
        s3::{Act, Ask, S3Server, Verb, When},
        writer::{ledger, segment},
    },
};

/// Of a size that is sent in three parts.
const LARGE: usize = (16 << 20) + 1;

async fn s3(meddle: Meddle) -> Ground {
    let server = S3Server::start(true).await;
    server.play(move |asked| {
        let (meddle, number) = (meddle.clone(), asked.number);
        Act::Ask(Ask(Arc::new(move |when| -> BoxFuture<'static, bool> {
            meddle(Call { number, after_effect: when == When::After })
        })))
    });
    let objects = server.reader();
    let server = Arc::new(server);
    let log = server.clone();
    Ground {
        sound: Store::over(objects.clone(), "s3://lake"),
        cut: Store::over(Arc::new(server.client_without_retries()), "s3://lake"),
        objects,
        log: Box::new(move || log.log().iter().map(|asked| format!("{} {}", name(asked.verb), asked.key)).collect()),
        keep: Box::new(server),
    }
}

/// As the calls of the other stores are called.
fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Create | Verb::Put => "put",
        Verb::Copy => "copy",
        Verb::Get | Verb::Head => "get",
        Verb::List => "list",
        Verb::Delete => "delete",
        _ => "other",
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_request_to_s3_loses_and_doubles_nothing() {
    let proof = Proof::of(
        "a cut at every request: S3",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::L7,
            Promise::L8,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
        ],
    );
    cut_everywhere(&proof, s3).await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_frozen_at_any_request_to_s3_corrupts_nothing() {
    let proof = Proof::of("a cut at every request: S3", &[Promise::L6]);
    frozen_everywhere(&proof, s3).await;
}

/// Opens the partition and commits three offsets, whose first file is large.
async fn commit_large(store: Store, writer: &str) -> Result<(), LakeError> {
    let ledger = ledger(store, writer);
    let genesis = match ledger.genesis().await? {
        Some(genesis) => genesis,
        None => ledger.begin("flowers", 0).await?,
    };
    if ledger.head(&genesis).await?.position > 0 {
        return Ok(());
    }
    let mut segment = segment(0, 3);
    let bytes = Bytes::from(vec![7; LARGE]);
    segment.files[0].crc32c = crc32c::crc32c(&bytes);
    segment.files[0].bytes = bytes;
    ledger.commit(segment).await.map(drop)
}

/// What befalls an upload at one of its requests.
#[derive(Clone, Debug)]
struct Cut {
    verb: Verb,
    act: Act,
    for_ever: bool,
}

fn cuts() -> impl Iterator<Item = Cut> {
    let acts = [
        Act::Say(When::Before, 500, "InternalError"),
        Act::Say(When::After, 500, "InternalError"),
        Act::ResetInRequest,
        Act::ResetInAnswer,
    ];
    let verbs = [Verb::BeginParts, Verb::Part, Verb::CompleteParts];
    let at = verbs.into_iter().flat_map(move |verb| acts.clone().map(|act| (verb, act)));
    at.flat_map(|(verb, act)| [false, true].map(|for_ever| Cut { verb, act: act.clone(), for_ever }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_in_the_middle_of_an_upload_leaves_nothing_that_a_reader_could_see() {
    let proof = Proof::of(
        "a cut in the middle of an upload: S3",
        &[Promise::L1, Promise::L2, Promise::L5, Promise::NoneLost, Promise::NoneDoubled, Promise::NoneEarly],
    );
    for cut in cuts() {
        let what = format!("{cut:?}");
        let server = S3Server::start(true).await;
        let (seen, once) = (std::sync::Mutex::new(0), cut.clone());
        server.play(move |asked| {
            let mut seen = seen.lock().unwrap();
            // Of the parts, the second one.
            let at = if once.verb == Verb::Part { 2 } else { 1 };
            *seen += usize::from(asked.verb == once.verb);
            match *seen {
                now if now == at && asked.verb == once.verb => once.act.clone(),
                now if now >= at && once.for_ever => Act::Reset(When::Before),
                _ => Act::Pass,
            }
        });
        let objects = server.reader();
        let first = commit_large(Store::over(Arc::new(server.client_without_retries()), "s3://lake"), "first").await;
        let aborted = server.log().iter().any(|asked| asked.verb == Verb::AbortParts);
        assert_eq!(aborted, first.is_err() && cut.verb != Verb::BeginParts, "{what}: {first:?}");
        let left = Look::at(&objects).await;
        left.assert_nothing_early(&what);
        commit_large(Store::over(objects.clone(), "s3://lake"), "second").await.unwrap();
        let whole = Look::at(&objects).await;
        whole.assert_nothing_early(&what);
        whole.assert_keeps(&left, &what);
        whole.assert_tiled_from_genesis(3);
    }
    proof.shown(&[Promise::L1, Promise::L2, Promise::L5]);
    proof.shown(&[Promise::NoneLost, Promise::NoneDoubled, Promise::NoneEarly]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_said_to_be_done_and_was_not_costs_no_row() {
    let server = S3Server::start(true).await;
    server.play(|asked| if asked.verb == Verb::Copy { Act::Say(When::Before, 200, "Nothing") } else { Act::Pass });
    let store = Store::over(Arc::new(server.client_that_waits(Duration::from_secs(30))), "s3://lake");
    let (staged, path) = (Path::from("_staging/a"), Path::from("scored/a"));
    store.write(&staged, Bytes::from_static(b"rows")).await.unwrap();
    let error = store.publish(&staged, &path).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(server.reader().get(&staged).await.unwrap().bytes().await.unwrap(), "rows", "they are still there");
    server.play(|_| Act::Pass);
    store.publish(&staged, &path).await.unwrap();
    assert_eq!(server.reader().get(&path).await.unwrap().bytes().await.unwrap(), "rows");
}
