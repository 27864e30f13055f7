//! A past range is scored again by another version, into a dataset beside the first.

use alluvium::{
    config,
    lake::{FileKind, Store},
    pipeline::Settings,
};
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt as _, path::Path};

use crate::support::{
    lake::{places, rows, texts},
    program::{Ran, pipeline_file, run},
    stage::{Stage, batch, objects},
    versions::Versions,
};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");

/// A stage whose pipeline has scored 300 flowers of each of two partitions with version 1, of two.
struct Scored {
    stage: Stage,
    _versions: Versions,
    file: String,
    settings: Settings,
}

impl Scored {
    async fn new() -> Self {
        let stage = Stage::new(2).await;
        let versions = Versions::new(&stage).await;
        versions.train(&["--seed", "2", "--no-promote"]).await;
        stage.send_flowers(2, 300).await;
        let file = pipeline_file(&stage, "", "roll_rows = 100\n");
        let text = std::fs::read_to_string(&file).unwrap().replace(SHIPPED, versions.folder.to_str().unwrap());
        std::fs::write(&file, &text).unwrap();
        let settings = config::parse(&text, |_| None).unwrap();
        assert_eq!(batch(settings.clone()).await.tally.counts.scored, 600);
        Self { stage, _versions: versions, file: file.to_str().unwrap().to_owned(), settings }
    }

    async fn rescore(&self, more: &[&str]) -> Ran {
        run(["rescore", self.file.as_str()].iter().chain(more)).await
    }

    async fn rows(&self, dataset: &str) -> RecordBatch {
        rows(&objects(&self.settings), FileKind::Scored, dataset).await.expect("there are rows")
    }

    /// All objects of a dataset, with their bytes.
    async fn everything_of(&self, dataset: &str) -> Vec<(Path, bytes::Bytes)> {
        let store = Store::open(&self.settings.lake.url).unwrap().objects().clone();
        let mut found = vec![];
        for folder in ["scored", "rejected", "_ledger", "_staging"] {
            let prefix = Path::from_iter([folder, dataset]);
            for object in store.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap() {
                let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
                found.push((object.location, bytes));
            }
        }
        found.sort();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_dataset_holds_is_scored_again_beside_it_once() {
    let scored = Scored::new().await;
    let first = scored.everything_of("iris").await;
    scored.stage.send_flowers(2, 50).await;
    let ran = scored.rescore(&["--model", "iris@2", "--json"]).await;
    ran.assert_told(0, &["\"dataset\": \"iris.iris-2\"", "\"scored\": 600", "\"remaining\": 0"]);
    let (before, after) = (scored.rows("iris").await, scored.rows("iris.iris-2").await);
    assert_eq!(places(&after), places(&before), "up to where the first dataset ends");
    assert!(texts(&after, "_model").iter().all(|model| model == "iris@2"));
    assert!(before.column_by_name("confidence") != after.column_by_name("confidence"));
    assert!(scored.everything_of("iris").await == first, "nothing of the first dataset was touched");

    scored.rescore(&["--model", "iris@2"]).await.assert_told(0, &["records      0", "iris.iris-2"]);
    assert!(scored.rows("iris.iris-2").await == after);
    let audited = run(["audit", &scored.file, "--dataset", "iris.iris-2"]).await;
    audited.assert_told(0, &["clean: 600 offsets, each in exactly one place"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_taken_at_its_word_and_can_be_gone_on_with() {
    let scored = Scored::new().await;
    let part = ["--model", "iris@2", "--into", "trial", "--from", "0:10,1:20"];
    scored.rescore(&[&part[..], &["--to", "0:40,1:50"]].concat()).await.assert_told(0, &["scored       60"]);
    let expected =
        |ends: [i64; 2]| (10..ends[0]).map(|o| (0, o)).chain((20..ends[1]).map(|o| (1, o))).collect::<Vec<_>>();
    assert_eq!(places(&scored.rows("trial").await), expected([40, 50]));
    scored.rescore(&[&part[..], &["--to", "60"]].concat()).await.assert_told(0, &["scored       30"]);
    assert_eq!(places(&scored.rows("trial").await), expected([60, 60]));
    run(["audit", &scored.file, "--dataset", "trial"]).await.assert_told(0, &["clean: 90 offsets"]);

    let elsewhere = scored.rescore(&["--model", "iris@2", "--into", "trial", "--from", "5"]).await;
    elsewhere.assert_refused(2, &["trial/g0/p0000 begins at offset 10, and not at 5", "--from"]);
    let time =
        ["--model", "iris@2", "--into", "timed", "--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z"];
    scored.rescore(&time).await.assert_refused(2, &["nothing to score again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_mix_or_touch_results_is_refused() {
    let scored = Scored::new().await;
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&["--model", "iris@2", "--into", "iris"], 2, &["`iris` is the first dataset, which is never touched"]),
        (&["--model", "iris@2", "--into", "_x"], 2, &["\"_x\" can't be a dataset's name"]),
        (&["--model", "iris@0"], 2, &["`0` is no version"]),
        (&["--model", "iris@7"], 1, &["there is no version 7"]),
        (&["--model", "iris@2", "--from", "soon"], 2, &["write an offset, a time"]),
        (&["--model", "iris@2", "--from", "300", "--into", "none"], 2, &["nothing to score again"]),
    ];
    for (arguments, code, parts) in cases {
        scored.rescore(arguments).await.assert_refused(code, parts);
    }
    scored.rescore(&["--model", "iris@2", "--into", "trial"]).await.assert_told(0, &["scored       600"]);
    let other = scored.rescore(&["--model", "iris@1", "--into", "trial"]).await;
    other.assert_refused(2, &["trial/g0/p0000 holds what iris@2 scored, and not iris@1"]);
}
