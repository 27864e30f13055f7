//! What brokers do on bad days, and what becomes of the lake then.

use std::{
    path::Path,
    sync::atomic::{AtomicI64, Ordering::SeqCst},
    time::Duration,
};

use alluvium::{config, lake::FileKind, pipeline::Settings};

use crate::support::{
    counted::Counted,
    lake::{places, rows},
    proof::{Promise, Proof, Sent},
    scripted::{
        Answer, PLAIN, PRODUCER, Script, Scripted, TOPIC, TRANSACTION_MARKER, TRANSACTIONAL, batch as record_batch,
        record,
    },
    stage::{DATASET, Running, assert_clean, batch, flower, objects},
    until,
};

/// Hand-made records are of the year 1970.
fn settings(scripted: &Scripted, lake: &Path) -> Settings {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let fields: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n"))
        .concat();
    let text = format!(
        "[source]\nbrokers = \"{}\"\ntopic = \"{TOPIC}\"\n[[fields]]\nname = \"id\"\ntype = \"int64\"\n{fields}[event_time]\nearliest = \"1970-01-01T00:00:00Z\"\n\
         [model]\npath = \"{model}\"\n[limits]\nfetch_wait = \"10ms\"\npartitions_refresh = \"1s\"\n\
         [lake]\nurl = \"{}\"\ndataset = \"{DATASET}\"\nroll_age = \"100ms\"\n",
        scripted.address,
        lake.display()
    );
    config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// Sound records of these offsets. When there are none, the broker holds the answer back for a moment, as brokers do.
fn flowers(from: i64, to: i64) -> Answer {
    if from >= to {
        std::thread::sleep(Duration::from_millis(5));
        return Answer::Records(vec![]);
    }
    let value = |offset: i64| flower(usize::try_from(offset).unwrap()).value.unwrap();
    let records: Vec<_> = (from..to).map(|offset| record(offset - from, b"k", &value(offset), &[])).collect();
    Answer::Records(record_batch(from, i32::try_from(to - from - 1).unwrap(), PLAIN, &records))
}

async fn scored(settings: &Settings) -> Vec<(i32, i64)> {
    places(&rows(&objects(settings), FileKind::Scored, DATASET).await.expect("there are scored rows"))
}

fn offsets(partition: i32, range: std::ops::Range<i64>) -> impl Iterator<Item = (i32, i64)> {
    range.map(move |offset| (partition, offset))
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_while_a_stream_runs_are_read_from_their_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::fetches(10, |offset| flowers(offset, 10));
    let partitions = script.partitions.clone();
    let scripted = Scripted::start(script).await;
    let settings = settings(&scripted, folder.path());
    let running = Running::start(settings.clone()).await;
    until("the first partition is read", async || running.committed() == 10).await;
    partitions.store(3, SeqCst);
    until("the new partitions are read", async || running.committed() == 30).await;
    assert_eq!(running.stop().await.partitions, 3);
    assert_eq!(scored(&settings).await, (0..3).flat_map(|partition| offsets(partition, 0..10)).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_retention_took_are_claimed_as_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let before = Scripted::start(Script::fetches(100, |offset| flowers(offset, 100))).await;
    assert_eq!(batch(settings(&before, folder.path())).await.tally.counts.records, 100);

    let after = Script::fetches(200, |offset| if offset < 150 { Answer::Error(1) } else { flowers(offset, 200) });
    let after = Scripted::start(Script { earliest: 150, ..after }).await;
    let settings = settings(&after, folder.path());
    let counted = Counted::of("alluvium_gap_offsets_total");
    let summary = batch(settings.clone()).await;
    counted.assert_moved();
    assert_eq!(summary.failures, Vec::<String>::new());
    assert_eq!((summary.tally.counts.records, summary.tally.counts.absent), (50, 50));
    assert_eq!(scored(&settings).await, offsets(0, 0..100).chain(offsets(0, 150..200)).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

/// The lane keeps what stands before offset 5, and stops there for a person.
async fn assert_stops_at_five(bad: impl Fn() -> Vec<u8> + Send + Sync + 'static, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::fetches(10, move |offset| match offset {
        0..5 => flowers(offset, 5),
        5..10 => Answer::Records(bad()),
        _ => flowers(offset, 10),
    });
    let scripted = Scripted::start(script).await;
    let settings = settings(&scripted, folder.path());
    for read in [5, 0] {
        let summary = batch(settings.clone()).await;
        let [failure] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
        for part in ["topic `orders`, partition 0, offset 5", why, "nothing was skipped"] {
            assert!(failure.contains(part), "`{part}` is missing in: {failure}");
        }
        assert!(!failure.contains('\n'), "{failure}");
        assert_eq!((summary.tally.counts.records, summary.remaining), (read, 5));
    }
    assert_eq!(scored(&settings).await, offsets(0, 0..5).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_records_land_and_aborted_ones_never_do_though_fetches_part_them_from_their_marker() {
    let folder = tempfile::tempdir().unwrap();
    // Offset 2 is aborted, and a fetch later than its record comes the marker, at 3.
    let script = Script::fetches(6, |offset| {
        let flower = |offset| record(0, b"k", &flower(offset).value.unwrap(), &[]);
        let marker = |kind| [record(0, &[0, 0, 0, kind], &[0; 6], &[])];
        let one = match offset {
            0 => record_batch(0, 0, TRANSACTIONAL, &[flower(0)]),
            1 => record_batch(1, 0, TRANSACTION_MARKER, &marker(1)),
            2 => record_batch(2, 0, TRANSACTIONAL, &[flower(2)]),
            3 => record_batch(3, 0, TRANSACTION_MARKER, &marker(0)),
            4 => record_batch(4, 0, PLAIN, &[flower(4)]),
            5 => record_batch(5, 0, TRANSACTION_MARKER, &marker(1)),
            _ => return flowers(6, 6),
        };
        Answer::Transactions(one, if offset <= 3 { vec![(PRODUCER, 2)] } else { vec![] })
    });
    let scripted = Scripted::start(script).await;
    let settings = settings(&scripted, folder.path());
    let summary = batch(settings.clone()).await;
    assert_eq!((summary.failures, summary.remaining), (vec![], 0));
    assert_eq!((summary.tally.counts.records, summary.tally.counts.absent), (2, 4));
    assert_eq!(scored(&settings).await, [(0, 0), (0, 4)]);
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_a_value_stops_the_lane_and_nothing_is_skipped() {
    let headless = || record_batch(5, 0, PLAIN, &[record(0, b"k", b"v", &[("trace", None)])]);
    assert_stops_at_five(headless, "header without a value").await;
}

/// The broker answers the first `times` fetches of offset 5 so; the lane goes on all the same.
async fn assert_goes_on_after(answer: Answer, times: i64) {
    let folder = tempfile::tempdir().unwrap();
    let left = AtomicI64::new(times);
    let script = Script::fetches(10, move |offset| match offset {
        0..5 => flowers(offset, 5),
        5 if left.fetch_sub(1, SeqCst) > 0 => answer.clone(),
        _ => flowers(offset, 10),
    });
    let scripted = Scripted::start(script).await;
    let settings = settings(&scripted, folder.path());
    let summary = batch(settings.clone()).await;
    assert_eq!(summary.failures, Vec::<String>::new());
    assert_eq!((summary.tally.counts.records, summary.tally.counts.absent, summary.remaining), (10, 0, 0));
    assert_eq!(scored(&settings).await, offsets(0, 0..10).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_that_passes_opens_the_lane_again() {
    assert_goes_on_after(Answer::Error(1), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_errors_of_the_broker_lose_nothing() {
    assert_goes_on_after(Answer::Error(56), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_waited_for() {
    assert_goes_on_after(Answer::Throttled(20), 3).await;
}

/// A byte flipped anywhere behind a batch's own offset, which no checksum guards for any reader of Kafka.
fn flipped(mut batches: Vec<u8>, random: u64) -> Vec<u8> {
    let length = u64::try_from(batches.len()).unwrap() - 8;
    let at = usize::try_from(8 + random % length).unwrap();
    batches[at] ^= 1 << (random / length % 8);
    batches
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_flipped_bits_end_in_an_error_or_in_the_records_that_were_sent() {
    let proof = Proof::of("hostile bytes", &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled]);
    let folder = tempfile::tempdir().unwrap();
    let asked = AtomicI64::new(0);
    // A third of the answers are spoiled, each at another place.
    let script = Script::fetches(60, move |offset| {
        let random = u64::from(crc32c::crc32c(&asked.fetch_add(1, SeqCst).to_le_bytes()));
        match flowers(offset, 60.min(offset + 10)) {
            Answer::Records(batches) if random.is_multiple_of(3) && !batches.is_empty() => {
                Answer::Records(flipped(batches, random / 3))
            }
            sound => sound,
        }
    });
    let scripted = Scripted::start(script).await;
    let settings = settings(&scripted, folder.path());
    until("all is read, run after run", async || batch(settings.clone()).await.remaining == 0).await;
    let mut sent = Sent::default();
    sent.add(0, (0..60).map(flower).collect::<Vec<_>>());
    proof.lake(&objects(&settings), &sent).await;
}
