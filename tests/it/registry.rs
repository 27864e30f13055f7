//! Records that name their schemas in a registry, from the topic to the lake: Avro and Protobuf, by other producers and
//! ours, over a registry in this process and over Apicurio.

use std::path::Path;

use alluvium::{
    config,
    lake::FileKind,
    pipeline::Settings,
    record::{Record, SchemaKind},
    registry::Reference,
};
use apache_avro::{Schema, types::Value};

use crate::support::{
    counted::Counted,
    lake::{numbers, places, rows, texts},
    parts,
    program::{run, written as written_file},
    proof::{OF_A_TABLE, Proof},
    registry::{Apicurio, Scripted},
    stage::{DATASET, Running, Stage, assert_clean, batch, objects, unique_topic, value},
    until,
};

const FLOWER: &str = r#"{"type":"record","name":"lab.Flower","fields":[{"name":"id","type":"long"},
    {"name":"sepal_length","type":"double"},{"name":"sepal_width","type":"double"},
    {"name":"petal_length","type":"double"},{"name":"petal_width","type":"double"}]}"#;
/// The same, as people changed it: another order, narrower types, one nullable, one new, one under another name.
const NEWER: &str = r#"{"type":"record","name":"lab.Flower","fields":[{"name":"petal_width","type":["null","double"]},
    {"name":"garden","type":{"type":"map","values":"string"}},{"name":"number","type":"int","aliases":["id"]},
    {"name":"sepal_length","type":"float"},{"name":"sepal_width","type":"double"},{"name":"petal_length","type":"double"}]}"#;
const FLOWER_PROTO: &str = "syntax = \"proto3\"; package lab; message Note {} message Flower { int64 id = 1; \
    double sepal_length = 2; double sepal_width = 3; double petal_length = 4; double petal_width = 5; }";

/// A pipeline over the stage's topic, with a registry.
fn settings(stage: &Stage, registry: &str, format: &str, more: &str) -> Settings {
    let (brokers, topic, lake) = (&stage.brokers, &stage.topic, stage.lake_folder("lake"));
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let fields: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n"))
        .concat();
    let text = format!(
        "[source]\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n[format]\n{format}\n[registry]\nurl = \"{registry}\"\n{more}\n\
         [[fields]]\nname = \"id\"\ntype = \"int64\"\n{fields}[model]\npath = \"{model}\"\n\
         [limits]\nfetch_wait = \"10ms\"\nretry_for = \"0s\"\n[lake]\nurl = \"{}\"\ndataset = \"{DATASET}\"\n\
         roll_age = \"200ms\"\n",
        lake.display()
    );
    config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

fn framed(id: u32, body: &[u8]) -> Record {
    value([&[0], id.to_be_bytes().as_slice(), body].concat())
}

fn flower(id: i64) -> Vec<(&'static str, Value)> {
    let petal = [(1.4, 0.2), (4.3, 1.3), (5.6, 2.0)][usize::try_from(id % 3).unwrap()];
    vec![
        ("id", Value::Long(id)),
        ("sepal_length", Value::Double(5.9)),
        ("sepal_width", Value::Double(3.0)),
        ("petal_length", Value::Double(petal.0)),
        ("petal_width", Value::Double(petal.1)),
    ]
}

fn newer_flower(id: i32) -> Vec<(&'static str, Value)> {
    vec![
        ("petal_width", Value::Union(1, Box::new(Value::Double(0.2)))),
        ("garden", Value::Map([("bed".to_owned(), Value::String("north".into()))].into())),
        ("number", Value::Int(id)),
        ("sepal_length", Value::Float(5.5)),
        ("sepal_width", Value::Double(3.0)),
        ("petal_length", Value::Double(1.4)),
    ]
}

fn written(schema: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    apache_avro::to_avro_datum(&Schema::parse_str(schema).unwrap(), Value::Record(fields)).unwrap()
}

async fn ids(settings: &Settings) -> Vec<i64> {
    let rows = rows(&objects(settings), FileKind::Scored, DATASET).await.expect("there are scored rows");
    let mut found: Vec<_> = places(&rows).into_iter().zip(numbers(&rows, "id")).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

async fn reasons(settings: &Settings) -> Vec<String> {
    let rows = rows(&objects(settings), FileKind::Rejected, DATASET).await.expect("there are rejects");
    texts(&rows, "reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_of_two_schemas_lands_and_what_no_schema_reads_is_a_reject() {
    let (stage, registry) = (Stage::new(2).await, Scripted::default());
    registry.hold(7, "AVRO", FLOWER);
    registry.hold(8, "AVRO", &NEWER.replace("\"number\"", "\"id\""));
    registry.hold(9, "AVRO", "{");
    registry.hold(10, "PROTOBUF", FLOWER_PROTO);
    let newer = NEWER.replace("\"number\"", "\"id\"");
    let as_id =
        |id| newer_flower(id).into_iter().map(|(name, value)| (if name == "number" { "id" } else { name }, value));
    for partition in 0..2 {
        let old = (0..50).map(|id| framed(7, &written(FLOWER, flower(id))));
        let new = (50..60).map(|id| framed(8, &written(&newer, as_id(id).collect())));
        stage.send(partition, old.chain(new).collect()).await;
    }
    let cut = written(FLOWER, flower(1));
    let bad = vec![
        framed(7, &cut[..9]),
        framed(99, &cut),
        framed(9, &cut),
        framed(10, &cut),
        value("{\"id\":1}"),
        framed(7, &[&cut[..], &[0]].concat()),
    ];
    stage.send(0, bad).await;
    let settings = settings(&stage, &registry.start().await, "type = \"avro\"", "");
    let counts = batch(settings.clone()).await.tally.counts;
    assert_eq!((counts.scored, counts.rejected), (120, 6));
    assert_eq!(ids(&settings).await, (0..60).chain(0..60).collect::<Vec<_>>());
    let wanted = ["not_avro", "unknown_schema", "unknown_schema", "unknown_schema", "not_avro", "not_avro"];
    assert_eq!(reasons(&settings).await, wanted);
    assert_eq!(registry.asked(), 5, "each id once, for two lanes");
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for_and_rejects_nothing() {
    let proof = Proof::of("the schema registry is out for a while", OF_A_TABLE);
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    registry.hold(7, "AVRO", FLOWER);
    stage.send(0, (0..50).map(|id| framed(7, &written(FLOWER, flower(id)))).collect()).await;
    let settings = settings(&stage, &registry.start().await, "type = \"avro\"", "");
    let running = Running::start(settings.clone()).await;
    until("the first schema has landed", async || running.committed() == 50).await;
    let counted = Counted::of("alluvium_registry_requests_total");
    registry.refuse_with(Some(503));
    registry.hold(8, "AVRO", FLOWER);
    let asked = registry.asked();
    stage.send(0, (50..60).map(|id| framed(7, &written(FLOWER, flower(id)))).collect()).await;
    stage.send(0, (60..90).map(|id| framed(8, &written(FLOWER, flower(id)))).collect()).await;
    until("the lane has given up on the registry at least once", async || registry.asked() > asked + 4).await;
    counted.assert_moved();
    registry.refuse_with(None);
    until("the rest has landed", async || running.committed() == 90).await;
    assert_eq!(running.stop().await.failures, Vec::<String>::new());
    assert_eq!(ids(&settings).await, (0..90).collect::<Vec<_>>());
    proof.shown(OF_A_TABLE);
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stop_the_lane_with_a_word_that_hides_them() {
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    registry.hold(7, "AVRO", FLOWER);
    registry.want("Basic bWU6cmlnaHQ=");
    let url = registry.start().await;
    stage.send(0, vec![framed(7, &written(FLOWER, flower(0)))]).await;
    let format = "type = \"avro\"";
    let wrong = settings(&stage, &url, format, "user = \"me\"\npassword = \"wrong\"");
    let summary = batch(wrong).await;
    let [failure] = summary.failures.as_slice() else { panic!("{:?}", summary.failures) };
    assert!(failure.contains("look at `user` and `password` under [registry]"), "{failure}");
    assert!(!failure.contains("wrong"), "{failure}");
    assert_eq!(summary.tally.counts.records, 0);
    let right = settings(&stage, &url, format, "user = \"me\"\npassword = \"right\"");
    batch(right.clone()).await;
    assert_eq!(ids(&right).await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_lands_by_the_message_that_a_record_names() {
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    registry.hold(7, "PROTOBUF", FLOWER_PROTO);
    let message = |id: u8| {
        let double = |field: u8, value: f64| [&[field << 3 | 1], value.to_le_bytes().as_slice()].concat();
        [vec![2, 2, 8, id], double(2, 5.9), double(3, 3.0), double(4, 1.4), double(5, 0.2)].concat()
    };
    stage.send(0, (0..50).map(|id| framed(7, &message(id))).collect()).await;
    stage.send(0, vec![framed(7, &message(1)[..9]), framed(6, &message(1)), framed(7, &[4, 9, 9])]).await;
    let format = "type = \"protobuf\"\nmessage = \"lab.Flower\"";
    let settings = settings(&stage, &registry.start().await, format, "");
    let counts = batch(settings.clone()).await.tally.counts;
    assert_eq!((counts.scored, counts.rejected), (50, 3));
    assert_eq!(ids(&settings).await, (0..50).collect::<Vec<_>>());
    assert_eq!(reasons(&settings).await, ["not_protobuf", "unknown_schema", "not_protobuf"]);
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debezium_s_envelope_in_avro_lands_the_row_after_and_filters_deletes() {
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    let envelope = format!(
        r#"{{"type":"record","name":"db.Envelope","fields":[{{"name":"before","type":["null",{FLOWER}]}},
        {{"name":"after","type":["null","lab.Flower"]}},{{"name":"op","type":"string"}},{{"name":"ts_ms","type":["null","long"]}}]}}"#
    );
    registry.hold(7, "AVRO", &envelope);
    let row = |id: Option<i64>| match id {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(id) => {
            let fields = flower(id).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Value::Union(1, Box::new(Value::Record(fields)))
        }
    };
    let change = |op: &str, before, after| {
        let time = Value::Union(1, Box::new(Value::Long(5)));
        let fields =
            vec![("before", row(before)), ("after", row(after)), ("op", Value::String(op.into())), ("ts_ms", time)];
        framed(7, &written(&envelope, fields))
    };
    let tombstone = Record { value: None, key: Some(b"2".to_vec()), ..value("") };
    let changes = vec![
        change("c", None, Some(1)),
        change("u", Some(1), Some(2)),
        change("d", Some(2), None),
        tombstone,
        change("u", Some(1), None),
    ];
    stage.send(0, changes).await;
    let settings = settings(&stage, &registry.start().await, "type = \"avro\"\nenvelope = \"debezium\"", "");
    let counts = batch(settings.clone()).await.tally.counts;
    assert_eq!((counts.scored, counts.filtered, counts.rejected), (2, 2, 1));
    assert_eq!(ids(&settings).await, [1, 2]);
    assert_eq!(reasons(&settings).await, ["not_debezium"]);
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_the_registry_too() {
    let (stage, registry) = (Stage::new(1).await, Scripted::default());
    let url = registry.start().await;
    let text = stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), &format!("[registry]\nurl = \"{url}\""));
    std::fs::create_dir(stage.lake_folder("lake")).unwrap();
    let path = written_file(&stage, &text);
    let sound = run(["check".as_ref(), path.as_os_str()]).await;
    sound.assert_told(0, &["ok    registry", &url]);
    registry.refuse_with(Some(401));
    let refused = run(["check".as_ref(), path.as_os_str()]).await;
    refused.assert_told(1, &["FAIL  registry", "look at `user` and `password` under [registry]"]);
}

fn file(stage: &Stage, name: &str, text: &str) -> String {
    let path = stage.folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn apicurio_s_schemas_are_read_with_their_references_and_as_they_evolve() {
    let Some(apicurio) = Apicurio::shared().await else { return };
    let mut stage = Stage::new(1).await;
    stage.topic = unique_topic();
    stage.broker.create_topic(&stage.topic, 1, 1).await.unwrap();
    let (client, subject) = (apicurio.client(), format!("{}-value", stage.topic));
    let old = client.register(&subject, SchemaKind::Avro, FLOWER, &[]).await.unwrap();
    assert_eq!(client.register(&subject, SchemaKind::Avro, FLOWER, &[]).await.unwrap(), old, "once is enough");
    let latest = client.latest(&subject).await.unwrap().unwrap();
    assert_eq!((latest.id, latest.version), (old, 1));

    // The flower in a garden of its own, which is another subject.
    let garden = r#"{"type":"record","name":"lab.Visit","fields":[{"name":"by","type":"string"},{"name":"flower","type":"lab.Flower"}]}"#;
    let reference = Reference { name: "lab.Flower".into(), subject: subject.clone(), version: 1 };
    let visit =
        client.register(&format!("{}-visit", stage.topic), SchemaKind::Avro, garden, &[reference]).await.unwrap();
    let whole = client.schema(visit).await.unwrap().unwrap();
    assert_eq!(whole.imports.iter().map(|import| &*import.name).collect::<Vec<_>>(), ["lab.Flower"]);

    let new = client.register(&subject, SchemaKind::Avro, NEWER, &[]).await.unwrap();
    assert!(new != old && client.latest(&subject).await.unwrap().unwrap().version == 2);
    stage.send(0, (0..20).map(|id| framed(old, &written(FLOWER, flower(id)))).collect()).await;
    stage.send(0, (20..30).map(|id| framed(new, &written(NEWER, newer_flower(id)))).collect()).await;
    // The reader knows a schema that is newer than one and wider than both, in which the number has another name.
    let reader = NEWER.replace("\"int\"", "\"long\"").replace("\"float\"", "\"double\"");
    let reader = file(&stage, "newer.avsc", &reader.replace("\"garden\",", "\"garden\",\"default\":{},"));
    let format = format!("type = \"avro\"\nreader_schema = \"{reader}\"");
    let mut evolved = settings(&stage, &apicurio.url(), &format, "");
    evolved.decode.fields.iter_mut().filter(|field| field.name == "id").for_each(|id| id.path = vec!["number".into()]);
    batch(evolved.clone()).await;
    assert_eq!(ids(&evolved).await, (0..30).collect::<Vec<_>>());
    assert_clean(&evolved).await;

    let inside = written(FLOWER, flower(5));
    stage.send(0, vec![framed(visit, &[&[4, b'm', b'e'], &inside[..]].concat()), framed(4_000_000, &inside)]).await;
    let mut nested = settings(&stage, &apicurio.url(), "type = \"avro\"", "");
    nested.lake.generation = 1;
    nested.decode.fields.iter_mut().for_each(|field| {
        field.path.insert(0, "flower".into());
        field.nullable = true;
    });
    let counts = batch(nested.clone()).await.tally.counts;
    assert_eq!((counts.scored, counts.rejected), (1, 31), "the visit alone has a flower within it");
}

/// Through a serializer that shares nothing with Alluvium.
const AVRO_BY_PYTHON: &str = r#"
import json, sys, warnings
warnings.simplefilter("ignore")
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
brokers, topic, registry, schema = sys.argv[1:]
serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), schema)
producer = Producer({"bootstrap.servers": brokers})
for n in range(300):
    flower = {"id": n, "sepal_length": 5.9, "sepal_width": 3.0, "petal_length": 1.4, "petal_width": 0.2}
    producer.produce(topic, serialize(flower, SerializationContext(topic, MessageField.VALUE)))
producer.flush()
"#;

const PROTOBUF_BY_PYTHON: &str = r#"
import sys, warnings
warnings.simplefilter("ignore")
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
brokers, topic, registry = sys.argv[1:4]
file = descriptor_pb2.FileDescriptorProto(name="lab.proto", package="lab", syntax="proto3")
file.message_type.add(name="Note")
flower = file.message_type.add(name="Flower")
flower.field.add(name="id", number=1, type=3, label=1)
for number, name in enumerate(["sepal_length", "sepal_width", "petal_length", "petal_width"], 2):
    flower.field.add(name=name, number=number, type=1, label=1)
pool = descriptor_pool.DescriptorPool()
pool.Add(file)
Flower = message_factory.GetMessageClass(pool.FindMessageTypeByName("lab.Flower"))
serialize = ProtobufSerializer(Flower, SchemaRegistryClient({"url": registry}), {"use.deprecated.format": False})
producer = Producer({"bootstrap.servers": brokers})
for n in range(300):
    flower = Flower(id=n, sepal_length=5.9, sepal_width=3.0, petal_length=1.4, petal_width=0.2)
    producer.produce(topic, serialize(flower, SerializationContext(topic, MessageField.VALUE)))
producer.flush()
"#;

async fn send_by(python: &Path, script: &str, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(python);
    let ran = command.args(["-c", script]).args(arguments).kill_on_drop(true).output();
    let ran = tokio::time::timeout(crate::support::LIMIT, ran).await.expect("it ends").unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

async fn by_python(script: &str, schema: &str, format: &str, modules: &str) {
    let Some(apicurio) = Apicurio::shared().await else { return };
    let Some(python) = parts::python_with(modules) else { return };
    let mut stage = Stage::new(1).await;
    stage.topic = unique_topic();
    stage.broker.create_topic(&stage.topic, 1, 1).await.unwrap();
    send_by(&python, script, &[&stage.brokers, &stage.topic, &apicurio.url(), schema]).await;
    let settings = settings(&stage, &apicurio.url(), format, "");
    let counts = batch(settings.clone()).await.tally.counts;
    assert_eq!((counts.scored, counts.rejected), (300, 0));
    assert_eq!(ids(&settings).await, (0..300).collect::<Vec<_>>());
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_confluent_s_own_avro_serializer_sends_lands() {
    by_python(AVRO_BY_PYTHON, FLOWER, "type = \"avro\"", "confluent_kafka.schema_registry.avro").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_confluent_s_own_protobuf_serializer_sends_lands() {
    by_python(PROTOBUF_BY_PYTHON, "", "type = \"protobuf\"", "confluent_kafka.schema_registry.protobuf").await;
}
