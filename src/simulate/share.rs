//! A part of a whole, as a person writes it: `1%` or `0.01`.

use std::{fmt, str::FromStr};

/// From nothing, 0, to all, 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    #[must_use]
    pub const fn of(self) -> f64 {
        self.0
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 <= 0.0
    }

    /// One of `parts` equal parts.
    #[must_use]
    pub fn split(self, parts: usize) -> Self {
        Self(self.0 / f64::from(u32::try_from(parts.max(1)).unwrap_or(u32::MAX)))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 100.0));
        let share = number.parse::<f64>().map(|number| number / whole);
        match share {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(format!("`{text}` is no share: write `1%` or `0.01`, from nothing to 100%")),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        for (text, wanted, shown) in
            [("1%", 0.01, "1%"), ("0.5 %", 0.005, "0.5%"), ("0.25", 0.25, "25%"), ("0", 0.0, "0%"), ("1", 1.0, "100%")]
        {
            let share: Share = text.parse().unwrap();
            assert!((share.of() - wanted).abs() < 1e-12, "{text}");
            assert_eq!(share.to_string(), shown);
        }
        for text in ["", "%", "-1%", "101%", "1.01", "NaN", "many"] {
            assert!(text.parse::<Share>().unwrap_err().contains("write `1%` or `0.01`"), "{text}");
        }
    }
}
