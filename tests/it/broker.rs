//! The broker: records go there and back whole, and whatever goes wrong ends in time with a cause and a remedy.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use alluvium::broker::{Broker, BrokerError, BrokerErrorKind, BrokerLimits, Partition, Start};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::support::scripted::{
    Answer, PLAIN, PRODUCER, Script, Scripted, TOPIC, TRANSACTION_MARKER, TRANSACTIONAL, batch, record,
};

const SHORT: Duration = Duration::from_millis(10);
/// Far more than anything here takes: a test that hangs fails.
const FOR_EVER: Duration = Duration::from_mins(1);

fn limits(timeout: Duration) -> BrokerLimits {
    BrokerLimits { connect_timeout: timeout, request_timeout: timeout, fetch_bytes_max: 1 << 20, fetch_wait_max: SHORT }
}

async fn connect(address: SocketAddr, timeout: Duration) -> Result<Broker, BrokerError> {
    let brokers = [address.to_string()];
    tokio::time::timeout(FOR_EVER, Broker::connect(&brokers, limits(timeout))).await.expect("ends in time")
}

async fn partition_of(scripted: &Scripted) -> Partition {
    let broker = connect(scripted.address, Duration::from_millis(500)).await.unwrap();
    broker.partition(TOPIC, 0).await.unwrap()
}

async fn fetch_error(script: Script, offset: i64) -> BrokerError {
    let scripted = Scripted::start(script).await;
    let partition = partition_of(&scripted).await;
    let fetch = tokio::spawn(async move { partition.fetch(offset, 1 << 20, SHORT).await });
    tokio::time::timeout(FOR_EVER, fetch).await.expect("ends in time").unwrap().unwrap_err()
}

#[track_caller]
fn assert_told(error: &BrokerError, kind: BrokerErrorKind, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
}

#[cfg(feature = "embedded")]
mod records {
    use std::collections::BTreeMap;

    use alluvium::{
        broker::{Compression, EmbeddedBroker, EmbeddedStorage},
        record::Record,
        simulate::{
            encoding::Encoding,
            feed::{self, Feed, Key, Sent},
        },
    };

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn embedded() -> (EmbeddedBroker, Broker) {
        let embedded = EmbeddedBroker::start(LOOPBACK, EmbeddedStorage::Memory).await.unwrap();
        let broker = connect(embedded.address(), Duration::from_secs(20)).await.unwrap();
        (embedded, broker)
    }

    fn numbered(range: std::ops::Range<i64>) -> Vec<Record> {
        let record = |n: i64| Record {
            offset: n,
            timestamp_ms: 1_700_000_000_000 + n,
            key: (n % 2 == 0).then(|| format!("key {n}").into_bytes()),
            value: (n % 5 != 0).then(|| format!("value {n}").into_bytes()),
            headers: BTreeMap::from([("n".into(), n.to_string().into_bytes()), ("empty".into(), Vec::new())]),
        };
        range.map(record).collect()
    }

    async fn read(partition: &Partition, from: i64) -> Vec<Record> {
        let (mut records, mut at) = (Vec::new(), from);
        let end = partition.latest().await.unwrap();
        while at < end {
            let batch = partition.fetch(at, 1 << 20, SHORT).await.unwrap();
            assert_eq!(batch.range.start, at);
            assert_eq!(batch.high_watermark, end);
            at = batch.range.end;
            records.extend(batch.records);
        }
        records
    }

    #[tokio::test]
    async fn come_back_whole_in_every_compression() {
        let (_embedded, broker) = embedded().await;
        assert!(broker.create_topic("there-and-back", 5, 1).await.unwrap());
        assert_eq!(broker.partitions("there-and-back").await.unwrap(), [0, 1, 2, 3, 4]);
        let compressions =
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for (number, compression) in (0..).zip(compressions) {
            let partition = broker.partition("there-and-back", number).await.unwrap();
            partition.produce(numbered(0..40), compression).await.unwrap();
            partition.produce(numbered(40..50), compression).await.unwrap();
            assert_eq!(partition.earliest().await.unwrap(), 0);
            assert_eq!(partition.latest().await.unwrap(), 50);
            assert_eq!(read(&partition, 0).await, numbered(0..50), "{compression:?}");
        }
    }

    #[tokio::test]
    async fn tell_their_offsets_when_they_are_sent() {
        let (_embedded, broker) = embedded().await;
        broker.create_topic("told", 1, 1).await.unwrap();
        let partition = broker.partition("told", 0).await.unwrap();
        for sent in [0..7, 7..8, 8..30] {
            let offsets = partition.produce(numbered(sent.clone()), Compression::Lz4).await.unwrap();
            assert_eq!(offsets, sent.collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn go_by_the_address_that_the_broker_advertises() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let advertised = elsewhere.local_addr().unwrap().to_string();
        let embedded =
            EmbeddedBroker::start_behind(LOOPBACK, Some(&advertised), EmbeddedStorage::Memory).await.unwrap();
        let broker = connect(embedded.address(), Duration::from_secs(20)).await.unwrap();
        let creates = tokio::spawn(async move { broker.create_topic("elsewhere", 1, 1).await });
        let came = tokio::time::timeout(Duration::from_secs(20), elsewhere.accept()).await;
        assert!(came.is_ok(), "the client was sent there");
        creates.abort();
    }

    #[tokio::test]
    async fn are_none_skipped_when_a_fetch_begins_inside_a_batch() {
        let (_embedded, broker) = embedded().await;
        broker.create_topic("inside", 1, 1).await.unwrap();
        let partition = broker.partition("inside", 0).await.unwrap();
        for start in [0, 10, 20] {
            partition.produce(numbered(start..start + 10), Compression::None).await.unwrap();
        }
        for from in 0..30 {
            assert_eq!(read(&partition, from).await, numbered(from..30), "from {from}");
            assert_eq!(partition.record_at(from).await.unwrap(), numbered(from..from + 1).pop());
        }
        assert_eq!(partition.record_at(30).await.unwrap(), None);
        let end = partition.fetch(30, 1 << 20, SHORT).await.unwrap();
        assert!(end.records.is_empty() && end.range.is_empty());
    }

    #[tokio::test]
    async fn are_found_by_their_time() {
        let (_embedded, broker) = embedded().await;
        broker.create_topic("by-time", 1, 1).await.unwrap();
        let partition = broker.partition("by-time", 0).await.unwrap();
        partition.produce(numbered(0..30), Compression::None).await.unwrap();
        let since = |ms| partition.start_offset(Start::Timestamp(ms));
        assert_eq!(since(-5).await.unwrap(), 0);
        assert_eq!(since(1_700_000_000_017).await.unwrap(), 17);
        assert_eq!(since(1_700_000_000_030).await.unwrap(), 30);
        assert_eq!(since(i64::MAX).await.unwrap(), 30);
        assert_eq!(partition.start_offset(Start::Earliest).await.unwrap(), 0);
        assert_eq!(partition.start_offset(Start::Latest).await.unwrap(), 30);
    }

    #[tokio::test]
    async fn outlive_the_broker_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let storage = EmbeddedStorage::File(folder.path().join("broker.db"));

        let embedded = EmbeddedBroker::start(LOOPBACK, storage.clone()).await.unwrap();
        let broker = connect(embedded.address(), Duration::from_secs(20)).await.unwrap();
        broker.create_topic("kept", 2, 1).await.unwrap();
        broker.partition("kept", 1).await.unwrap().produce(numbered(0..20), Compression::None).await.unwrap();
        embedded.stop().await;

        let embedded = EmbeddedBroker::start(LOOPBACK, storage).await.unwrap();
        let broker = connect(embedded.address(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(broker.partitions("kept").await.unwrap(), [0, 1]);
        let partition = broker.partition("kept", 1).await.unwrap();
        assert_eq!(read(&partition, 0).await, numbered(0..20));
        assert_eq!(read(&partition, 13).await, numbered(13..20));
        assert_eq!(partition.record_at(7).await.unwrap(), numbered(7..8).pop());
    }

    #[tokio::test]
    async fn are_fed_round_robin_with_nothing_missing_or_doubled() {
        let (_embedded, broker) = embedded().await;
        broker.create_topic("iris", 3, 1).await.unwrap();
        let feed = Feed {
            topic: "iris".into(),
            count: 20_002,
            key: Key::Id,
            compression: Compression::Lz4,
            encoding: Encoding::json(true),
            ..Feed::default()
        };
        let (sent, stop) = (std::sync::Arc::new(Sent::default()), tokio_util::sync::CancellationToken::new());
        feed::run(&feed, &broker, &[0, 1, 2], &sent, &stop).await.unwrap();
        assert_eq!(sent.records(), 20_002);
        for (number, share) in [(0, 6_668), (1, 6_667), (2, 6_667)] {
            let records = read(&broker.partition("iris", number).await.unwrap(), 0).await;
            assert_eq!(records.len(), share);
            for (id, record) in records.iter().enumerate() {
                assert_eq!(record.key.as_deref(), Some(id.to_string().as_bytes()));
            }
        }
    }

    #[tokio::test]
    async fn still_come_after_a_fetch_was_dropped_half_way() {
        let (_embedded, broker) = embedded().await;
        broker.create_topic("dropped", 1, 1).await.unwrap();
        let partition = broker.partition("dropped", 0).await.unwrap();
        for _ in 0..3 {
            let fetch = partition.fetch(0, 1 << 20, Duration::from_millis(200));
            assert!(tokio::time::timeout(SHORT, fetch).await.is_err());
        }
        partition.produce(numbered(0..5), Compression::None).await.unwrap();
        assert_eq!(read(&partition, 0).await, numbered(0..5));
    }

    #[tokio::test]
    async fn of_a_missing_topic_are_not_waited_for() {
        let (_embedded, broker) = embedded().await;
        assert!(broker.create_topic("measurements", 1, 1).await.unwrap());
        assert!(!broker.create_topic("measurements", 1, 1).await.unwrap());
        let error = broker.partitions("mesurements").await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Person, &["topic `mesurements`", "did you mean `measurements`?"]);
        assert!(error.unknown_topic());
        let error = broker.partitions("zzz").await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Person, &["topic `zzz`", "create it, or check its name"]);
    }

    #[tokio::test]
    async fn of_a_missing_partition_are_an_error() {
        let (embedded, broker) = embedded().await;
        broker.create_topic("small", 1, 1).await.unwrap();
        let impatient = connect(embedded.address(), Duration::from_secs(2)).await.unwrap();
        let error = impatient.partition("small", 9).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Person, &["topic `small`, partition 9", "there is no such partition"]);
    }
}

mod a_broker_that {
    use super::*;

    const IMPATIENT: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn is_dead_is_named_with_the_cause() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = connect(address, IMPATIENT).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Transient, &[&address.to_string(), "Connection refused", "check that"]);
    }

    #[tokio::test]
    async fn hangs_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = connect(address, IMPATIENT).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Transient, &[&address.to_string(), "no answer within"]);
    }

    #[tokio::test]
    async fn hangs_does_not_hide_one_that_answers() {
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = Scripted::start(Script::fetches(0, |_| Answer::Records(Vec::new()))).await;
        let brokers = [hanging.local_addr().unwrap().to_string(), good.address.to_string()];
        let broker = Broker::connect(&brokers, limits(Duration::from_secs(20))).await.unwrap();
        assert_eq!(broker.partitions(TOPIC).await.unwrap(), [0]);
    }

    #[tokio::test]
    async fn hangs_up_half_way_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[0, 0, 1, 0, 0, 0]).await.unwrap();
            }
        }));
        let error = connect(address, IMPATIENT).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Transient, &[&address.to_string(), "check that"]);
    }

    #[tokio::test]
    async fn is_no_address_needs_a_person() {
        let error = Broker::connect(&["nonsense".into()], limits(FOR_EVER)).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Person, &["nonsense", "host:port"]);
        let error = Broker::connect(&[], limits(FOR_EVER)).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Person, &["no broker is given"]);
    }

    #[tokio::test]
    async fn knows_no_leader_may_know_one_later() {
        let script = Script { leader: -1, ..Script::fetches(0, |_| Answer::Silence) };
        let scripted = Scripted::start(script).await;
        let broker = connect(scripted.address, IMPATIENT).await.unwrap();
        let error = broker.partition(TOPIC, 0).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Transient, &["topic `orders`, partition 0", "LeaderNotAvailable"]);
    }
}

mod a_fetch_that {
    use super::*;

    #[tokio::test]
    async fn meets_transactions_brings_what_was_committed() {
        let script = Script::fetches(9, move |_| {
            let marker = |kind| record(0, &[0, 0, 0, kind], &[0; 6], &[]);
            let log = [
                batch(5, 0, TRANSACTIONAL, &[record(0, b"k", b"committed", &[])]),
                batch(6, 0, TRANSACTION_MARKER, &[marker(1)]),
                batch(7, 0, TRANSACTIONAL, &[record(0, b"k", b"aborted", &[])]),
                batch(8, 0, TRANSACTION_MARKER, &[marker(0)]),
            ];
            Answer::Transactions(log.concat(), vec![(PRODUCER, 7)])
        });
        let scripted = Scripted::start(script).await;
        let fetched = partition_of(&scripted).await.fetch(5, 1 << 20, SHORT).await.unwrap();
        let values: Vec<_> = fetched.records.iter().map(|record| (record.offset, record.value.as_deref())).collect();
        assert_eq!(values, [(5, Some(&b"committed"[..]))]);
        assert_eq!((fetched.range.start, fetched.range.end), (5, 9));
    }

    #[tokio::test]
    async fn meets_offsets_beyond_the_partitions_end_may_be_tried_again() {
        let script = Script::fetches(9, |_| Answer::Records(batch(1 << 40, 0, PLAIN, &[record(0, b"k", b"v", &[])])));
        let error = fetch_error(script, 5).await;
        assert_told(&error, BrokerErrorKind::Transient, &["offset 5", "makes no sense", "beyond the partition's end"]);
    }

    #[tokio::test]
    async fn meets_a_null_header_value_needs_a_person() {
        let script = Script::fetches(9, |offset| {
            Answer::Records(batch(offset, 0, PLAIN, &[record(0, b"k", b"v", &[("trace", None)])]))
        });
        let error = fetch_error(script, 5).await;
        let told = ["topic `orders`, partition 0, offset 5", "header without a value", "nothing was skipped"];
        assert_told(&error, BrokerErrorKind::Person, &told);
    }

    #[tokio::test]
    async fn meets_a_broken_checksum_needs_a_person() {
        let script = Script::fetches(9, |offset| {
            let mut records = batch(offset, 0, PLAIN, &[record(0, b"k", b"v", &[])]);
            *records.last_mut().unwrap() ^= 1;
            Answer::Records(records)
        });
        let error = fetch_error(script, 5).await;
        assert_told(&error, BrokerErrorKind::Person, &["offset 5", "can't be decoded", "checksum is wrong"]);
    }

    #[tokio::test]
    async fn is_out_of_range_says_so() {
        let error = fetch_error(Script::fetches(9, |_| Answer::Error(1)), 5).await;
        assert_told(&error, BrokerErrorKind::OutOfRange, &["topic `orders`, partition 0, offset 5"]);
    }

    #[tokio::test]
    async fn meets_a_storage_error_or_a_timeout_may_be_tried_again() {
        for (code, name) in [(56, "KafkaStorageError"), (7, "RequestTimedOut"), (6, "NotLeaderOrFollower")] {
            let error = fetch_error(Script::fetches(9, move |_| Answer::Error(code)), 5).await;
            assert_told(&error, BrokerErrorKind::Transient, &["offset 5", name]);
        }
    }

    #[tokio::test]
    async fn is_not_allowed_needs_a_person() {
        let error = fetch_error(Script::fetches(9, |_| Answer::Error(29)), 5).await;
        assert_told(&error, BrokerErrorKind::Person, &["offset 5", "TopicAuthorizationFailed", "administrator"]);
    }

    #[tokio::test]
    async fn is_not_answered_is_given_up_and_the_next_goes_over_a_new_connection() {
        let answered = AtomicBool::new(false);
        let script = Script::fetches(6, move |offset| {
            if answered.swap(true, Ordering::SeqCst) {
                Answer::Records(batch(offset, 0, PLAIN, &[record(0, b"k", b"v", &[])]))
            } else {
                Answer::Silence
            }
        });
        let scripted = Scripted::start(script).await;
        let partition = partition_of(&scripted).await;
        let error = partition.fetch(5, 1 << 20, SHORT).await.unwrap_err();
        assert_told(&error, BrokerErrorKind::Transient, &["offset 5", "no answer within"]);
        assert_eq!(partition.fetch(5, 1 << 20, SHORT).await.unwrap().range.end, 6);
    }

    #[tokio::test]
    async fn is_cut_off_may_be_tried_again() {
        let error = fetch_error(Script::fetches(9, |_| Answer::CutOff), 5).await;
        assert_told(&error, BrokerErrorKind::Transient, &["topic `orders`, partition 0, offset 5"]);
    }

    #[tokio::test]
    async fn begins_after_compacted_offsets_brings_what_is_left() {
        // Offsets 0 to 3 and 7 are left.
        let script = Script::fetches(8, |offset| {
            let left = match offset {
                ..4 => batch(0, 4, PLAIN, &[0, 1, 2, 3].map(|delta| record(delta, b"k", b"v", &[]))),
                4 => batch(0, 4, PLAIN, &[]),
                _ => batch(5, 2, PLAIN, &[record(2, b"k", b"v", &[])]),
            };
            Answer::Records(left)
        });
        let scripted = Scripted::start(script).await;
        let partition = partition_of(&scripted).await;
        let batch = partition.fetch(5, 1 << 20, SHORT).await.unwrap();
        assert_eq!(batch.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [7]);
        assert_eq!((batch.range.start, batch.range.end), (5, 8));
        let below = partition.fetch(2, 1 << 20, SHORT).await.unwrap();
        assert_eq!(below.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(partition.record_at(5).await.unwrap(), None);
    }
}
