//! Reports for the tests, with numbers as a training would bring them.

use std::iter::successors;

use super::*;

/// Three classes of ten rows each; one row of 30 is wrong.
pub(super) fn iris() -> Report {
    let classes = ["setosa", "versicolor", "virginica"].map(String::from);
    let labels: Vec<u8> = (0..30).map(|row| row / 10).collect();
    let logits: Vec<f32> = (0_u8..30).flat_map(|row| flower(row / 10, row)).collect();
    Report::new(ReportInput {
        data: data("models/iris/data/iris.csv", &classes, &[50, 50, 50], iris_columns()),
        settings: settings(),
        split: SplitSizes { train: 98, validation: 22, test: 30 },
        epochs: epochs(120, 1.1),
        best_epoch: 96,
        test: Predictions { classes: &classes, labels: &labels, logits: &logits },
        temperature: 1.4312,
        baselines: vec![
            baseline("the majority class", &classes, &labels, &[0; 30]),
            baseline(
                "logistic regression",
                &classes,
                &labels,
                &labels.iter().map(|label| (*label).max(1)).collect::<Vec<_>>(),
            ),
        ],
        importance: ["petal_width", "petal_length", "sepal_width", "sepal_length"]
            .into_iter()
            .zip(halves(1.21))
            .map(important)
            .collect(),
        folds: (1..=10).map(|number| fold(number, 15, if number % 4 == 0 { 14 } else { 15 })).collect(),
        trials: vec![
            trial(&[16], 0.01, 0.081, true),
            trial(&[8], 0.03, 0.112, false),
            trial(&[64, 64], 0.003, 0.094, false),
        ],
    })
}

/// Two classes, one of them rare, that can't quite be told apart.
pub(super) fn fraud() -> Report {
    let classes = ["legitimate", "fraud"].map(String::from);
    let labels: Vec<u8> = (0..4_000).map(|row| u8::from(row % 80 == 0)).collect();
    let logits: Vec<f32> =
        successors(Some(7_u32), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
            .map(|state| f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 65_536.0)
            .zip(&labels)
            .flat_map(|(noise, &label)| [0.0, (noise - 0.86) * 16.0 + f32::from(label) * 9.0])
            .collect();
    let predicted: Vec<u8> =
        labels.iter().enumerate().map(|(row, label)| if row % 3 == 0 { 0 } else { *label }).collect();
    Report::new(ReportInput {
        data: data("models/fraud/data", &classes, &[197_500, 2_500], fraud_columns()),
        settings: settings(),
        split: SplitSizes { train: 156_000, validation: 40_000, test: 4_000 },
        epochs: epochs(40, 0.6),
        best_epoch: 31,
        test: Predictions { classes: &classes, labels: &labels, logits: &logits },
        temperature: 0.8711,
        baselines: vec![
            baseline("the majority class", &classes, &labels, &[0; 4_000]),
            baseline("logistic regression", &classes, &labels, &predicted),
        ],
        importance: ["amount", "distance_km", "merchant_category", "velocity_1h", "hour", "country", "card_present"]
            .into_iter()
            .zip(halves(0.42))
            .map(important)
            .collect(),
        folds: Vec::new(),
        trials: Vec::new(),
    })
}

/// Forty classes, and names that mean mischief.
pub(super) fn many() -> Report {
    let mischief = r#"<script src="http://example.org">alert('&')</script>"#;
    let classes: Vec<String> = (0..40).map(|class| format!("{mischief}{class}")).collect();
    let labels: Vec<u8> = (0..40).cycle().take(400).collect();
    let logits: Vec<f32> =
        labels.iter().flat_map(|&label| (0..40).map(move |class| if class == label { 2.0 } else { 0.0 })).collect();
    let columns = (0..300).map(|number| column(&format!("{mischief}{number}"), "numeric", mischief, None)).collect();
    Report::new(ReportInput {
        data: data(mischief, &classes, &[10; 40], columns),
        settings: vec![Setting { name: mischief.to_owned(), value: mischief.to_owned() }],
        split: SplitSizes::default(),
        epochs: Vec::new(),
        best_epoch: 0,
        test: Predictions { classes: &classes, labels: &labels, logits: &logits },
        temperature: 1.0,
        baselines: vec![baseline(mischief, &classes, &labels, &labels)],
        importance: (0..60).map(|_| mischief).zip(halves(1.0)).map(important).collect(),
        folds: Vec::new(),
        trials: Vec::new(),
    })
    .about(mischief, 3, DateTime::UNIX_EPOCH)
}

fn flower(label: u8, row: u8) -> [f32; 3] {
    let mut logits = [0.0; 3];
    let taken = if row == 17 { 2 } else { label };
    logits[usize::from(taken)] = 1.5 + f32::from(row % 10) * 0.6;
    logits
}

fn data(source: &str, classes: &[String], rows: &[u64], columns: Vec<ColumnSummary>) -> DataSummary {
    let share = |(class, &rows): (&String, &u64)| ClassShare { class: class.clone(), rows };
    DataSummary {
        sources: vec![source.to_owned()],
        digest: "6f608b71a7317216319b4d27b4d9bc84e6abd734eda7872b71a458569e2656c0".to_owned(),
        rows: rows.iter().sum(),
        label: "species".to_owned(),
        classes: classes.iter().zip(rows).map(share).collect(),
        columns,
    }
}

fn iris_columns() -> Vec<ColumnSummary> {
    let numbers = |min, mean, max, std| Some(NumberSummary { min, mean, max, std });
    vec![
        column("sepal_length", "numeric", "numbers", numbers(4.3, 5.843, 7.9, 0.825)),
        column("sepal_width", "numeric", "numbers", numbers(2.0, 3.057, 4.4, 0.434)),
        column("petal_length", "numeric", "numbers", numbers(1.0, 3.758, 6.9, 1.759)),
        column("petal_width", "numeric", "numbers", numbers(0.1, 1.199, 2.5, 0.76)),
    ]
}

fn fraud_columns() -> Vec<ColumnSummary> {
    vec![
        column(
            "amount",
            "numeric",
            "numbers",
            Some(NumberSummary { min: 0.01, mean: 74.225, max: 48_212.9, std: 310.4 }),
        ),
        column("merchant_category", "categorical", "14 words", None),
        column("card_present", "boolean", "true or false", None),
        ColumnSummary { used: false, told: "different in every row".to_owned(), ..column("id", "text", "", None) },
    ]
}

fn column(name: &str, kind: &str, told: &str, numbers: Option<NumberSummary>) -> ColumnSummary {
    ColumnSummary {
        name: name.to_owned(),
        kind: kind.to_owned(),
        used: true,
        told: told.to_owned(),
        missing: 0,
        numbers,
    }
}

fn settings() -> Vec<Setting> {
    [
        ("Hidden layers", "16"),
        ("Activation", "relu"),
        ("Epochs", "200"),
        ("Batch size", "12"),
        ("Learning rate", "0.01"),
        ("Seed", "42"),
    ]
    .map(|(name, value)| Setting { name: name.to_owned(), value: value.to_owned() })
    .to_vec()
}

fn epochs(count: u32, start: f64) -> Vec<EpochPoint> {
    let point = |number: u32| {
        let loss = start * (-f64::from(number) / f64::from(count) * 5.0).exp() + 0.04;
        EpochPoint {
            number: number as usize,
            train_loss: loss,
            validation_loss: loss + 0.02 + f64::from(number) / f64::from(count) * 0.04 + f64::from(number % 3) * 0.004,
            train_accuracy: 1.0 - loss * 0.4,
            validation_accuracy: 0.98 - loss * 0.4,
        }
    };
    (1..=count).map(point).collect()
}

fn baseline(name: &str, classes: &[String], labels: &[u8], predicted: &[u8]) -> BaselineResult {
    let evaluation = Evaluation { log_loss: Some(0.412), ..Evaluation::new(classes, labels, predicted) };
    BaselineResult { name: name.to_owned(), evaluation }
}

fn halves(first: f64) -> impl Iterator<Item = f64> {
    successors(Some(first), |value| Some(value / 2.0))
}

fn important((feature, rise): (&str, f64)) -> Importance {
    Importance {
        feature: feature.to_owned(),
        accuracy_drop: rise / 4.0,
        accuracy_drop_std: 0.01,
        loss_rise: rise,
        loss_rise_std: rise / 9.0,
    }
}

fn fold(number: usize, rows: u64, right: u32) -> Fold {
    Fold { number, rows, accuracy: f64::from(right) / 15.0, log_loss: 0.09 }
}

fn trial(hidden: &[usize], learning_rate: f64, validation_loss: f64, chosen: bool) -> Trial {
    Trial { hidden: hidden.to_vec(), learning_rate, validation_loss, validation_accuracy: 0.9545, chosen }
}
