//! Nothing goes wrong: what holds then, and the limits on memory, on stopping and on starting.

use alluvium::record::Record;

use super::{SMALL_SEGMENTS, send_mixed, visible};
use crate::support::{
    proof::{Promise, Proof, Sent},
    stage::{DATASET, Running, Stage, batch, flower, objects},
    until,
    witness::Witness,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_a_batch_land_the_same_rows_each_record_once() {
    let proof = Proof::of(
        "nothing in particular",
        &[
            Promise::L1,
            Promise::L2,
            Promise::L4,
            Promise::L5,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::NoneEarly,
            Promise::RejectsExact,
            Promise::BatchIsStream,
            Promise::StopsInTime,
            Promise::Resumes,
        ],
    );
    let (stage, mut sent) = (Stage::new(2).await, Sent::default());
    let by_stream = stage.settings("stream", SMALL_SEGMENTS);
    let witness = Witness::of(&objects(&by_stream), DATASET);
    for _ in 0..2 {
        let running = Running::start(by_stream.clone()).await;
        send_mixed(&stage, &mut sent, 2, 300).await;
        until("all is visible", async || visible(&by_stream).await == sent.len()).await;
        let summary = running.stop().await;
        assert_eq!((summary.failures, summary.tally.fences), (vec![], 0));
        proof.shown(&[Promise::StopsInTime]);
    }
    proof.shown(&[Promise::Resumes]);
    let by_batch = stage.settings("batch", "");
    batch(by_batch.clone()).await;
    witness.agree(&proof).await;
    proof.lake(&objects(&by_stream), &sent).await;
    proof.lake(&objects(&by_batch), &sent).await;
    proof.same_rows(&objects(&by_stream), &objects(&by_batch)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_share_a_small_budget_and_keep_it() {
    let proof = Proof::of(
        "many partitions, little memory",
        &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::MemoryInBudget],
    );
    let (stage, mut sent) = (Stage::new(60).await, Sent::default());
    for partition in 0..60 {
        let records: Vec<Record> = (0..500).map(flower).collect();
        sent.add(partition, &records);
        stage.send(partition, records).await;
    }
    let mut settings = stage.settings("lake", "");
    settings.limits.memory_bytes_max = 16 << 20;
    let summary = batch(settings.clone()).await;
    assert!(summary.memory_peak_bytes <= 16 << 20, "{} bytes at most", summary.memory_peak_bytes);
    proof.shown(&[Promise::MemoryInBudget]);
    proof.lake(&objects(&settings), &sent).await;
}
