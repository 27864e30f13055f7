//! Another version of the model takes over from a running stream's, or is refused.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use alluvium::{
    config,
    lake::FileKind,
    pipeline::{Mode, Pipeline, Settings},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    LIMIT,
    counted::Counted,
    lake::{places, rows, texts},
    program,
    stage::{DATASET, Running, Stage, assert_clean, objects},
    until,
    versions::Versions,
};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");

/// The text of a pipeline file whose model is `versions`, and looked for all the time.
fn pipeline(stage: &Stage, versions: &Versions, lake: &str) -> String {
    let limits = "[limits]\nfetch_wait = \"10ms\"\n";
    let text = stage.pipeline(lake, limits).replace(SHIPPED, versions.folder.to_str().unwrap());
    text.replace("[model]\n", "[model]\nrefresh = \"100ms\"\n") + "roll_age = \"200ms\"\n"
}

fn settings(stage: &Stage, versions: &Versions) -> Settings {
    let text = pipeline(stage, versions, stage.lake_folder("lake").to_str().unwrap());
    config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// For each partition, the versions in the order of its offsets, without repeats.
async fn versions_of(settings: &Settings) -> BTreeMap<i32, Vec<String>> {
    let rows = rows(&objects(settings), FileKind::Scored, DATASET).await.expect("there are rows");
    let mut found: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for ((partition, _), model) in places(&rows).into_iter().zip(texts(&rows, "_model")) {
        let models = found.entry(partition).or_default();
        if models.last() != Some(&model) {
            models.push(model);
        }
    }
    found
}

/// A running stream's topic, as it grows.
struct Growing<'a> {
    stage: &'a Stage,
    settings: &'a Settings,
    sent: usize,
}

impl Growing<'_> {
    /// Sends flowers to both partitions and waits until they are in the lake. Which version scored the last of each?
    async fn land(&mut self) -> [String; 2] {
        self.stage.send_flowers(2, 10).await;
        self.sent += 20;
        let mut newest = BTreeMap::new();
        until("what was sent is in the lake", async || {
            let Some(rows) = rows(&objects(self.settings), FileKind::Scored, DATASET).await else { return false };
            // Ordered by partition and offset, so that the last of each partition stays.
            newest = places(&rows).iter().map(|(partition, _)| *partition).zip(texts(&rows, "_model")).collect();
            rows.num_rows() == self.sent
        })
        .await;
        [0, 1].map(|partition| newest[&partition].clone())
    }

    async fn land_until_scored_by(&mut self, model: &str) {
        until(&format!("{model} scores"), async || self.land().await == [model, model]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_version_takes_over_and_every_record_is_scored_once() {
    let stage = Stage::new(2).await;
    let versions = Versions::new(&stage).await;
    versions.train(&["--seed", "2", "--no-promote"]).await;
    let settings = settings(&stage, &versions);
    let running = Running::start(settings.clone()).await;
    let mut growing = Growing { stage: &stage, settings: &settings, sent: 0 };
    growing.land_until_scored_by("iris@1").await;
    let counted = Counted::of("alluvium_model_changes_total");
    versions.promote(2);
    growing.land_until_scored_by("iris@2").await;
    counted.assert_moved();
    versions.promote(1);
    growing.land_until_scored_by("iris@1").await;
    running.stop().await;
    for (partition, models) in versions_of(&settings).await {
        assert_eq!(models, ["iris@1", "iris@2", "iris@1"], "partition {partition}");
    }
    let landed = places(&rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap());
    let each = i64::try_from(growing.sent / 2).unwrap();
    assert!(landed == (0..2).flat_map(|p| (0..each).map(move |o| (p, o))).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

/// What a process logs as JSON, as it comes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<serde_json::Value>>>);

impl Log {
    fn of(child: &mut Child) -> Self {
        let log = Self::default();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.0.lock().unwrap().extend(serde_json::from_str::<serde_json::Value>(&line));
            }
        });
        log
    }

    /// The lines with this in their message.
    fn told(&self, words: &str) -> Vec<serde_json::Value> {
        let told = |line: &&serde_json::Value| line["fields"]["message"].as_str().is_some_and(|it| it.contains(words));
        self.0.lock().unwrap().iter().filter(told).cloned().collect()
    }
}

fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_used_is_refused_with_one_line_and_the_old_version_goes_on() {
    let stage = Stage::new(2).await;
    let versions = Versions::new(&stage).await;
    versions.train(&["--seed", "2", "--no-promote"]).await;
    versions.train_other_classes().await;
    versions.train(&["--seed", "4", "--no-promote"]).await;
    versions.spoil(2);
    let settings = settings(&stage, &versions);
    let file = stage.folder.path().join("pipeline.toml");
    fs::write(&file, pipeline(&stage, &versions, &settings.lake.url)).unwrap();
    let mut running = program::command(["stream", file.to_str().unwrap(), "--log-format", "json"]).spawn().unwrap();
    let log = Log::of(&mut running);
    let mut growing = Growing { stage: &stage, settings: &settings, sent: 0 };

    growing.land_until_scored_by("iris@1").await;
    for (version, why) in [(2, "weights"), (3, "ensata"), (9, "no version 9")] {
        versions.promote(version);
        let words = format!("version {version} was promoted and can't be used, so iris@1 goes on");
        until("it is refused", async || !log.told(&words).is_empty()).await;
        // It is looked at several times meanwhile, and the line stays the only one.
        for _ in 0..3 {
            assert_eq!(growing.land().await, ["iris@1", "iris@1"]);
        }
        let lines = log.told(&words);
        let [line] = &lines[..] else { panic!("one line for version {version}: {lines:?}") };
        assert_eq!(line["level"], "ERROR");
        assert!(line["fields"]["message"].as_str().unwrap().contains(why), "{line}");
    }
    versions.promote(4);
    growing.land_until_scored_by("iris@4").await;
    terminate(&running);
    assert!(tokio::time::timeout(LIMIT, running.wait()).await.expect("the stream stops").unwrap().success());

    let changes = log.told("the model has changed");
    assert_eq!(changes.len(), 2, "{changes:?}");
    let scored = rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap();
    let model_at: BTreeMap<_, _> = places(&scored).into_iter().zip(texts(&scored, "_model")).collect();
    for change in changes {
        let fields = &change["fields"];
        assert_eq!((&fields["from"], &fields["to"]), (&"iris@1".into(), &"iris@4".into()));
        let partition = i32::from(fields["lane"] != "iris/g0/p0000");
        let offset = fields["offset"].as_i64().unwrap();
        assert_eq!(model_at[&(partition, offset - 1)], "iris@1");
        assert_eq!(model_at[&(partition, offset)], "iris@4");
    }
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_scored_by_one_version_whatever_is_promoted_meanwhile() {
    let stage = Stage::new(2).await;
    let versions = Versions::new(&stage).await;
    versions.train(&["--seed", "2", "--no-promote"]).await;
    stage.send_flowers(2, 50).await;
    let settings = settings(&stage, &versions);
    let pipeline = Pipeline::open(settings.clone(), Mode::Batch, CancellationToken::new()).await.unwrap();
    versions.promote(2);
    pipeline.run().await.unwrap();
    assert_eq!(versions_of(&settings).await, [(0, vec!["iris@1".into()]), (1, vec!["iris@1".into()])].into());
}
