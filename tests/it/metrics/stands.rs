//! Where a run stands, as it tells: outages and their end, stops, what was seen.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use alluvium::{
    lake::Store,
    pipeline::{Mode, Pipeline},
    telemetry::status::{State, Status},
};
use futures::FutureExt;
use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use crate::support::{
    LIMIT,
    counted::Counted,
    faulty::Faulty,
    program::run,
    stage::{Running, Stage, value},
    until,
};

const SOON: &str = "roll_age = \"100ms\"\n";

async fn status_once(running: &Running, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let mut status = Status::default();
    until(what, async || {
        status = running.pipeline.status();
        holds(&status)
    })
    .await;
    status
}

fn kinds(status: &Status) -> Vec<&str> {
    status.events.iter().map(|event| event.kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_is_told_while_it_lasts_and_is_over_when_it_is_over() {
    let stage = Stage::new(1).await;
    let broken = Arc::new(AtomicBool::new(false));
    let meddle = {
        let broken = broken.clone();
        Arc::new(move |_| std::future::ready(!broken.load(SeqCst)).boxed())
    };
    let store = Store::over(Faulty::meddled(Arc::new(InMemory::new()), false, meddle), "memory");
    let counted = ["alluvium_retries_total", "alluvium_lane_restarts_total"];
    let counted =
        [Counted::of("alluvium_retries_total"), Counted::of("alluvium_lane_restarts_total")].into_iter().zip(counted);
    let running = Running::over(store, stage.settings("lake", SOON)).await;
    stage.send_flowers(1, 10).await;
    status_once(&running, "ten are in the lake", |status| status.totals.records == 10 && status.ready).await;
    broken.store(true, SeqCst);
    stage.send_flowers(1, 10).await;
    let waits = |status: &Status| status.partitions.iter().any(|lane| lane.state == State::Waiting);
    let status = status_once(&running, "the lane waits", waits).await;
    let [lane] = status.partitions.as_slice() else { panic!("{status:?}") };
    let trouble = lane.trouble.as_deref().unwrap();
    assert!(!status.ready && status.not_ready[0].contains(trouble), "{status:?}");
    assert!(status.totals.retries > 0 && lane.lag_records == 10 && lane.lag_seconds.is_some(), "{status:?}");
    assert!(kinds(&status).contains(&"retry"), "{status:?}");
    broken.store(false, SeqCst);
    let over = |status: &Status| status.ready && status.totals.records == 20;
    let status = status_once(&running, "it is over", over).await;
    assert_eq!((status.partitions[0].trouble.as_deref(), status.partitions[0].lag_seconds), (None, Some(0.0)));
    for (counter, name) in counted {
        assert!(counter.has_moved(), "{name}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_has_stopped_comes_first_and_says_why() {
    let stage = Stage::new(2).await;
    let limit = "[rejected]\nstop_above = \"50%\"\nstop_records = 20\n";
    let stops = Counted::of("alluvium_reject_stops_total");
    let stopped = Counted::of("alluvium_lanes_stopped_total");
    let running = Running::start(stage.limited("lake", limit, SOON)).await;
    stage.send_flowers(2, 30).await;
    status_once(&running, "the good ones are in the lake", |status| status.totals.records == 60).await;
    stage.send(1, (0..60).map(|n| value(format!("{n} is no flower"))).collect()).await;
    let status = status_once(&running, "one has stopped", |status| status.totals.lanes_stopped == 1).await;
    assert_eq!((status.partitions[0].partition, status.partitions[0].state), (1, State::Stopped));
    assert!(status.not_ready[0].contains("too many rejects"), "{status:?}");
    assert_eq!((status.totals.lanes, status.totals.lanes_open), (2, 1));
    assert!(kinds(&status).contains(&"stop"), "{status:?}");
    stops.assert_moved();
    stopped.assert_moved();
    running.stop().await;
}

/// A batch's status when it is done, and the counts of what is in the lake.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_has_seen_is_told_and_its_next_step_is_a_command() {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 30).await;
    let hostile = "<script>alert(1)</script>".repeat(100);
    stage.send(1, vec![value(hostile.clone()), value([0xff, 0x00])]).await;
    let counters = ["records", "segments", "fetched_bytes", "written_bytes"];
    let counted = [
        Counted::of("alluvium_records_total"),
        Counted::of("alluvium_segments_total"),
        Counted::of("alluvium_fetched_bytes_total"),
        Counted::of("alluvium_written_bytes_total"),
    ];
    let settings = stage.settings("lake", "");
    let pipeline = Pipeline::open(settings, Mode::Batch, CancellationToken::new()).await.unwrap();
    assert!(!pipeline.status().ready, "nothing is open yet");
    tokio::time::timeout(LIMIT, pipeline.run()).await.expect("the batch ends").unwrap();
    let status = pipeline.status();
    assert!(status.ready && status.mode == "batch" && status.totals.lanes_ended == 2, "{status:?}");
    assert_eq!((status.totals.records, status.totals.scored, status.totals.rejected), (62, 60, 2));
    assert_eq!(status.classes.iter().map(|class| class.records).collect::<Vec<_>>(), [20, 20, 20]);
    for class in &status.classes {
        assert_eq!((class.confidence.count(), class.datasets["iris"]), (20, 20), "{class:?}");
        assert!((10.0..=20.0).contains(&class.confidence.sum), "{class:?}");
    }
    let newest = &status.newest[0];
    assert!(status.newest.len() >= 4 && newest.offset == 29 && newest.fields[0].0 == "id", "{:?}", status.newest);
    assert_eq!(newest.fields[0].1, "29");
    let rejects: Vec<_> = status.rejects.iter().map(|rejects| (rejects.reason.as_str(), rejects.records)).collect();
    assert_eq!(rejects.iter().map(|(_, records)| records).sum::<u64>(), 2, "{rejects:?}");
    let samples: Vec<_> = status.rejects.iter().filter_map(|rejects| rejects.sample.as_ref()).collect();
    assert!(samples.iter().all(|sample| sample.value.len() < 600 && sample.partition == 1), "{samples:?}");
    assert!(status.segment_rows.sum > 61.0 && status.segment_bytes.count() == 2, "{status:?}");
    for step in ["fetch", "decode", "score", "encode", "stage", "claim", "publish"] {
        assert!(status.steps[step].times >= 2 && status.steps[step].seconds > 0.0, "{step}: {:?}", status.steps);
    }
    for (counter, name) in counted.iter().zip(counters) {
        assert!(counter.has_moved(), "{name}");
    }
    let model = status.model.unwrap();
    assert!(model.metrics.iter().any(|(name, value)| name == "accuracy" && *value > 0.5), "{model:?}");
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris/data/iris.csv");
    let next = model.next.replace("TABLE", table);
    let ran = run(next.split(' ').skip(1)).await;
    assert_eq!(ran.code, Some(0), "{next}: {ran:?}");
}
