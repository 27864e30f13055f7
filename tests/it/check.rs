//! `alluvium check` from outside: exit code, stdout and stderr together.

use std::{fs, net::TcpListener, path::Path, process::Output};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    LIMIT,
    stage::{Stage, TOPIC},
};

/// A pipeline file whose model is missing, in a folder of its own.
fn pipeline(brokers: &str, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[source]\nbrokers = \"{brokers}\"\ntopic = \"iris\"\n[[fields]]\nname = \"id\"\ntype = \"int64\"\n\
         [model]\npath = \"no-model\"\n[lake]\nurl = \"lake\"\ndataset = \"iris\"\n{more}\n"
    );
    fs::write(folder.path().join("pipeline.toml"), text).unwrap();
    folder
}

async fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    let command = command.current_dir(folder).args(["check", "pipeline.toml"]).args(arguments).kill_on_drop(true);
    tokio::time::timeout(LIMIT, command.output()).await.expect("the check ends").unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn a_faulty_file_is_told_on_stdout_and_ends_with_two() {
    let folder = pipeline("localhost:9092", "rol_rows = 10\ngeneration = -1");
    let output = check(folder.path(), &[]).await;
    let wanted = "pipeline.toml:12:1: unknown key \"rol_rows\" in [lake]; did you mean \"roll_rows\"?\n\
                  pipeline.toml:13:14: generation takes a whole number from 0 to 2147483647, not -1\n\
                  2 faults in pipeline.toml\n";
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), wanted));
    assert!(output.stderr.is_empty());
}

#[tokio::test]
async fn faults_are_data_for_scripts() {
    let folder = pipeline("localhost:9092", "rol_rows = 10");
    let output = check(folder.path(), &["--json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let wanted = serde_json::json!({
        "pipeline": "pipeline.toml",
        "ok": false,
        "faults": [{
            "line": 12, "column": 1,
            "message": "unknown key \"rol_rows\" in [lake]",
            "hint": "did you mean \"roll_rows\"?",
        }],
        "checks": [],
    });
    assert_eq!(report, wanted);
}

#[tokio::test]
async fn a_missing_file_is_an_error_that_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let output = check(folder.path(), &[]).await;
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: can't read the pipeline file pipeline.toml: "), "{error}");
}

#[tokio::test]
async fn offline_asks_neither_the_broker_nor_the_lake() {
    let folder = pipeline("localhost:9092", "");
    let output = check(folder.path(), &["--offline"]).await;
    let told = stdout(&output);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines.first(), Some(&"ok    pipeline file  pipeline.toml"));
    assert!(lines.get(1).is_some_and(|line| line.starts_with("FAIL  model          ")), "{told}");
    assert_eq!(lines.len(), 2);
    assert!(!folder.path().join("lake").exists());
}

#[tokio::test]
async fn one_failed_check_does_not_hide_the_next() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = pipeline(&nobody.to_string(), "[limits]\nconnect_timeout = \"200ms\"");
    let output = check(folder.path(), &[]).await;
    let told = stdout(&output);
    let begin: Vec<_> = told.lines().map(|line| line.get(..20).unwrap_or(line).trim_end()).collect();
    assert_eq!(begin, ["ok    pipeline file", "FAIL  model", "FAIL  broker", "ok    lake"], "{told}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn when_all_is_well_every_line_says_so() {
    let stage = Stage::new(3).await;
    stage.send_flowers(2, 5).await;
    fs::write(stage.folder.path().join("pipeline.toml"), stage.pipeline("lake", "")).unwrap();
    let output = check(stage.folder.path(), &[]).await;
    let told = stdout(&output);
    let lines: Vec<_> = told.lines().collect();
    let model = lines.get(1).copied().unwrap_or_default();
    assert!(model.starts_with("ok    model          iris@"), "{told}");
    let broker = format!("ok    broker         reached through {}", stage.brokers);
    let topic = format!("ok    topic          {TOPIC} has 3 partitions");
    let wanted = [
        "ok    pipeline file  pipeline.toml",
        model,
        &broker,
        &topic,
        "ok    partitions     all have leaders, and keep 10 offsets",
        "ok    lake           lake creates an object once and only once",
    ];
    assert_eq!(lines, wanted);
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_missing_topic_is_told() {
    let stage = Stage::new(1).await;
    let folder = pipeline(&stage.brokers, "[limits]\nrequest_timeout = \"1s\"");
    let output = check(folder.path(), &[]).await;
    let told = stdout(&output);
    assert!(told.lines().any(|line| line.starts_with("FAIL  topic ") && line.contains("iris")), "{told}");
    assert_eq!(output.status.code(), Some(1));
}
