//! Progress bars on stderr, only on a terminal, and the figures in people's form.

use std::{fmt, sync::LazyLock, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar over a known number of things; nothing is drawn unless stderr is a terminal.
pub fn bar(label: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>10} {wide_bar:.cyan/dim} {human_pos} of {human_len}  {rate:>12}  {eta:>4}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .with_key("rate", rate);
    let bar = BARS.add(ProgressBar::new(total).with_style(style).with_prefix(label));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A count of things of which nobody knows how many there will be.
pub fn counter(label: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>10} {spinner} {human_pos}  {rate:>12}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("rate", rate);
    let bar = BARS.add(ProgressBar::new_spinner().with_style(style).with_prefix(label));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over the epochs of a training, with what it is told beside it.
pub fn epochs(label: String, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>14} {wide_bar:.cyan/dim} {pos} of at most {len}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    BARS.add(ProgressBar::new(total).with_style(style).with_prefix(label))
}

/// A sign of life while nothing can be counted.
pub fn spinner(label: &'static str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new_spinner().with_message(label));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // What can't be written is not drawn.
    let _ = write!(out, "{}/s", count(state.per_sec() as u64));
}

/// Runs `write` with the bars lifted off the screen.
pub fn suspend<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `1234567` as `1.18 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}
