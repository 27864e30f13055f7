//! Several workers on the same partitions at once, and readers beside them.

use super::{SMALL_SEGMENTS, send_mixed, visible};
use crate::support::{
    proof::{OF_RIVALS, Promise, Proof, Sent},
    stage::{DATASET, Running, Stage, objects},
    until,
    witness::{DuckDb, Witness},
};

/// Workers race for every segment of what is sent meanwhile, until one of them has lost at least once.
async fn race(workers: usize, proof: &Proof) {
    let (stage, mut sent) = (Stage::new(2).await, Sent::default());
    let settings = stage.settings("lake", SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&settings), DATASET);
    let duckdb = DuckDb::over(&stage.lake_folder("lake"));
    let mut running = vec![];
    for _ in 0..workers {
        running.push(Running::start(settings.clone()).await);
    }
    for _ in 0..6 {
        send_mixed(&stage, &mut sent, 2, 100).await;
        until("the readers see all", async || visible(&settings).await == sent.len()).await;
    }
    let mut fences = 0;
    for worker in running {
        let summary = worker.stop().await;
        assert_eq!(summary.failures, Vec::<String>::new());
        fences += summary.tally.fences;
    }
    assert!(fences > 0, "they met at least once");
    proof.shown(&[Promise::L6]);
    witness.agree(proof).await;
    if let Some(duckdb) = duckdb {
        duckdb.agree(proof).await;
    }
    proof.lake(&objects(&settings), &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_waste_work_and_corrupt_nothing() {
    let proof = Proof::of("two workers on the same partitions", OF_RIVALS);
    race(2, &proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_workers_waste_work_and_corrupt_nothing() {
    let proof = Proof::of("five workers on the same partitions", OF_RIVALS);
    race(5, &proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_sees_no_offset_twice_and_nothing_that_is_gone_later() {
    let proof = Proof::of("DuckDB reads all the while", &[Promise::L5, Promise::NoneDoubled]);
    let (stage, mut sent) = (Stage::new(2).await, Sent::default());
    let settings = stage.settings("lake", SMALL_SEGMENTS);
    let Some(reader) = DuckDb::over(&stage.lake_folder("lake")) else { return proof.left_out() };
    let (one, two) = (Running::start(settings.clone()).await, Running::start(settings.clone()).await);
    for _ in 0..8 {
        send_mixed(&stage, &mut sent, 2, 100).await;
        until("the readers see all", async || visible(&settings).await == sent.len()).await;
    }
    one.stop().await;
    two.stop().await;
    let rows = reader.agree(&proof).await;
    assert_eq!(usize::try_from(rows).unwrap(), sent.scored());
}
