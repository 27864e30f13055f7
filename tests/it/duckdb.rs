//! Readers' engines over a lake that the built binary made: DuckDB with every query of `sink/queries`, and ClickHouse
//! with its load script.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use crate::support::parts;

const RECORDS: u64 = 20_000;
const PARTITIONS: u64 = 3;

/// Runs every statement of a script and prints the last one's rows as JSON.
const DUCKDB: &str = r#"
import duckdb, json, sys
lake, scripts = sys.argv[1], sys.argv[2:]
for script in scripts:
    con = duckdb.connect()
    con.execute("SET VARIABLE lake = '" + lake.replace("'", "''") + "'")
    for statement in con.extract_statements(open(script).read()):
        result = con.execute(statement)
    columns = [column[0] for column in result.description]
    rows = [dict(zip(columns, row)) for row in result.fetchall()]
    print(json.dumps(rows, default=str))
"#;

/// Runs the load script twice over the lake, then once more with half of the rows gone; prints the counts after each.
const CLICKHOUSE: &str = r#"
import json, sys
from chdb import session
lake, script = sys.argv[1], sys.argv[2]
script = open(script).read()
assert "'sink/lake/scored/iris/" in script
script = script.replace("'sink/lake/scored/iris/", "'" + lake + "/scored/demo/")
db = session.Session()
db.query("CREATE DATABASE warehouse")
db.query("USE warehouse")
counts = lambda final: json.loads(db.query("SELECT toUInt32(count()) AS n FROM iris_scored " + final, "JSONEachRow").data())["n"]
classes = str(db.query(script, "CSV"))
seen = [counts("")]
assert str(db.query(script, "CSV")) == classes
seen.append(counts(""))
db.query("ALTER TABLE iris_scored DELETE WHERE _offset % 2 = 0 SETTINGS mutations_sync = 2")
assert str(db.query(script, "CSV")) == classes
seen.append(counts("FINAL"))
print(json.dumps(seen))
"#;

#[test]
fn every_query_runs_on_a_lake_of_the_demo() {
    let Some(python) = parts::python_with("duckdb") else { return };
    let queries =
        ["confidence_histogram", "freshness", "newest_rows", "predictions_by_class_and_hour", "rejects_by_reason"];
    assert_eq!(queries.map(|name| format!("{name}.sql")).to_vec(), scripts("sink/queries"), "each query has its test");
    let scripts = queries.map(|name| at(&format!("sink/queries/{name}.sql")));
    let scripts: Vec<&Path> = scripts.iter().map(PathBuf::as_path).collect();
    let printed = run(&python, DUCKDB, demo_lake(), &scripts);
    let answers: Vec<Vec<Row>> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [histogram, freshness, newest, classes, rejects] = answers.as_slice() else { panic!("{printed}") };

    assert_eq!(sum(histogram, "records"), RECORDS);
    assert_eq!(sum(classes, "records"), RECORDS);
    assert!(classes.iter().all(|row| row["date"].is_string() && row["hour"].is_u64()), "{classes:?}");
    assert_eq!(freshness.len() as u64, PARTITIONS);
    assert_eq!(sum(freshness, "records"), RECORDS);
    assert!(freshness.iter().all(|row| row["first_offset"] == 0), "{freshness:?}");
    assert_eq!(newest.len(), 20);
    assert!(newest.windows(2).all(|pair| pair[0]["utc"].as_str() >= pair[1]["utc"].as_str()), "{newest:?}");
    assert!(rejects.is_empty(), "{rejects:?}");
}

#[test]
fn no_offset_is_twice_in_the_files_and_none_is_left_out() {
    let Some(python) = parts::python_with("duckdb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("offsets.sql");
    let sql = "SELECT _generation, _partition, count(*) AS records, count(DISTINCT _offset) AS offsets, \
               max(_offset) - min(_offset) + 1 AS span, \
               count(*) FILTER (date IS NULL OR hour IS NULL OR prediction IS NULL OR confidence IS NULL) AS lacking \
               FROM read_parquet(getvariable('lake') || '/scored/**/*.parquet', hive_partitioning = true) GROUP BY ALL";
    std::fs::write(&script, sql).unwrap();
    let printed = run(&python, DUCKDB, demo_lake(), &[&script]);
    let partitions: Vec<Row> = serde_json::from_str(&printed).unwrap();
    assert_eq!(partitions.len() as u64, PARTITIONS);
    assert_eq!(sum(&partitions, "records"), RECORDS);
    for row in &partitions {
        assert_eq!((&row["offsets"], &row["span"], &row["lacking"]), (&row["records"], &row["records"], &0.into()));
    }
}

#[test]
fn clickhouse_loads_every_row_once_however_often_it_is_told_to() {
    let Some(python) = parts::python_with("chdb") else { return };
    let printed = run(&python, CLICKHOUSE, demo_lake(), &[&at("sink/warehouse/clickhouse.sql")]);
    let counts: Vec<u64> = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(counts, [RECORDS; 3]);
}

type Row = serde_json::Map<String, serde_json::Value>;

fn sum(rows: &[Row], column: &str) -> u64 {
    rows.iter().map(|row| row[column].as_u64().unwrap()).sum()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn scripts(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(at(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "sql"));
    names.sort();
    names
}

/// A lake that `alluvium demo` made, once for all tests here; the system's temporary folder is where it ends.
fn demo_lake() -> &'static Path {
    static LAKE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, lake) = LAKE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        let mut demo = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        demo.args(["demo", "--records", &RECORDS.to_string(), "--partitions", &PARTITIONS.to_string(), "--lake"]);
        succeed(demo.arg(&lake).current_dir(env!("CARGO_MANIFEST_DIR")));
        (folder, lake)
    });
    lake
}

fn run(python: &Path, program: &str, lake: &Path, arguments: &[&Path]) -> String {
    let mut command = Command::new(python);
    let output = succeed(command.args(["-c", program]).arg(lake).args(arguments));
    String::from_utf8(output.stdout).unwrap()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}
