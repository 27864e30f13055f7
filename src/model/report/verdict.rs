//! The sentence at the top of a report: whether the network is worth more than something simple.

use serde::{Deserialize, Serialize};

use super::BaselineResult;
use crate::model::Evaluation;

/// Where the commonest class has more than so many times the rows of the rarest, accuracy is for the most part a count
/// of the commonest, and the classes' mean recall decides.
const EVEN_MAX: f64 = 1.5;

/// A difference that is smaller than the last digit shown is none.
const DIFFERENCE_MIN: f64 = 5e-4;

/// How the network stands against the best baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Ahead,
    Level,
    Behind,
    /// There was nothing to compare it with.
    Alone,
}

/// Whether the network beats the baselines, and by which measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub standing: Standing,
    /// `accuracy`, or `balanced accuracy` where classes are skewed.
    pub measure: String,
    pub network: f64,
    /// The best baseline, and its result by the same measure.
    pub baseline: Option<(String, f64)>,
    pub sentence: String,
    /// What follows from a network that is not ahead.
    pub advice: Option<String>,
}

impl Verdict {
    pub(super) fn of(network: &Evaluation, baselines: &[BaselineResult]) -> Self {
        let (measure, measured): (_, fn(&Evaluation) -> f64) = if is_even(network) {
            ("accuracy", |evaluation| evaluation.accuracy)
        } else {
            ("balanced accuracy", Evaluation::balanced_accuracy)
        };
        let results = baselines.iter().map(|baseline| (baseline.name.clone(), measured(&baseline.evaluation)));
        let baseline = results.max_by(|a, b| a.1.total_cmp(&b.1));
        let own = measured(network);
        let standing = standing(own, baseline.as_ref().map(|(_, result)| *result));
        Self {
            standing,
            measure: measure.to_owned(),
            network: own,
            sentence: sentence(standing, measure, own, baseline.as_ref(), network.rows),
            advice: advice(standing),
            baseline,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn is_even(evaluation: &Evaluation) -> bool {
    let rows = || evaluation.classes.iter().map(|class| class.rows).filter(|&rows| rows > 0);
    let (rarest, commonest) = (rows().min().unwrap_or(0), rows().max().unwrap_or(0));
    commonest as f64 <= rarest as f64 * EVEN_MAX
}

fn standing(network: f64, baseline: Option<f64>) -> Standing {
    match baseline.map(|baseline| network - baseline) {
        None => Standing::Alone,
        Some(lead) if lead >= DIFFERENCE_MIN => Standing::Ahead,
        Some(lead) if lead > -DIFFERENCE_MIN => Standing::Level,
        Some(_) => Standing::Behind,
    }
}

fn sentence(standing: Standing, measure: &str, own: f64, baseline: Option<&(String, f64)>, rows: u64) -> String {
    let (own, rows) = (percent(own), count(rows));
    let Some((name, other)) = baseline else {
        return format!("The network reaches {own} {measure} on {rows} held-out rows.");
    };
    let other = percent(*other);
    let figures = format!("{own} {measure} against {other}, on {rows} held-out rows");
    match standing {
        Standing::Ahead => format!("The network beats {name}: {figures}."),
        Standing::Level => {
            format!("The network does not beat {name}; both reach {own} {measure} on {rows} held-out rows.")
        }
        _ => format!("The network does not beat {name}: {figures}."),
    }
}

fn advice(standing: Standing) -> Option<String> {
    let advice = match standing {
        Standing::Ahead | Standing::Alone => return None,
        Standing::Level => "Something simpler does as well here. More rows or better features may tell them apart.",
        Standing::Behind => {
            "Something simpler does better here. Try more rows, other features, or a smaller network and learning rate."
        }
    };
    Some(advice.to_owned())
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// With commas.
pub(super) fn count(rows: u64) -> String {
    indicatif::HumanCount(rows).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(counts: [[u64; 2]; 2]) -> Evaluation {
        let classes = ["a", "b"].map(String::from);
        let (mut truth, mut prediction) = (Vec::new(), Vec::new());
        for (is, said) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for _ in 0..counts[usize::from(is)][usize::from(said)] {
                truth.push(is);
                prediction.push(said);
            }
        }
        Evaluation::new(&classes, &truth, &prediction)
    }

    fn verdict(network: [[u64; 2]; 2], baselines: &[(&str, [[u64; 2]; 2])]) -> Verdict {
        let result =
            |(name, counts): &(&str, _)| BaselineResult { name: (*name).to_owned(), evaluation: evaluation(*counts) };
        Verdict::of(&evaluation(network), &baselines.iter().map(result).collect::<Vec<_>>())
    }

    #[test]
    fn the_network_is_held_against_the_best_baseline() {
        let baselines = [("the majority class", [[50, 0], [50, 0]]), ("logistic regression", [[45, 5], [5, 45]])];
        let ahead = verdict([[48, 2], [2, 48]], &baselines);
        assert_eq!((ahead.standing, ahead.advice), (Standing::Ahead, None));
        let sentence = "The network beats logistic regression: 96.0 % accuracy against 90.0 %, on 100 held-out rows.";
        assert_eq!(ahead.sentence, sentence);
        let level = verdict([[45, 5], [5, 45]], &baselines);
        assert_eq!(level.standing, Standing::Level);
        assert!(level.sentence.contains("does not beat logistic regression; both reach 90.0 %"), "{}", level.sentence);
        let behind = verdict([[40, 10], [10, 40]], &baselines);
        assert_eq!(behind.standing, Standing::Behind);
        assert!(behind.sentence.contains("does not beat logistic regression: 80.0 %") && behind.advice.is_some());
    }

    #[test]
    fn of_skewed_classes_the_rare_one_counts_as_much_as_the_common_one() {
        // The majority is right more often, and finds nothing.
        let verdict = verdict([[930, 60], [1, 9]], &[("the majority class", [[990, 0], [10, 0]])]);
        assert_eq!((verdict.standing, verdict.measure.as_str()), (Standing::Ahead, "balanced accuracy"));
        assert_eq!(verdict.baseline, Some(("the majority class".to_owned(), 0.5)));
    }

    #[test]
    fn without_baselines_or_rows_there_is_still_a_sentence() {
        assert_eq!(verdict([[1, 0], [0, 1]], &[]).standing, Standing::Alone);
        assert!(verdict([[0; 2]; 2], &[]).sentence.contains("0.0 % accuracy on 0 held-out rows"));
    }
}
