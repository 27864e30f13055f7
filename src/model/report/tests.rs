//! Whole reports, as a person and as a script would read them.

use super::{
    samples::{fraud, iris, many},
    *,
};

fn page(report: &Report) -> String {
    report.to_html().unwrap()
}

fn headings(page: &str) -> Vec<&str> {
    page.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect()
}

#[test]
fn the_numbers_come_back_from_json_as_they_were() {
    for report in [iris(), fraud(), many()] {
        let read: Report = serde_json::from_slice(&report.to_json().unwrap()).unwrap();
        assert!(read == report, "{:?}", report.verdict);
    }
}

#[test]
fn the_numbers_of_three_classes_follow_from_the_predictions() {
    let report = iris();
    assert_eq!(report.held_out.confusion, [[10, 0, 0], [0, 9, 1], [0, 0, 10]]);
    assert_eq!(
        (report.held_out.accuracy, report.balanced_accuracy, report.macro_f1),
        (0.966_667, 0.966_667, 0.966_583)
    );
    assert_eq!((report.curves, report.areas.len()), (None, 3));
    let sentence = "The network beats logistic regression: 96.7 % accuracy against 66.7 %, on 30 held-out rows.";
    assert_eq!(report.verdict.sentence, sentence);
    let folds = report.folds.unwrap();
    assert!((folds.accuracy_mean - 148.0 / 150.0).abs() < 1e-12, "{folds:?}");
    assert!((folds.accuracy_std - 0.026_667).abs() < 1e-6, "{folds:?}");
    assert_eq!(report.calibration_after.bins.iter().map(|bin| bin.rows).sum::<u64>(), 30);
}

#[test]
fn each_section_stands_on_the_page_if_there_is_something_to_say() {
    let page = page(&iris());
    let titles = [
        "Against something simple",
        "Right and wrong, class by class",
        "Can its confidence be trusted?",
        "What it looks at",
        "How it was trained",
        "Cross-validation",
        "Settings that were tried",
        "The data",
    ];
    assert_eq!(headings(&page), titles);
    for word in ["96.7 %", "versicolor", "petal_length", "Expected calibration error", "Learning rate", "6f608b71"] {
        assert!(page.contains(word), "{word}");
    }
    assert_eq!(page.matches("<svg ").count(), 4);
}

#[test]
fn two_classes_have_their_curves() {
    let page = page(&fraud());
    assert!(headings(&page).contains(&"What another threshold would bring"));
    assert!(!headings(&page).contains(&"Cross-validation"));
    assert!(page.contains("ROC AUC") && page.contains("average precision"));
    assert_eq!(page.matches("<svg ").count(), 6);
}

#[test]
fn a_network_that_is_not_worth_it_is_said_so_at_the_top() {
    let page = page(&fraud());
    let top = page.split("<section>").next().unwrap();
    assert!(top.contains("The network does not beat logistic regression"), "{top}");
    assert!(top.contains(r#"class="verdict poor""#), "{top}");
}

#[test]
fn a_page_loads_nothing_and_runs_nothing_whatever_the_data_says() {
    for report in [iris(), fraud(), many()] {
        let page = page(&report);
        let lower = page.to_lowercase();
        for bad in
            ["<script", "<img", "<link", "<iframe", "@import", "url(", "src=\"", "href=", "javascript:", " onload"]
        {
            assert!(!lower.contains(bad), "{bad}");
        }
    }
    assert!(page(&many()).contains("&lt;script src="));
    // Of the names in `many`, one has an address in it; nothing of ours has.
    assert!([iris(), fraud()].iter().all(|report| !page(report).contains("http")));
}

#[test]
fn every_chart_says_what_it_shows() {
    let page = page(&fraud());
    assert_eq!(page.matches(r#"role="img" aria-label=""#).count(), page.matches("<svg ").count());
    assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
}

#[test]
fn many_classes_features_and_columns_leave_a_page_of_bounded_size() {
    let page = page(&many());
    assert!(page.contains("The 16 commonest classes; 24 more are in report.json."));
    assert!(page.contains("40 more features are in report.json."));
    assert!(page.contains("45 more columns are in report.json."));
    assert!(page.len() < 400_000, "{}", page.len());
}

#[test]
fn the_page_names_the_version_once_it_has_one() {
    assert!(page(&iris()).contains("<h1>A model of species</h1>"));
    let saved = iris().about("iris", 4, DateTime::UNIX_EPOCH);
    assert!(page(&saved).contains("<h1>iris, version 4</h1>"));
    assert!(page(&saved).contains("1 January 1970, 00:00 UTC"));
    assert_eq!(saved.held_out, iris().held_out);
}

#[test]
fn a_long_history_is_thinned_and_keeps_its_best_epoch_and_what_is_no_number_is_left_out() {
    let epoch = |number: usize| EpochPoint {
        number,
        train_loss: if number == 5 { f64::NAN } else { 0.5 },
        validation_loss: 0.6,
        train_accuracy: 0.9,
        validation_accuracy: 0.8,
    };
    let numbers: Vec<_> = kept((1..=5_000).map(epoch).collect(), 777).iter().map(|epoch| epoch.number).collect();
    assert!(numbers.len() <= EPOCHS_KEPT_MAX + 2, "{}", numbers.len());
    assert!([1, 777, 5_000].iter().all(|number| numbers.contains(number)) && !numbers.contains(&5));
}

#[test]
fn a_report_of_nothing_is_still_a_page() {
    let classes = ["a", "b"].map(String::from);
    let report = Report::new(ReportInput {
        data: DataSummary::default(),
        settings: Vec::new(),
        split: SplitSizes::default(),
        epochs: Vec::new(),
        best_epoch: 0,
        test: Predictions { classes: &classes, labels: &[], logits: &[] },
        temperature: 1.0,
        baselines: Vec::new(),
        importance: Vec::new(),
        folds: Vec::new(),
        trials: Vec::new(),
    });
    assert_eq!(report.verdict.standing, Standing::Alone);
    assert!(!page(&report).contains("NaN"));
}
