//! The command line as a user meets it: exit code, stdout and stderr together.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tokio::net::TcpListener;

use crate::support::{
    program::{pipeline_file, run, written},
    stage::Stage,
};

const COMMANDS: [&str; 16] = [
    "demo", "stream", "batch", "rescore", "check", "audit", "doctor", "expire", "train", "score", "models", "produce",
    "draw", "infer", "health", "broker",
];
const IRIS_CSV: &str = "models/iris/data/iris.csv";

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

fn data_files(stage: &Stage) -> Vec<PathBuf> {
    files(&stage.lake_folder("lake").join("scored")).into_keys().collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A lake of 2 partitions with 200 records, and the file that made it.
async fn filled() -> (Stage, PathBuf) {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 100).await;
    let file = pipeline_file(&stage, "", "");
    run(["batch", text(&file)]).await.assert_told(0, &["scored       200"]);
    (stage, file)
}

#[tokio::test]
async fn the_version_is_told() {
    let ran = run(["--version"]).await;
    let version = format!("alluvium {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), version, ""));
}

#[tokio::test]
async fn the_help_lists_every_command() {
    let ran = run(["--help"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for command in COMMANDS {
        assert!(ran.stdout.contains(&format!("\n  {command} ")), "{command} is missing in: {}", ran.stdout);
    }
}

#[tokio::test]
async fn the_help_of_each_command_has_an_example() {
    // `check` gets its own with its implementation.
    for command in COMMANDS {
        let ran = run([command, "--help"]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}");
        let (what, rest) = ran.stdout.split_once("Usage:").unwrap();
        assert!(what.trim().len() > 20, "{command} doesn't say what it does: {what}");
        assert!(ran.stdout.contains("Example"), "{command}: {}", ran.stdout);
        assert!(ran.stdout.contains(&format!("  alluvium {command}")) || what.contains("Example:"), "{rest}");
    }
}

#[tokio::test]
async fn what_no_command_knows_is_refused_with_2() {
    run(["steam"]).await.assert_refused(2, &["steam", "stream"]);
    run(["batch", "x.toml", "--jason"]).await.assert_refused(2, &["--jason", "--json"]);
}

#[tokio::test]
async fn a_missing_pipeline_file_is_named() {
    for command in ["batch", "stream", "audit"] {
        run([command, "no/such.toml"]).await.assert_refused(2, &["error: can't read the pipeline file no/such.toml: "]);
    }
}

#[tokio::test]
async fn every_fault_of_a_pipeline_file_is_told_at_once_with_its_place() {
    let stage = Stage::new(1).await;
    let sound = stage.pipeline("lake", "");
    let file = written(&stage, &sound.replace("topic", "topik").replace("\"int64\"", "\"int46\""));
    let expected = [
        ":3:1: unknown key \"topik\" in [source]; did you mean \"topic\"?",
        ":7:8: type takes",
        "did you mean \"int64\"?",
        "2 faults in",
    ];
    run(["batch", text(&file)]).await.assert_refused(2, &expected);
}

#[tokio::test]
async fn a_dead_broker_is_named_in_one_line() {
    let stage = Stage::new(1).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let text_of = stage.pipeline(text(&stage.lake_folder("lake")), "[limits]\nconnect_timeout = \"500ms\"\n");
    let file = written(&stage, &text_of.replace(&stage.brokers, &dead));
    let ran = run(["batch", text(&file), "--log", "error"]).await;
    ran.assert_refused(1, &["error: cannot reach a broker", &dead, "Connection refused"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_told_with_the_nearest_one() {
    let stage = Stage::new(1).await;
    let file = pipeline_file(&stage, "", "");
    let file = written(&stage, &fs::read_to_string(file).unwrap().replace("\"flowers\"", "\"flower\""));
    run(["batch", text(&file)]).await.assert_refused(1, &["topic `flower`", "did you mean `flowers`?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model_is_told_with_its_folder() {
    let stage = Stage::new(1).await;
    let file = pipeline_file(&stage, "", "");
    let file = written(&stage, &fs::read_to_string(file).unwrap().replace("/models/iris", "/models/irys"));
    run(["batch", text(&file)]).await.assert_refused(1, &["models/irys", "there is no such folder", "alluvium train"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_of_an_unknown_scheme_is_refused() {
    let stage = Stage::new(1).await;
    let file = written(&stage, &stage.pipeline("ftp://somewhere/lake", ""));
    let ran = run(["batch", text(&file)]).await;
    assert!(matches!(ran.code, Some(1 | 2)) && ran.stdout.is_empty(), "{ran:?}");
    assert!(ran.stderr.contains("ftp://") && ran.stderr.contains("s3://"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_ends_with_its_summary() {
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 100).await;
    let file = pipeline_file(&stage, "", "");
    let ran = run(["batch", text(&file)]).await;
    ran.assert_told(0, &["records      200\nscored       200\nrejected     0\nspeed        ", "files        2, "]);
    assert!(!ran.stdout.contains("remaining") && !ran.stdout.contains("failed"), "{}", ran.stdout);
    let again = run(["batch", text(&file), "--json"]).await;
    let summary: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let keys: Vec<_> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut documented = [
        "absent",
        "bytes",
        "failures",
        "fences",
        "files",
        "filtered",
        "memory_peak_bytes",
        "partitions",
        "records",
        "rejected",
        "remaining",
        "scored",
        "seconds",
        "segments",
    ]
    .to_vec();
    documented.sort_unstable();
    assert_eq!((again.code, keys), (Some(0), documented));
    assert_eq!((&summary["records"], &summary["partitions"]), (&0.into(), &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_a_clean_lake_shows_its_table() {
    let (_stage, file) = filled().await;
    let ran = run(["audit", text(&file)]).await;
    ran.assert_told(0, &["partition ", "\ng0/p0000 ", "\ng0/p0001 ", " [0, 100) ", "\ntotal "]);
    assert!(ran.stdout.ends_with("\nclean: 200 offsets, each in exactly one place\n"), "{}", ran.stdout);
    let ran = run(["audit", text(&file), "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["verdict"], &report["totals"]["offsets"]), (Some(0), &"clean".into(), &200.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_the_file_that_is_missing() {
    let (stage, file) = filled().await;
    let lost = data_files(&stage).remove(0);
    fs::remove_file(&lost).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    run(["audit", text(&file)]).await.assert_told(3, &["fault: ", name, "is missing", "not clean: 1 fault\n"]);
    let ran = run(["audit", text(&file), "--json", "--offline"]).await;
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["verdict"], &report["faults"]["found"]), (Some(3), &"unclean".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_the_file_with_a_flipped_bit() {
    let (stage, file) = filled().await;
    let flipped = data_files(&stage).remove(0);
    let mut bytes = fs::read(&flipped).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&flipped, bytes).unwrap();
    let name = flipped.file_name().unwrap().to_str().unwrap();
    run(["audit", text(&file)]).await.assert_told(3, &["fault: ", name, "CRC-32C", "not clean: "]);
}

#[tokio::test]
async fn training_makes_a_model_from_the_repository_itself() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("iris");
    let ran = run(["train", IRIS_CSV, "--label", "species", "--out", text(&out)]).await;
    ran.assert_told(0, &["iris@1: ", "held-out rows", "is the champion now"]);
    assert!(ran.stderr.starts_with("150 rows\n"), "{}", ran.stderr);
    for part in ["champion", "1/manifest.json", "1/weights.safetensors"] {
        assert!(out.join(part).is_file(), "{part}");
    }
}

#[tokio::test]
async fn training_on_what_is_not_there_is_refused_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("iris");
    let label = run(["train", IRIS_CSV, "--label", "specie", "--out", text(&out)]).await;
    label.assert_refused(2, &["the label column `specie` is not in the table", "did you mean `species`?"]);
    let file = run(["train", "no/such.csv", "--label", "species", "--out", text(&out)]).await;
    file.assert_refused(2, &["no/such.csv: there is no such file"]);
    assert!(!out.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn producing_to_a_missing_topic_says_how_to_create_it() {
    let stage = Stage::new(1).await;
    let broker = stage.brokers.clone();
    let produce = ["produce", "--brokers", &broker, "--topic", "roses", "--source", "iris", "--count", "100"];
    run(produce).await.assert_refused(1, &["add --partitions N to create the topic", "topic `roses`"]);
    let ran = run(produce.into_iter().chain(["--partitions", "2"])).await;
    ran.assert_told(0, &["sent 100 of 100 records", "to 2 partitions of `roses`"]);
}

#[tokio::test]
async fn a_broker_does_not_listen_at_what_is_no_address() {
    run(["broker", "--listen", "nowhere"]).await.assert_refused(2, &["--listen nowhere", "HOST:PORT"]);
}

#[tokio::test]
async fn a_second_demo_is_a_generation_of_its_own_and_leaves_the_first_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let demo = ["demo", "--records", "3000", "--partitions", "2", "--lake", text(&lake)];
    let whole =
        ["produced     3,000\n", "scored       3,000\n", "clean: 3,000 offsets", "duckdb -c", "_generation = 0"];
    run(demo).await.assert_told(0, &whole);
    let first = files(&lake.join("scored"));
    let whole = ["produced     3,000\n", "scored       3,000\n", "clean: 6,000 offsets", "_generation = 1"];
    run(demo).await.assert_told(0, &whole);
    let both = files(&lake.join("scored"));
    assert!(first.iter().all(|(path, bytes)| both.get(path) == Some(bytes)), "the first run's files are as they were");
    let second = both.keys().filter(|path| !first.contains_key(*path));
    assert!(second.clone().count() > 0);
    assert!(second.clone().all(|path| path.file_name().unwrap().to_str().unwrap().starts_with("g1-")));
}

#[tokio::test]
async fn a_demo_leaves_a_folder_alone_that_it_did_not_make() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "do not lose").unwrap();
    let before = files(folder.path());
    let ran = run(["demo", "--records", "10", "--lake", text(folder.path())]).await;
    ran.assert_refused(2, &[text(folder.path()), "did not make", "--lake"]);
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn a_demo_shows_no_log_lines_of_the_libraries_below() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(["demo", "--records", "100", "--partitions", "1", "--lake", text(folder.path())]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
}
