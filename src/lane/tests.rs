//! A lane over a scripted stream and a store in memory, and where nothing waits for other threads a clock that a test holds
//! in its hand.

use futures::stream;
use object_store::memory::InMemory;

use super::*;
use crate::{
    decode::{DecodeSettings, Decoder, EventTime, EventWindow, Format},
    lake::{Compression, FileKind, Kind, LakeSettings, Layout, PartitionBy, Store},
    model::{Backend, Model, ModelSettings},
    offset::LaneId,
    record::{Batch, Field, FieldKind, ModelRef, Record},
    telemetry::meter::Steps,
};

const ROLL: Roll = Roll { rows_max: 1000, bytes_max: 1 << 30, age_max: Duration::from_secs(30) };
const BEGIN: Mark = Mark { position: 0, seen: None };
const LIMIT: Duration = Duration::from_mins(1);
const MEMORY: usize = 64 << 20;
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Works whose model says that it is this version; each decodes values up to so many bytes.
async fn works(version: u32, record_bytes_max: usize) -> Arc<Works> {
    let url = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris").into();
    let model = Model::load(&ModelSettings { url, version: None, backend: Backend::NdArray }).await.unwrap();
    let fields = ["sepal_length", "sepal_width", "petal_length", "petal_width"].map(|name| Field {
        name: name.into(),
        kind: FieldKind::Float64,
        nullable: false,
        path: vec![name.into()],
    });
    let window = EventWindow { earliest_ms: 0, ahead_ms: i64::MAX / 4 };
    let decode = DecodeSettings {
        format: Format::default(),
        fields: fields.into(),
        event_time: EventTime::Broker,
        window,
        record_bytes_max,
    };
    let decoder = Decoder::new(&decode);
    let lake = LakeSettings {
        url: String::new(),
        generation: 0,
        partition_by: PartitionBy::Hour,
        compression: Compression::Zstd,
        roll: ROLL,
        segment_hours_max: 1,
    };
    let reference = ModelRef { version, ..model.reference() };
    let layout = Layout::new(&lake, &decoder.schema(), decoder.is_numbered(), model.classes(), reference).unwrap();
    let scorer = model.scorer(&decoder.schema()).unwrap();
    Arc::new(Works { decoder, writers: Writers::default(), scorer, layout: Arc::new(layout) })
}

async fn lane(store: &Store, roll: Roll, until: Option<i64>) -> Lane {
    promoting_lane(store, roll, until).await.0
}

/// A lane, and what another version is promoted by.
async fn promoting_lane(store: &Store, roll: Roll, until: Option<i64>) -> (Lane, watch::Sender<Arc<Works>>) {
    let (promoted, works) = watch::channel(works(1, RECORD_BYTES_MAX).await);
    let id = LaneId { dataset: "iris".into(), generation: 0, partition: 0 };
    let memory = Memory::new(MEMORY);
    let lane = Lane {
        topic: "flowers".into(),
        start: Start::Earliest,
        ledger: Ledger::new(store.clone(), id, "test".into()),
        works,
        cpu: Cpu::new(1).unwrap(),
        fetch: FetchSettings { bytes_max: Arc::new(1.into()), wait_max: Duration::ZERO, memory: memory.clone() },
        roll,
        rejects: None,
        until,
        stop: CancellationToken::new(),
        share: memory.share(),
        status: Arc::default(),
        journal: Arc::new(Journal::new(vec![])),
        swept: Mutex::default(),
    };
    (lane, promoted)
}

fn store() -> Store {
    Store::over(Arc::new(InMemory::new()), "memory")
}

/// Sound records at these offsets, fetched from `start`.
fn fetched(start: i64, offsets: impl IntoIterator<Item = i64>) -> Result<Fetched, LaneError> {
    fetched_of_hours(start, offsets, |_| 0)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands in streams of results")]
fn fetched_of_hours(
    start: i64,
    offsets: impl IntoIterator<Item = i64>,
    hour_of: fn(i64) -> i64,
) -> Result<Fetched, LaneError> {
    let value = br#"{"sepal_length":5.9,"sepal_width":3.0,"petal_length":5.6,"petal_width":2.0}"#;
    let timestamp_ms = |offset| hour_of(offset) * 3_600_000;
    let record = |offset| Record {
        offset,
        timestamp_ms: timestamp_ms(offset),
        value: Some(value.to_vec()),
        ..Record::default()
    };
    let records: Vec<Record> = offsets.into_iter().map(record).collect();
    let end = records.last().map_or(start, |last| last.offset + 1);
    Ok(Fetched { batch: Batch { records, range: OffsetRange { start, end }, high_watermark: end }, memory: None })
}

/// The partition's claims, read one after the other.
async fn claims(lane: &Lane) -> Vec<Claim> {
    let (mut claims, mut at) = (vec![], 0);
    while let Some(claim) = lane.ledger.claim_at(at).await.unwrap() {
        at = claim.end;
        claims.push(claim);
    }
    claims
}

async fn ranges(lane: &Lane) -> Vec<(i64, i64)> {
    claims(lane).await.iter().map(|claim| (claim.start, claim.end)).collect()
}

#[tokio::test]
async fn a_segment_is_committed_when_it_is_old_though_more_may_come() {
    let store = store();
    let roll = Roll { age_max: Duration::from_millis(100), ..ROLL };
    let lane = lane(&store, roll, None).await;
    let batches = stream::iter([fetched(0, 0..3)]).chain(stream::pending());
    let began = Instant::now();
    let committed = async {
        while ranges(&lane).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = carry(&lane, BEGIN, batches) => panic!("the lane goes on: {ended:?}"),
        committed = tokio::time::timeout(LIMIT, committed) => committed.expect("it is committed"),
    }
    assert!(began.elapsed() >= roll.age_max);
    assert_eq!(ranges(&lane).await, [(0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_committed_when_it_holds_enough_rows() {
    let store = store();
    let lane = lane(&store, Roll { rows_max: 4, ..ROLL }, Some(12)).await;
    let batches = stream::iter([fetched(0, 0..3), fetched(3, 3..8), fetched(8, 8..12)]);
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(ranges(&lane).await, [(0, 8), (8, 12)]);
}

#[tokio::test]
async fn a_segment_is_committed_early_when_memory_is_short() {
    let store = store();
    let lane = lane(&store, ROLL, None).await;
    let memory = lane.fetch.memory.clone();
    let batches = stream::iter([fetched(0, 0..3)]).chain(stream::pending());
    let pressed = async { memory.reserve(MEMORY).await };
    tokio::select! {
        ended = carry(&lane, BEGIN, batches) => panic!("the lane goes on: {ended:?}"),
        reservation = tokio::time::timeout(ROLL.age_max / 2, async {
            while lane.fetch.memory.peak() == 0 {
                tokio::task::yield_now().await;
            }
            pressed.await
        }) => assert!(reservation.is_ok(), "room was made before the segment was old"),
    }
    assert_eq!(ranges(&lane).await, [(0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_commits_what_is_in_hand() {
    let store = store();
    let lane = lane(&store, ROLL, None).await;
    let stop = lane.stop.clone();
    let batches = stream::iter([fetched(0, 0..3)]).chain(stream::once(async move {
        stop.cancel();
        std::future::pending().await
    }));
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(ranges(&lane).await, [(0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn when_the_reader_fails_what_was_read_is_committed_first() {
    let store = store();
    let lane = lane(&store, ROLL, None).await;
    let failed = LaneError::Silent { position: 3, end: 9 };
    let batches = stream::iter([fetched(0, 0..3), Err(failed)]);
    assert!(matches!(carry(&lane, BEGIN, batches).await, Err(LaneError::Silent { .. })));
    assert_eq!(ranges(&lane).await, [(0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_run_ends_exactly_where_it_was_to_though_the_last_offsets_are_absent() {
    let store = store();
    let lane = lane(&store, ROLL, Some(10)).await;
    let batches = stream::iter([fetched(0, [0, 1, 4, 7, 12])]);
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    let claims = claims(&lane).await;
    let [claim] = &claims[..] else { panic!("{claims:?}") };
    assert_eq!((claim.start, claim.end), (0, 10));
    assert_eq!((claim.counts.records, claim.counts.absent), (4, 6));
    assert_eq!(claim.fingerprint.unwrap().offset, 7);
    assert_eq!(claim.kind, Kind::Segment);
}

#[tokio::test(start_paused = true)]
async fn a_claim_says_of_a_file_that_its_rejects_have_no_time_of_their_own() {
    let store = store();
    let lane = lane(&store, ROLL, Some(3)).await;
    let batches = stream::iter([fetched_of_hours(0, 0..3, |offset| if offset == 1 { -7 } else { 0 })]);
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    let files = &claims(&lane).await[0].files;
    let told: Vec<_> = files.iter().map(|file| (file.kind, file.rows, file.undated)).collect();
    assert_eq!(told, [(FileKind::Scored, 2, false), (FileKind::Rejected, 1, true)]);
}

#[tokio::test(start_paused = true)]
async fn the_record_that_was_seen_last_is_remembered_through_gaps_and_segments_without_records() {
    let store = store();
    let lane = lane(&store, ROLL, Some(8)).await;
    assert!(matches!(carry(&lane, BEGIN, stream::iter([fetched(0, 0..3)])).await, Err(LaneError::ReaderGone)));
    let seen = claims(&lane).await[0].fingerprint;
    assert_eq!(seen.unwrap().offset, 2);
    claim_gap(&lane, OffsetRange { start: 3, end: 5 }, seen).await.unwrap();
    let mark = Mark { position: 5, seen };
    assert!(matches!(carry(&lane, mark, stream::iter([fetched(5, [9])])).await.unwrap(), Carried::ToTheEnd));
    let claims = claims(&lane).await;
    let told: Vec<_> = claims.iter().map(|claim| (claim.start, claim.counts.records, claim.fingerprint)).collect();
    assert_eq!(told, [(0, 3, seen), (3, 0, seen), (5, 0, seen)]);
}

#[tokio::test(start_paused = true)]
async fn a_rival_that_was_first_is_found_out_and_nothing_of_ours_is_kept() {
    let store = store();
    let (ours, theirs) = (lane(&store, ROLL, Some(3)).await, lane(&store, ROLL, Some(2)).await);
    assert!(matches!(carry(&theirs, BEGIN, stream::iter([fetched(0, 0..2)])).await.unwrap(), Carried::ToTheEnd));
    let carried = carry(&ours, BEGIN, stream::iter([fetched(0, 0..3)])).await.unwrap();
    assert!(matches!(carried, Carried::Fenced { at: 0, .. }), "{carried:?}");
    assert_eq!(ranges(&ours).await, [(0, 2)]);
    assert_eq!(ours.status.tally().counts.records, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_does_not_follow_the_one_before_is_never_written() {
    let store = store();
    let lane = lane(&store, ROLL, Some(9)).await;
    let carried = carry(&lane, BEGIN, stream::iter([fetched(0, 0..3), fetched(5, 5..9)])).await;
    assert!(matches!(carried, Err(LaneError::Lake(LakeError::Discontinuous { expected: 3, found: 5, .. }))));
    assert!(ranges(&lane).await.is_empty());
}

/// So many records, of which every n-th is a flower.
fn mostly_bad(start: i64, count: i64, every: i64) -> Result<Fetched, LaneError> {
    let mut fetched = fetched(start, start..start + count)?;
    let bad = fetched.batch.records.iter_mut().filter(|record| record.offset % every != 0);
    bad.for_each(|record| record.value = Some(b"no flower".to_vec()));
    Ok(fetched)
}

async fn limited_lane(store: &Store, until: i64) -> Lane {
    let above = Percentage(5_000);
    let limit = RejectLimit { above, window: Duration::from_mins(1), records_min: 10 };
    Lane { rejects: Some(limit), ..lane(store, Roll { rows_max: 8, ..ROLL }, Some(until)).await }
}

#[tokio::test(start_paused = true)]
async fn a_lane_with_too_many_rejects_stops_before_they_land() {
    let store = store();
    let lane = limited_lane(&store, 40).await;
    // 14 of 40.
    let batches = stream::iter([fetched(0, 0..20), mostly_bad(20, 12, 2), mostly_bad(32, 8, 100)]);
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(ranges(&lane).await, [(0, 20), (20, 32), (32, 40)]);

    let lane = limited_lane(&store, 80).await;
    let mark = Mark { position: 40, seen: None };
    let batches = stream::iter([fetched(40, 40..44), mostly_bad(44, 7, 100)]);
    let error = carry(&lane, mark, batches).await.unwrap_err();
    assert!(!error.is_transient(), "a person must look");
    let told = error.to_string();
    for part in [
        "too many rejects: 7 of the 11 records",
        "(63.63 %)",
        "`stop_above` is 50 %",
        "offset 44: not_json",
        "--accept-rejects",
    ] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert_eq!(ranges(&lane).await.last(), Some(&(32, 40)), "what was in hand has not landed");
}

#[tokio::test(start_paused = true)]
async fn few_records_stop_no_lane_and_old_ones_do_not_count() {
    let store = store();
    let lane = limited_lane(&store, 18).await;
    let batches = stream::iter([mostly_bad(0, 9, 100)]).chain(stream::once(async {
        tokio::time::advance(Duration::from_mins(2)).await;
        mostly_bad(9, 9, 100)
    }));
    assert!(matches!(carry(&lane, BEGIN, pin!(batches)).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(ranges(&lane).await, [(0, 9), (9, 18)]);
}

/// Each claim's range, the version that scored it, and how many rows and rejects it has.
async fn versions(lane: &Lane) -> Vec<(i64, i64, u32, u64, u64)> {
    let claims = claims(lane).await.into_iter().map(|claim| {
        let version = claim.model.as_ref().map_or(0, |model| model.version);
        (claim.start, claim.end, version, claim.counts.scored, claim.counts.rejected)
    });
    claims.collect()
}

#[tokio::test(start_paused = true)]
async fn a_promoted_model_takes_over_with_the_next_segment_and_does_not_wait_for_it() {
    let (lane, promoted) = promoting_lane(&store(), ROLL, Some(9)).await;
    let began = Instant::now();
    let batches = stream::iter([fetched(0, 0..2), fetched(2, 2..5)]).chain(stream::once(async {
        promoted.send(works(2, RECORD_BYTES_MAX).await).unwrap();
        tokio::task::yield_now().await;
        fetched(5, 5..9)
    }));
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(versions(&lane).await, [(0, 5, 1, 5, 0), (5, 9, 2, 4, 0)]);
    assert!(began.elapsed() < ROLL.age_max, "the first segment was committed because of the new model");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_waits_for_its_first_record_scores_it_with_the_model_of_then() {
    let (lane, promoted) = promoting_lane(&store(), ROLL, Some(2)).await;
    let batches = stream::once(async {
        promoted.send(works(2, RECORD_BYTES_MAX).await).unwrap();
        fetched(0, 0..2)
    });
    assert!(matches!(carry(&lane, BEGIN, pin!(batches)).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(versions(&lane).await, [(0, 2, 2, 2, 0)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_of_a_batch_is_scored_again_by_the_model_that_took_over() {
    let (lane, promoted) = promoting_lane(&store(), ROLL, Some(6)).await;
    // A segment has one hour, so the second batch is cut before offset 4. The second model takes no record at all.
    let batches = stream::iter([fetched(0, 0..2)]).chain(stream::once(async {
        promoted.send(works(2, 1).await).unwrap();
        fetched_of_hours(2, 2..6, |offset| offset / 4)
    }));
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    assert_eq!(versions(&lane).await, [(0, 4, 1, 4, 0), (4, 6, 2, 0, 2)]);
}

#[tokio::test(start_paused = true)]
async fn the_offset_of_a_change_is_counted_and_shown() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (lane, promoted) = promoting_lane(&store(), Roll { rows_max: 3, ..ROLL }, Some(9)).await;
    let batches = stream::iter([fetched(0, 0..3), fetched(3, 3..6)]).chain(stream::once(async {
        promoted.send(works(2, RECORD_BYTES_MAX).await).unwrap();
        fetched(6, 6..9)
    }));
    assert!(matches!(carry(&lane, BEGIN, batches).await.unwrap(), Carried::ToTheEnd));
    let page = recorder.handle().render();
    assert!(page.contains("alluvium_model_changes_total 1\n"), "{page}");
    assert_eq!(lane.status.model_changed_at(), Some(6));
    assert_eq!(lane.status.model().map(|model| model.version), Some(2));
}

#[tokio::test]
async fn a_new_segment_takes_no_more_than_what_was_set_aside_for_its_first_batch() {
    for rows in [1, 400] {
        let works = works(1, RECORD_BYTES_MAX).await;
        let id = LaneId { dataset: "iris".into(), generation: 0, partition: 0 };
        let mut segment = Segment::new(id, works.layout.clone(), 0);
        let work = Work::Fetched(fetched(0, 0..rows).unwrap());
        works.append(&mut segment, work, &Schemas::default(), 0, &Steps::default()).unwrap();
        let set_aside = fetch::MEMORY_PER_BATCH;
        assert!((1..=set_aside).contains(&segment.memory()), "{} of {set_aside}", segment.memory());
    }
}
