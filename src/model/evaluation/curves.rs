//! What a threshold on the probability could reach: ROC, precision and recall, and the areas below them.
//!
//! Areas are computed from all rows, rows of the same score at once; only what is drawn is thinned.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Predictions, mean, six_digits, softmax::probability};

/// Points kept of one curve, so that a report stays small.
const POINTS_MAX: usize = 200;

/// The two curves of a model with two classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// The rarer class, whose probability the threshold is put on.
    pub positive: String,
    /// Its share of the rows: the average precision of a guess.
    pub share: f64,
    pub roc_auc: f64,
    pub average_precision: f64,
    /// x: of the negative rows, the share called positive. y: of the positive rows, the share called so.
    pub roc: Vec<Point>,
    /// x: recall, y: precision.
    pub precision_recall: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// How well the probability of one class tells it from all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Area {
    pub class: String,
    pub roc_auc: f64,
    pub average_precision: f64,
}

impl Curves {
    /// `None` unless there are two classes with rows of both.
    #[must_use]
    pub fn of(predictions: &Predictions<'_>) -> Option<Self> {
        let [first, second] = predictions.classes else { return None };
        let seconds = predictions.rows().filter(|(label, _)| *label == 1).count();
        let second_is_rarer = 2 * seconds <= predictions.labels.len();
        // The distance between the logits orders rows as the probability does, and has no ties where that rounds to 1.
        let scored = predictions.rows().map(|(label, logits)| match (logits, second_is_rarer) {
            (&[first, second], true) => (f64::from(second) - f64::from(first), label == 1),
            (&[first, second], false) => (f64::from(first) - f64::from(second), label == 0),
            _ => (f64::NAN, false),
        });
        let steps = Steps::of(scored)?;
        let positive = if second_is_rarer { second } else { first }.clone();
        Some(Self {
            positive,
            share: six_digits(mean(steps.positives(), steps.last().rows())),
            roc_auc: steps.roc_auc(),
            average_precision: steps.average_precision(),
            roc: steps.roc(),
            precision_recall: steps.precision_recall(),
        })
    }
}

impl Area {
    /// For each class that has rows and is not the only one; the probabilities are those of this temperature.
    #[must_use]
    pub fn of(predictions: &Predictions<'_>, temperature: f32) -> Vec<Self> {
        let area = |(index, class): (usize, &String)| {
            let scored =
                predictions.rows().map(|(label, logits)| (probability(logits, index, temperature), label == index));
            let steps = Steps::of(scored)?;
            let (roc_auc, average_precision) = (steps.roc_auc(), steps.average_precision());
            Some(Self { class: class.clone(), roc_auc, average_precision })
        };
        predictions.classes.iter().enumerate().filter_map(area).collect()
    }
}

/// Rows called positive so far, on the way from the strictest threshold to the loosest.
#[derive(Clone, Copy, Debug, Default)]
struct Called {
    right: u64,
    wrong: u64,
}

impl Called {
    fn rows(self) -> u64 {
        self.right + self.wrong
    }
}

/// One entry for each score that occurs, after a first with no rows.
struct Steps(Vec<Called>);

impl Steps {
    /// `None` unless there are rows of both kinds.
    fn of(scored: impl Iterator<Item = (f64, bool)>) -> Option<Self> {
        // A score that is no number is the least of all.
        let mut rows: Vec<(f64, bool)> =
            scored.map(|(score, is)| (if score.is_nan() { f64::NEG_INFINITY } else { score }, is)).collect();
        rows.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
        let mut steps = vec![Called::default()];
        let mut called = Called::default();
        for same in rows.chunk_by(|a, b| a.0.partial_cmp(&b.0) == Some(Ordering::Equal)) {
            let right = same.iter().filter(|(_, is)| *is).count() as u64;
            called = Called { right: called.right + right, wrong: called.wrong + same.len() as u64 - right };
            steps.push(called);
        }
        (called.right > 0 && called.wrong > 0).then_some(Self(steps))
    }

    fn last(&self) -> Called {
        self.0.last().copied().unwrap_or_default()
    }

    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
    fn positives(&self) -> f64 {
        self.last().right as f64
    }

    /// Shares of the positive and of the negative rows that are called positive.
    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
    fn rates(&self) -> impl Iterator<Item = Point> {
        let all = self.last();
        self.0.iter().map(move |called| Point {
            x: mean(called.wrong as f64, all.wrong),
            y: mean(called.right as f64, all.right),
        })
    }

    /// Recall and precision, the point without rows left out.
    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
    fn tradeoffs(&self) -> impl Iterator<Item = Point> {
        let all = self.last();
        self.0.iter().skip(1).map(move |called| Point {
            x: mean(called.right as f64, all.right),
            y: mean(called.right as f64, called.rows()),
        })
    }

    fn roc_auc(&self) -> f64 {
        let pairs = self.rates().zip(self.rates().skip(1));
        six_digits(pairs.map(|(a, b)| (b.x - a.x) * f64::midpoint(a.y, b.y)).sum())
    }

    fn average_precision(&self) -> f64 {
        let area = |(before, sum): (f64, f64), point: Point| (point.x, sum + (point.x - before) * point.y);
        six_digits(self.tradeoffs().fold((0.0, 0.0), area).1)
    }

    /// Along both axes, since the curve rises straight up where it is good. It is two long.
    fn roc(&self) -> Vec<Point> {
        thinned(self.rates(), 2.0, |from, to| (to.x - from.x) + (to.y - from.y))
    }

    /// Along the recall, which only ever rises. It begins at the first precision, drawn back to the axis.
    fn precision_recall(&self) -> Vec<Point> {
        let start = self.tradeoffs().next().map(|first| Point { x: 0.0, y: first.y });
        thinned(start.into_iter().chain(self.tradeoffs()), 1.0, |from, to| to.x - from.x)
    }
}

/// The first point, the last, and between them those that are far enough from the one before.
#[allow(clippy::cast_precision_loss, reason = "a small constant")]
fn thinned(points: impl Iterator<Item = Point>, length: f64, distance: impl Fn(Point, Point) -> f64) -> Vec<Point> {
    let step = length / (POINTS_MAX - 3) as f64;
    let mut kept: Vec<Point> = Vec::new();
    let mut skipped = None;
    for point in points {
        let far = kept.last().is_none_or(|&last| distance(last, point) >= step);
        skipped = (!far).then_some(point);
        if far {
            kept.push(point);
        }
    }
    kept.extend(skipped);
    kept.iter().map(|point| Point { x: six_digits(point.x), y: six_digits(point.y) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(scores: &[f32], labels: &[u8]) -> Option<Curves> {
        let classes = ["no", "yes"].map(String::from);
        let logits: Vec<f32> = scores.iter().flat_map(|&score| [0.0, score]).collect();
        Curves::of(&Predictions { classes: &classes, labels, logits: &logits })
    }

    fn pairs(points: &[Point]) -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.x, point.y)).collect()
    }

    /// `roc_auc_score`, `average_precision_score`, `roc_curve` and `precision_recall_curve` of scikit-learn.
    #[test]
    fn the_curves_and_their_areas_are_those_of_scikit_learn_ties_included() {
        let scores = [3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, -1.0, -1.0, -2.0];
        let curves = curves(&scores, &[1, 1, 0, 1, 0, 0, 1, 0, 0, 0]).unwrap();
        assert_eq!((curves.positive.as_str(), curves.share), ("yes", 0.4));
        assert_eq!((curves.roc_auc, curves.average_precision), (0.770_833, 0.684_524));
        let roc = [(0.0, 0.0), (0.0, 0.25), (0.166_667, 0.5), (0.5, 0.75), (0.5, 1.0), (0.833_333, 1.0), (1.0, 1.0)];
        assert_eq!(pairs(&curves.roc), roc);
        let precision = pairs(&curves.precision_recall);
        assert_eq!(precision[..5], [(0.0, 1.0), (0.25, 1.0), (0.5, 0.666_667), (0.75, 0.5), (1.0, 0.571_429)]);
        // At full recall, looser thresholds only cost precision.
        assert_eq!(precision[5..], [(1.0, 0.4)]);
    }

    #[test]
    fn the_rarer_class_is_the_positive_one() {
        let curves = curves(&[-3.0, 1.0, 2.0, 0.5], &[0, 1, 1, 1]).unwrap();
        assert_eq!((curves.positive.as_str(), curves.roc_auc, curves.average_precision), ("no", 1.0, 1.0));
    }

    #[test]
    fn one_class_alone_has_no_curve() {
        assert_eq!(curves(&[1.0, 2.0], &[1, 1]), None);
        assert_eq!(curves(&[], &[]), None);
        let three = ["a", "b", "c"].map(String::from);
        assert_eq!(Curves::of(&Predictions { classes: &three, labels: &[0], logits: &[0.0; 3] }), None);
    }

    #[test]
    fn a_score_that_is_no_number_is_the_least() {
        let curves = curves(&[f32::NAN, 1.0, 2.0, f32::INFINITY], &[0, 0, 1, 1]).unwrap();
        assert_eq!((curves.roc_auc, curves.average_precision), (1.0, 1.0));
    }

    #[test]
    fn a_long_curve_is_thinned_for_drawing_and_its_area_is_not() {
        // All scores differ, and each second row is positive: as good as a guess, and half a step better.
        let scores: Vec<f32> = (0..20_000_u16).map(|row| -f32::from(row)).collect();
        let labels: Vec<u8> = (0..20_000).map(|row| u8::from(row % 2 == 0)).collect();
        let curves = curves(&scores, &labels).unwrap();
        assert_eq!((curves.share, curves.roc_auc), (0.5, 0.500_05));
        for points in [&curves.roc, &curves.precision_recall] {
            assert!((150..=POINTS_MAX).contains(&points.len()), "{}", points.len());
            assert_eq!(points.last().map(|point| point.x), Some(1.0));
        }
    }

    #[test]
    fn each_of_many_classes_has_its_area_if_it_has_rows() {
        let classes = ["a", "b", "c"].map(String::from);
        let logits = [2.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.5, 1.0, 0.0];
        let areas = Area::of(&Predictions { classes: &classes, labels: &[0, 1, 1], logits: &logits }, 1.0);
        let told: Vec<_> = areas.iter().map(|area| (area.class.as_str(), area.roc_auc)).collect();
        assert_eq!(told, [("a", 1.0), ("b", 1.0)]);
    }
}
