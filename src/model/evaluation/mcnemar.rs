//! McNemar's test: whether one of two models is better on the same rows, or only luckier.
//!
//! It looks at the rows that one got right and the other wrong, and asks how likely so uneven a split of them would be
//! if both were equally good.

use serde::Serialize;

/// With fewer such rows the probability is counted out exactly; with more, a chi-square distribution is near enough.
const EXACT_BELOW: u64 = 25;

/// A difference is called significant when luck alone would show one as large less often than this.
pub const SIGNIFICANT_BELOW: f64 = 0.05;

/// Of the rows that one of two models alone got right, how unlike a toss of coins they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Rows that the first got right and the second wrong.
    pub first_only: u64,
    pub second_only: u64,
    pub test: McNemarTest,
    /// How often two equally good models would differ as much, or more.
    pub p_value: f64,
}

/// How the probability was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McNemarTest {
    ExactBinomial,
    /// With the correction for continuity.
    ChiSquare,
}

impl McNemar {
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.p_value < SIGNIFICANT_BELOW
    }
}

#[must_use]
pub fn mcnemar(first_only: u64, second_only: u64) -> McNemar {
    let (test, p_value) = if first_only.saturating_add(second_only) < EXACT_BELOW {
        (McNemarTest::ExactBinomial, exact(first_only, second_only))
    } else {
        (McNemarTest::ChiSquare, chi_square(first_only, second_only))
    };
    McNemar { first_only, second_only, test, p_value }
}

/// Twice the lower tail of a fair coin.
fn exact(first_only: u64, second_only: u64) -> f64 {
    let tosses = first_only + second_only;
    let mut ways = 1_u64;
    let mut tail = 0_u64;
    for heads in 0..=first_only.min(second_only) {
        tail += ways;
        ways = ways * (tosses - heads) / (heads + 1);
    }
    #[allow(clippy::cast_precision_loss, reason = "below 2^25")]
    let share = tail as f64 / (1_u64 << tosses) as f64;
    (2.0 * share).min(1.0)
}

/// The upper tail of chi-square with one degree of freedom, which is that of a normal's square.
#[allow(clippy::cast_precision_loss, reason = "a count of rows")]
fn chi_square(first_only: u64, second_only: u64) -> f64 {
    let apart = (first_only.abs_diff(second_only) as f64 - 1.0).max(0.0);
    let statistic = apart * apart / (first_only as f64 + second_only as f64);
    libm::erfc((statistic / 2.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The probabilities are statsmodels' and SciPy's: `binomtest(k, n, 0.5)`, `chi2.sf((|b-c|-1)²/(b+c), 1)`.
    #[test]
    fn it_gives_the_probabilities_that_statisticians_get() {
        use McNemarTest::{ChiSquare, ExactBinomial};
        let cases = [
            (0, 0, ExactBinomial, 1.0),
            (0, 1, ExactBinomial, 1.0),
            (0, 6, ExactBinomial, 0.03125),
            (1, 9, ExactBinomial, 0.021_484_375),
            (12, 12, ExactBinomial, 1.0),
            (24, 0, ExactBinomial, 1.192_092_895_507_812_5e-7),
            (10, 15, ChiSquare, 0.423_710_797_166_794_1),
            (20, 20, ChiSquare, 1.0),
            (59, 6, ChiSquare, 1.119_932_714_954_246_9e-10),
            (121, 59, ChiSquare, 5.450_094_825_427_117e-6),
        ];
        for (first, second, test, p) in cases {
            let found = mcnemar(first, second);
            assert_eq!(found.test, test, "{first} {second}");
            assert!((found.p_value - p).abs() <= 1e-12 + p * 1e-9, "{first} {second}: {} and not {p}", found.p_value);
            assert!((mcnemar(second, first).p_value - found.p_value).abs() < 1e-15, "it has no favourite");
        }
    }

    #[test]
    fn many_rows_do_not_overflow() {
        assert!(mcnemar(u64::MAX / 2, 1).p_value < 1e-300);
        assert!(!mcnemar(u64::MAX, u64::MAX).is_significant());
    }
}
