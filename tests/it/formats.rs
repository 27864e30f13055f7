//! Every format from the topic to the lake: what lands, what is filtered, and what is rejected, byte for byte.

use alluvium::{
    config,
    decode::{CsvSettings, Format, Lines},
    lake::{FileKind, audit},
    pipeline::Settings,
    record::{Reason, Record},
};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int32Type,
};

use crate::support::{
    counted::Counted,
    lake::{binaries, numbers, rows, texts},
    program::{run, written},
    proof::{OF_ROWS, Proof},
    stage::{DATASET, Stage, assert_clean, batch, flower, objects, value},
};

/// A pipeline over the stage's topic and a lake of its own, with these tables in place of those of the flowers.
fn settings(stage: &Stage, format: &str, fields: &str, model: &str) -> Settings {
    let (brokers, topic, lake) = (&stage.brokers, &stage.topic, stage.lake_folder("lake"));
    let model = format!("{}/models/{model}", env!("CARGO_MANIFEST_DIR"));
    let text = format!(
        "[source]\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n[format]\n{format}\n{fields}\n[model]\npath = \"{model}\"\n\
         [limits]\nfetch_wait = \"10ms\"\nrecord_bytes = \"4KiB\"\n[lake]\nurl = \"{}\"\ndataset = \"{DATASET}\"\n",
        lake.display()
    );
    config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// The flowers' fields, with what `more` says of each.
fn measures(more: &str) -> String {
    let field = |name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n{more}\n");
    ["sepal_length", "sepal_width", "petal_length", "petal_width"].map(field).concat()
}

fn tombstone() -> Record {
    Record { value: None, key: Some(b"gone".to_vec()), ..value("") }
}

async fn scored(settings: &Settings) -> RecordBatch {
    rows(&objects(settings), FileKind::Scored, DATASET).await.expect("there are scored rows")
}

/// Sends sound records and bad ones, and sees that these are rejects with their reasons and their bytes.
async fn assert_rejects(
    format: &str,
    fields: &str,
    model: &str,
    good: &[Record],
    bad: Vec<(Reason, Record)>,
) -> (Stage, Settings) {
    let stage = Stage::new(1).await;
    let records: Vec<Record> = bad.iter().map(|(_, record)| record.clone()).collect();
    stage.send(0, [good, &records].concat()).await;
    let settings = settings(&stage, format, fields, model);
    let summary = batch(settings.clone()).await;
    let counts = summary.tally.counts;
    assert_eq!((counts.rejected, counts.scored + counts.filtered), (bad.len() as u64, good.len() as u64), "{format}");
    let rejects = rows(&objects(&settings), FileKind::Rejected, DATASET).await.expect("there are rejects");
    let reasons: Vec<_> = bad.iter().map(|(reason, _)| reason.code()).collect();
    assert_eq!(texts(&rejects, "reason"), reasons, "{format}: {:?}", texts(&rejects, "detail"));
    assert_eq!(binaries(&rejects, "_value"), records.iter().map(|record| record.value.clone()).collect::<Vec<_>>());
    assert_eq!(binaries(&rejects, "_key"), records.iter().map(|record| record.key.clone()).collect::<Vec<_>>());
    assert_clean(&settings).await;
    (stage, settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_lands_typed_and_what_is_not_is_rejected() {
    let large = format!("5.9,3,1.4,{}", "0".repeat(8_192));
    let bad = vec![
        (Reason::NotCsv, value("5.9,3,1.4")),
        (Reason::NotCsv, value("5.9,3,1.4,0.2,1")),
        (Reason::NotCsv, value("5.9,3,1.4,\"0.2")),
        (Reason::NotCsv, value(b"5.9,3,1.4,0.2\xff".to_vec())),
        (Reason::WrongType, value("5.9,3,1.4,wide")),
        (Reason::MissingField, value("5.9,,1.4,0.2")),
        (Reason::NotANumber, value("5.9,3,1.4,NaN")),
        (Reason::Empty, value("")),
        (Reason::Empty, tombstone()),
        (Reason::TooLarge, value(large)),
        (Reason::EventTime, Record { timestamp_ms: 1_000, ..value("5.9,3,1.4,0.2") }),
    ];
    let good = [value("5.9,3,1.4,0.2"), value("\"6.1\", 2.8 ,4.7,1.2\r\n")];
    assert_rejects("type = \"csv\"", &measures(""), "iris", &good, bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_text_is_scored_whole() {
    let stage = Stage::new(1).await;
    let said = ["what a wonderful day", "{\"not\": \"json\"}", " spaces stay \n"];
    stage.send(0, said.map(value).into()).await;
    stage.send(0, vec![value(b"\xff\xfe".to_vec()), tombstone(), value(""), value("x".repeat(8_192))]).await;
    let field = "[[fields]]\nname = \"text\"\ntype = \"string\"";
    let settings = settings(&stage, "type = \"raw\"", field, "sentiment");
    batch(settings.clone()).await;
    assert_eq!(texts(&scored(&settings).await, "text"), said);
    let rejects = rows(&objects(&settings), FileKind::Rejected, DATASET).await.unwrap();
    assert_eq!(texts(&rejects, "reason"), ["not_utf8", "empty", "empty", "too_large"]);
    assert_eq!(binaries(&rejects, "_value")[0], Some(b"\xff\xfe".to_vec()));
    assert_clean(&settings).await;
}

fn flower_line(id: usize) -> String {
    String::from_utf8(flower(id).value.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_rows_and_a_bad_one_rejects_its_whole_record() {
    let stage = Stage::new(1).await;
    let lines = |ids: &[usize]| ids.iter().map(|id| flower_line(*id) + "\n").collect::<String>();
    let bad = format!("{}\n{{\"id\":9}}\n", flower_line(8));
    let records =
        vec![value(lines(&[0])), value(lines(&[1, 2, 3])), value(bad.clone()), value(lines(&[4, 5]) + "\n\r\n")];
    stage.send(0, records).await;
    let fields = format!("[[fields]]\nname = \"id\"\ntype = \"int64\"\n{}", measures(""));
    let settings = settings(&stage, "lines = true", &fields, "iris");
    let counted = Counted::of("alluvium_further_rows_total");
    let counts = batch(settings.clone()).await.tally.counts;
    counted.assert_moved();
    assert_eq!((counts.records, counts.scored, counts.rejected, counts.further_rows), (4, 3, 1, 3));
    let all = scored(&settings).await;
    let row = all.column_by_name("_row").expect("it is numbered").as_primitive::<Int32Type>().values().to_vec();
    let mut found: Vec<_> = numbers(&all, "_offset").into_iter().zip(row).zip(numbers(&all, "id")).collect();
    found.sort_unstable();
    assert_eq!(found, [((0, 0), 0), ((1, 0), 1), ((1, 1), 2), ((1, 2), 3), ((3, 0), 4), ((3, 1), 5)]);
    let rejects = rows(&objects(&settings), FileKind::Rejected, DATASET).await.unwrap();
    assert_eq!(binaries(&rejects, "_value"), [Some(bad.into_bytes())]);
    assert_eq!(texts(&rejects, "detail"), ["line 2: sepal_length is missing"]);
    assert_clean(&settings).await;
    let deep =
        audit::audit_to(audit::Depth::EveryColumn, &objects(&settings), DATASET, &[].into(), |_| {}).await.unwrap();
    assert!(deep.is_clean(), "{deep:?}");
    assert_eq!((deep.totals.counts.scored, deep.totals.counts.further_rows), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_record_go_each_to_its_own_hour() {
    let stage = Stage::new(1).await;
    let hour = 3_600_000;
    let now = chrono::Utc::now().timestamp_millis();
    let line = |hours: i64| format!("5.9,3,1.4,0.2,{}\n", now - hours * hour);
    let record = |hours: &[i64]| value(hours.iter().map(|hours| line(*hours)).collect::<String>());
    // Three hours would open one too many for a segment, so the second record begins another.
    stage.send(0, vec![record(&[5, 4, 5]), record(&[3, 3, 2]), record(&[1, 3, 5]), record(&[1])]).await;
    let at = "[[fields]]\nname = \"at\"\ntype = \"timestamp\"\nunit = \"ms\"\n[event_time]\nfield = \"at\"\n";
    let format = "type = \"csv\"\nlines = true";
    let mut settings = settings(&stage, format, &(measures("") + at), "iris");
    settings.lake.segment_hours_max = 2;
    let lines = Some(Lines { hours_max: 2 });
    settings.decode.format = Format::Csv(CsvSettings { lines, ..CsvSettings::default() });
    let summary = batch(settings.clone()).await;
    let counts = summary.tally.counts;
    assert_eq!((counts.scored, counts.rejected, counts.further_rows), (3, 1, 4));
    assert!(summary.tally.segments > 1, "{summary:?}");
    let rejects = rows(&objects(&settings), FileKind::Rejected, DATASET).await.unwrap();
    assert_eq!((texts(&rejects, "reason"), numbers(&rejects, "_offset")), (vec!["event_time".into()], vec![2]));
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_lands_as_the_row_is_afterwards_and_deletes_are_counted() {
    let after = flower_line(1);
    let good = [
        value(format!("{{\"op\":\"c\",\"before\":null,\"after\":{after}}}")),
        value(format!("{{\"schema\":{{}},\"payload\":{{\"op\":\"u\",\"before\":{{}},\"after\":{after}}}}}")),
        value(format!("{{\"op\":\"d\",\"before\":{after},\"after\":null}}")),
        tombstone(),
    ];
    let bad = vec![
        (Reason::NotDebezium, value(after.clone())),
        (Reason::NotDebezium, value("{\"op\":\"u\",\"after\":null}")),
        (Reason::NotJson, value("{\"op\":\"u\"")),
        (Reason::WrongType, value("[]")),
        (Reason::MissingField, value("{\"op\":\"c\",\"after\":{\"id\":1}}")),
        (Reason::Empty, value("")),
    ];
    let op = "[[fields]]\nname = \"op\"\ntype = \"string\"\npath = \"@op\"\n";
    let (_stage, settings) = assert_rejects("envelope = \"debezium\"", &(measures("") + op), "iris", &good, bad).await;
    assert_eq!(texts(&scored(&settings).await, "op"), ["c", "u"]);
    let report = audit::audit(&objects(&settings), DATASET, &[].into(), |_| {}).await.unwrap();
    let counts = report.totals.counts;
    assert_eq!((counts.scored, counts.rejected, counts.filtered), (2, 6, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_filtered_is_counted_in_the_segment_that_its_offset_is_in() {
    let proof = Proof::of("records that are filtered, in segments of several hours", OF_ROWS);
    let stage = Stage::new(1).await;
    let now = chrono::Utc::now().timestamp_millis();
    let change = |hours: i64| {
        let after = flower_line(1).replace('}', &format!(",\"at\":{}}}", now - hours * 3_600_000));
        value(format!("{{\"op\":\"c\",\"after\":{after}}}"))
    };
    let delete = || value("{\"op\":\"d\",\"after\":null}");
    // Each change of the hour begins a segment.
    stage.send(0, vec![delete(), change(5), delete(), change(4), tombstone(), delete(), change(5), delete()]).await;
    let at = "[[fields]]\nname = \"at\"\ntype = \"timestamp\"\nunit = \"ms\"\n[event_time]\nfield = \"at\"\n";
    let mut settings = settings(&stage, "envelope = \"debezium\"", &(measures("") + at), "iris");
    settings.lake.segment_hours_max = 1;
    let tally = batch(settings.clone()).await.tally;
    assert_eq!((tally.segments, tally.counts.scored, tally.counts.filtered), (3, 3, 5));
    assert_clean(&settings).await;
    proof.shown(OF_ROWS);
}

/// Runs `infer --pipeline`, then a batch by the file that it wrote; how many rows landed.
async fn inferred_and_run(stage: &Stage, model: &str, more: &[&str]) -> i64 {
    let model = format!("{}/models/{model}", env!("CARGO_MANIFEST_DIR"));
    let lake = stage.lake_folder("lake");
    let arguments = ["infer", "--brokers", &stage.brokers, "--topic", &stage.topic, "--pipeline", "--model", &model];
    let ran = run([&arguments[..], &["--lake", lake.to_str().unwrap()], more].concat()).await;
    ran.assert_told(0, &["[[fields]]\n", "nullable = "]);
    assert!(!ran.stderr.contains("would be rejects"), "{ran:?}");
    let file = written(stage, &ran.stdout);
    let ran = run(["batch", file.to_str().unwrap(), "--json"]).await;
    assert_eq!((ran.code, ran.figure("rejected")), (Some(0), 0), "{ran:?}");
    ran.figure("scored")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inferred_runs_without_a_reject() {
    let stage = Stage::new(3).await;
    stage.send_flowers(3, 50).await;
    let note = flower_line(1).replace('}', ",\"note\":{\"by\":\"me\",\"tags\":[1]},\"at\":\"2026-11-21T07:00:00Z\"}");
    stage.send(1, vec![value(note)]).await;
    assert_eq!(inferred_and_run(&stage, "iris", &[]).await, 151);
    let csv = Stage::new(2).await;
    csv.send(0, (0..20).map(|id| value(format!("{id};5.9;3;1.{id};0.2;\"a;b\";"))).collect()).await;
    let named = "id,sepal_length,sepal_width,petal_length,petal_width,text,empty";
    assert_eq!(inferred_and_run(&csv, "iris", &["--format", "csv", "--delimiter", ";", "--columns", named]).await, 20);
    let raw = Stage::new(1).await;
    raw.send(0, vec![value("a fine day"), value("not so fine")]).await;
    assert_eq!(inferred_and_run(&raw, "sentiment", &["--format", "raw"]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn infer_tells_types_shares_and_what_is_odd() {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 4).await;
    stage.send(0, vec![value("{\"id\":1.5,\"tags\":[]}"), value("not json")]).await;
    let arguments = ["infer", "--brokers", &stage.brokers, "--topic", &stage.topic];
    let ran = run(arguments).await;
    let told = [
        "# 10 records of topic flowers, over 2 partitions",
        "name = \"id\"\ntype = \"float64\"\nnullable = false # in all\n",
        "name = \"petal_width\"\ntype = \"float64\"\nnullable = true # in 88.8 %\n",
        "# \"tags\": an array, which no field holds (in 11.1 %)\n",
    ];
    ran.assert_told(0, &told);
    assert!(ran.stderr.contains("note: 1 record not JSON\n"), "{ran:?}");
    assert!(ran.stderr.contains("note: 1 of the 10 records would be rejects: not_json\n"), "{ran:?}");
    let ran = run([&arguments[..], &["--json", "--records", "4"]].concat()).await;
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &answer["rows"], &answer["format"]["type"]), (Some(0), &3.into(), &"json".into()));
    assert_eq!(answer["fields"][0]["path"], serde_json::json!(["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn infer_says_what_it_can_t_do() {
    let stage = Stage::new(1).await;
    let arguments = ["infer", "--brokers", &stage.brokers, "--topic", &stage.topic];
    run(arguments).await.assert_refused(1, &["topic flowers holds no records to look at"]);
    stage.send(0, vec![value("1,2")]).await;
    run(arguments).await.assert_refused(1, &["note: 1 record not JSON", "say how they are written with --format"]);
    let csv = [&arguments[..], &["--format", "csv", "--delimiter", "é"]].concat();
    run(csv).await.assert_refused(2, &["--delimiter takes one ASCII character, not 'é'"]);
}
