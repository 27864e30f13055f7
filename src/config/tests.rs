//! A whole file in, settings or printed faults out.

use std::{path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    broker::{
        BrokerLimits, GroupProtocol, GroupSettings, Identity, Mechanism, Password, SaslSettings, SecuritySettings,
        SourceSettings, Start, TlsSettings, TokenCommand, TokenSource,
    },
    decode::{
        AvroEncoding, CsvSettings, DecodeSettings, Envelope, EventTime, EventWindow, Format, JsonSettings, Lines,
    },
    lake::{Compression, LakeSettings, PartitionBy, Roll},
    lane::{Limits, Percentage, RejectLimit},
    model::{Backend, ModelSettings},
    outlet::{
        Condition, Known, OutletSettings, PostgresSettings, RejectedSettings, ResultFormat, ResultsSettings, TableName,
        TopicName,
    },
    pipeline::{Flow, Flows, Naming, Sharing, TopicPattern},
    record::{Field, FieldKind, TimestampFormat},
    registry::{RegistrySettings, Secret},
    telemetry::http::{HttpSettings, Listen, Token, TokenFrom},
};

const SOURCE: &str = "[source]\nbrokers = \"localhost:9092\"\ntopic = \"iris\"\n";
const FIELD: &str = "[[fields]]\nname = \"id\"\ntype = \"int64\"\n";
const MODEL: &str = "[model]\npath = \"models/iris\"\n";
const LAKE: &str = "[lake]\nurl = \"sink/lake\"\ndataset = \"iris\"\n";

const FULL: &str = include_str!("testdata/full.toml");
/// What excludes a part of the other.
const GROUP: &str = include_str!("testdata/group.toml");
/// What is for another format.
const CSV: &str = include_str!("testdata/csv.toml");
const AVRO: &str = "[format]\ntype = \"avro\"\nencoding = \"plain\"\nschema = \"src/config/testdata/flower.avsc\"\n\
     reader_schema = [\"src/config/testdata/flower.avsc\"]\nenvelope = \"debezium\"\n";
const PROTOBUF: &str = "[format]\ntype = \"protobuf\"\nencoding = \"plain\"\ndescriptor = \"src/config/testdata/flower.proto\"\n\
     message = \"lab.Flower\"\n";
/// What logs in otherwise.
const SASL: [&str; 3] = [
    "mechanism = \"plain\"\nuser = \"bob\"\npassword_file = \"/run/secrets/bob\"\n",
    "mechanism = \"oauthbearer\"\ntoken_file = \"token\"\n",
    "mechanism = \"oauthbearer\"\ntoken_command = \"idp token --for kafka\"\n",
];
const IRIS: &str = include_str!("../../pipelines/iris.toml");

fn minimal() -> String {
    [SOURCE, FIELD, MODEL, LAKE].concat()
}

fn unset(_: &str) -> Option<String> {
    None
}

fn faults_with(text: &str, variables: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let faults = parse(text, variables).expect_err("the file is faulty");
    faults.iter().map(ToString::to_string).collect()
}

/// The faults of the minimal file with `part` in place of one of its tables; lines count from `part`.
fn faults_of(part: &str) -> Vec<String> {
    let stands = |table: &&str| !part.contains(table.lines().next().unwrap_or_default());
    let rest: String = [SOURCE, FIELD, MODEL, LAKE].iter().filter(|table| stands(table)).copied().collect();
    faults_with(&format!("{part}\n{rest}"), unset)
}

/// The faults of one line put into a table of the minimal file, without their place.
fn faults_of_line(table: &str, line: &str) -> Vec<String> {
    let part = [SOURCE, FIELD, MODEL, LAKE].into_iter().find(|part| part.starts_with(table)).unwrap_or(table);
    let key = line.split('=').next().unwrap_or_default();
    let kept: Vec<_> = part.lines().filter(|other| !other.starts_with(key)).chain([line]).collect();
    let faults = faults_of(&kept.join("\n"));
    let place = format!("{}:{}: ", kept.len(), key.len() + 3);
    faults.iter().map(|fault| fault.strip_prefix(&place).unwrap_or(fault).to_owned()).collect()
}

#[test]
fn a_minimal_file_gets_the_documented_defaults() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = Field { name: "id".into(), kind: FieldKind::Int64, nullable: true, path: vec!["id".into()] };
    let wanted = Settings {
        source: SourceSettings {
            brokers: vec!["localhost:9092".into()],
            security: SecuritySettings::default(),
            start: Start::Earliest,
        },
        flows: Flows::One(Flow { topic: "iris".into(), dataset: "iris".into() }),
        sharing: Sharing::All,
        broker: BrokerLimits {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            fetch_bytes_max: 4 << 20,
            fetch_wait_max: Duration::from_millis(500),
        },
        decode: DecodeSettings {
            format: Format::default(),
            fields: vec![field],
            event_time: EventTime::Broker,
            window: EventWindow { earliest_ms: 946_684_800_000, ahead_ms: 86_400_000 },
            record_bytes_max: 1 << 20,
        },
        registry: None,
        model: ModelSettings { url: "models/iris".into(), version: None, backend: Backend::NdArray },
        model_refresh: Duration::from_secs(30),
        lake: LakeSettings {
            url: "sink/lake".into(),
            generation: 0,
            partition_by: PartitionBy::Hour,
            compression: Compression::Zstd,
            roll: Roll { rows_max: 1_000_000, bytes_max: 128 << 20, age_max: Duration::from_secs(30) },
            segment_hours_max: 24,
        },
        limits: Limits {
            memory_bytes_max: 1 << 30,
            stop_timeout: Duration::from_secs(10),
            retry_for_max: Duration::from_mins(5),
            partitions_refresh: Duration::from_secs(30),
            cpu_threads: cores,
        },
        rejects: None,
        outlets: OutletSettings::default(),
        http: HttpSettings::default(),
    };
    assert_eq!(parse(&minimal(), unset), Ok(wanted));
}

#[test]
fn a_registry_is_told_in_full_and_its_password_is_never_shown() {
    let of = |lines: &str| faults_of(&format!("[registry]\n{lines}"));
    assert_eq!(of("user = \"me\""), ["1:1: missing key \"url\" in [registry]"]);
    assert_eq!(of("url = \"http://a\"\npassword = \"geheim\""), ["3:12: password needs user beside it"]);
    assert_eq!(
        of("url = \"http://a\"\nuser = \"me\"\npassword = 4711"),
        ["4:12: password takes a password, best as a variable: `${REGISTRY_PASSWORD}`"]
    );
    let faults = of("url = \"https://me:geheim@a:8081\"");
    assert_eq!(faults, ["2:7: url holds a user; write user and password as keys of their own"]);
    let faults = of("url = \"a:8081\"");
    assert_eq!(faults, ["2:7: url begins with neither http:// nor https://"]);
    let faults = of("url = \"http://a/?b\"");
    assert_eq!(faults, ["2:7: url is not one of a schema registry; such as https://registry.example.com:8081"]);
    let sound = format!("{}[registry]\nurl = \"http://a\"\nuser = \"me\"\npassword = \"geheim\"\n", minimal());
    assert!(!format!("{:?}", parse(&sound, unset).unwrap()).contains("geheim"));
}

#[test]
fn every_way_to_log_in_reaches_its_setting() {
    let words = ["idp", "token", "--for", "kafka"].map(str::to_owned).to_vec();
    let list = "mechanism = \"oauthbearer\"\ntoken_command = [\"idp\", \"token\", \"--for\", \"kafka\"]\n";
    let command = SaslSettings::Token(TokenSource::Command(TokenCommand::new(words)));
    let login = SaslSettings::Login {
        mechanism: Mechanism::Plain,
        user: "bob".into(),
        password: Password::File("/run/secrets/bob".into()),
    };
    let wanted = [login, SaslSettings::Token(TokenSource::File("token".into())), command.clone(), command];
    for (text, wanted) in SASL.into_iter().chain([list]).zip(wanted) {
        let read = parse(&format!("{}[source.sasl]\n{text}", minimal()), unset).unwrap().source.security;
        assert_eq!(read, SecuritySettings { tls: None, sasl: Some(wanted) });
    }
    // The table alone turns TLS on.
    let read = parse(&format!("{}[source.tls]\n", minimal()), unset).unwrap().source.security;
    assert_eq!(read, SecuritySettings { tls: Some(TlsSettings::default()), sasl: None });
}

#[test]
fn what_is_wrong_with_a_login_is_told_and_its_secrets_are_not() {
    let of = |table: &str, lines: &str| faults_of(&format!("[source.{table}]\n{lines}"));
    assert_eq!(of("tls", "cert = \"c\""), ["2:8: cert needs key beside it"]);
    assert_eq!(of("tls", "key = \"k\""), ["2:7: key needs cert beside it"]);
    assert_eq!(
        of("sasl", "user = \"me\""),
        ["1:1: missing key \"mechanism\" in [source.sasl]; it takes `plain`, `scram-sha-256`, `scram-sha-512` or \
             `oauthbearer`"]
    );
    let plain = |lines: &str| of("sasl", &format!("mechanism = \"plain\"\n{lines}"));
    assert_eq!(plain("password = \"geheim\""), ["2:13: this mechanism needs user beside it"]);
    assert_eq!(plain("user = \"me\""), ["3:8: user needs password or password_file beside it"]);
    assert_eq!(
        plain("user = \"me\"\npassword = \"geheim\"\npassword_file = \"f\""),
        ["5:17: password and password_file exclude each other; keep one of them"]
    );
    assert_eq!(
        plain("user = \"me\"\npassword = 4711"),
        ["4:12: password takes a password, best as a variable: `${BROKER_PASSWORD}`"]
    );
    assert_eq!(
        plain("user = \"me\"\npassword = \"x\"\ntoken_file = \"f\""),
        ["5:14: token_file is for mechanism = \"oauthbearer\""]
    );
    let bearer = |lines: &str| of("sasl", &format!("mechanism = \"oauthbearer\"\n{lines}"));
    assert_eq!(bearer(""), ["2:13: oauthbearer needs token_file or token_command beside it"]);
    assert_eq!(
        bearer("token_file = \"f\"\ntoken_command = \"idp geheim\""),
        ["4:17: token_file and token_command exclude each other; keep one of them"]
    );
    assert_eq!(
        bearer("user = \"me\"\ntoken_file = \"f\""),
        ["3:8: user is for all mechanisms but \"oauthbearer\", whose token says who we are"]
    );
    assert_eq!(
        bearer("token_command = [\"idp\", 4711]"),
        ["3:25: token_command takes a program and its arguments with spaces between them, or a list of them"]
    );
    assert_eq!(faults_of("[sasl]\nuser = \"me\""), ["1:2: unknown table \"sasl\"; did you mean [source.sasl]?"]);
}

fn field(name: &str, kind: FieldKind, nullable: bool, path: &[&str]) -> Field {
    Field { name: name.into(), kind, nullable, path: path.iter().map(ToString::to_string).collect() }
}

/// What the full file says of outlets.
fn full_outlets() -> OutletSettings {
    let seconds = Duration::from_secs;
    let label = [field("label", FieldKind::String, true, &[])];
    let condition = Condition::parse("label = 'x' or confidence > 0.5", Known { fields: &label }).unwrap();
    OutletSettings {
        results: Some(ResultsSettings {
            topic: TopicName::new("alerts"),
            format: ResultFormat::Avro,
            condition: Some(condition),
        }),
        rejected: Some(RejectedSettings { topic: TopicName::new("{topic}.rejected") }),
        postgres: Some(PostgresSettings {
            url: Secret::new("postgres://u:p@h/d"),
            table: TableName::new("s.{dataset}").unwrap(),
            ca: Some("ca.pem".into()),
            connect_timeout: seconds(1),
            answer_timeout: seconds(2),
        }),
    }
}

#[test]
fn every_key_reaches_its_setting() {
    for key in KEYS {
        let written = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| name == key.name);
        assert!(
            [FULL, GROUP, CSV, AVRO, PROTOBUF]
                .iter()
                .chain(&SASL)
                .flat_map(|text| text.lines())
                .any(|line| written(&line)),
            "{} is missing",
            key.name
        );
    }
    let seconds = Duration::from_secs;
    let wanted = Settings {
        source: SourceSettings {
            brokers: vec!["one:9092".into(), "[::1]:9093".into()],
            security: SecuritySettings {
                tls: Some(TlsSettings {
                    ca: Some("ca.pem".into()),
                    identity: Some(Identity { cert: "ours.pem".into(), key: "ours.key".into() }),
                }),
                sasl: Some(SaslSettings::Login {
                    mechanism: Mechanism::ScramSha512,
                    user: "alice".into(),
                    password: Password::Given(Secret::new("geheim")),
                }),
            },
            start: Start::Timestamp(1_793_491_200_000),
        },
        flows: Flows::One(Flow { topic: "t.1".into(), dataset: "other".into() }),
        sharing: Sharing::Worker { index: 2, of: 5 },
        broker: BrokerLimits {
            connect_timeout: seconds(1),
            request_timeout: seconds(2),
            fetch_bytes_max: 65_536,
            fetch_wait_max: Duration::from_millis(10),
        },
        decode: DecodeSettings {
            format: Format::Json(JsonSettings { lines: None, envelope: Envelope::Debezium }),
            fields: vec![
                field("id", FieldKind::Int64, false, &["payload", "after", "id"]),
                field("label", FieldKind::String, true, &["a.b", "c"]),
                field("at", FieldKind::Timestamp(TimestampFormat::Milliseconds), true, &["at"]),
            ],
            event_time: EventTime::Field(2),
            window: EventWindow { earliest_ms: 0, ahead_ms: 3_600_000 },
            record_bytes_max: 2048,
        },
        registry: Some(RegistrySettings {
            urls: vec!["https://one:8081/apis/ccompat/v7".into(), "https://two:8081".into()],
            user: Some("reader".into()),
            password: Some(Secret::new("secret")),
            ca: Some("ca.pem".into()),
            timeout: seconds(7),
            schemas_max: 12,
        }),
        model: ModelSettings { url: "models/other".into(), version: Some(3), backend: Backend::Flex },
        model_refresh: seconds(6),
        lake: LakeSettings {
            url: "s3://bucket/prefix".into(),
            generation: 7,
            partition_by: PartitionBy::Day,
            compression: Compression::Snappy,
            roll: Roll { rows_max: 10, bytes_max: 1_000_000, age_max: seconds(60) },
            segment_hours_max: 48,
        },
        limits: Limits {
            memory_bytes_max: 16 << 20,
            stop_timeout: seconds(3),
            retry_for_max: seconds(0),
            partitions_refresh: seconds(5),
            cpu_threads: 4,
        },
        rejects: Some(RejectLimit { above: Percentage(1_250), window: seconds(120), records_min: 500 }),
        outlets: full_outlets(),
        http: HttpSettings {
            listen: Listen::At(([127, 0, 0, 1], 9200).into()),
            token: Some(TokenFrom::File("token".into())),
            tls: Some(Identity { cert: "page.pem".into(), key: "page.key".into() }),
        },
    };
    assert_eq!(parse(FULL, unset), Ok(wanted));
}

#[test]
fn every_key_of_a_group_and_of_many_topics_reaches_its_setting() {
    let settings = parse(GROUP, |name| (name == "ORDINAL").then(|| "3".to_owned())).unwrap();
    let topics = ["iris", "payments.*"].map(TopicPattern::new).into();
    assert_eq!(settings.flows, Flows::Many { topics, datasets: Naming::new("raw-{topic}").unwrap() });
    let wanted = GroupSettings {
        name: "iris-lake".into(),
        instance: Some("worker-3".into()),
        protocol: GroupProtocol::Consumer,
        session_timeout: Duration::from_secs(30),
        heartbeat_every: Duration::from_secs(2),
        handover_max: Duration::from_mins(1),
    };
    assert_eq!(settings.sharing, Sharing::Group(wanted));
    let token = Token::new("sixteen-or-more-characters").map(TokenFrom::Text);
    assert_eq!(settings.http, HttpSettings { listen: Listen::Off, token, tls: None });
}

#[test]
fn a_group_has_documented_defaults_and_each_topic_its_own_dataset() {
    let text = minimal().replace("topic = \"iris\"", "topics = \"a, b.*\"\ngroup = \"g\"");
    let settings = parse(&text.replace("dataset = \"iris\"\n", ""), unset).unwrap();
    let Sharing::Group(group) = settings.sharing else { panic!("{:?}", settings.sharing) };
    assert_eq!((group.name.as_str(), group.instance, group.protocol), ("g", None, GroupProtocol::Classic));
    let seconds = [group.session_timeout, group.heartbeat_every, group.handover_max].map(|time| time.as_secs());
    assert_eq!(seconds, [10, 1, 30]);
    assert_eq!(settings.flows.of_topic("b.1").map(|flow| flow.dataset.to_string()).as_deref(), Some("b.1"));
}

#[test]
fn topic_and_topics_and_their_datasets_go_together_or_not() {
    let faults = |source: &str, lake: &str| {
        let text = minimal().replace("topic = \"iris\"", source).replace("dataset = \"iris\"", lake);
        faults_with(&text, unset)
    };
    let own = "dataset = \"raw-{topic}\"";
    assert_eq!(
        faults("topic = \"iris\"\ntopics = [\"a\"]", "dataset = \"iris\""),
        ["4:10: topic and topics exclude each other; keep one of them"]
    );
    assert_eq!(
        faults("", "dataset = \"iris\""),
        ["1:1: missing key \"topic\" in [source]; it takes a topic name, or write topics in its place"]
    );
    assert_eq!(
        faults("topic = \"iris\"", ""),
        [
            "9:1: missing key \"dataset\" in [lake]; it takes a name of 1 to 100 letters, digits, `.`, `_` and `-` that starts \
          with none of `.` and `_`, or write topics in its place"
        ]
    );
    assert_eq!(
        faults("topics = [\"a\", \"b\"]", "dataset = \"iris\""),
        ["11:11: dataset must hold {topic} once where there are topics, not \"iris\"; such as \"iris-{topic}\""]
    );
    assert!(faults("topic = \"iris\"", own)[0].starts_with("11:11: dataset takes a name of 1 to 100 letters"));
    assert_eq!(faults("topics = [\"a\", \"b*\", \"a\"]", own), ["3:10: topics has \"a\" twice"]);
    assert_eq!(
        faults("topics = [\"a\", \"b c*\"]", own),
        ["3:16: topics takes a list of topic names; `*` in them stands for any characters, not \"b c*\""]
    );
    assert_eq!(faults("topics = []", own), ["3:10: topics is an empty list"]);
    assert!(
        faults("topics = [\"_odd\"]", "")[0]
            .starts_with("9:1: topic \"_odd\" can't land in \"_odd\"; dataset takes a name")
    );
}

#[test]
fn what_a_group_needs_is_not_taken_without_one_nor_a_fixed_share_with_one() {
    assert_faults(&[
        ("[source]", "worker = \"0/5\"", "worker takes `i/n` with `i` from 1 to `n`, such as `2/5`, not \"0/5\""),
        ("[source]", "worker = \"6/5\"", "worker takes `i/n` with `i` from 1 to `n`, such as `2/5`, not \"6/5\""),
        ("[source]", "group = \" x\"", "group takes a group name of 1 to 249 characters, not \" x\""),
        (
            "[source]",
            "session_timeout = \"20s\"",
            "session_timeout is for the members of a group; name it with group, or leave this out",
        ),
    ]);
    let both = faults_of(&format!("{SOURCE}group = \"g\"\nworker = \"1/2\""));
    assert_eq!(both, ["5:10: worker and group exclude each other; the group hands the shares out"]);
    let newest = faults_of(&format!("{SOURCE}group = \"g\"\ngroup_protocol = \"newest\""));
    assert_eq!(newest, ["5:18: group_protocol takes `classic` or `consumer`, not \"newest\""]);
    let rare = faults_of(&format!("{SOURCE}group = \"g\"\nheartbeat = \"5s\""));
    assert_eq!(rare, ["5:13: heartbeat must be a third of session_timeout at most"]);
}

#[test]
fn the_shipped_pipeline_is_right() {
    let settings = parse(IRIS, unset).unwrap();
    assert_eq!(settings.source.brokers, ["127.0.0.1:9092"]);
    assert_eq!(settings.decode.fields.len(), 6);
    let elsewhere = parse(IRIS, |name| (name == "ALLUVIUM_BROKERS").then(|| "a:1,b:2".to_owned())).unwrap();
    assert_eq!(elsewhere.source.brokers, ["a:1", "b:2"]);
}

#[test]
fn ten_faults_are_told_at_once_in_their_order() {
    let text = include_str!("testdata/ten_faults.toml");
    let path = PathBuf::from("pipelines/iris.toml");
    let faults = parse(text, unset).expect_err("ten faults");
    let wanted = include_str!("testdata/ten_faults.txt");
    assert_eq!(format!("{}\n", ConfigError::Faulty { path, faults }), wanted);
}

#[test]
fn what_is_not_toml_is_one_fault_at_its_place() {
    assert_eq!(faults_of("[source]\ntopic = = 3"), ["2:9: not TOML: extra `=`, expected nothing"]);
    assert_eq!(faults_of("a = 1\na = 2"), ["2:1: not TOML: duplicate key"]);
}

#[test]
fn an_empty_file_lacks_its_tables() {
    let wanted = [
        "1:1: missing table [source]; it needs brokers and topic",
        "1:1: missing table [[fields]]; it needs name and type",
        "1:1: missing table [model]; it needs path",
        "1:1: missing table [lake]; it needs url and dataset",
    ];
    assert_eq!(faults_with("", unset), wanted);
}

#[test]
fn unknown_keys_and_tables_are_told_with_what_may_be_meant() {
    assert_eq!(
        faults_of("[source]\nbrokers = \"a:1\"\n  topik = \"x\""),
        [r#"3:3: unknown key "topik" in [source]; did you mean "topic"?"#]
    );
    assert_eq!(
        faults_of_line("[source]", "memory = 1"),
        [r#"4:1: unknown key "memory" in [source]; it belongs in [limits]"#]
    );
    assert_eq!(faults_of_line("[lake]", "xyz = 1"), [r#"4:1: unknown key "xyz" in [lake]"#]);
    assert_eq!(faults_of("[source.kerberos]\nca = 1"), [r#"1:9: unknown table "kerberos" in [source]"#]);
    assert_eq!(faults_of("[lke]"), [r#"1:2: unknown table "lke"; did you mean [lake]?"#]);
    assert_eq!(faults_of("topic = \"x\""), [r#"1:1: unknown key "topic" outside any table; it belongs in [source]"#]);
}

#[test]
fn the_table_of_the_page_stands_where_metrics_stood() {
    assert_eq!(
        faults_of("[metrics]\nlisten = \"127.0.0.1:9184\""),
        [r#"1:2: unknown table "metrics"; write [http] in its place: its listen serves the page too"#]
    );
    let faults = faults_of("[http]\nlisten = \"localhost:9184\"");
    assert!(faults.concat().contains(r#"did you mean "127.0.0.1:9184"?"#), "{faults:?}");
}

#[test]
fn a_token_of_the_page_is_refused_without_being_shown() {
    let long = "x".repeat(2000);
    for bad in ["secret", "secret with spaces in it", &long] {
        let faults = faults_of(&format!("[http]\ntoken = \"{bad}\""));
        assert!(faults.len() == 1 && faults[0].contains("token takes 16 to 1024 letters"), "{faults:?}");
        assert!(!faults[0].contains(bad), "{faults:?}");
    }
    let sound = "token = \"sixteen-or-more-characters\"";
    assert_eq!(
        faults_of(&format!("[http]\n{sound}\ntoken_file = \"f\"")),
        ["3:14: token and token_file can't both be there"]
    );
    assert_eq!(
        faults_of("[http]\nlisten = \"x\"\ntoken = \"short\"\ntls_cert = \"f\"").len(),
        3,
        "all of them at once"
    );
    assert_eq!(faults_of("[http]\ntls_cert = \"f\""), ["2:12: tls_cert needs tls_key beside it"]);
    assert_eq!(faults_of("[http]\ntls_key = \"f\""), ["2:11: tls_key needs tls_cert beside it"]);
}

#[test]
fn a_missing_key_is_told_at_its_tables_header() {
    assert_eq!(
        faults_of("\n  [source]\ntopic = \"x\""),
        ["2:3: missing key \"brokers\" in [source]; it takes `host:port`, or a list of them"]
    );
}

#[test]
fn tables_are_tables() {
    assert_eq!(faults_of("model = 3 # [model]"), ["1:9: model is one table; write [model]"]);
    assert_eq!(faults_of("[[model]]"), ["1:1: model is one table; write [model]"]);
    assert_eq!(
        faults_of("[fields] # [[fields]]\nname = \"id\""),
        ["1:1: fields is a list of tables; write [[fields]]"]
    );
    assert_eq!(faults_of("fields = [] # [[fields]]"), ["1:10: [[fields]] needs at least one table"]);
}

/// One fault each: the table, the line put into it, the message.
fn assert_faults(cases: &[(&str, &str, &str)]) {
    for (table, line, wanted) in cases {
        assert_eq!(faults_of_line(table, line), [*wanted], "{line}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_told_with_the_right_one() {
    assert_faults(&[
        ("[source]", "topic = 3", "topic takes a topic name, not 3"),
        ("[source]", "topic = []", "topic takes a topic name, not a list"),
        ("[source]", "topic = \"a b\"", "topic takes a topic name, not \"a b\""),
        ("[source]", "brokers = []", "brokers is an empty list"),
        ("[source]", "brokers = 9092", "brokers takes `host:port`, or a list of them, not 9092"),
        ("[[fields]]", "nullable = \"yes\"", "nullable takes `true` or `false`, not \"yes\""),
        ("[lake]", "generation = 1.5", "generation takes a whole number from 0 to 2147483647, not 1.5"),
        ("[lake]", "generation = \"1\"", "generation takes a whole number from 0 to 2147483647, not \"1\""),
        ("[model]", "version = 0", "version takes a version number from 1, or `champion`, not 0"),
        (
            "[event_time]",
            "earliest = 2000-01-01",
            "earliest takes a time such as `2026-11-01T00:00:00Z`, not 2000-01-01",
        ),
    ]);
}

#[test]
fn a_value_out_of_range_is_told_with_the_range() {
    assert_faults(&[
        ("[limits]", "memory = 1024", "memory takes a size from 16MiB to 1024GiB, not 1024"),
        ("[limits]", "fetch_bytes = \"65MiB\"", "fetch_bytes takes a size from 16KiB to 64MiB, not \"65MiB\""),
        ("[limits]", "segment_hours = 0x3e9", "segment_hours takes a whole number from 1 to 1000, not 1001"),
        ("[limits]", "segment_hours = -1", "segment_hours takes a whole number from 1 to 1000, not -1"),
        ("[limits]", "stop_timeout = \"0s\"", "stop_timeout takes a duration from 100ms to 1h, not \"0s\""),
        ("[lake]", "roll_bytes = \"5GiB\"", "roll_bytes takes a size from 64KiB to 4GiB, not \"5GiB\""),
        (
            "[lake]",
            "roll_bytes = \"99999999999999999999B\"",
            "roll_bytes takes a size from 64KiB to 4GiB, not \"99999999999999999999B\"",
        ),
    ]);
}

#[test]
fn a_bad_unit_is_told_with_the_right_ones() {
    let sizes = "the units are GiB, MiB, KiB, GB, MB, KB, B";
    assert_faults(&[
        (
            "[limits]",
            "memory = \"1gib\"",
            "memory takes a size from 16MiB to 1024GiB, not \"1gib\"; did you mean \"1GiB\"?",
        ),
        ("[limits]", "memory = \"1 x\"", &format!("memory takes a size from 16MiB to 1024GiB, not \"1 x\"; {sizes}")),
        (
            "[lake]",
            "roll_age = 30",
            "roll_age takes a duration from 100ms to 1h, not 30; with its unit it is \"30s\" or \"30ms\"",
        ),
        (
            "[lake]",
            "roll_age = \"3 weeks\"",
            "roll_age takes a duration from 100ms to 1h, not \"3 weeks\"; the units are d, h, m, s, ms",
        ),
    ]);
}

#[test]
fn a_word_that_is_no_choice_is_told_with_the_choices() {
    assert_faults(&[
        ("[format]", "type = \"xml\"", "type takes `json`, `csv`, `avro`, `protobuf` or `raw`, not \"xml\""),
        (
            "[source]",
            "start = \"late\"",
            "start takes `earliest`, `latest` or a time such as `2026-11-01T00:00:00Z`, not \"late\"; \
             did you mean \"latest\"?",
        ),
        ("[model]", "backend = \"torch\"", "backend takes `ndarray` or `flex`, not \"torch\""),
        (
            "[lake]",
            "partition_by = \"Day\"",
            "partition_by takes `hour`, `day` or `none`, not \"Day\"; did you mean \"day\"?",
        ),
        ("[lake]", "compression = \"gzip\"", "compression takes `zstd`, `snappy` or `none`, not \"gzip\""),
        (
            "[lake]",
            "url = \"gs://bucket\"",
            "url takes a path, `file:///path` or `s3://bucket/prefix`, not \"gs://bucket\"",
        ),
        ("[lake]", "url = \"s3://\"", "url takes a path, `file:///path` or `s3://bucket/prefix`, not \"s3://\""),
        (
            "[http]",
            "listen = \":9184\"",
            "listen takes an address such as `127.0.0.1:9184`, or `off`, not \":9184\"; did you mean \"127.0.0.1:9184\"?",
        ),
    ]);
}

#[test]
fn the_format_moved_to_a_table_of_its_own() {
    let told = faults_of_line("[source]", "format = \"json\"");
    assert_eq!(told, ["4:1: unknown key \"format\" in [source]; write it as type under [format]"]);
}

#[test]
fn the_keys_of_csv_reach_its_settings() {
    let columns = Some(["id", "unit", "at"].map(str::to_owned).to_vec());
    let nulls = vec![String::new(), "NULL".to_owned()];
    let wanted = CsvSettings { lines: Some(Lines { hours_max: 24 }), columns, delimiter: b';', nulls };
    assert_eq!(parse(CSV, unset).unwrap().decode.format, Format::Csv(wanted));
    let plain = [SOURCE, "[format]\ntype = \"csv\"\n", FIELD, MODEL, LAKE].concat();
    assert_eq!(parse(&plain, unset).unwrap().decode.format, Format::Csv(CsvSettings::default()));
    let tab = plain.replace("\"csv\"\n", "\"csv\"\ndelimiter = \"\\t\"\nnulls = \"NA\"\n");
    let wanted = CsvSettings { delimiter: b'\t', nulls: vec!["NA".into()], ..CsvSettings::default() };
    assert_eq!(parse(&tab, unset).unwrap().decode.format, Format::Csv(wanted));
}

#[test]
fn a_format_s_keys_and_its_fields_must_agree() {
    let delimiter = "delimiter takes one ASCII character, such as `;` or a tab, not";
    let path = FIELD.replace("type", "path = \"a\"\ntype");
    let cases: [(&str, &str, &[&str]); 12] = [
        ("json", "delimiter = \";\"", &["3:13: delimiter is for csv; set type, or leave this out"]),
        ("raw", "lines = true", &["3:9: lines is for json and csv; set type, or leave this out"]),
        (
            "csv",
            "envelope = \"debezium\"",
            &["3:12: envelope is for json and avro and protobuf; set type, or leave this out"],
        ),
        ("csv", "delimiter = \"||\"", &[&format!("3:13: {delimiter} \"||\"")]),
        ("csv", "delimiter = \"a\"", &[&format!("3:13: {delimiter} \"a\"")]),
        ("csv", "delimiter = \" \"", &[&format!("3:13: {delimiter} \" \"")]),
        ("csv", "delimiter = \"é\"", &[&format!("3:13: {delimiter} \"é\"")]),
        ("csv", "nulls = []", &["3:9: nulls is an empty list"]),
        ("csv", "columns = \"a, b, a\"", &["3:11: columns has \"a\" twice"]),
        ("csv", "columns = \"a, b\"", &["3:11: columns has no \"id\", which field \"id\" is read from"]),
        (
            "json",
            "lines = true\nenvelope = \"debezium\"",
            &["3:9: lines and envelope exclude each other; an envelope holds one change"],
        ),
        ("json", "lines = 1", &["3:9: lines takes `true` or `false`, not 1"]),
    ];
    for (format, line, expected) in cases {
        assert_eq!(
            faults_of(&format!(
                "[format]\ntype = \"{format}\"\n{line}\n{}",
                if format == "raw" { FIELD.replace("int64", "string") } else { FIELD.to_owned() }
            )),
            expected,
            "{line}"
        );
    }
    let unnamed = "2:8: field \"id\" has a path, and csv has no names; name them all, in order, with columns";
    assert_eq!(faults_of(&format!("[format]\ntype = \"csv\"\n{path}")), [unnamed]);
}

#[test]
fn formats_by_schema_are_read_with_their_files() {
    let decode = |format: &str| parse(&[SOURCE, FIELD, MODEL, LAKE, format].concat(), unset).unwrap().decode.format;
    let Format::Avro(avro) = decode(AVRO) else { panic!("it is Avro") };
    assert!(matches!(avro.encoding, AvroEncoding::Plain(_)) && avro.reader.is_some());
    assert_eq!(avro.envelope, Envelope::Debezium);
    let Format::Protobuf(protobuf) = decode(PROTOBUF) else { panic!("it is Protobuf") };
    assert!(!protobuf.framed && protobuf.schema.is_some());
    let registry = "[registry]\nurl = \"http://a\"\n[format]\ntype = \"protobuf\"\n";
    let Format::Protobuf(protobuf) = decode(registry) else { panic!("it is Protobuf") };
    assert!(protobuf.framed && protobuf.schema.is_none());
}

#[test]
fn keys_of_formats_by_schema_must_agree() {
    let file = "\"src/config/testdata/flower.avsc\"";
    let proto = "\"src/config/testdata/flower.proto\"";
    let no_registry = |file: &str| {
        format!(
            "2:8: where the schemas are is not told; write [registry] with its url, or {file} with a file and \
             encoding = \"plain\""
        )
    };
    for (format, lines, told) in [
        ("avro", "", no_registry("schema")),
        ("protobuf", "", no_registry("descriptor")),
        ("json", "encoding = \"plain\"", "3:12: encoding is for avro and protobuf; set type, or leave this out".into()),
        (
            "protobuf",
            &format!("encoding = \"single-object\"\nmessage = \"M\"\ndescriptor = {proto}"),
            "3:12: single-object is for avro only".into(),
        ),
        ("avro", "encoding = \"plain\"", "3:12: this encoding needs schema beside it".into()),
        ("protobuf", "encoding = \"plain\"", "3:12: this encoding needs descriptor beside it".into()),
        (
            "avro",
            &format!("schema = {file}"),
            "3:10: schema is not used where records name their schema in a registry; leave it out, or set encoding"
                .into(),
        ),
        ("protobuf", &format!("descriptor = {proto}"), "3:14: descriptor needs message beside it".into()),
        (
            "protobuf",
            &format!("descriptor = {proto}\nmessage = \"lab.Tree\""),
            "3:14: it has no message \"lab.Tree\"".into(),
        ),
        (
            "avro",
            "encoding = \"plain\"\nschema = \"Cargo.toml\"",
            "4:10: not a schema in Avro: not JSON: expected value at line 1 column 2".into(),
        ),
    ] {
        assert_eq!(faults_of(&format!("[format]\ntype = \"{format}\"\n{lines}")), [told], "{format} {lines}");
    }
    let missing = faults_of("[format]\ntype = \"avro\"\nencoding = \"plain\"\nschema = \"no/such.avsc\"");
    assert!(missing[0].starts_with("4:10: can't read the schema \"no/such.avsc\": "), "{missing:?}");
}

#[test]
fn raw_has_one_field_of_text() {
    let raw = |fields: &str| faults_of(&format!("[format]\ntype = \"raw\"\n{fields}"));
    let told = "2:8: raw needs exactly one field, of type string; it gets the whole value";
    assert_eq!(raw(FIELD), [told]);
    assert_eq!(raw(&FIELD.replace("int64", "string").repeat(2).replacen("id", "other", 1)), [told]);
    let text = [SOURCE, "[format]\ntype = \"raw\"\n", &FIELD.replace("int64", "string"), MODEL, LAKE].concat();
    assert_eq!(parse(&text, unset).unwrap().decode.format, Format::Raw);
}

#[test]
fn broker_addresses_have_a_host_and_a_port() {
    let not_one = |text: &str| format!("brokers takes `host:port`, or a list of them, not \"{text}\"");
    for faulty in [":9092", "a:0", "a:65536", "kafka://a:9092", "::1:9092", "a b:1", "[]:1"] {
        assert_eq!(faults_of_line("[source]", &format!("brokers = \"{faulty}\"")), [not_one(faulty)]);
    }
    assert_eq!(faults_of_line("[source]", "brokers = \"a:1,,b:x\""), [not_one(""), not_one("b:x")]);
}

#[test]
fn field_names_that_can_not_be_columns_are_refused() {
    let elsewhere = |name: &str| format!("choose another name, with path = \"{name}\"");
    for (name, what) in [
        ("prediction", "the model's result"),
        ("CONFIDENCE", "the model's result"),
        ("p_setosa", "the classes' probabilities (p_…)"),
        ("_offset", "the record's origin (_…)"),
        ("hour", "the lake's folders"),
        ("Date", "the lake's folders"),
    ] {
        let wanted = format!("field name \"{name}\" is reserved for {what}; {}", elsewhere(name));
        assert_eq!(faults_of_line("[[fields]]", &format!("name = \"{name}\"")), [wanted]);
    }
    let long = "n".repeat(201);
    assert_faults(&[
        ("[[fields]]", "name = \"\"", "name takes a column name of 1 to 200 characters, not \"\""),
        ("[[fields]]", "name = \"a\\tb\"", r#"field name "a\tb" has a control character in it"#),
        (
            "[[fields]]",
            &format!("name = \"{long}\""),
            &format!("field name \"{}\"… is longer than 200 characters", &long[..60]),
        ),
    ]);
}

#[test]
fn two_fields_never_share_a_name() {
    let second = "[[fields]]\nname = \"ID\"\ntype = \"int64\"\n";
    assert_eq!(
        faults_of(&[FIELD, second].concat()),
        ["5:8: field name \"ID\" is there already; warehouses don't tell upper from lower case"]
    );
}

#[test]
fn a_path_has_members() {
    let members = "path takes member names with dots between them, or a list of up to 32";
    let deep = format!("path = \"{}\"", ["m"; 33].join("."));
    assert_faults(&[
        ("[[fields]]", "path = \"a..b\"", &format!("{members}, not \"\"")),
        ("[[fields]]", "path = 3", &format!("{members}, not 3")),
        ("[[fields]]", &deep, "path has more than 32 members"),
    ]);
}

#[test]
fn the_event_time_is_a_declared_timestamp() {
    let part = |field: &str| format!("[event_time]\nfield = \"{field}\"\n{FIELD}");
    assert_eq!(faults_of(&part("id")), ["2:9: field \"id\" is not a timestamp"]);
    assert_eq!(faults_of(&part("ids")), ["2:9: no field has the name \"ids\"; did you mean \"id\"?"]);
}

#[test]
fn limits_that_can_not_work_together_are_told() {
    assert_eq!(
        faults_of(
            "[limits]\nfetch_wait = \"2s\"\nrequest_timeout = \"1s\"\nmemory = \"16MiB\"\nfetch_bytes = \"32MiB\""
        ),
        [
            "2:14: fetch_wait must be shorter than request_timeout, or every fetch of an idle topic fails",
            "5:15: fetch_bytes must not be larger than memory, or no fetch ever fits",
        ]
    );
}

#[test]
fn outlets_and_the_rest_of_the_file_go_together_or_not() {
    let faults = |text: &str| faults_with(&format!("{}{text}", minimal()), unset);
    let line = minimal().lines().count() + 2;
    let one = |text: &str, column: usize, told: &str| {
        let faults = faults(text);
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{line}:{column}: {told}")), "{text}: {faults:?}");
    };
    one("[results]\ntopic = \"iris\"\n", 9, "topic \"iris\" is read by this pipeline");
    one("[results]\ntopic = \"a b\"\n", 9, "topic takes a topic name");
    one("[results]\nformat = \"avro\"\n", 10, "[results] has no topic");
    one(
        "[results]\nwhere = 'confidense > 1'\ntopic = \"a\"\n",
        10,
        "where: there is no column \"confidense\"; did you",
    );
    one(
        "[results]\nwhere = \"prediction = \\\"a\\\" x\"\ntopic = \"a\"\n",
        29,
        "where: `and` or `or` is missing before `x`",
    );
    one("[postgres]\ntable = \"t\"\n", 9, "[postgres] has no url");
    one("[postgres]\ntable = \"a.b.c\"\nurl = \"postgres://u@h/d\"\n", 9, "table takes a name");
    one("[postgres]\nurl = \"postgres://u:s3cret@h:x/d\"\n", 7, "url is no URL of a PostgreSQL server");
    let twice = faults("[results]\ntopic = \"a\"\n[rejected]\ntopic = \"a\"\n");
    assert!(twice.len() == 1 && twice[0].contains("need topics of their own"), "{twice:?}");
}

#[test]
fn the_password_of_a_url_is_in_no_fault_and_no_debug_output() {
    let with = |url: &str| format!("{}[postgres]\nurl = \"{url}\"\n", minimal());
    for url in ["postgres://u:s3cret@h:x/d", "mysql://u:s3cret@h/d", "s3cret"] {
        let faults = faults_with(&with(url), unset);
        assert!(!faults.concat().contains("s3cret"), "{faults:?}");
    }
    let settings = parse(&with("postgres://u:s3cret@h/d"), unset).unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn topics_that_are_patterns_never_read_what_an_outlet_writes() {
    let many = |topics: &str, more: &str| {
        let source = SOURCE.replace("topic = \"iris\"", &format!("topics = \"{topics}\""));
        let lake = LAKE.replace("dataset = \"iris\"\n", "");
        parse(&[&source, FIELD, MODEL, &lake, more].concat(), unset)
    };
    let told = |topics: &str, more: &str| many(topics, more).unwrap_err()[0].message.clone();
    assert!(told("cards-*", "[results]\ntopic = \"{topic}.alerts\"\n").contains("would be read again for ever"));
    assert!(told("a, b", "[rejected]\ntopic = \"b\"\n").contains("topic \"b\" is read"));
    assert!(told("a, b", "[postgres]\nurl = \"postgres://u@h/d\"\ntable = \"t\"\n").contains("must hold {dataset}"));
    assert!(many("a, b", "[results]\ntopic = \"{topic}.alerts\"\n[postgres]\nurl = \"postgres://u@h/d\"\n").is_ok());
}

#[test]
fn variables_fill_texts_numbers_flags_and_lists() {
    let text = minimal()
        .replace("\"localhost:9092\"", "\"${BROKERS}\"")
        .replace("type =", "nullable = \"${NULLABLE}\"\ntype =")
        + "generation = \"${GENERATION}\"\nroll_bytes = \"${SIZE:-1MiB}\"\n";
    let settings = parse(&text, |name| match name {
        "BROKERS" => Some("a:1, b:2".to_owned()),
        "GENERATION" => Some("1_2".to_owned()),
        "NULLABLE" => Some("false".to_owned()),
        _ => None,
    });
    let settings = settings.unwrap();
    assert_eq!(settings.source.brokers, ["a:1", "b:2"]);
    assert_eq!((settings.lake.generation, settings.lake.roll.bytes_max), (12, 1 << 20));
    assert!(!settings.decode.fields[0].nullable);
}

#[test]
fn a_variable_never_adds_keys() {
    let text = minimal().replace("topic = \"iris\"", "topic = \"${TOPIC}\"");
    let hostile = |_: &str| Some("x\"\nstart = \"latest".to_owned());
    assert_eq!(faults_with(&text, hostile), [r#"3:9: topic takes a topic name, not "x\"\nstart = \"latest""#]);
}

#[test]
fn a_missing_variable_is_told_at_its_value() {
    assert_faults(&[
        ("[source]", "topic = \"t-${TOPIC}\"", "the variable TOPIC is not set; set it, or give a default: ${TOPIC:-…}"),
        (
            "[source]",
            "topic = \"${TOPIC\"",
            "a variable begins with \"${\" and has no \"}\"; write $${ for a literal ${",
        ),
    ]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(faults_of_line("[lake]", "\"é\".x = 1"), ["4:1: unknown table \"é\" in [lake]"]);
    let fault = Fault::at("ab\néü=x", 7, String::new(), None);
    assert_eq!((fault.line, fault.column), (2, 3));
}

#[test]
fn a_file_that_can_not_be_read_is_told_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, large) = (folder.path().join("missing.toml"), folder.path().join("large.toml"));
    std::fs::write(&large, " ".repeat(300_000)).unwrap();
    let message = |path: &Path| load(path).unwrap_err().to_string();
    assert!(message(&missing).starts_with(&format!("can't read the pipeline file {}: ", missing.display())));
    assert_eq!(message(&large), format!("can't read the pipeline file {}: it is larger than 256KiB", large.display()));
}

#[test]
fn the_markdown_table_has_a_row_for_every_key() {
    let table = markdown();
    assert_eq!(table.lines().count(), 2 + KEYS.len());
    let row = "| `[limits]` | `memory` | a size from 16MiB to 1024GiB | `1GiB` | ";
    assert!(table.lines().any(|line| line.starts_with(row)), "{table}");
}

proptest! {
    #[test]
    fn any_text_is_settings_or_faults(text in "\\PC*|[a-z\\[\\]{}=\",.#$\n ]{0,200}") {
        prop_assert!(parse(&text, unset).err().is_none_or(|faults| !faults.is_empty()));
    }

    #[test]
    fn a_damaged_file_is_settings_or_faults_in_order(
        at in 0..FULL.len(),
        removed in 0..40_usize,
        added in "\\PC{0,3}|\\[\\[?(source|fields|lake|x)\\]?\\]|\"?\\$?\\$\\{[A-Z]*\\}?|(= ?)?[-0-9_.xeT:]{1,9}|\n",
        value in proptest::option::of("\\PC{0,9}"),
    ) {
        let end = (at + removed).min(FULL.len());
        let damaged = [&FULL[..at], &added, &FULL[end..]].concat();
        if let Err(faults) = parse(&damaged, |_| value.clone()) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.is_sorted_by_key(|fault| (fault.line, fault.column)));
        }
    }
}
