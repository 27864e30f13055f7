//! Every metric of the closed list moves.

use std::{collections::BTreeSet, fs, path::Path};

use alluvium::{
    config,
    telemetry::metrics::{From, TABLE},
};

use crate::{
    metrics::files::rust_files,
    support::{
        counted::{Counted, metric_of, page},
        stage::{Running, Stage, value},
        until,
        versions::Versions,
    },
};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
/// These say what is so for as long as a run lasts.
const STEADY: [&str; 2] = ["alluvium_build_info", "alluvium_memory_limit_bytes"];
/// Moves only with more partitions than are shown: `a_thousand_partitions_stay_under_the_limit_of_series`.
const OF_MANY: &str = "alluvium_partitions_not_shown";

/// The metrics of which a series has changed, or has come, between any two looks.
#[derive(Default)]
struct Moved {
    last: Option<std::collections::BTreeMap<String, f64>>,
    moved: BTreeSet<String>,
}

impl Moved {
    fn look(&mut self, running: &Running) {
        let now = page(&running.pipeline.status());
        if let Some(last) = self.last.take() {
            let moved = now
                .iter()
                .filter(|(series, value)| last.get(*series).copied().unwrap_or(0.0).to_bits() != value.to_bits());
            self.moved.extend(moved.map(|(series, _)| metric_of(series).to_owned()));
        }
        self.last = Some(now);
    }

    fn still(&self) -> Vec<&'static str> {
        let of_status = TABLE.iter().filter(|metric| metric.from == From::Status).map(|metric| metric.name);
        let exempt = |name: &&str| STEADY.contains(name) || *name == OF_MANY;
        of_status.filter(|name| !exempt(name) && !self.moved.contains(*name)).collect()
    }
}

/// A worker of a group, with an outlet, to which come good records and bad ones and another version of its model.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_from_the_status_moves_all_of_it() {
    let stage = Stage::new(2).await;
    let versions = Versions::new(&stage).await;
    versions.train(&["--seed", "2", "--no-promote"]).await;
    let outlet = "[limits]\nfetch_wait = \"10ms\"\n[results]\ntopic = \"results\"\n";
    let text = stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), outlet);
    let text = text.replace(SHIPPED, versions.folder.to_str().unwrap());
    let text = text.replace("[model]\n", "[model]\nrefresh = \"100ms\"\n").replacen("\n\n", "\ngroup = \"g\"\n\n", 1);
    let settings = config::parse(&(text + "roll_age = \"200ms\"\n"), |_| None).unwrap();
    let running = Running::start(settings).await;
    let mut moved = Moved::default();
    moved.look(&running);
    let (mut rounds, mut promoted) = (0, false);
    until("all of it has moved", async || {
        if rounds % 10 == 0 {
            stage.send_flowers(2, 20).await;
            stage.send(1, vec![value("no flower")]).await;
        }
        if running.committed() > 0 && !promoted {
            versions.promote(2);
            promoted = true;
        }
        rounds += 1;
        moved.look(&running);
        if rounds % 100 == 0 {
            eprintln!("still: {:?}", moved.still());
        }
        moved.still().is_empty()
    })
    .await;
    let refused = Counted::of("alluvium_model_refusals_total");
    versions.promote(9);
    until("a version that is not there is refused", async || refused.has_moved()).await;
    let last = page(&running.pipeline.status());
    for steady in STEADY {
        assert!(
            last.iter().any(|(series, value)| metric_of(series) == steady && *value > 0.0),
            "{steady} is not there"
        );
    }
    let status = running.pipeline.status();
    assert!(status.group.is_some_and(|group| group.joined && group.name == "g"));
    assert_eq!(status.partitions.len(), 2);
    running.stop().await;
}

/// What is counted where it happens is looked at by the test of its happening: `Counted::of`.
#[test]
fn every_counter_is_seen_to_move_by_a_test() {
    let tests = rust_files(Path::new("tests/it")).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let tests: String = tests.collect();
    for metric in TABLE.iter().filter(|metric| metric.from == From::Counted) {
        let watched = format!("Counted::of(\"{}\")", metric.name);
        assert!(tests.contains(&watched), "no test sees {} move", metric.name);
    }
    assert!(tests.matches(".assert_moved()").count() + tests.matches(".has_moved()").count() > 10);
}
