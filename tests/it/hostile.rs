//! Names that a stranger chose: at each entrance they are refused in words that a terminal can have, or they do no harm.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alluvium::{
    config,
    lake::{FileKind, names},
    objects::Objects,
    offset::LaneId,
    pipeline::{Flows, Naming, TopicPattern},
    record::name::NAME_CHARS_MAX,
};
use tempfile::TempDir;

use crate::support::{
    parts,
    program::{Ran, command, ended, run, written},
    stage::Stage,
};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");

/// What no name of ours may be: none of them is a folder below ours, or can stand on a line.
const NEVER: [&str; 16] = [
    "..",
    ".",
    "../up",
    "a/../../up",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..\\up",
    "a\0b",
    "a\nlevel=ERROR forged",
    "a\rb",
    "\u{1b}[2J",
    "\u{9b}2J",
    "a\u{202e}b",
    "a'; DROP TABLE lake; --",
    "$(reboot)`reboot`",
];

/// What may not even be in a name that is otherwise free.
const UNSEEN: [&str; 7] =
    ["a\0b", "a\nlevel=ERROR forged", "a\rb", "\u{1b}[2J", "\u{9b}2J", "a\u{7f}", "\u{1b}]0;title\u{7}"];

fn absurd() -> String {
    "x".repeat(100_000)
}

/// A sound file with `{}` for one value.
fn file(table: &str, line: &str) -> String {
    let mut tables: BTreeMap<&str, String> = [
        ("source", "brokers = \"b:1\"\ntopic = \"t\"\n"),
        ("[fields]", "name = \"x\"\ntype = \"int64\"\n"),
        ("model", "path = \"m\"\n"),
        ("lake", "url = \"l\"\ndataset = \"d\"\n"),
    ]
    .map(|(table, text)| (table, text.to_owned()))
    .into();
    let text = tables.entry(table).or_default();
    let key = line.split(' ').next().unwrap();
    let others: Vec<_> = text.lines().filter(|line| !line.starts_with(&format!("{key} ="))).chain([line]).collect();
    *text = others.join("\n");
    let order = ["source", "[fields]", "model", "lake"];
    let others = tables.keys().copied().filter(|table| !order.contains(table)).collect::<Vec<_>>();
    let written = order.into_iter().chain(others).map(|table| format!("[{table}]\n{}\n", tables[table]));
    written.collect::<Vec<_>>().concat()
}

/// The file with this name at the entrance: what is wrong with it, if anything.
fn faults((table, line): (&str, &str), name: &str) -> Option<String> {
    let text = file(table, &line.replace("{}", &toml::Value::String(name.replace("${", "$${")).to_string()));
    let faults = config::parse(&text, |_| None).err()?;
    Some(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A message that can be shown: it is short, and holds nothing that a terminal obeys.
#[track_caller]
fn assert_showable(told: &str) {
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!told.contains(odd), "{told:?}");
    assert!(told.len() < 4_000, "{} bytes: {}…", told.len(), told.chars().take(200).collect::<String>());
    assert!(!told.lines().any(|line| line.starts_with("level=ERROR")), "{told}");
}

#[test]
fn the_file_of_this_test_is_sound() {
    assert_eq!(faults(("lake", "dataset = {}"), "sound"), None);
    assert_eq!(faults(("source", "topics = {}\n#"), "sound").map(|told| told.contains("exclude")), Some(true));
}

#[test]
fn names_of_topics_datasets_and_tables_are_plain_or_a_fault() {
    let entrances = [
        ("source", "topic = {}"),
        ("lake", "dataset = {}"),
        ("results", "topic = {}"),
        ("rejected", "topic = {}"),
        ("source", "group = \"g\"\ngroup_instance = {}"),
    ];
    for entrance in entrances {
        for name in NEVER.into_iter().chain([absurd().as_str(), "", " ", "a b"]) {
            let told = faults(entrance, name);
            assert_showable(&told.unwrap_or_else(|| panic!("{entrance:?} takes {name:?}")));
        }
    }
}

#[test]
fn patterns_of_topics_and_names_made_of_them_are_plain_or_a_fault() {
    let many = |key: &str, value: &str| {
        let value = toml::Value::String(value.replace("${", "$${"));
        let text = file("source", "topics = [\"t.*\"]").replace("topic = \"t\"\n", "");
        let text = match key {
            "topics" => text.replace("\"t.*\"", &value.to_string()),
            _ => text.replace("dataset = \"d\"", &format!("dataset = {value}")),
        };
        let text = if key == "topics" { text.replace("dataset = \"d\"\n", "") } else { text };
        config::parse(&text, |_| None).map(|_| ()).map_err(|faults| faults[0].to_string())
    };
    assert_eq!((many("topics", "a.*"), many("dataset", "raw-{topic}")), (Ok(()), Ok(())));
    for name in NEVER {
        for (key, value) in [("topics", format!("{name}*")), ("dataset", format!("{name}/{{topic}}"))] {
            // Two dots and a star are a pattern like any other: what fits it is looked at then.
            if key == "topics" && matches!(name, "." | "..") {
                continue;
            }
            assert_showable(&many(key, &value).expect_err(&value));
        }
    }
    for value in [format!("{}{{topic}}", absurd()), "../{topic}".into(), "{topic}/..".into(), ".{topic}".into()] {
        assert_showable(&many("dataset", &value).expect_err(&value));
    }
}

#[test]
fn free_names_hold_nothing_unseen_and_have_an_end() {
    let entrances = [
        ("[fields]", "name = {}"),
        ("source", "group = {}"),
        ("lake", "url = {}"),
        ("model", "path = {}"),
        ("postgres", "url = \"postgres://u:p@h/d\"\ntable = {}"),
    ];
    for entrance in entrances {
        for name in UNSEEN.into_iter().chain([absurd().as_str()]) {
            let told = faults(entrance, name);
            assert_showable(&told.unwrap_or_else(|| panic!("{entrance:?} takes {name:?}")));
        }
    }
}

#[test]
fn no_bucket_s_prefix_leads_out_of_it_and_no_bucket_s_name_into_another_host() {
    for url in ["s3://b/../up", "s3://b/a/../../up", "s3://b/.", "s3://b?x=/a", "s3://b#/a", "s3://a@host/b", "s3://"] {
        for entrance in [("lake", "url = {}"), ("model", "path = {}")] {
            assert_showable(&faults(entrance, url).unwrap_or_else(|| panic!("{entrance:?} takes {url}")));
        }
        // The command line has entrances of its own.
        if url.contains("..") {
            Objects::open(url).expect_err(url);
        }
    }
    assert_eq!(faults(("lake", "url = {}"), "s3://b/a.b/c..d/"), None);
}

#[test]
fn a_topic_that_a_broker_tells_of_lands_beside_no_other_s_folder() {
    let topics: BTreeMap<String, Vec<i32>> =
        NEVER.into_iter().chain(["sound", &absurd()]).map(|topic| (topic.to_owned(), vec![0])).collect();
    for naming in ["{topic}", "raw-{topic}", "{topic}.x"] {
        let flows = Flows::Many { topics: vec![TopicPattern::new("*")], datasets: Naming::new(naming).unwrap() };
        let found = flows.found_in(topics.clone());
        for flow in found.flows.keys() {
            let place = names::data(FileKind::Scored, &flow.dataset);
            assert_eq!(place.as_ref(), format!("scored/{}", flow.dataset));
            assert!(!matches!(&*flow.dataset, "." | ".."), "{flow:?}");
            assert!(flow.dataset.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)), "{flow:?}");
        }
        assert!(found.flows.keys().any(|flow| &*flow.topic == "sound"), "{naming}");
        assert!(found.misnamed.len() >= topics.len() - 3, "{naming}: {:?}", found.misnamed.len());
    }
}

#[test]
fn whatever_a_dataset_were_called_its_ledger_stays_in_the_lake() {
    for name in NEVER {
        let id = LaneId { dataset: name.into(), generation: 0, partition: 0 };
        for path in [names::ledger(&id), names::staging_of(&id), names::data(FileKind::Scored, name)] {
            let parts: Vec<_> = path.parts().map(|part| part.as_ref().to_owned()).collect();
            assert!(parts.iter().all(|part| !matches!(part.as_str(), "" | "." | "..")), "{path}");
            assert!(parts[0].starts_with('_') || parts[0] == "scored", "{path}");
            assert!(!path.as_ref().contains(|c: char| c.is_ascii_control() || c == '\\'), "{path:?}");
        }
    }
}

#[tokio::test]
async fn names_on_the_command_line_are_refused_before_anything_is_asked() {
    let stage = Stage::new(1).await;
    let file = written(&stage, &stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), ""));
    let file = file.to_str().unwrap();
    for name in NEVER.into_iter().filter(|name| !name.contains('\0')) {
        for arguments in [
            vec!["audit", file, "--dataset", name],
            vec!["rejects", file, "--dataset", name],
            vec!["replay", file, "--dataset", name],
            vec!["expire", file, "--before", "1d", "--dataset", name],
            vec!["rescore", file, "--model", MODEL, "--into", name],
        ] {
            let ran = run(&arguments).await;
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ran:?}");
            assert_showable(&ran.stderr);
        }
    }
    assert!(!stage.lake_folder("lake").join("scored").exists());
}

/// The shipped model with another manifest, and no digests, which a stranger would have made anew.
fn model_of_a_stranger(folder: &TempDir, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
    let version = folder.path().join("iris/1");
    fs::create_dir_all(&version).unwrap();
    let theirs = Path::new(MODEL).join("1");
    fs::copy(theirs.join("weights.safetensors"), version.join("weights.safetensors")).unwrap();
    let mut manifest = serde_json::from_slice(&fs::read(theirs.join("manifest.json")).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(version.join("manifest.json"), manifest.to_string()).unwrap();
    fs::write(folder.path().join("iris/champion"), "1\n").unwrap();
    folder.path().join("iris")
}

#[tokio::test]
async fn a_model_with_such_classes_or_features_is_refused_wherever_it_is_named() {
    let (long, absurd) = ("x".repeat(NAME_CHARS_MAX + 1), absurd());
    for name in UNSEEN.into_iter().chain([long.as_str(), &absurd, "", "a\u{202e}b"]) {
        for place in ["/classes/0", "/features/0/name", "/training/label"] {
            let folder = tempfile::tempdir().unwrap();
            let model = model_of_a_stranger(&folder, |json| *json.pointer_mut(place).unwrap() = name.into());
            let model = model.to_str().unwrap();
            let ran = run(["models", "show", model]).await;
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{place} takes {name:?}: {ran:?}");
            assert!(ran.stderr.contains("manifest.json"), "{}", ran.stderr);
            assert_showable(&ran.stderr);
        }
    }
}

#[tokio::test]
async fn what_else_a_stranger_s_model_says_is_shown_without_what_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let model = model_of_a_stranger(&folder, |json| json["\u{1b}[2J\u{7}"] = 1.into());
    for arguments in [["models", "show"], ["models", "list"], ["models", "verify"]] {
        let ran = run(arguments.into_iter().chain([model.to_str().unwrap()])).await;
        assert_showable(&[ran.stdout, ran.stderr].concat());
    }
}

async fn train(table: &str) -> (Ran, bool) {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("t.csv"), folder.path().join("model"));
    fs::write(&csv, table).unwrap();
    let ran = run(["train", csv.to_str().unwrap(), "--label", "y", "--out", out.to_str().unwrap()]).await;
    (ran, out.exists())
}

#[tokio::test]
async fn a_table_with_such_classes_or_columns_trains_nothing() {
    let rows = |header: &str, class: &str| {
        let rows = (0..40).map(|row| format!("{}.5,{row}.25,{}\n", row % 7, if row % 2 == 0 { "a" } else { class }));
        [format!("{header},x,y\n")].into_iter().chain(rows).collect::<String>()
    };
    let (ran, made) = train(&rows("w", "b")).await;
    assert_eq!((ran.code, made), (Some(0), true), "{ran:?}");
    let long = "x".repeat(NAME_CHARS_MAX + 1);
    for name in ["\u{1b}[2J", "\u{9b}2J", "a\u{202e}b", &long] {
        for table in [rows("w", name), rows(name, "b")] {
            let (ran, made) = train(&table).await;
            assert!(ran.code != Some(0) && !made && ran.stdout.is_empty(), "{name:?}: {ran:?}");
            assert!(ran.stderr.contains("such a model is not possible"), "{}", ran.stderr);
            assert_showable(&ran.stderr);
        }
    }
}

/// The demo's last command, as a shell would hand it to DuckDB.
fn sql_by_the_shell(printed: &str, folder: &Path) -> String {
    let shim = folder.join("duckdb");
    fs::write(&shim, "#!/bin/sh\nprintf %s \"$2\"\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&shim).status().unwrap().success());
    let line = printed.lines().find(|line| line.trim().starts_with("duckdb -c ")).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let said = Command::new("sh").args(["-c", line.trim()]).env("PATH", path).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn the_sql_that_the_demo_prints_reads_its_lake_whatever_the_folder_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("it's \"$HOME\" `touch x` [*]? ; --");
    let ran = ended(
        command(["demo", "--records", "300", "--partitions", "1", "--lake"])
            .arg(&lake)
            .env("HOME", "/nowhere")
            .spawn()
            .unwrap(),
    )
    .await;
    ran.assert_told(0, &["clean: 300 offsets"]);
    let sql = sql_by_the_shell(&ran.stdout, folder.path());
    let quoted = "/it''s \"$HOME\" `touch x` [[][*]][?] ; --/scored/demo/**/*.parquet')";
    assert!(sql.contains(quoted), "{sql}");
    let Some(python) = parts::python_with("duckdb") else { return };
    let script = "import duckdb, sys; print(sum(row[1] for row in duckdb.sql(sys.argv[1]).fetchall()))";
    let said = Command::new(python).args(["-c", script, &sql]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "300", "{said:?}");
}

#[tokio::test]
async fn a_demo_s_folder_with_a_control_character_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("a\u{1b}[2Jb");
    let ran = ended(command(["demo", "--records", "1", "--lake"]).arg(&lake).spawn().unwrap()).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert_showable(&ran.stderr);
}
