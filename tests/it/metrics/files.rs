//! Whoever names a metric names one of the list: the sources, the pages, the alerts, the dashboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use alluvium::telemetry::metrics::{self, Kind, TABLE};
use serde_json::Value;

use crate::support::parts;

const PAGE: &str = "docs/metrics.md";
const BEGIN: &str = "<!-- made by the test `the_page_of_metrics_is_the_table`: begin -->\n";
const END: &str = "<!-- end -->\n";
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/alluvium.json";

/// What Prometheus adds to every series by itself.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

fn text(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All below a folder of the repository.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The names of metrics in a text, without what a histogram's series have behind them.
fn names(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices("alluvium_").filter(|(at, _)| {
        !text[..*at].ends_with(|before: char| before.is_ascii_alphanumeric() || "_-/.".contains(before))
    });
    let names = starts.map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    });
    names.map(|name| histogram(name).unwrap_or(name)).collect()
}

fn histogram(name: &str) -> Option<&str> {
    let name = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    TABLE.iter().any(|metric| metric.name == name && metric.kind == Kind::Histogram).then_some(name)
}

#[test]
fn the_sources_count_what_is_in_the_table_and_nothing_else() {
    let files = rust_files(Path::new("src")).into_iter();
    let files = files.filter(|path| !path.ends_with("telemetry/metrics/table.rs") && !path.ends_with("tests.rs"));
    let code: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    // A name is one text by itself.
    let used: BTreeSet<&str> = code.split('"').filter(|text| text.starts_with("alluvium_")).flat_map(names).collect();
    let known: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    let unknown: Vec<_> =
        used.difference(&known).filter(|name| !["alluvium_positions", "alluvium_revisions"].contains(name)).collect();
    assert_eq!(unknown, Vec::<&&str>::new(), "these are not in the table");
    let unused: Vec<_> = known.difference(&used).collect();
    assert_eq!(unused, Vec::<&&str>::new(), "nothing counts these");
    assert_eq!(known.len(), TABLE.len(), "no name stands twice");
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for metric in TABLE {
        let name = metric.name;
        assert!(name.starts_with("alluvium_") && !metric.meaning.is_empty(), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        for unit in ["seconds", "bytes"] {
            let in_name = name.trim_end_matches("_total").ends_with(unit);
            assert_eq!(in_name, metric.unit == unit, "{name} is in {}", metric.unit);
        }
    }
}

#[test]
fn the_page_of_metrics_is_the_table() {
    let page = text(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for what is made");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let made = format!("{before}{BEGIN}\n{}\n{END}{after}", metrics::markdown());
    if std::env::var_os("ALLUVIUM_WRITE_DOCS").is_some_and(|write| write == "1") {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), &made).unwrap();
    } else {
        assert!(made == page, "{PAGE} is out of date: run this test once with ALLUVIUM_WRITE_DOCS=1");
    }
}

/// The labels that an expression gives each metric: those in its braces.
fn labels(expression: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in names(expression) {
        for (at, _) in expression.match_indices(name) {
            let rest = &expression[at + name.len()..];
            let rest =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| rest.strip_prefix(suffix)).unwrap_or(rest);
            let inside = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            let named = inside.split(',').filter_map(|matcher| matcher.split(['=', '!']).next());
            found.entry(name).or_default().extend(named.map(str::trim).filter(|name| !name.is_empty()));
        }
    }
    found
}

fn assert_known(expression: &str, place: &str) {
    for (name, given) in labels(expression) {
        let metric = TABLE.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{place} names {name}, which is in no table"));
        for label in given {
            let known = OF_PROMETHEUS.contains(&label) || metric.labels.iter().any(|known| known.name == label);
            assert!(known, "{place}: {name} has no label {label}");
        }
    }
    for grouped in ["by (", "on ("].iter().flat_map(|word| expression.split(word).skip(1)) {
        for label in grouped.split(')').next().unwrap_or_default().split(',').map(str::trim) {
            let known = |name: &&str| {
                TABLE.iter().any(|metric| metric.name == *name && metric.labels.iter().any(|l| l.name == label))
            };
            assert!(
                OF_PROMETHEUS.contains(&label) || names(expression).iter().any(known),
                "{place}: no {label} in {expression}"
            );
        }
    }
}

#[test]
fn the_alerts_name_metrics_of_the_table_with_their_labels() {
    let alerts = text(ALERTS);
    let expressions = alerts.split("expr:").skip(1).map(|rest| rest.split("\n        for:").next().unwrap_or_default());
    let expressions: Vec<_> =
        expressions.map(|rest| rest.split("\n        labels:").next().unwrap_or_default()).collect();
    assert!(expressions.len() >= 9, "{}", expressions.len());
    for expression in expressions {
        assert!(!names(expression).is_empty(), "{expression}");
        assert_known(expression, ALERTS);
    }
}

/// Each has a promtool test that expects it, and one that does not.
#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/tests");
    let tests: String =
        fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let alerts = text(ALERTS);
    for name in alerts.split("- alert: ").skip(1).filter_map(|rest| rest.lines().next()) {
        let cases: Vec<_> = tests.split(&format!("alertname: {name}\n")).skip(1).collect();
        let quiet = |case: &&str| -> bool { case.trim_start().starts_with("exp_alerts: []") };
        assert!(cases.iter().any(quiet), "{name} never stays quiet");
        assert!(cases.iter().any(|case| !quiet(case)), "{name} never fires");
    }
}

/// Everything in a tree of JSON that stands under this key.
fn all_under<'a>(json: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                if name == key {
                    found.push(value);
                }
                all_under(value, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all_under(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_names_metrics_of_the_table_with_their_labels_and_answers_four_questions() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let mut expressions = vec![];
    all_under(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20, "{}", expressions.len());
    for expression in expressions {
        let expression = expression.as_str().unwrap();
        assert!(!names(expression).is_empty(), "{expression}");
        assert_known(expression, DASHBOARD);
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().unwrap()).collect();
    let questions = ["Is it healthy?", "Is it keeping up?", "What is it predicting?", "Where is the time going?"];
    assert_eq!(rows, questions);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "no panel's number stands twice");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "prometheus", "{}", panel["title"]);
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
    }
}

#[test]
fn promtool_is_content_with_the_alerts_and_their_tests() {
    let Some(promtool) = parts::program("promtool") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let tests = fs::read_dir(root.join("tests")).unwrap().map(|entry| entry.unwrap().path());
    for (verb, files) in [("check", vec![root.join("alerts.yml")]), ("test", tests.collect())] {
        let ran = Command::new(&promtool).args([verb, "rules"]).args(files).current_dir(&root).output().unwrap();
        let said = [ran.stdout.as_slice(), &ran.stderr].map(String::from_utf8_lossy).concat();
        assert!(ran.status.success(), "promtool {verb} rules: {said}");
    }
    let ran = Command::new(&promtool)
        .args(["check", "config", "--syntax-only", "prometheus.yml"])
        .current_dir(&root)
        .output();
    assert!(ran.unwrap().status.success(), "prometheus.yml");
}
