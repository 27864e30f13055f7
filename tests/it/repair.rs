//! What a person does on a bad day, with the real binary: expire, repair, ask the doctor, accept a gap.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use alluvium::{
    lake::{Claim, FileKind},
    record::Record,
};
use serde_json::Value;

use crate::support::{
    lake::{places, rows},
    program::{self, Ran, command, ended, pipeline_file, run, signal, written},
    s3::{BUCKET, S3Server},
    scripted::{Answer, PLAIN, Script, Scripted, batch as record_batch, record},
    stage::{DATASET, Stage, TOPIC, assert_clean, batch, flower, objects},
};

const DAY_MS: i64 = 24 * 3_600_000;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// Sound records of some days ago.
fn aged(days: i64, count: usize) -> Vec<Record> {
    let at = chrono::Utc::now().timestamp_millis() - days * DAY_MS;
    (0..count).map(|id| Record { timestamp_ms: at, ..flower(id) }).collect()
}

/// Every claim of partition 0, in order.
fn claims(lake: &Path) -> Vec<(PathBuf, Claim)> {
    let folder = lake.join("_ledger").join(DATASET).join("g0/p0000");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with('0'));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), serde_json::from_slice(&fs::read(path).unwrap()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_data_goes_the_audit_says_so_and_the_stream_goes_on() {
    let stage = Stage::new(1).await;
    let file = pipeline_file(&stage, "", "");
    stage.send(0, aged(40, 60)).await;
    stage
        .send(0, [aged(40, 1), vec![Record { value: Some(b"no json".to_vec()), ..aged(40, 1).remove(0) }]].concat())
        .await;
    stage.send(0, aged(0, 38)).await;
    run(["batch", text(&file)]).await.assert_told(0, &["scored       99"]);

    let expire = ["expire", text(&file), "--before", "30d"];
    let dry = run([&expire[..], &["--dry-run"]].concat()).await;
    dry.assert_told(
        0,
        &["hours        1, from ", "files        2, ", "rows         61 scored, 1 rejected\n", "nothing is deleted"],
    );
    let settings = stage.settings("lake", "");
    assert_eq!(rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap().num_rows(), 99);

    let done = run([&expire[..], &["--reason", "kept for 30 days", "--json"]].concat()).await;
    let told = json(&done);
    assert_eq!(
        (done.code, &told["did"], &told["files"], &told["scored"]),
        (Some(0), &"deleted".into(), &2.into(), &61.into())
    );
    let note: Value =
        serde_json::from_slice(&fs::read(stage.lake_folder("lake").join(told["note"].as_str().unwrap())).unwrap())
            .unwrap();
    assert_eq!((&note["reason"], &note["means"]), (&"kept for 30 days".into(), &"deleted".into()));
    assert_eq!(rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap().num_rows(), 38);
    assert!(rows(&objects(&settings), FileKind::Rejected, DATASET).await.is_none());
    run(&expire).await.assert_told(0, &["files        0, ", "there is nothing before "]);

    stage.send(0, aged(40, 10)).await;
    run(["batch", text(&file)]).await.assert_told(0, &["scored       10"]);
    let audit = run(["audit", text(&file)]).await;
    audit.assert_told(
        0,
        &[" expired ", "clean: 110 offsets, each in exactly one place, 62 of them deleted by policy\n"],
    );
    let totals = json(&run(["audit", text(&file), "--json", "--deep"]).await)["totals"].clone();
    assert_eq!((&totals["expired_files"], &totals["expired_rows"]), (&2.into(), &62.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_expired_is_refused_with_2() {
    let stage = Stage::new(1).await;
    let file = pipeline_file(&stage, "", "");
    let before = |date: &'static str| run(["expire", text(&file), "--before", date]);
    before("yesterday").await.assert_refused(2, &["2026-11-01T07", "30d"]);
    before("2999-01-01").await.assert_refused(2, &["2999-01-01T00 lies in the future"]);
    let file = pipeline_file(&stage, "", "partition_by = \"none\"\n");
    run(["expire", text(&file), "--before", "1d"]).await.assert_refused(2, &["partition_by = \"none\""]);
}

/// Moves every file of a claim back to where it was staged.
fn unpublish(lake: &Path, claim: &Claim) {
    for entry in &claim.files {
        let staged = lake.join(&entry.staged);
        fs::create_dir_all(staged.parent().unwrap()).unwrap();
        fs::rename(lake.join(&entry.path), staged).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_publishes_what_claims_name_and_says_what_it_can_not_mend() {
    let stage = Stage::new(1).await;
    let file = pipeline_file(&stage, "", "roll_rows = 100\n");
    for _ in 0..3 {
        stage.send_flowers(1, 100).await;
        run(["batch", text(&file)]).await.assert_told(0, &["scored       100"]);
    }
    let lake = stage.lake_folder("lake");
    let claims = claims(&lake);
    for (_, claim) in &claims[1..] {
        unpublish(&lake, claim);
    }
    run(["audit", text(&file)]).await.assert_told(3, &["is still in staging", "not clean: 1 fault\n"]);
    let repaired = run(["audit", text(&file), "--repair"]).await;
    repaired.assert_told(0, &["mended: published scored/iris/", "\nclean: 300 offsets, each in exactly one place\n"]);
    assert_eq!(repaired.stdout.matches("mended: ").count(), 2);
    assert_eq!(rows(&objects(&stage.settings("lake", "")), FileKind::Scored, DATASET).await.unwrap().num_rows(), 300);

    fs::remove_file(lake.join(&claims[0].1.files[0].path)).unwrap();
    let beyond = run(["audit", text(&file), "--repair"]).await;
    beyond.assert_told(3, &["mended: nothing", "fault: ", "is missing", "not clean: 1 fault\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_with_a_sound_stream_and_changes_nothing() {
    let stage = Stage::new(2).await;
    let file = pipeline_file(&stage, "", "");
    let missing = run(["doctor", text(&file)]).await;
    missing.assert_told(1, &["FAIL  lake           ", "there is no such folder", "is its disk mounted?"]);
    assert!(!stage.lake_folder("lake").exists());
    stage.send_flowers(2, 50).await;
    run(["batch", text(&file)]).await.assert_told(0, &["scored       100"]);
    stage.send(1, vec![flower(1)]).await;
    let well = run(["doctor", text(&file)]).await;
    let lines = [
        "ok    topic          flowers has 2 partitions\n",
        "ok    g0/p0000       read to its end, offset 50\n",
        "ok    g0/p0001       the lake goes on at offset 50; 1 offset behind\n",
        "\nall is well\n",
    ];
    well.assert_told(0, &lines);
    let told = json(&run(["doctor", text(&file), "--json"]).await);
    assert_eq!((&told["well"], &told["partitions"][1]["position"]), (&true.into(), &50.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_a_topic_that_was_created_again_and_its_way_on_is_a_way_on() {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 100).await;
    let file = pipeline_file(&stage, "", "");
    run(["batch", text(&file)]).await.assert_told(0, &["scored       200"]);
    let admin = rskafka::client::ClientBuilder::new(vec![stage.brokers.clone()]).build().await.unwrap();
    admin.controller_client().unwrap().delete_topic(TOPIC, 5_000).await.unwrap();
    stage.broker.create_topic(TOPIC, 1, 1).await.unwrap();
    stage.send_flowers(1, 30).await;

    let ill = run(["doctor", text(&file)]).await;
    let told = [
        "STOP  g0/p0000       the topic was re-created or truncated",
        "\n          generation = 1\n",
        "STOP  g0/p0001       the lake has this partition, and the topic `flowers` has it no more",
    ];
    ill.assert_told(1, &told);
    let gap = run(["doctor", text(&file), "--accept-gap", "0:100..101", "--reason", "x"]).await;
    gap.assert_refused(1, &["re-created or truncated"]);
    let file = pipeline_file(&stage, "", "generation = 1\n");
    run(["batch", text(&file)]).await.assert_told(0, &["scored       30"]);
    run(["doctor", text(&file)]).await.assert_told(0, &["all is well"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_a_ledger_of_another_topic_and_one_of_a_newer_release() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 10).await;
    let file = pipeline_file(&stage, "", "");
    run(["batch", text(&file)]).await.assert_told(0, &["scored       10"]);
    stage.broker.create_topic("trees", 1, 1).await.unwrap();
    let other = written(&stage, &fs::read_to_string(&file).unwrap().replace("\"flowers\"", "\"trees\""));
    run(["doctor", text(&other)])
        .await
        .assert_told(1, &["STOP  ", "begun from topic `flowers`", "write `topic = \"flowers\"`"]);

    let file = pipeline_file(&stage, "", "");
    let (path, _) = claims(&stage.lake_folder("lake")).remove(0);
    let newer = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 9");
    fs::write(&path, newer).unwrap();
    run(["doctor", text(&file)]).await.assert_told(1, &["STOP  ", "has format 9", "run the release that wrote it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_refused_where_records_can_be_read_and_says_what_would_be_right() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 20).await;
    let file = pipeline_file(&stage, "", "");
    let accept = |gap: &'static str| run(["doctor", text(&file), "--accept-gap", gap, "--reason", "why not"]);
    fs::create_dir(stage.lake_folder("lake")).unwrap();
    accept("0:0..5").await.assert_refused(2, &["partition 0 is not in the lake yet"]);
    run(["batch", text(&file)]).await.assert_told(0, &["scored       20"]);
    accept("0:20..25").await.assert_refused(2, &["read to its end, 20"]);
    stage.send_flowers(1, 10).await;
    accept("0:19..25").await.assert_refused(2, &["goes on at offset 20", "type 0:20..END"]);
    accept("0:20..31").await.assert_refused(2, &["ends at 30", "type 0:20..30 at most"]);
    accept("0:20..25").await.assert_refused(2, &["offset 20 can be read", "--although-readable"]);
    accept("0:25..20").await.assert_refused(2, &["3:12345..12347"]);
    run(["doctor", text(&file), "--accept-gap", "0:20..25"]).await.assert_refused(2, &["--reason"]);

    let settings = stage.settings("lake", "");
    let given_up = ["doctor", text(&file), "--accept-gap", "0:20..25", "--reason", "why not", "--although-readable"];
    run(given_up).await.assert_told(0, &["accepted: offsets [20, 25) of partition 0", "goes on at 25"]);
    assert_eq!(batch(settings.clone()).await.tally.counts.records, 5);
    let expected: Vec<_> = (0..20).chain(25..30).map(|offset| (0, offset)).collect();
    assert_eq!(places(&rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap()), expected);
    assert_clean(&settings).await;
}

/// Sound records of these offsets.
fn sound(from: i64, to: i64) -> Vec<u8> {
    let value = |offset: i64| flower(usize::try_from(offset).unwrap()).value.unwrap();
    let records: Vec<_> = (from..to).map(|offset| record(offset - from, b"k", &value(offset), &[])).collect();
    record_batch(from, i32::try_from(to - from - 1).unwrap(), PLAIN, &records)
}

fn wrong_checksum(from: i64, to: i64) -> Vec<u8> {
    let mut batch = sound(from, to);
    *batch.last_mut().unwrap() ^= 1;
    batch
}

/// A broker whose offsets 5 to 7 are in a batch with a wrong checksum.
async fn broken() -> Scripted {
    let script = Script::fetches(10, move |offset| match offset {
        0..5 => Answer::Records(sound(offset, 5)),
        5..8 => Answer::Records(wrong_checksum(5, 8)),
        8..10 => Answer::Records(sound(offset, 10)),
        _ => {
            std::thread::sleep(Duration::from_millis(5));
            Answer::Records(vec![])
        }
    });
    Scripted::start(script).await
}

fn pipeline_of(scripted: &Scripted, folder: &Path) -> PathBuf {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let fields: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n"))
        .concat();
    let text = format!(
        "[source]\nbrokers = \"{}\"\ntopic = \"orders\"\n{fields}[event_time]\nearliest = \"1970-01-01T00:00:00Z\"\n\
         [model]\npath = \"{model}\"\n[limits]\nfetch_wait = \"10ms\"\n[lake]\nurl = \"{}\"\ndataset = \"{DATASET}\"\n",
        scripted.address,
        folder.join("lake").display()
    );
    let file = folder.join("pipeline.toml");
    fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_shows_the_exact_gap_around_a_broken_batch_and_the_lane_goes_on_behind_it() {
    let scripted = broken().await;
    let folder = tempfile::tempdir().unwrap();
    let file = pipeline_of(&scripted, folder.path());
    let stopped = run(["batch", text(&file)]).await;
    stopped.assert_told(1, &["scored       5\n", "partition 0, offset 5", "nothing was skipped"]);

    let ill = run(["doctor", text(&file)]).await;
    let command = format!("alluvium doctor {} --accept-gap 0:5..8 --reason \"…\"", file.display());
    ill.assert_told(1, &["STOP  g0/p0000       cannot fetch (topic `orders`, partition 0, offset 5)", &command]);
    let way = json(&run(["doctor", text(&file), "--json"]).await)["partitions"][0]["ways"][1].clone();
    assert_eq!(way["command"].as_str(), Some(command.as_str()));

    let accept = |gap: &'static str| run(["doctor", text(&file), "--accept-gap", gap, "--reason", "disk of broker 2"]);
    accept("0:5..9").await.assert_refused(2, &["offset 8 can be read", "type 0:5..8"]);
    accept("0:5..8").await.assert_told(0, &["[5, 8) of partition 0, 3 in all"]);
    run(["batch", text(&file)]).await.assert_told(0, &["scored       2\n"]);
    run(["doctor", text(&file)]).await.assert_told(0, &["all is well"]);
    run(["audit", text(&file)]).await.assert_told(0, &["clean: 10 offsets"]);
    let claims = claims(&folder.path().join("lake"));
    let gap = serde_json::to_value(&claims[1].1).unwrap();
    assert_eq!((&gap["kind"], &gap["start"], &gap["end"]), (&"gap".into(), &5.into(), &8.into()));
    let reason = gap["reason"].as_str().unwrap();
    assert!(reason.starts_with("accepted by ") && reason.ends_with(": disk of broker 2"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_breaks_behind_the_lane_does_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::fetches(5, |offset| match offset {
        0..5 => Answer::Records(sound(offset, 5)),
        _ => Answer::Records(vec![]),
    });
    let whole = Scripted::start(script).await;
    let file = pipeline_of(&whole, folder.path());
    run(["batch", text(&file)]).await.assert_told(0, &["scored       5\n"]);
    let script = Script::fetches(10, |offset| match offset {
        0..5 => Answer::Records(wrong_checksum(0, 5)),
        5..10 => Answer::Records(sound(offset, 10)),
        _ => Answer::Records(vec![]),
    });
    let broken = Scripted::start(script).await;
    let file = pipeline_of(&broken, folder.path());
    let next = run(["batch", text(&file)]).await;
    next.assert_told(0, &["scored       5\n"]);
    assert!(next.stderr.contains("a record that the lake has can't be read any more"), "{next:?}");
    run(["audit", text(&file)]).await.assert_told(0, &["clean: 10 offsets"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_goes_on_without_a_broker_and_says_so() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 10).await;
    let file = pipeline_file(&stage, "[limits]\nconnect_timeout = \"500ms\"\n", "");
    run(["batch", text(&file)]).await.assert_told(0, &["scored       10"]);
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let without = fs::read_to_string(&file).unwrap().replace(&stage.brokers, &dead);
    let file = written(&stage, &without);
    run(["doctor", text(&file)])
        .await
        .assert_told(1, &["FAIL  broker         cannot reach a broker", "goes on at offset 10"]);
    let gone =
        written(&stage, &fs::read_to_string(pipeline_file(&stage, "", "")).unwrap().replace("\"flowers\"", "\"gone\""));
    run(["doctor", text(&gone)]).await.assert_told(1, &["FAIL  topic          ", "there is no such topic"]);
}

/// A broker that keeps `[earliest, end)` and sends what is asked for up to `sends`.
async fn keeping(earliest: i64, sends: i64, end: i64) -> Scripted {
    let script = Script::fetches(end, move |offset| match offset {
        _ if offset < earliest => Answer::Error(1),
        _ if offset < sends => Answer::Records(sound(offset, sends)),
        _ => {
            std::thread::sleep(Duration::from_millis(5));
            Answer::Records(vec![])
        }
    });
    Scripted::start(Script { earliest, ..script }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_a_broker_that_sends_nothing_and_the_gap_is_a_way_on() {
    let folder = tempfile::tempdir().unwrap();
    let before = keeping(0, 5, 5).await;
    run(["batch", text(&pipeline_of(&before, folder.path()))]).await.assert_told(0, &["scored       5\n"]);
    let silent = keeping(0, 5, 10).await;
    let file = pipeline_of(&silent, folder.path());
    let ill = run(["doctor", text(&file)]).await;
    ill.assert_told(1, &["STOP  g0/p0000", "records from offset 5 up to 10, and sends none", "--accept-gap 0:5..10 "]);
    let accept = ["doctor", text(&file), "--accept-gap", "0:5..10", "--reason", "only markers", "--json"];
    run(accept).await.assert_refused(2, &["--although-readable"]);
    let accept = accept.into_iter().chain(["--although-readable"]);
    let claim = json(&run(accept).await);
    assert_eq!((&claim["start"], &claim["end"], &claim["counts"]["absent"]), (&5.into(), &10.into(), &5.into()));
    run(["doctor", text(&file)]).await.assert_told(0, &["all is well"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_what_retention_took_and_leaves_the_gap_to_the_lane() {
    let folder = tempfile::tempdir().unwrap();
    let before = keeping(0, 5, 5).await;
    run(["batch", text(&pipeline_of(&before, folder.path()))]).await.assert_told(0, &["scored       5\n"]);
    let after = keeping(8, 10, 10).await;
    let file = pipeline_of(&after, folder.path());
    run(["doctor", text(&file)]).await.assert_told(0, &["no longer has [5, 8) (retention)", "all is well"]);
    let accept = ["doctor", text(&file), "--accept-gap", "0:5..8", "--reason", "gone"];
    run(accept).await.assert_refused(2, &["begins at 8", "start one"]);
    run(["batch", text(&file)]).await.assert_told(0, &["scored       2\n", "absent       3 "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_data_goes_from_a_bucket_too_and_a_repair_finds_it_in_order() {
    let server = S3Server::start(true).await;
    let stage = Stage::new(1).await;
    stage.send(0, aged(40, 20)).await;
    stage.send(0, aged(0, 10)).await;
    let file = written(&stage, &stage.pipeline(&format!("s3://{BUCKET}/a/lake"), ""));
    let run = async |arguments: &[&str]| {
        let mut command = command([&[arguments[0], text(&file)], &arguments[1..]].concat());
        ended(command.envs(server.environment()).spawn().unwrap()).await
    };
    run(&["batch"]).await.assert_told(0, &["scored       30\n"]);
    run(&["expire", "--before", "30d"]).await.assert_told(0, &["files        1, ", "deleted: everything before "]);
    run(&["audit", "--repair", "--deep"]).await.assert_told(
        0,
        &["mended: nothing", "clean: 30 offsets, each in exactly one place, 20 of them deleted by policy\n"],
    );
    run(&["doctor"]).await.assert_told(0, &["all is well"]);
}

/// A lake with old data and young, and a pipeline file for each copy of it.
struct Lakes {
    stage: Stage,
}

impl Lakes {
    async fn new() -> Self {
        let stage = Stage::new(1).await;
        stage.send(0, aged(40, 20)).await;
        stage.send(0, aged(0, 10)).await;
        let lakes = Self { stage };
        run(["batch", text(&lakes.file("lake"))]).await.assert_told(0, &["scored       30\n"]);
        lakes
    }

    fn file(&self, lake: &str) -> PathBuf {
        let file = self.stage.folder.path().join(format!("{lake}.toml"));
        fs::write(&file, self.stage.pipeline(text(&self.stage.lake_folder(lake)), "")).unwrap();
        file
    }

    fn copied(&self, lake: &str) -> PathBuf {
        copy(&self.stage.lake_folder("lake"), &self.stage.lake_folder(lake));
        self.file(lake)
    }

    /// How many steps an expiry has.
    async fn steps(&self) -> usize {
        let hold = tempfile::tempdir().unwrap();
        let mut expire = command(EXPIRE.map(|part| part.replace("FILE", text(&self.copied("whole")))));
        program::hold(&mut expire, Some((&hold, None)));
        let whole = ended(expire.spawn().unwrap()).await;
        whole.assert_told(0, &["deleted: everything before "]);
        let steps = program::steps(&hold);
        let there = |begin: &str| steps.iter().any(|step| step.contains(begin));
        assert!(["create _ledger", "delete scored/"].into_iter().all(there), "{steps:?}");
        steps.len()
    }

    /// An expiry of that lake that stands still before a step.
    async fn held(&self, file: &Path, at: usize) -> (tokio::process::Child, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut expire = command(EXPIRE.map(|part| part.replace("FILE", text(file))));
        program::hold(&mut expire, Some((&folder, Some(at))));
        let child = expire.spawn().unwrap();
        program::stands_still(&folder).await;
        (child, folder)
    }
}

const EXPIRE: [&str; 4] = ["expire", "FILE", "--before", "30d"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_that_is_killed_before_any_step_leaves_a_clean_lake_and_the_next_one_finishes() {
    let lakes = Lakes::new().await;
    for at in 0..lakes.steps().await {
        let file = lakes.copied(&format!("killed-{at}"));
        let (child, _hold) = lakes.held(&file, at).await;
        signal(&child, &["KILL"]);
        assert_eq!(ended(child).await.code, None);
        run(["audit", text(&file)]).await.assert_told(0, &["clean: 30 offsets"]);
        // A repair finishes what was noted, and a further expiry what was not.
        if at % 2 == 0 {
            run(["audit", text(&file), "--repair"]).await.assert_told(0, &["clean: 30 offsets"]);
        }
        assert_eq!(run(EXPIRE.map(|part| part.replace("FILE", text(&file)))).await.code, Some(0));
        let clean = run(["audit", text(&file)]).await;
        clean.assert_told(0, &["clean: 30 offsets, each in exactly one place, 20 of them deleted by policy\n"]);
        assert!(!clean.stdout.contains("note: "), "step {at}: {}", clean.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_commits_while_an_expiry_stands_still_before_any_step_loses_nothing() {
    let lakes = Lakes::new().await;
    let steps = lakes.steps().await;
    lakes.stage.send(0, [aged(40, 3), aged(0, 2)].concat()).await;
    for at in 0..steps {
        let file = lakes.copied(&format!("held-{at}"));
        let (child, hold) = lakes.held(&file, at).await;
        run(["batch", text(&file)]).await.assert_told(0, &["scored       5\n"]);
        program::let_go(&hold);
        ended(child).await.assert_told(0, &["deleted: everything before "]);
        let told = "clean: 35 offsets, each in exactly one place, 20 of them deleted by policy\n";
        run(["audit", text(&file), "--deep"]).await.assert_told(0, &[told]);
    }
}
