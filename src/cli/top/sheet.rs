//! What a run tells of itself, as lines of a terminal.
//!
//! Invariant: what comes from records is text; no character of it moves a cursor.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]

use chrono::{DateTime, Local};

use crate::{
    record::{name::is_unseen, short::fitted},
    telemetry::{
        history::Told,
        progress::count,
        status::{Event, Partition, Scored, Status},
    },
};

/// Narrower than that nothing can be read.
const WIDTH_MIN: usize = 40;
const PARTITIONS_SHOWN_MIN: usize = 3;
const NEWEST_SHOWN_MAX: usize = 6;
const REJECTS_SHOWN_MAX: usize = 4;
const CLASSES_SHOWN_MAX: usize = 8;
const EVENTS_SHOWN_MAX: usize = 6;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Everything, for as long as it may be.
pub(super) fn all(told: &Told, width: usize) -> Vec<String> {
    let width = width.max(WIDTH_MIN);
    let mut lines = head(told, width);
    lines.extend(middle(&told.status, width));
    lines.extend(partitions(&told.status, usize::MAX, width));
    lines
}

/// What fits a screen. Partitions have what the rest leaves.
pub(super) fn page(told: Option<&Told>, trouble: Option<&str>, url: &str, width: usize, height: usize) -> Vec<String> {
    let width = width.max(WIDTH_MIN);
    let mut lines = vec![];
    if let Some(trouble) = trouble {
        lines.push(fitted(&format!("NOT REACHED, trying again: {}", safe(trouble)), width));
    }
    if let Some(told) = told {
        lines.extend(head(told, width));
        let mut middle = middle(&told.status, width);
        middle.truncate(height.saturating_sub(lines.len() + PARTITIONS_SHOWN_MIN + 4));
        lines.extend(middle);
        // Beside them stand an empty line, the heads, how many more there are, and the way out.
        let left = height.saturating_sub(lines.len() + 4);
        lines.extend(partitions(&told.status, left, width));
    }
    lines.truncate(height.saturating_sub(1));
    lines.push(fitted(&format!("{url}  q leaves"), width));
    lines
}

fn head(told: &Told, width: usize) -> Vec<String> {
    let Status { totals, memory, mode, version, .. } = &told.status;
    let up = span((told.status.now_ms - told.status.started_ms) as f64 / 1000.0);
    let state = if told.status.ready { "ready" } else { "NOT READY" };
    let group = told.status.group.as_ref();
    let group = group.map(|group| format!(" · group {}, generation {}", safe(&group.name), group.generation));
    let mut lines =
        vec![format!("alluvium {version} · {mode} · {state} · up {up}{}", group.unwrap_or_default()), String::new()];
    lines.extend(told.status.not_ready.iter().map(|why| format!("  ! {}", safe(why))));
    let rates: Vec<f64> = told.history.iter().map(|point| point.records_per_second).collect();
    let lags: Vec<f64> = told.history.iter().map(|point| point.lag_records as f64).collect();
    let room = width.saturating_sub(62).min(75);
    let age = |seconds: Option<f64>| seconds.map_or("–".into(), span);
    lines.push(figure(
        "records/s",
        &count(told.rates.records_per_second.round() as u64),
        &format!("{} in the lake", count(totals.records)),
        &spark(&rates, room),
    ));
    lines.push(figure(
        "lag",
        &count(totals.lag_records),
        &format!("oldest {} old", age(totals.lag_seconds)),
        &spark(&lags, room),
    ));
    let share = 100.0 * totals.rejected as f64 / (totals.records.max(1)) as f64;
    lines.push(figure("rejected", &count(totals.rejected), &format!("{share:.2} % of all records"), ""));
    let open = format!("{} of {}", totals.lanes_open, totals.lanes);
    let more =
        format!("partitions open, {} stopped · freshness {}", totals.lanes_stopped, age(totals.freshness_seconds));
    lines.push(figure("lanes", &open, &more, ""));
    let used = format!("of {} MiB · {} retries, {} fences", memory.limit_bytes >> 20, totals.retries, totals.fences);
    lines.push(figure("memory", &format!("{} MiB", memory.used_bytes >> 20), &used, ""));
    lines.into_iter().map(|line| fitted(&line, width)).collect()
}

fn figure(name: &str, number: &str, more: &str, line: &str) -> String {
    format!("{name:<10} {number:>14}  {more:<32} {line}").trim_end().to_owned()
}

fn middle(status: &Status, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let all: u64 = status.classes.iter().map(|class| class.records).sum();
    for class in status.classes.iter().take(CLASSES_SHOWN_MAX) {
        let share = class.records as f64 / all.max(1) as f64;
        let bar = "█".repeat((share * 30.0).round() as usize);
        lines.push(format!("{:<20} {:>14} {:>6.1} %  {bar}", safe(&class.name), count(class.records), share * 100.0));
    }
    let left_out = status.classes.len().saturating_sub(CLASSES_SHOWN_MAX);
    if left_out > 0 {
        lines.push(format!("and {left_out} more classes"));
    }
    if let Some(model) = &status.model {
        let metrics: Vec<_> = model.metrics.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        lines.push(format!("model {} v{} · {}", safe(&model.name), model.version, safe(&metrics.join(" · "))));
        lines.push(format!("  {}", safe(&model.next)));
    }
    for reject in status.rejects.iter().take(REJECTS_SHOWN_MAX) {
        let sample = reject.sample.as_ref().map(|sample| format!("{}: {}", sample.detail, sample.value));
        let sample = safe(&sample.unwrap_or_default());
        lines.push(format!("reject {:<20} {:>10}  {sample}", safe(&reject.reason), count(reject.records)));
    }
    for outlet in &status.outlets {
        let (name, to) = (safe(&outlet.name), safe(&outlet.to));
        lines.push(format!("{name} to {to}: {} sent, {} behind", count(outlet.sent), count(outlet.behind)));
    }
    section(&mut lines, "newest", status.newest.iter().take(NEWEST_SHOWN_MAX).map(scored));
    section(&mut lines, "lately", status.events.iter().take(EVENTS_SHOWN_MAX).map(event));
    lines.into_iter().map(|line| fitted(&line, width)).collect()
}

fn section(lines: &mut Vec<String>, name: &str, inside: impl Iterator<Item = String>) {
    let inside: Vec<_> = inside.collect();
    if !inside.is_empty() {
        lines.extend([String::new(), name.to_owned()]);
        lines.extend(inside);
    }
}

fn scored(record: &Scored) -> String {
    let fields: Vec<_> = record.fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let Scored { dataset, partition, offset, prediction, confidence, .. } = record;
    safe(&format!("  {prediction:<14} {confidence:.3}  {dataset}/{partition}/{offset}  {}", fields.join("  ")))
}

fn event(event: &Event) -> String {
    safe(&format!("  {} {:<8} {}", time(event.at_ms), event.kind, event.text))
}

fn partitions(status: &Status, rows: usize, width: usize) -> Vec<String> {
    let head = format!(
        "{:<20} {:>5} {:<8} {:>12} {:>12} {:>10} {:>9} {:>9}  {}",
        "partition", "no.", "state", "position", "end", "lag", "lag, time", "rejected", "model"
    );
    let shown = status.partitions.iter().take(rows);
    let left_out = status.partitions_left_out + status.partitions.len().saturating_sub(rows) as u64;
    let mut lines = vec![String::new(), head];
    lines.extend(shown.map(partition));
    if left_out > 0 {
        lines.push(format!("and {} more", count(left_out)));
    }
    lines.into_iter().map(|line| fitted(&line, width)).collect()
}

fn partition(told: &Partition) -> String {
    let late = told.lag_seconds.map_or("–".into(), span);
    let trouble = told.trouble.as_ref().map(|trouble| format!("  ! {trouble}")).unwrap_or_default();
    let model = told.model.as_deref().unwrap_or("–");
    safe(&format!(
        "{:<20} {:>5} {:<8} {:>12} {:>12} {:>10} {late:>9} {:>9}  {model}{trouble}",
        told.topic, told.partition, told.state, told.position, told.end, told.lag_records, told.rejected
    ))
}

/// The last so many of them, each a bar; the highest is full.
fn spark(values: &[f64], room: usize) -> String {
    let shown = values.get(values.len().saturating_sub(room)..).unwrap_or_default();
    let most = shown.iter().copied().fold(0.0, f64::max);
    let bar = |value: f64| {
        let step = if most > 0.0 { (value / most * (BARS.len() - 1) as f64).round() as usize } else { 0 };
        BARS.get(step).copied().unwrap_or(' ')
    };
    shown.iter().map(|value| bar(*value)).collect()
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", (s / 60.0).floor()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn time(at_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms);
    at.map_or("–".into(), |at| at.with_timezone(&Local).format("%H:%M:%S").to_string())
}

/// Without what a terminal would act upon, or what would turn a line round.
fn safe(text: &str) -> String {
    let acts = |c: char| is_unseen(c) || matches!(c, '\u{200e}' | '\u{200f}');
    text.chars().map(|c| if acts(c) { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{history::Point, status::Class};

    fn told(text: &str) -> Told {
        let text = || text.to_owned();
        let partition = Partition { topic: text(), trouble: Some(text()), ..Partition::default() };
        let status = Status {
            not_ready: vec![text()],
            classes: vec![Class { name: text(), records: 3, ..Class::default() }],
            newest: vec![Scored { prediction: text(), fields: vec![(text(), text())], ..Scored::default() }],
            events: vec![Event { kind: text(), text: text(), at_ms: i64::MAX }],
            partitions: vec![partition; 200],
            ..Status::default()
        };
        let history = vec![Point { records_per_second: 5.0, ..Point::default() }; 150];
        Told { status, history, ..Told::default() }
    }

    #[test]
    fn nothing_that_a_record_holds_reaches_the_terminal_but_as_text() {
        for line in all(&told("\x1b[2J\x1b]0;owned\x07\n\u{9b}31m\u{202e}"), 200) {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
    }

    #[test]
    fn a_page_fits_its_screen_whatever_the_size() {
        let told = told(&"long ".repeat(100));
        for (width, height) in [(200, 60), (80, 24), (40, 10), (300, 5), (0, 0)] {
            let lines = page(Some(&told), Some("away"), "http://127.0.0.1:9184", width, height);
            assert!(lines.len() <= height.max(1), "{width}x{height}: {} lines", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(WIDTH_MIN)), "{width}x{height}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let told = told("x");
        let lines = page(Some(&told), None, "", 120, 40).join("\n");
        let shown = lines.matches("! x").count() - 1;
        assert!(shown > 2 && lines.contains(&format!("and {} more", 200 - shown)), "{lines}");
    }

    #[test]
    fn a_line_of_bars_is_as_high_as_its_numbers() {
        assert_eq!(spark(&[0.0, 3.5, 7.0], 10), "▁▅█");
        assert_eq!(spark(&[1.0, 0.0, 0.0], 2), "▁▁");
    }
}
