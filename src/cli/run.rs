//! What `stream`, `batch` and `demo` have in common: signals, the bar, the time limit on stopping.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use indicatif::ProgressBar;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Usage, page};
use crate::{
    broker::GroupStatus,
    config,
    pipeline::{Mode, Pipeline, Progress, Settings, Summary},
    telemetry::progress,
};

/// How often the bar is brought up to date.
const BAR_TICK: Duration = Duration::from_millis(100);
/// How often a stream says how it is doing.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// The exit code of a process that a second signal ends.
const EXIT_INTERRUPTED: i32 = 130;

/// Reads a pipeline file; its faults are the user's to mend.
pub(super) fn settings(path: &Path) -> anyhow::Result<Settings> {
    Ok(config::load(path).map_err(|error| Usage(error.to_string()))?)
}

/// Runs a pipeline to its end, or to a signal.
pub(super) async fn run(settings: Settings, mode: Mode) -> anyhow::Result<Summary> {
    let stop = CancellationToken::new();
    let mut signals = Signals::new()?;
    let stand = page::Stand::new(&mode);
    let _page = page::serve(&settings.http, stand.clone()).await?;
    let limit = settings.limits.stop_timeout;
    let streams = mode == Mode::Stream;
    let pipeline = tokio::select! {
        pipeline = Pipeline::open(settings, mode, stop.clone()) => Arc::new(pipeline?),
        () = signals.next() => anyhow::bail!("interrupted before the first record was read"),
    };
    stand.opened(&pipeline);
    let mut running = std::pin::pin!(pipeline.run());
    tokio::select! {
        summary = &mut running => return Ok(summary?),
        () = report(&pipeline, streams) => {}
        () = signals.next() => {}
    }
    tracing::info!("stopping: committing what is in hand; a second signal leaves at once");
    stop.cancel();
    stand.stopping();
    tokio::select! {
        summary = timeout(limit, running) => {
            Ok(summary.with_context(|| format!("not stopped within {limit:?}; nothing is lost, the next start goes on"))??)
        }
        () = signals.next() => {
            tracing::warn!("left at once; the next start goes on from the lake");
            std::process::exit(EXIT_INTERRUPTED)
        }
    }
}

/// Shows how it goes, for ever: a line now and then for a stream, a bar for what has an end.
async fn report(pipeline: &Pipeline, streams: bool) {
    if streams {
        log(pipeline).await;
    } else {
        draw(pipeline, &progress::bar("scoring", 0)).await;
    }
}

async fn draw(pipeline: &Pipeline, bar: &ProgressBar) {
    let mut tick = interval(BAR_TICK);
    loop {
        tick.tick().await;
        let now = pipeline.progress();
        bar.set_length(now.advanced.max(now.tally.counts.records + now.lag));
        bar.set_position(now.advanced);
    }
}

async fn log(pipeline: &Pipeline) {
    let mut tick = interval(LOG_EVERY);
    let mut before = 0;
    tick.tick().await;
    loop {
        tick.tick().await;
        let now = pipeline.progress();
        let rate = now.advanced.saturating_sub(before) / LOG_EVERY.as_secs();
        before = now.advanced;
        tracing::info!(
            scored = now.tally.counts.scored,
            rejected = now.tally.counts.rejected,
            lag = now.lag,
            lanes = %lanes(&now),
            group = pipeline.group().map(|group| tracing::field::display(standing(&group))),
            "{} records/s",
            progress::count(rate),
        );
    }
}

/// With how many there are, where others have some of them.
fn lanes(now: &Progress) -> String {
    let open = format!("{} of {} open", now.lanes_open, now.lanes);
    if now.partitions > now.lanes { format!("{open}, {} partitions in all", now.partitions) } else { open }
}

fn standing(group: &GroupStatus) -> String {
    match group.member_id {
        Some(_) => format!("{}, generation {}", group.group, group.generation),
        None => format!("{}, not joined", group.group),
    }
}

/// SIGINT and SIGTERM, which mean the same.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
