//! Names and numbers as the page has them.

use maud::{Markup, html};

use super::NAME_SHOWN_CHARS_MAX;
use crate::record::short::fitted;

/// Which line is which.
pub(super) fn key(first: &str, second: &str) -> Markup {
    html! {
        span.key { i { } (first) }
        span.key { i.second { } (second) }
    }
}

pub(super) fn name(text: &str) -> String {
    fitted(text, NAME_SHOWN_CHARS_MAX)
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

pub(super) fn three(number: f64) -> String {
    format!("{number:.3}")
}

/// To four figures, without noughts at the end.
pub(super) fn figure(number: f64) -> String {
    if number != 0.0 && !(1e-4..1e7).contains(&number.abs()) {
        return format!("{number:.2e}");
    }
    let decimals = [1000.0, 100.0, 10.0, 1.0].iter().take_while(|limit| number.abs() < **limit).count();
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[allow(clippy::cast_precision_loss, reason = "counts of rows and epochs are far below 2^52")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[allow(clippy::cast_precision_loss, reason = "a count of epochs is far below 2^52")]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits_that_count() {
        let cases = [(0.0, "0"), (5.843_333, "5.843"), (123.456, "123.5"), (0.012_345, "0.0123"), (12_345.6, "12346")];
        for (number, want) in cases {
            assert_eq!(figure(number), want);
        }
        assert_eq!((figure(3e-7), figure(-2.5e9), figure(-1.50)), ("3.00e-7".into(), "-2.50e9".into(), "-1.5".into()));
    }
}
