//! A line that comes again and again is logged a few times, and then counted: a thousand lanes that wait for one broker
//! are one piece of news.
//!
//! Owns: which lines are alike, how many are let through, and telling of the others. Lines are alike that come from the
//! same place in the code with the same message; their other fields may differ. Invariant: none is dropped untold.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::{Event, Level, Metadata, Subscriber, callsite, field::Field};
use tracing_subscriber::layer::{Context, Layer};

/// Lines that are alike are let through so often in a period.
const ALIKE_MAX: u64 = 20;
/// From the first of them on.
const ALIKE_PERIOD: Duration = Duration::from_secs(30);
/// Kinds of lines that are counted at a time; what is beyond them is let through.
const KINDS_MAX: usize = 1_000;
/// Of a message: those that begin alike are alike.
const MESSAGE_CHARS_MAX: usize = 200;

/// What there was lately of each kind of line.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Kind, Lately>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    place: callsite::Identifier,
    message: String,
}

#[derive(Debug)]
struct Lately {
    level: Level,
    began: Instant,
    came: u64,
}

/// Lines that were held back.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    level: Level,
    message: String,
    lines: u64,
}

impl Repeats {
    /// Whether the line is let through; and what was held back of its kind in the period before.
    fn admits(&self, kind: Kind, level: Level, now: Instant) -> (bool, Option<Held>) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            // Those with something to tell stay until it is told.
            kinds.retain(|_, lately| !lately.is_over(now) || lately.held() > 0);
            if kinds.len() >= KINDS_MAX {
                return (true, None);
            }
        }
        let message = kind.message.clone();
        let lately = kinds.entry(kind).or_insert(Lately { level, began: now, came: 0 });
        let before = lately.is_over(now).then(|| {
            let held = lately.told(message);
            *lately = Lately { level, began: now, came: 0 };
            held
        });
        lately.came += 1;
        (lately.came <= ALIKE_MAX, before.flatten())
    }

    /// What was held back in periods that are over by now.
    fn over(&self, now: Instant) -> Vec<Held> {
        self.take(|lately| lately.is_over(now))
    }

    fn take(&self, which: impl Fn(&Lately) -> bool) -> Vec<Held> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = kinds.extract_if(|_, lately| which(lately));
        taken.filter_map(|(kind, lately)| lately.told(kind.message)).collect()
    }

    pub(super) fn tell_all(&self) {
        self.take(|_| true).iter().for_each(Held::tell);
    }
}

impl Lately {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= ALIKE_PERIOD
    }

    fn held(&self) -> u64 {
        self.came.saturating_sub(ALIKE_MAX)
    }

    fn told(&self, message: String) -> Option<Held> {
        let lines = self.held();
        (lines > 0).then_some(Held { level: self.level, message, lines })
    }
}

impl Held {
    /// At the level of those that it stands for. Lines from here are never held back themselves.
    fn tell(&self) {
        let Self { lines, message, .. } = self;
        match self.level {
            Level::ERROR => tracing::error!("… and {lines} more like this: {message}"),
            Level::WARN => tracing::warn!("… and {lines} more like this: {message}"),
            Level::INFO => tracing::info!("… and {lines} more like this: {message}"),
            Level::DEBUG => tracing::debug!("… and {lines} more like this: {message}"),
            Level::TRACE => tracing::trace!("… and {lines} more like this: {message}"),
        }
    }
}

/// Tells what was held back, if no further line of its kind does.
pub(super) async fn tell_from_time_to_time(repeats: Weak<Repeats>) {
    loop {
        sleep(ALIKE_PERIOD).await;
        let Some(repeats) = repeats.upgrade() else { return };
        repeats.over(Instant::now()).iter().for_each(Held::tell);
    }
}

/// Stands between the program and the log.
#[derive(Debug)]
pub(super) struct LimitRepeats(pub(super) Arc<Repeats>);

impl<S: Subscriber> Layer<S> for LimitRepeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if is_from_here(metadata) {
            return true;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let kind = Kind { place: metadata.callsite(), message: message.0 };
        let (admitted, before) = self.0.admits(kind, *metadata.level(), Instant::now());
        if let Some(held) = before {
            held.tell();
        }
        admitted
    }
}

fn is_from_here(metadata: &Metadata<'_>) -> bool {
    metadata.target() == module_path!()
}

/// A line's message, without its other fields.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(MESSAGE_CHARS_MAX).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tokio::time::advance;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is written, line by line.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(|line| line.trim().into()).collect()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Logging of this thread alone.
    fn logging() -> (Arc<Repeats>, Written, tracing::subscriber::DefaultGuard) {
        let (repeats, written) = (Arc::new(Repeats::default()), Written::default());
        let to = written.clone();
        let lines = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_target(false);
        let lines = lines.with_writer(move || to.clone());
        let subscriber = tracing_subscriber::registry().with(LimitRepeats(repeats.clone())).with(lines);
        (repeats, written, tracing::subscriber::set_default(subscriber))
    }

    fn kind(message: &str) -> Kind {
        // Any place will do.
        let place = tracing::error_span!("a place").metadata().map(Metadata::callsite);
        Kind { place: place.unwrap_or(callsite::Identifier(&NOWHERE)), message: message.into() }
    }

    struct Nowhere;
    static NOWHERE: Nowhere = Nowhere;

    impl tracing::Callsite for Nowhere {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("it is a name and nothing else")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_lines_come_through_and_the_rest_are_told_once_when_the_period_is_over() {
        let (repeats, written, _guard) = logging();
        for lane in 0..ALIKE_MAX + 123 {
            tracing::warn!(lane, "trying again");
        }
        assert_eq!(written.lines().len() as u64, ALIKE_MAX);
        assert!(written.lines()[3].contains("trying again lane=3"), "{:?}", written.lines());
        advance(ALIKE_PERIOD).await;
        repeats.over(Instant::now()).iter().for_each(Held::tell);
        repeats.over(Instant::now()).iter().for_each(Held::tell);
        let lines = written.lines();
        assert_eq!(lines.len() as u64, ALIKE_MAX + 1);
        assert_eq!(lines.last().unwrap(), "WARN … and 123 more like this: trying again");
    }

    #[tokio::test(start_paused = true)]
    async fn another_message_or_another_place_is_another_kind() {
        let (_, written, _guard) = logging();
        for n in 0..3 * ALIKE_MAX {
            tracing::info!("message {}", n % 3);
            tracing::info!("message {}", n % 3);
        }
        assert_eq!(written.lines().len() as u64, 6 * ALIKE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_after_the_period_is_let_through_and_tells_what_was_held_back() {
        let repeats = Repeats::default();
        let mut passed = 0;
        for _ in 0..ALIKE_MAX + 2 {
            let (admitted, before) = repeats.admits(kind("a"), Level::ERROR, Instant::now());
            assert_eq!(before, None);
            passed += u64::from(admitted);
        }
        assert_eq!(passed, ALIKE_MAX);
        advance(ALIKE_PERIOD).await;
        let held = Held { level: Level::ERROR, message: "a".into(), lines: 2 };
        assert_eq!(repeats.admits(kind("a"), Level::ERROR, Instant::now()), (true, Some(held)));
        assert_eq!(repeats.admits(kind("a"), Level::ERROR, Instant::now()), (true, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_told_without_another_line_and_at_the_end() {
        let (repeats, written, _guard) = logging();
        let teller = tokio::spawn(tell_from_time_to_time(Arc::downgrade(&repeats)));
        let some = || (0..=ALIKE_MAX).for_each(|_| tracing::debug!("again"));
        some();
        tokio::time::sleep(ALIKE_PERIOD * 2).await;
        assert_eq!(written.lines().last().unwrap(), "DEBUG … and 1 more like this: again");
        some();
        repeats.tell_all();
        assert_eq!(written.lines().len() as u64, 2 * (ALIKE_MAX + 1));
        drop(repeats);
        // The limiter is held by the subscriber still, and nobody else.
        teller.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_without_end_take_no_memory_without_end_and_none_is_lost() {
        let repeats = Repeats::default();
        for number in 0..2 * KINDS_MAX {
            assert!(repeats.admits(kind(&number.to_string()), Level::INFO, Instant::now()).0);
            assert!(repeats.0.lock().unwrap().len() <= KINDS_MAX);
        }
        advance(ALIKE_PERIOD).await;
        assert!(repeats.admits(kind("new"), Level::INFO, Instant::now()).0);
        assert_eq!(repeats.0.lock().unwrap().len(), 1);
    }
}
