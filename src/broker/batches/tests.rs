//! Hand-made logs, whole, compacted, transactional and broken.

use proptest::{collection::vec, prelude::*};
use rskafka::protocol::{
    primitives::Int64,
    record::{Record as Written, RecordBatch, RecordBatchCompression, RecordBatchTimestampType, RecordHeader},
    traits::WriteType,
};

use super::*;

const PRODUCER: i64 = 77;

/// A batch with records at these distances from its first offset.
fn batch(base_offset: i64, last_offset_delta: i32, deltas: &[i32]) -> RecordBatch {
    let written = |&delta: &i32| Written {
        timestamp_delta: i64::from(delta),
        offset_delta: delta,
        key: Some(b"key".to_vec()),
        value: Some(format!("value {}", base_offset + i64::from(delta)).into_bytes()),
        headers: vec![RecordHeader { key: "name".into(), value: vec![0, 255] }],
    };
    RecordBatch {
        base_offset,
        partition_leader_epoch: 0,
        last_offset_delta,
        first_timestamp: 1_000,
        max_timestamp: 5_000,
        producer_id: PRODUCER,
        producer_epoch: 0,
        base_sequence: 0,
        records: ControlBatchOrRecords::Records(deltas.iter().map(written).collect()),
        compression: RecordBatchCompression::NoCompression,
        is_transactional: false,
        timestamp_type: RecordBatchTimestampType::CreateTime,
    }
}

fn transactional(base_offset: i64, deltas: &[i32]) -> RecordBatch {
    let last = deltas.last().copied().unwrap_or(0);
    RecordBatch { is_transactional: true, ..batch(base_offset, last, deltas) }
}

fn bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = vec![];
    batch.write(&mut bytes).unwrap();
    bytes
}

/// A control batch as brokers write it; `None` once compaction has taken its record out.
fn marker(offset: i64, kind: Option<u8>) -> Vec<u8> {
    let key = kind.map(|kind| vec![0, 0, 0, kind]);
    let mut marker = transactional(offset, if key.is_some() { &[0] } else { &[] });
    if let ControlBatchOrRecords::Records(records) = &mut marker.records {
        for record in records {
            record.key.clone_from(&key);
            record.headers.clear();
        }
    }
    let mut bytes = bytes(&marker);
    bytes[22] |= 1 << 5;
    sign(&mut bytes);
    bytes
}

/// Makes the checksum right again.
fn sign(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn aborted(first_offset: i64) -> Vec<Aborted> {
    vec![Aborted { producer_id: Int64(PRODUCER), first_offset: Int64(first_offset) }]
}

fn offsets(contents: &Contents) -> Vec<i64> {
    contents.records.iter().map(|record| record.offset).collect()
}

#[test]
fn records_come_whole_from_the_offset_asked_for() {
    let log = [bytes(&batch(10, 2, &[0, 1, 2])), bytes(&batch(13, 1, &[0, 1]))].concat();
    let contents = read(&log, vec![], 11).unwrap();
    assert_eq!((offsets(&contents), contents.begin, contents.end), (vec![11, 12, 13, 14], Some(10), 15));
    let first = &contents.records[0];
    assert_eq!(first.timestamp_ms, 1_001);
    assert_eq!(first.key.as_deref(), Some(&b"key"[..]));
    assert_eq!(first.value.as_deref(), Some(&b"value 11"[..]));
    assert_eq!(first.headers, [("name".to_owned(), vec![0, 255])].into());
}

#[test]
fn records_are_the_same_however_they_are_packed() {
    let deltas: Vec<i32> = (0..20_000).collect();
    let plain = read(&bytes(&batch(7, 19_999, &deltas)), vec![], 7).unwrap();
    for compression in [
        RecordBatchCompression::Gzip,
        RecordBatchCompression::Snappy,
        RecordBatchCompression::Lz4,
        RecordBatchCompression::Zstd,
    ] {
        let packed = bytes(&RecordBatch { compression, ..batch(7, 19_999, &deltas) });
        let contents = read(&packed, vec![], 7).unwrap();
        assert!(contents.records == plain.records && contents.end == plain.end, "{compression:?}");
        // One record fewer is told than there are, and one more.
        for (count, why) in [(19_999_i32, "after its last record"), (20_001, "inside a record")] {
            let mut wrong = packed.clone();
            wrong[57..61].copy_from_slice(&count.to_be_bytes());
            sign(&mut wrong);
            let error = read(&wrong, vec![], 7).unwrap_err();
            assert!(error.text.contains("nothing was skipped"), "{compression:?}: {error:?}");
            // Snappy is unpacked as a whole elsewhere, in other words.
            let told = error.text.contains(why) || compression == RecordBatchCompression::Snappy;
            assert!(told, "{compression:?}: {error:?}");
        }
        let emptied = {
            let mut emptied = bytes(&batch(7, 19_999, &[]));
            emptied[22] |= packed[22] & 0b111;
            sign(&mut emptied);
            emptied
        };
        let contents = read(&emptied, vec![], 7).unwrap();
        assert_eq!((contents.records.len(), contents.end), (0, 20_007), "{compression:?}");
    }
}

#[test]
fn the_time_is_that_of_the_log_where_the_topic_says_so() {
    let appended = RecordBatch { timestamp_type: RecordBatchTimestampType::LogAppendTime, ..batch(0, 1, &[0, 1]) };
    let contents = read(&bytes(&appended), vec![], 0).unwrap();
    assert!(contents.records.iter().all(|record| record.timestamp_ms == 5_000), "{:?}", contents.records);
}

#[test]
fn a_batch_ends_where_it_did_before_compaction() {
    let log = [bytes(&batch(0, 4, &[0, 2])), bytes(&batch(5, 4, &[]))].concat();
    let contents = read(&log, vec![], 0).unwrap();
    assert_eq!((offsets(&contents), contents.end), (vec![0, 2], 10));
    let tail = read(&log, vec![], 3).unwrap();
    assert_eq!((offsets(&tail), tail.begin, tail.end), (vec![], Some(0), 10));
}

#[test]
fn a_committed_transaction_is_read_and_its_marker_is_not() {
    let log = [bytes(&transactional(0, &[0, 1])), marker(2, Some(1)), bytes(&batch(3, 0, &[0]))].concat();
    let contents = read(&log, vec![], 0).unwrap();
    assert_eq!((offsets(&contents), contents.end), (vec![0, 1, 3], 4));
}

#[test]
fn of_an_aborted_transaction_nothing_is_read_and_of_the_next_everything() {
    let other = RecordBatch { producer_id: 5, ..transactional(2, &[0]) };
    let plain = batch(3, 0, &[0]);
    let log = [
        bytes(&transactional(0, &[0, 1])),
        bytes(&other),
        bytes(&plain),
        marker(4, Some(0)),
        bytes(&transactional(5, &[0])),
        marker(6, Some(1)),
    ];
    let contents = read(&log.concat(), aborted(0), 0).unwrap();
    assert_eq!((offsets(&contents), contents.end), (vec![2, 3, 5], 7));
    // In the middle of the transaction its beginning is not seen.
    let later = read(&log[1..].concat(), aborted(0), 2).unwrap();
    assert_eq!(offsets(&later), [2, 3, 5]);
    // The broker tells of those further on, too.
    let before = read(&[bytes(&transactional(0, &[0])), marker(1, Some(1))].concat(), aborted(2), 0).unwrap();
    assert_eq!(offsets(&before), [0]);
}

#[test]
fn a_marker_that_compaction_emptied_is_passed_over() {
    let contents = read(&[marker(0, None), bytes(&batch(1, 0, &[0]))].concat(), vec![], 0).unwrap();
    assert_eq!((offsets(&contents), contents.end), (vec![1], 2));
}

#[test]
fn what_is_cut_off_is_left_for_the_next_fetch() {
    let (first, second) = (bytes(&batch(0, 1, &[0, 1])), bytes(&batch(2, 1, &[0, 1])));
    for cut in 0..second.len() {
        let contents = read(&[&first[..], &second[..cut]].concat(), vec![], 0).unwrap();
        assert_eq!((offsets(&contents), contents.end), (vec![0, 1], 2), "{cut} bytes");
    }
    assert!(read(&first[..40], vec![], 0).is_err(), "a broker sends at least one batch whole");
    assert_eq!(read(&[], vec![], 7).unwrap().end, 7);
}

#[test]
fn what_cant_be_read_ends_what_is_read_before_it_and_is_an_error_at_its_own_offset() {
    let sound = bytes(&batch(0, 1, &[0, 1]));
    let mut old = bytes(&batch(2, 1, &[0, 1]));
    old[16] = 1;
    let mut flipped = bytes(&batch(2, 1, &[0, 1]));
    *flipped.last_mut().unwrap() ^= 1;
    let mut early = bytes(&batch(2, 1, &[0, 1]));
    early[60] = 9;
    sign(&mut early);
    let overlapping = bytes(&batch(1, 3, &[0, 1, 2, 3]));
    let backwards = bytes(&batch(2, 2, &[1, 0]));
    for (broken, why) in [
        (old, "layout 1"),
        (flipped, "checksum is wrong"),
        (early, "inside a record"),
        (backwards, "a record whose offset"),
    ] {
        let contents = read(&[&sound[..], &broken].concat(), vec![], 0).unwrap();
        assert_eq!((offsets(&contents), contents.end), (vec![0, 1], 2), "{why}");
        let error = read(&broken, vec![], 2).unwrap_err();
        assert!(error.text.contains(why) && error.text.contains("nothing was skipped"), "{error:?}");
    }
    assert_eq!(offsets(&read(&[sound, overlapping].concat(), vec![], 0).unwrap()), [0, 1]);
}

#[test]
fn nothing_is_hidden_on_the_word_of_a_broken_batch() {
    let mut data = bytes(&batch(0, 0, &[0]));
    data[22] |= 1 << 5;
    assert!(read(&data, vec![], 0).is_err(), "a flipped bit makes no marker");
    let mut data = bytes(&batch(0, 0, &[0]));
    data[22] |= 1 << 4;
    assert!(read(&data, aborted(0), 0).is_err(), "nor an aborted transaction");
}

proptest! {
    /// Bytes changed anywhere, with the checksums made right again or not.
    #[test]
    fn no_bytes_make_it_panic_or_give_an_offset_twice(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        compression in prop::sample::select(vec![
            RecordBatchCompression::NoCompression,
            RecordBatchCompression::Gzip,
            RecordBatchCompression::Lz4,
            RecordBatchCompression::Snappy,
            RecordBatchCompression::Zstd,
        ]),
        signed in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut log = [
            bytes(&RecordBatch { compression, ..batch(0, 3, &[0, 1, 3]) }),
            marker(4, Some(0)),
            bytes(&RecordBatch { compression, ..transactional(5, &[0, 1]) }),
        ];
        for batch in &mut log {
            for (at, byte) in &changes {
                let at = at.index(batch.len());
                batch[at] = *byte;
            }
            if signed {
                sign(batch);
            }
        }
        let mut log = log.concat();
        log.truncate(1 + cut.index(log.len()));
        if let Ok(contents) = read(&log, aborted(0), 0) {
            prop_assert!(contents.records.windows(2).all(|pair| pair[0].offset < pair[1].offset));
            prop_assert!(contents.records.iter().all(|record| (0..contents.end).contains(&record.offset)));
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(log in vec(any::<u8>(), 0..400)) {
        let _ = read(&log, aborted(0), 0);
    }
}
