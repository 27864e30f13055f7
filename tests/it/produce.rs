//! `alluvium produce`, from its options to what a topic holds.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use alluvium::{
    broker::Partition,
    config,
    decode::{self, AvroEncoding, AvroSchema, AvroSettings, CsvSettings, DecodeSettings, Decoder, Envelope},
    record::{Reason, Record},
    simulate::{
        Disorder, Source,
        corruption::{Corruption, Spoiled},
        encoding::{Encoding, Format, describe},
        feed::{self, Feed, Key, Sent, Stamps},
    },
};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use object_store::{ObjectStoreExt as _, PutPayload, path::Path};
use tokio_util::sync::CancellationToken;

use crate::support::{
    program::{Ran, command, ended, run},
    s3::{BUCKET, S3Server},
    stage::Stage,
};

const WAIT: Duration = Duration::from_millis(10);
/// In the afternoon of the day on which the streams begin.
const NOW_MS: i64 = 1_735_747_200_000;
/// Room for what is too long on purpose.
const FETCH_BYTES: i32 = 4 << 20;

async fn read(partition: &Partition) -> Vec<Record> {
    let (mut records, end) = (Vec::new(), partition.latest().await.unwrap());
    while let next = i64::try_from(records.len()).unwrap()
        && next < end
    {
        records.extend(partition.fetch(next, FETCH_BYTES, WAIT).await.unwrap().records);
    }
    records
}

/// The records of each partition.
async fn topic(stage: &Stage, name: &str) -> Vec<Vec<Record>> {
    let mut all = Vec::new();
    for partition in stage.broker.partitions(name).await.unwrap() {
        all.push(read(&stage.broker.partition(name, partition).await.unwrap()).await);
    }
    all
}

async fn send(stage: &Stage, feed: &Feed, partitions: i32) {
    for name in [feed.topic.clone(), feed.truth_topic_name()] {
        stage.broker.create_topic(&name, partitions, 1).await.unwrap();
    }
    let partitions: Vec<i32> = (0..partitions).collect();
    let sent = Arc::new(Sent::default());
    feed::run(feed, &stage.broker, &partitions, &sent, &CancellationToken::new()).await.unwrap();
    assert_eq!(sent.records(), feed.count);
}

/// With all that could make a difference.
fn damaged(topic: &str) -> Feed {
    let share = |text: &str| text.parse().unwrap();
    Feed {
        topic: topic.to_owned(),
        source: Source::Transactions,
        count: 901,
        key: Key::Entity,
        disorder: Disorder { late: share("3%"), out_of_order: share("5%"), duplicates: share("4%") },
        corruption: "truncated=2%,wrong_type=2%,empty=2%".parse().unwrap(),
        stamps: Stamps::Stream,
        truth_topic: true,
        ..Feed::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_gives_the_same_bytes_in_the_same_order_whatever_the_rate() {
    let stage = Stage::new(1).await;
    let mut seen = Vec::new();
    for (name, rate) in
        [("full", None), ("even", Some("3000")), ("ramp", Some("500..5000/1s")), ("wave", Some("1000~9000/1s"))]
    {
        let feed = Feed { rate: rate.map(|rate| rate.parse().unwrap()), ..damaged(name) };
        send(&stage, &feed, 2).await;
        seen.push((topic(&stage, name).await, topic(&stage, &feed.truth_topic_name()).await));
    }
    assert_eq!(seen[0].0.iter().map(Vec::len).collect::<Vec<_>>(), [451, 450]);
    for (paced, name) in seen[1..].iter().zip(["even", "ramp", "wave"]) {
        assert!(paced.0 == seen[0].0, "the records at an {name} rate");
        assert!(paced.1 == seen[0].1, "their truth at an {name} rate");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_of_every_record_is_in_its_own_topic_under_the_same_key() {
    let stage = Stage::new(1).await;
    let arguments = ["--source", "transactions", "--count", "500", "--partitions", "2", "--key", "entity", "--truth"];
    let ran = produce(&stage, "payments", &arguments).await;
    ran.assert_told(0, &["sent 500 of 500 records", "their truth is in `payments.truth`"]);
    let (records, truths) = (topic(&stage, "payments").await, topic(&stage, "payments.truth").await);
    for (records, truths) in records.iter().zip(&truths) {
        assert_eq!((records.len(), truths.len()), (250, 250));
        for (record, truth) in records.iter().zip(truths) {
            assert!(record.key.is_some() && record.key == truth.key);
            let [record, truth] = [record, truth].map(json);
            assert!(record.get("verdict").is_none() && truth.get("verdict").is_some());
            for name in ["id", "time", "card"] {
                assert_eq!(record[name], truth[name]);
            }
        }
    }
}

fn json(record: &Record) -> serde_json::Value {
    serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()
}

/// What a broken record is rejected for; `unreadable` is the format's own reason.
fn reason(kind: Spoiled, unreadable: Reason) -> Reason {
    match kind {
        Spoiled::Truncated | Spoiled::NotJson => unreadable,
        Spoiled::WrongType => Reason::WrongType,
        Spoiled::MissingField => Reason::MissingField,
        Spoiled::Nan => Reason::NotANumber,
        Spoiled::Oversized => Reason::TooLarge,
        Spoiled::Empty => Reason::Empty,
    }
}

/// Each format of a source, how a pipeline reads it, and the reason for what can't be read at all.
fn formats(source: Source) -> [(Encoding, decode::Format, Reason); 3] {
    let described = |format| describe(format, source, false).records;
    let columns = described(Format::Csv).split(',').map(str::to_owned).collect();
    let csv = CsvSettings { columns: Some(columns), ..CsvSettings::default() };
    let schema = AvroSchema::parse([described(Format::Avro).as_str()]).unwrap();
    let avro =
        AvroSettings { encoding: AvroEncoding::SingleObject(vec![schema]), reader: None, envelope: Envelope::None };
    [
        (Encoding::json(false), decode::Format::default(), Reason::NotJson),
        (Encoding::csv(false), decode::Format::Csv(csv), Reason::NotCsv),
        (Encoding::avro(source, false).unwrap(), decode::Format::Avro(avro), Reason::NotAvro),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_record_is_rejected_for_the_reason_that_it_is_named_for() {
    let stage = Stage::new(1).await;
    for (source, pipeline) in pipelines() {
        for (encoding, format, unreadable) in formats(source) {
            let decoder = Decoder::new(&DecodeSettings { format, ..shipped(pipeline) });
            let mut tried = 0;
            for kind in Spoiled::ALL {
                let count = if kind == Spoiled::Oversized { 3 } else { 60 };
                let corruption: Corruption = format!("{}=100%", kind.name()).parse().unwrap();
                let name = format!("{pipeline}-{:?}-{}", encoding.format, kind.name());
                let encoding = encoding.clone();
                let feed = Feed { topic: name.clone(), source, count, corruption, encoding, ..Feed::default() };
                if feed.check().is_err() {
                    continue;
                }
                tried += 1;
                send(&stage, &feed, 1).await;
                let mut records = topic(&stage, &name).await.remove(0);
                for record in &mut records {
                    record.timestamp_ms = NOW_MS;
                }
                let outcome = decoder.decode(&records, NOW_MS).unwrap();
                assert_eq!(outcome.rejects.len() as u64, count, "{name}: all are rejects");
                for reject in outcome.rejects {
                    assert_eq!(reject.reason, reason(kind, unreadable), "{name}: {}", reject.detail);
                }
            }
            let possible = match (encoding.format, source) {
                (Format::Avro, Source::Posts) => 4,
                (Format::Csv, Source::Posts) | (Format::Avro, _) => 5,
                (Format::Json | Format::Csv, _) => 7,
            };
            assert_eq!(tried, possible, "{pipeline} {:?}", encoding.format);
        }
    }
}

fn shipped(pipeline: &str) -> DecodeSettings {
    let path = format!("{}/pipelines/{pipeline}.toml", env!("CARGO_MANIFEST_DIR"));
    config::parse(&fs::read_to_string(path).unwrap(), |_| None).unwrap().decode
}

fn pipelines() -> [(Source, &'static str); 5] {
    [
        (Source::Iris, "iris"),
        (Source::Transactions, "fraud"),
        (Source::Sensors, "sensors"),
        (Source::Posts, "sentiment"),
        (Source::Weblogs, "weblogs"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_at_a_rate_is_a_number_of_records_and_without_one_it_ends_by_itself() {
    let stage = Stage::new(1).await;
    let paced = ["--source", "iris", "--partitions", "3", "--rate", "1000..3000/1s", "--for", "1s"];
    produce(&stage, "paced", &paced).await.assert_told(0, &["sent 2,000 of 2,000 records", "to 3 partitions"]);
    let free = produce(&stage, "free", &["--source", "iris", "--partitions", "1", "--for", "1s"]).await;
    free.assert_told(0, &["sent ", " records ("]);
    assert!(!topic(&stage, "free").await[0].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_and_avro_come_as_they_are_described() {
    let stage = Stage::new(1).await;
    for format in ["csv", "avro"] {
        let arguments = ["--source", "sensors", "--count", "50", "--partitions", "1", "--format", format];
        produce(&stage, format, &arguments).await.assert_told(0, &["sent 50 of 50"]);
        let records = topic(&stage, format).await.remove(0);
        let encoding = match format {
            "csv" => Encoding::csv(false),
            _ => Encoding::avro(Source::Sensors, false).unwrap(),
        };
        let mut stream = Source::Sensors.stream(1, 0);
        for record in &records {
            let mut value = Vec::new();
            encoding.push(&mut stream, &mut value);
            assert_eq!(record.value, Some(value));
        }
    }
    let header = run(["produce", "--source", "sensors", "--format", "csv", "--show-schema", "--with-truth"]).await;
    header.assert_told(0, &["id,time,machine,temperature,vibration,", ",hours_since_repair,condition\n"]);
    let schema = run(["produce", "--source", "sensors", "--format", "avro", "--show-schema"]).await;
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!((schema["name"].as_str(), schema["fields"].as_array().unwrap().len()), (Some("sensors"), 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_there_is_held_against_what_is_asked_for() {
    let stage = Stage::new(1).await;
    stage.broker.create_topic("three", 3, 1).await.unwrap();
    let send = async |more: &[&str]| {
        let arguments: Vec<_> = ["--source", "iris", "--count", "9"].iter().chain(more).copied().collect();
        produce(&stage, "three", &arguments).await
    };
    send(&[]).await.assert_told(0, &["to 3 partitions"]);
    send(&["--partitions", "3", "--replication", "1"]).await.assert_told(0, &["to 3 partitions"]);
    send(&["--partitions", "4"]).await.assert_refused(2, &["--partitions 4", "with 3", "Leave the option out"]);
    send(&["--replication", "2"]).await.assert_refused(2, &["--replication 2", "kept by 1", "Leave the option out"]);
}

#[tokio::test]
async fn options_that_can_not_be_are_refused_with_their_remedy() {
    let refused = async |more: &[&str], told: &[&str]| {
        let source = ["produce", "--brokers", "127.0.0.1:1", "--topic", "t"];
        run(source.iter().chain(more)).await.assert_refused(2, told);
    };
    refused(&[], &["--source", "--file"]).await;
    refused(&["--source", "iris", "--file", "a.csv"], &["cannot be used with"]).await;
    refused(&["--source", "iris", "--rate", "fast"], &["1000..50000/10m"]).await;
    refused(&["--source", "iris", "--for", "10"], &["30s"]).await;
    refused(&["--source", "iris", "--for", "1s", "--count", "3"], &["cannot be used with"]).await;
    refused(&["--source", "iris", "--key", "card"], &["--key card", "none, id or entity"]).await;
    refused(&["--source", "iris", "--late", "2"], &["write `1%`"]).await;
    refused(&["--source", "iris", "--late", "60%", "--duplicates", "50%"], &["more than 100% together"]).await;
    refused(&["--source", "iris", "--corrupt", "broken=1%"], &["truncated, wrong_type"]).await;
    let avro = ["--source", "iris", "--corrupt", "wrong_type=1%", "--format", "avro"];
    refused(&avro, &["`wrong_type` can't be", "--format json"]).await;
    refused(&["--file", "no/such.csv"], &["no/such.csv: there is no such file"]).await;
    refused(&["--file", "models/iris/data/iris.csv", "--key", "card"], &["no such column", "species"]).await;
    refused(&["--file", "models/iris/data/iris.csv", "--late", "1%"], &["cannot be used with"]).await;
    refused(&["--file", "models/iris/data/iris.csv", "--for", "1s"], &["--count"]).await;
    refused(&["--source", "iris", "--loop"], &["--loop", "cannot be used with"]).await;
    refused(&["--source", "iris", "--pauses", "time"], &["--pauses", "cannot be used with"]).await;
}

const TRIPS: [(&str, i64, &str, f64); 4] = [
    ("2026-03-01T08:00:00Z", 1, "bus 7", 3.5),
    ("2026-03-01T08:00:10Z", 2, "tram 1", 1.25),
    ("2026-03-01T08:00:20Z", 3, "bus 7", 8.0),
    ("2026-03-01T08:00:30Z", 4, "tram 1", 2.0),
];

fn trips_csv() -> String {
    let row = |(at, id, vehicle, km): &(&str, i64, &str, f64)| format!("{at},{id},{vehicle},{km}\n");
    ["begun_at,id,vehicle,km\n".to_owned()].into_iter().chain(TRIPS.iter().map(row)).collect()
}

fn trips_jsonl() -> String {
    let row = |(at, id, vehicle, km): &(&str, i64, &str, f64)| {
        format!("{{\"begun_at\":\"{at}\", \"id\":{id},\"vehicle\":\"{vehicle}\",\"km\":{km:?}}}\n")
    };
    TRIPS.iter().map(row).collect()
}

fn trips_parquet() -> Vec<u8> {
    let time = |at: &str| chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp_millis();
    let columns: [(&str, ArrayRef); 3] = [
        ("begun_at", Arc::new(TimestampMillisecondArray::from_iter_values(TRIPS.iter().map(|row| time(row.0))))),
        ("id", Arc::new(Int64Array::from_iter_values(TRIPS.iter().map(|row| row.1)))),
        ("vehicle", Arc::new(StringArray::from_iter_values(TRIPS.iter().map(|row| row.2)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

async fn produce(stage: &Stage, topic: &str, arguments: &[&str]) -> Ran {
    let to = ["produce", "--brokers", &stage.brokers, "--topic", topic];
    run(to.iter().chain(arguments)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_every_kind_of_file_come_in_their_order() {
    let stage = Stage::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("trips.csv", trips_csv().into_bytes()),
        ("trips.jsonl", trips_jsonl().into_bytes()),
        ("trips.parquet", trips_parquet()),
    ];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let topic_name = name.replace('.', "-");
        let ran = produce(&stage, &topic_name, &["--file", path.to_str().unwrap(), "--partitions", "1"]).await;
        ran.assert_told(0, &["sent 4 records", "to 1 partitions"]);
        let records = topic(&stage, &topic_name).await.remove(0);
        for (record, (at, id, vehicle, km)) in records.iter().zip(TRIPS) {
            let trip = json(record);
            assert_eq!((trip["begun_at"].as_str(), trip["id"].as_i64()), (Some(at), Some(id)), "{name}");
            assert_eq!(trip["vehicle"], vehicle, "{name}");
            assert!(trip.get("km").is_none_or(|seen| seen == km), "{name}: {trip}");
        }
        assert_eq!(records.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_played_again_and_again_up_to_a_count_with_a_column_as_key() {
    let stage = Stage::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.csv"), trips_csv()).unwrap();
    fs::write(folder.path().join("2.csv"), trips_csv()).unwrap();
    let file = folder.path().to_str().unwrap();
    let looped = ["--file", file, "--partitions", "3", "--key", "vehicle", "--loop", "3", "--rate", "500"];
    produce(&stage, "thrice", &looped).await.assert_told(0, &["sent 24 records"]);
    let mut places = BTreeMap::new();
    for (partition, records) in topic(&stage, "thrice").await.into_iter().enumerate() {
        let ids: Vec<_> = records.iter().map(|record| json(record)["id"].as_i64().unwrap()).collect();
        for record in &records {
            let vehicle = json(record)["vehicle"].as_str().unwrap().to_owned();
            assert_eq!(record.key.as_deref(), Some(vehicle.as_bytes()));
            assert_eq!(*places.entry(vehicle).or_insert(partition), partition, "a key has one partition");
        }
        assert!(ids.len().is_multiple_of(12), "{ids:?}");
    }
    assert_eq!(places.len(), 2);
    let endless = ["--file", file, "--partitions", "1", "--loop", "--count", "21", "--format", "csv"];
    produce(&stage, "endless", &endless).await.assert_told(0, &["sent 21 records"]);
    let records = topic(&stage, "endless").await.remove(0);
    assert_eq!(records[8].value.as_deref(), Some(b"2026-03-01T08:00:00Z,1,bus 7,3.5".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pauses_of_a_column_are_kept_faster_if_asked() {
    let stage = Stage::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trips.parquet");
    fs::write(&path, trips_parquet()).unwrap();
    let paused = ["--file", path.to_str().unwrap(), "--partitions", "1", "--pauses", "begun_at", "--speed", "50"];
    let began_ms = chrono::Utc::now().timestamp_millis();
    produce(&stage, "paused", &paused).await.assert_told(0, &["sent 4 records"]);
    // Half a minute at fifty times the speed; a slow machine makes it longer, nothing makes it shorter.
    let last = topic(&stage, "paused").await.remove(0).pop().unwrap();
    assert!(last.timestamp_ms - began_ms >= 600, "{} ms", last.timestamp_ms - began_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_none_ends_it_with_its_file_and_line() {
    let stage = Stage::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trips.jsonl");
    fs::write(&path, trips_jsonl() + "{\"id\":").unwrap();
    let ran = produce(&stage, "broken", &["--file", path.to_str().unwrap(), "--partitions", "1"]).await;
    ran.assert_refused(1, &["trips.jsonl: line 5: it is not JSON"]);
    let path = folder.path().join("trips.csv");
    fs::write(&path, trips_csv().replace("2026-03-01T08:00:20Z", "later")).unwrap();
    let file = ["--file", path.to_str().unwrap(), "--partitions", "1", "--pauses", "begun_at"];
    produce(&stage, "timeless", &file).await.assert_refused(1, &["trips.csv: row 3: `begun_at` is no time"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_a_bucket_is_played_as_one_here() {
    let (stage, server) = (Stage::new(1).await, S3Server::start(true).await);
    let put = server.client().put(&Path::from("some/trips/1.jsonl"), PutPayload::from(trips_jsonl())).await;
    put.unwrap();
    let url = format!("s3://{BUCKET}/some/trips");
    let mut program = command(["produce", "--brokers", &stage.brokers, "--topic", "far", "--partitions", "1"]);
    program.args(["--file", &url, "--key", "id"]).envs(server.environment());
    ended(program.spawn().unwrap()).await.assert_told(0, &["sent 4 records"]);
    let keys: Vec<_> = topic(&stage, "far").await.remove(0).into_iter().map(|record| record.key.unwrap()).collect();
    assert_eq!(keys, [b"1", b"2", b"3", b"4"]);
}

/// A registry that numbers what it is given, from 7 on, and keeps it.
async fn registry() -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let known = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let known = Arc::clone(&known);
        move |subject: axum::extract::Path<String>, body: String| async move {
            let mut known = known.lock().unwrap();
            known.push((subject.0, body));
            format!("{{\"id\":{}}}", known.len() + 6)
        }
    };
    let router = axum::Router::new().route("/subjects/{subject}/versions", axum::routing::post(keep));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, known)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_gives_the_schemas_their_numbers() {
    let (stage, (url, known)) = (Stage::new(1).await, registry().await);
    let arguments = ["--source", "sensors", "--count", "20", "--partitions", "1", "--truth", "--format", "avro"];
    let ran = produce(&stage, "sensors", &[arguments.as_slice(), &["--registry", &url]].concat()).await;
    ran.assert_told(0, &["sent 20 of 20 records"]);
    for (name, id) in [("sensors", 7), ("sensors.truth", 8)] {
        let records = topic(&stage, name).await.remove(0);
        assert_eq!(records.len(), 20);
        assert!(records.iter().all(|record| record.value.as_ref().unwrap().starts_with(&[0, 0, 0, 0, id])), "{name}");
    }
    let known = std::mem::take(&mut *known.lock().unwrap());
    let described = describe(Format::Avro, Source::Sensors, false);
    for ((subject, body), (wanted, schema)) in
        known.iter().zip([("sensors-value", described.records), ("sensors.truth-value", described.labels)])
    {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((subject.as_str(), body["schema"].as_str()), (wanted, Some(schema.as_str())));
    }
    assert_eq!(known.len(), 2);
    let csv = ["--source", "sensors", "--format", "csv", "--registry", &url];
    produce(&stage, "sensors", &csv).await.assert_refused(2, &["--registry goes with --format avro"]);
}

#[test]
fn the_page_of_streams_has_every_field_and_every_way_to_break_a_record() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/streams.md")).unwrap();
    for source in Source::ALL {
        let section = page.split(&format!("\n### {}\n", source.name())).nth(1).expect("the source has a section");
        let section = section.split("\n##").next().unwrap();
        for field in describe(Format::Csv, source, true).records.split(',') {
            assert!(section.contains(&format!("`{field}`")), "{}: `{field}` is not in docs/streams.md", source.name());
        }
        assert!(section.contains(&format!("`{}` (truth)", source.truth())), "{}", source.name());
    }
    for kind in Spoiled::ALL {
        assert!(page.contains(&format!("\n| `{}` |", kind.name())), "`{}` has no row in docs/streams.md", kind.name());
    }
}
