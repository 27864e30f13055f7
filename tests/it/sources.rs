//! Every simulated source, on its way to a topic and as a table.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use alluvium::{
    config,
    decode::Decoder,
    pipeline::{Flow, Flows},
    record::Record,
    simulate::{
        Source,
        feed::{self, Feed, Key, Sent},
    },
};
use tokio_util::sync::CancellationToken;

use crate::support::{program::run, stage::Stage};

const WAIT: Duration = Duration::from_millis(10);
/// In the afternoon of the day on which the streams begin.
const NOW_MS: i64 = 1_735_747_200_000;

fn feed_of(source: Source, count: u64, key: Key) -> Feed {
    Feed { topic: source.name().to_owned(), source, count, key, ..Feed::default() }
}

async fn sent(stage: &Stage, feed: &Feed) -> Vec<Record> {
    stage.broker.create_topic(&feed.topic, 1, 1).await.unwrap();
    let told = Arc::new(Sent::default());
    feed::run(feed, &stage.broker, &[0], &told, &CancellationToken::new()).await.unwrap();
    assert_eq!(told.records(), feed.count);
    let partition = stage.broker.partition(&feed.topic, 0).await.unwrap();
    let (mut records, end) = (Vec::new(), partition.latest().await.unwrap());
    while let next = i64::try_from(records.len()).unwrap()
        && next < end
    {
        records.extend(partition.fetch(next, 1 << 20, WAIT).await.unwrap().records);
    }
    records
}

#[tokio::test]
async fn a_topic_holds_each_stream_keyed_by_its_entity() {
    let stage = Stage::new(1).await;
    for source in Source::ALL {
        let records = sent(&stage, &feed_of(source, 100, Key::Entity)).await;
        let mut stream = source.stream(1, 0);
        for record in records {
            let mut value = Vec::new();
            let key = stream.json(&mut value, false);
            assert_eq!(record.key.as_deref(), value.get(key), "{}", source.name());
            assert_eq!(record.value, Some(value), "{}", source.name());
        }
        assert_eq!(stream.next_id(), 100);
    }
}

/// A broker takes a megabyte at once; these are more than fit, in one lane.
#[tokio::test]
async fn long_records_go_out_in_batches_that_a_broker_takes() {
    let stage = Stage::new(1).await;
    let records = sent(&stage, &feed_of(Source::Weblogs, 8_000, Key::None)).await;
    assert_eq!(records.len(), 8_000);
    assert!(records.iter().filter_map(|record| record.value.as_ref()).map(Vec::len).sum::<usize>() > 2_000_000);
}

#[test]
fn the_shipped_pipelines_read_every_record_of_their_source() {
    let pipelines = [
        (Source::Iris, "iris"),
        (Source::Transactions, "fraud"),
        (Source::Sensors, "sensors"),
        (Source::Posts, "sentiment"),
        (Source::Weblogs, "weblogs"),
    ];
    for (source, name) in pipelines {
        let path = format!("{}/pipelines/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let settings = config::parse(&fs::read_to_string(path).unwrap(), |_| None).unwrap();
        let wanted = Flow { topic: source.name().into(), dataset: name.into() };
        assert_eq!(settings.flows, Flows::One(wanted));
        for with_truth in [false, true] {
            let mut stream = source.stream(1, 0);
            let record = |_| {
                let mut value = Vec::new();
                stream.json(&mut value, with_truth);
                Record { timestamp_ms: NOW_MS, value: Some(value), ..Record::default() }
            };
            let records: Vec<_> = (0..500).map(record).collect();
            let decoded = Decoder::new(&settings.decode).decode(&records, NOW_MS).unwrap();
            assert!(decoded.rejects.is_empty(), "{name}: {:?}", decoded.rejects.first());
            let columns = &decoded.rows.columns;
            let record: serde_json::Value = serde_json::from_slice(records[0].value.as_ref().unwrap()).unwrap();
            for field in record.as_object().unwrap().keys() {
                let column = columns.column_by_name(field).unwrap_or_else(|| panic!("{name} does not keep `{field}`"));
                assert_eq!(column.null_count(), 0, "{name}: {field}");
            }
        }
    }
}

#[tokio::test]
async fn a_table_is_drawn_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for source in Source::ALL {
        let drawn = async |name: &str| {
            let path = folder.path().join(name);
            let out = ["--out", path.to_str().unwrap()];
            let ran =
                run(["draw", "--source", source.name(), "--rows", "50", "--seed", "2"].into_iter().chain(out)).await;
            assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
            fs::read(path).unwrap()
        };
        let csv = String::from_utf8(drawn("table.csv").await).unwrap();
        assert_eq!(csv.lines().count(), 51);
        assert!(csv.lines().next().unwrap().ends_with(&format!(",{}", source.truth())), "{csv}");
        assert!(drawn("table.parquet").await.starts_with(b"PAR1"));
        assert_same_records(source, &String::from_utf8(drawn("table.jsonl").await).unwrap());
    }
}

/// What is drawn is what is sent, with the truth.
fn assert_same_records(source: Source, jsonl: &str) {
    let mut stream = source.stream(2, 0);
    for line in jsonl.lines() {
        let mut value = Vec::new();
        stream.json(&mut value, true);
        let [drawn, sent] = [line.as_bytes(), &value]
            .map(|json| serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(json).unwrap());
        assert_eq!(drawn, sent);
    }
    assert_eq!(stream.next_id(), 50);
}

#[tokio::test]
async fn a_table_goes_to_stdout_and_a_name_without_a_format_is_refused() {
    let ran = run(["draw", "--source", "iris", "--rows", "2"]).await;
    let head = "id,sepal_length,sepal_width,petal_length,petal_width,species\n0,6.3,2.7,4.2,1.3,versicolor\n";
    ran.assert_told(0, &[head]);
    run(["draw", "--source", "iris", "--out", "table.txt"]).await.assert_refused(2, &["table.txt", ".parquet"]);
}
