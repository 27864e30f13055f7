//! How many series there are at most, and what strangers can put into them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::telemetry::{
    meter::{BYTES_BOUNDS, ROWS_BOUNDS, Steps},
    metrics::{SERIES_MAX, recorder},
    status::{Model, Outlet, OutletPlace, Rejects, State, Step, Totals},
};

fn histogram(bounds: &[f64]) -> Histogram {
    Histogram { bounds: bounds.to_vec(), buckets: vec![2; bounds.len() + 1], sum: 1.5 }
}

fn class(name: &str, datasets: usize) -> Class {
    let datasets: BTreeMap<_, _> = (0..datasets).map(|n| (format!("d{n}"), 3)).collect();
    Class {
        name: name.into(),
        records: 3,
        confidence: histogram(&[0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0]),
        datasets,
    }
}

/// Everything at its limit: a thousand partitions of many datasets, three outlets, a model with all the classes it may have.
fn huge() -> Status {
    let outlet = |name: &&str| OutletPlace { name: (*name).into(), position: 5, behind: 2 };
    let partition = |n: i32| Partition {
        dataset: format!("d{n}"),
        partition: n,
        state: State::Running,
        open: true,
        lag_seconds: Some(1.0),
        freshness_seconds: Some(2.0),
        rejected_share: Some(0.1),
        model: Some("m@2".into()),
        model_version: Some(2),
        model_changed_at: Some(7),
        outlets: ["results", "rejected", "postgres"].iter().map(outlet).collect(),
        ..Partition::default()
    };
    let steps = Steps::default();
    let rejects = |n| Rejects { reason: format!("reason{n}"), records: 1, sample: None };
    Status {
        totals: Totals { lanes: 1_500, lanes_open: 1_500, ..Totals::default() },
        partitions: (0..1_000).map(partition).collect(),
        partitions_left_out: 500,
        classes: (0..255).map(|n| class(&format!("c{n}"), 17)).collect(),
        rejects: (0..13).map(rejects).collect(),
        model: Some(Model::default()),
        outlets: vec![Outlet::default(); 3],
        steps: steps.told().map(|(name, took)| (name.into(), Step { times: 0, seconds: 0.0, took })).collect(),
        segment_bytes: histogram(BYTES_BOUNDS),
        segment_rows: histogram(ROWS_BOUNDS),
        ..Status::default()
    }
}

#[test]
fn a_thousand_partitions_stay_under_the_limit_of_series() {
    let (_recorder, rendered) = recorder();
    let page = rendered.render(&huge());
    let series = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: BTreeSet<_> = series.clone().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(names.len(), series.count(), "no series is there twice");
    assert!((1_000..=SERIES_MAX).contains(&names.len()), "{}", names.len());
    assert!(page.contains("\nalluvium_partitions_not_shown 1400\n"), "what is left out is counted");
    let others = format!("\nalluvium_predictions_total{{dataset=\"d0\",class=\"{OTHER_CLASSES}\"}} 615\n");
    assert!(page.contains(&others), "the classes beyond the limit are counted together");
}

#[test]
fn what_a_partition_does_not_know_yet_is_not_shown() {
    let opening = Partition { dataset: "d".into(), state: State::Opening, ..Partition::default() };
    let page = text(&Status { partitions: vec![opening], ..Status::default() });
    assert!(!page.contains("alluvium_partition_") && page.contains("\nalluvium_ready 0\n"), "{page}");
}

#[test]
fn a_name_can_not_break_out_of_its_label() {
    let hostile = "a\"} 1\nalluvium_ready 1\\";
    let page = text(&Status { classes: vec![class(hostile, 1)], ..Status::default() });
    assert!(page.contains(r#"{dataset="d0",class="a\"} 1\nalluvium_ready 1\\"} 3"#), "{page}");
    assert_eq!(page.matches("\nalluvium_ready ").count(), 1);
}

#[test]
fn buckets_add_up_to_the_count() {
    let page = text(&Status { classes: vec![class("c", 1)], ..Status::default() });
    for line in ["_bucket{class=\"c\",le=\"+Inf\"} 18", "_sum{class=\"c\"} 1.5", "_count{class=\"c\"} 18"] {
        assert!(page.contains(&format!("\nalluvium_confidence{line}\n")), "`{line}` is missing in {page}");
    }
}
