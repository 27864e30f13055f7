//! `alluvium models`, as a user meets it: on a folder and on S3.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    program::{Ran, command, ended, run},
    s3::{BUCKET, S3Server},
};

const IRIS_CSV: &str = "models/iris/data/iris.csv";

/// A folder for one model.
struct Shelf {
    folder: TempDir,
}

impl Shelf {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With the champion 1, and 2 beside it.
    async fn of_two() -> Self {
        let shelf = Self::new();
        shelf.train(&["--epochs", "3"]).await;
        shelf.train(&["--epochs", "60", "--no-promote"]).await;
        shelf
    }

    fn model(&self, version: &str) -> String {
        format!("{}{version}", self.folder.path().join("iris").to_str().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("iris").join(file)
    }

    async fn train(&self, more: &[&str]) {
        let model = self.model("");
        let arguments = ["train", IRIS_CSV, "--label", "species", "--out", model.as_str()];
        run(arguments.into_iter().chain(more.iter().copied())).await.assert_told(0, &["held-out rows"]);
    }

    async fn ask(&self, action: &str, version: &str, more: &[&str]) -> Ran {
        let model = self.model(version);
        run(["models", action, model.as_str()].into_iter().chain(more.iter().copied())).await
    }

    async fn json(&self, action: &str, version: &str, more: &[&str]) -> Value {
        let ran = self.ask(action, version, &[more, &["--json"]].concat()).await;
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
    }
}

#[tokio::test]
async fn each_action_explains_itself_with_an_example() {
    for action in ["list", "show", "compare", "promote", "rollback", "verify"] {
        let ran = run(["models", action, "--help"]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{action}");
        let example = format!("Example:\n  alluvium models {action} models/iris");
        assert!(ran.stdout.contains(&example) && ran.stdout.contains("--json"), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn versions_are_listed_and_shown() {
    let shelf = Shelf::of_two().await;
    let list = shelf.ask("list", "", &[]).await;
    list.assert_told(0, &["version", "accuracy", "macro F1"]);
    let lines: Vec<&str> = list.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", list.stdout);
    assert!(lines[1].starts_with("1 ") && lines[1].ends_with("champion"), "{}", lines[1]);
    assert!(lines[2].starts_with("2 ") && lines[2].contains(" %") && !lines[2].contains("champion"), "{}", lines[2]);
    let listed = shelf.json("list", "", &[]).await;
    assert_eq!((&listed["model"], &listed["champion"]), (&"iris".into(), &1.into()));
    assert_eq!(listed["versions"][1]["data"].as_str().map(str::len), Some(64));
    assert!(listed["versions"][1]["macro_f1"].as_f64().is_some_and(|f1| f1 > 0.8), "{listed}");

    let parts = ["iris@2\n", "4-16-3, relu", "setosa, versicolor, virginica", "150 rows", "seed 42"];
    shelf.ask("show", "@2", &[]).await.assert_told(0, &parts);
    let features = ["iris@1, champion since 20", "sepal_length  numeric  required", "weights.safetensors"];
    shelf.ask("show", "", &[]).await.assert_told(0, &features);
    let shown = shelf.json("show", "@2", &[]).await;
    assert_eq!((&shown["champion"], &shown["manifest"]["hidden"]), (&false.into(), &serde_json::json!([16])));
}

#[tokio::test]
async fn a_version_is_verified_promoted_and_rolled_back() {
    let shelf = Shelf::of_two().await;
    shelf.ask("verify", "@2", &[]).await.assert_told(0, &["iris@2: nothing is wrong", "exact: 30 rows"]);
    shelf.ask("promote", "@2", &[]).await.assert_told(0, &["iris@2 is the champion now; it was iris@1"]);
    shelf.ask("promote", "@2", &[]).await.assert_told(0, &["iris@2 is the champion already"]);
    let history = fs::read_to_string(shelf.path("champion")).unwrap();
    let versions: Vec<_> = history.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(versions, ["2", "1"], "{history}");
    shelf.ask("rollback", "", &[]).await.assert_told(0, &["iris@1 is the champion again; it was iris@2"]);
    let refused = shelf.ask("rollback", "", &[]).await;
    refused.assert_refused(1, &["no champion before 1 is recorded; promote a version by its number"]);
    let promoted = shelf.json("promote", "@2", &[]).await;
    assert_eq!(
        (&promoted["promoted"], &promoted["before"], &promoted["champion"]),
        (&true.into(), &1.into(), &2.into())
    );
}

#[tokio::test]
async fn two_versions_are_compared_on_a_table() {
    let shelf = Shelf::of_two().await;
    let second = shelf.model("@2");
    let compared = shelf.ask("compare", "@1", &[&second, IRIS_CSV]).await;
    compared.assert_told(0, &["150 rows by `species`", "right alone", "McNemar's test", "they agree on"]);
    let json = shelf.json("compare", "@1", &[&second, IRIS_CSV]).await;
    let alone = |which: &str| json["mcnemar"][which].as_u64().unwrap();
    let right = |which: usize| json["right"][which].as_u64().unwrap();
    assert_eq!(right(0) - alone("first_only"), right(1) - alone("second_only"), "both right: {json}");
    assert_eq!((&json["significant"], &json["models"][1]["version"]), (&true.into(), &2.into()), "{json}");
    let same = shelf.json("compare", "@2", &[&second, IRIS_CSV, "--label", "species"]).await;
    assert_eq!((same["agreement"].as_f64(), same["mcnemar"]["p_value"].as_f64()), (Some(1.0), Some(1.0)));
    assert!(same["verdict"].as_str().unwrap().ends_with("does not tell them apart."), "{same}");
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused() {
    let shelf = Shelf::of_two().await;
    let (second, table) = (shelf.model("@2"), shelf.folder.path().join("table.csv"));
    let cases = [
        ("petal_width,species\n1,a\n", "a model needs the column `sepal_length`, which is not there"),
        ("petal_width\n1\n", "the label is to be the column `species`, which is not there"),
        ("sepal_length,sepal_width,petal_length,petal_width,species\n1,2,3,4,a\n1,2,3,4,\n", "row 2: the label"),
        ("sepal_length,sepal_width,petal_length,petal_width,species\n1,2,3,4,a\n1,2,3,,a\n", "row 2: `petal_width`"),
    ];
    for (csv, want) in cases {
        fs::write(&table, csv).unwrap();
        let refused = shelf.ask("compare", "@1", &[&second, table.to_str().unwrap()]).await;
        refused.assert_refused(1, &["table.csv", want]);
    }
}

#[tokio::test]
async fn a_broken_version_is_told_and_never_promoted() {
    let shelf = Shelf::of_two().await;
    let weights = shelf.path("2/weights.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let fault = ["2/weights.safetensors: the file was changed or damaged"];
    shelf.ask("promote", "@2", &["--anyway"]).await.assert_refused(1, &fault);
    shelf.ask("verify", "@2", &[]).await.assert_refused(1, &fault);
    let verified = shelf.ask("verify", "@2", &["--json"]).await;
    verified.assert_told(1, &["\"ok\": false", fault[0]]);
    fs::write(shelf.path("2/manifest.json"), "{}").unwrap();
    let listed = shelf.ask("list", "", &[]).await;
    listed.assert_told(0, &["unusable: ", "2/manifest.json: not a manifest: missing field `format`"]);
    assert!(fs::read_to_string(shelf.path("champion")).unwrap().starts_with("1 "));
}

#[tokio::test]
async fn what_a_pipeline_must_change_is_told_before_anything_is_promoted() {
    let shelf = Shelf::new();
    shelf.train(&["--epochs", "3", "--ignore", "petal_width"]).await;
    shelf.train(&["--epochs", "3", "--ignore", "sepal_width", "--no-promote"]).await;
    let told = ["change: it needs the new field `petal_width` (numeric): declare it as", "iris@2 was not promoted"];
    let refused = shelf.ask("promote", "@2", &[]).await;
    refused.assert_refused(1, &[&told[..], &["note: it no longer looks at `sepal_width`"]].concat());
    let json = shelf.json("promote", "@2", &[]).await;
    assert_eq!((&json["promoted"], &json["champion"]), (&false.into(), &1.into()));
    shelf.ask("promote", "@2", &["--anyway"]).await.assert_told(0, &["iris@2 is the champion now; it was iris@1"]);
}

#[tokio::test]
async fn what_was_asked_wrong_is_told_from_what_is_not_there() {
    let shelf = Shelf::of_two().await;
    shelf.ask("promote", "", &[]).await.assert_refused(2, &["say which version", "iris@VERSION"]);
    shelf.ask("list", "@1", &[]).await.assert_refused(2, &["all versions are listed"]);
    shelf.ask("rollback", "@1", &[]).await.assert_refused(2, &["goes to the champion before"]);
    shelf.ask("show", "@none", &[]).await.assert_refused(2, &["`none` is no version"]);
    for action in ["show", "promote", "verify"] {
        shelf.ask(action, "@9", &[]).await.assert_refused(1, &["there is no version 9; it has 1, 2"]);
    }
    run(["models", "list", "no/such"]).await.assert_refused(1, &["no/such: there is no such folder", "alluvium train"]);
    fs::remove_file(shelf.path("champion")).unwrap();
    shelf
        .ask("show", "", &[])
        .await
        .assert_refused(1, &["no champion is named; it has 1, 2", "alluvium models promote"]);
    shelf.ask("promote", "@1", &[]).await.assert_told(0, &["iris@1 is the champion now; there was none"]);
}

#[tokio::test]
async fn the_shipped_model_is_what_it_was() {
    let verified = run(["models", "verify", "models/iris"]).await;
    verified.assert_told(0, &["iris@", "nothing is wrong"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_lives_on_s3_as_in_a_folder() {
    let server = S3Server::start(true).await;
    let model = format!("s3://{BUCKET}/models/iris");
    let on_s3 = async |arguments: &[&str]| ended(command(arguments).envs(server.environment()).spawn().unwrap()).await;
    let train = ["train", IRIS_CSV, "--label", "species", "--out", &model, "--epochs", "3"];
    on_s3(&train).await.assert_told(0, &["iris@1: ", "is the champion now"]);
    let second = [&train[..], &["--no-promote", "--seed", "7"]].concat();
    on_s3(&second).await.assert_told(0, &["iris@2: ", "alluvium models promote s3://"]);
    let promoted = format!("{model}@2");
    on_s3(&["models", "promote", &promoted]).await.assert_told(0, &["iris@2 is the champion now; it was iris@1"]);
    on_s3(&["models", "list", &model]).await.assert_told(0, &["\n1 ", "\n2 ", "champion"]);
    on_s3(&["models", "verify", &model]).await.assert_told(0, &["iris@2: nothing is wrong", "exact: 30 rows"]);
    on_s3(&["models", "rollback", &model]).await.assert_told(0, &["iris@1 is the champion again"]);

    let folder = tempfile::tempdir().unwrap();
    let pipeline = fs::read_to_string("pipelines/iris.toml").unwrap();
    assert!(pipeline.contains("\"models/iris\""), "{pipeline}");
    let file = folder.path().join("iris.toml");
    fs::write(&file, pipeline.replace("\"models/iris\"", &format!("\"{model}\""))).unwrap();
    on_s3(&["check", text(&file), "--offline"]).await.assert_told(0, &["iris@1 fits the fields"]);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
