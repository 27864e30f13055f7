//! How long a record takes until a reader sees it: `alluvium produce` at an even rate, `alluvium stream`, and a reader.

use std::{ffi::OsString, process::Stdio, time::Duration};

use alluvium::telemetry::progress::count;
use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    args::Args,
    child, goals,
    job::{Job, records_of},
    measured::as_command,
    observer::{Ages, Watch},
    report::Outcome,
    stand::{PROGRAM, Stand, Topic, Variation},
};

const ROLL_AGE: &str = "2s";
/// Less than this part of the rate, and the figure is that of another experiment.
const RATE_KEPT_MIN: f64 = 0.95;
const FIRST_RECORD_WAIT_MAX: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(20);

pub async fn measure(args: &Args, stand: &mut Stand) -> anyhow::Result<Outcome> {
    let topic = stand.topic(args.partitions, 0).await?;
    let job = stand.varied_job(&topic, Variation { roll_age: Some(ROLL_AGE), ..Variation::default() })?;
    let stream = job.stream()?;
    let producer = produce(args, stand, &topic)?;
    let from = Mark::at_the_first_record(stand, &topic).await?;
    let ages = observe(args, &job).await?;
    let to = Mark::now(stand, &topic).await?;
    drop(producer);
    let took = stream.stop().await?;
    let landed = records_of(&took)?;
    Freshness {
        rate: args.rate(),
        rate_kept: to.rate_since(&from),
        partitions: args.partitions,
        roll_age: ROLL_AGE,
        seconds: args.seconds().as_secs(),
        records: landed,
        cpu_seconds_per_million: took.cpu_per_million(landed),
        peak_bytes: took.peak_bytes,
        ages,
    }
    .told()
}

/// Until it is dropped.
fn produce(args: &Args, stand: &Stand, topic: &Topic) -> anyhow::Result<Child> {
    let (rate, source) = (args.rate().to_string(), stand.pipeline.source().name());
    let mut command = Command::new(PROGRAM);
    command.args(["produce", "--brokers", &stand.address, "--topic", &topic.name, "--source", source]);
    command.args(["--rate", &rate, "--for", "24h", "--with-truth", "--log", "warn"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().context("start the producer")
}

async fn observe(args: &Args, job: &Job) -> anyhow::Result<Ages> {
    let in_ms = |time: Duration| u64::try_from(time.as_millis());
    let watch = Watch {
        lake: job.lake.clone(),
        dataset: job.dataset.into(),
        partitions: usize::try_from(args.partitions)?,
        warm_up_ms: in_ms(args.warm_up())?,
        length_ms: in_ms(args.seconds())?,
    };
    let mut command = as_command(&child::command::<OsString>(watch.words().into_iter().map(Into::into))?);
    command.envs(job.environment().iter().cloned()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = command.spawn().context("start the reader")?;
    let stdin = reader.stdin.take();
    let output = reader.wait_with_output().await?;
    drop(stdin);
    ensure!(output.status.success(), "the reader of the lake failed");
    serde_json::from_slice(&output.stdout).context("read what the reader saw")
}

/// How much had been sent at a time.
struct Mark {
    at: Instant,
    records: i64,
}

impl Mark {
    async fn now(stand: &Stand, topic: &Topic) -> anyhow::Result<Self> {
        let mut records = 0;
        for partition in 0..topic.partitions {
            records += stand.broker.partition(&topic.name, partition).await?.latest().await?;
        }
        Ok(Self { at: Instant::now(), records })
    }

    async fn at_the_first_record(stand: &Stand, topic: &Topic) -> anyhow::Result<Self> {
        let began = Instant::now();
        loop {
            let mark = Self::now(stand, topic).await?;
            if mark.records > 0 {
                return Ok(mark);
            }
            ensure!(began.elapsed() < FIRST_RECORD_WAIT_MAX, "the producer sends nothing");
            sleep(ASK_EVERY).await;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "records are fewer than 2^52")]
    fn rate_since(&self, from: &Self) -> f64 {
        (self.records - from.records) as f64 / (self.at - from.at).as_secs_f64()
    }
}

#[derive(Serialize)]
struct Freshness {
    rate: u32,
    /// Records a second that were sent.
    rate_kept: f64,
    partitions: i32,
    roll_age: &'static str,
    seconds: u64,
    records: u64,
    cpu_seconds_per_million: f64,
    peak_bytes: u64,
    ages: Ages,
}

impl Freshness {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for people"
    )]
    fn told(self) -> anyhow::Result<Outcome> {
        let (rate, kept) = (count(self.rate.into()), count(self.rate_kept as u64));
        ensure!(
            self.rate_kept >= f64::from(self.rate) * RATE_KEPT_MIN,
            "{rate} records/s were to be sent, and only {kept} were: the broker or the machine can't take more"
        );
        let in_seconds = |ms: i64| ms as f64 / 1e3;
        let figures = vec![goals::FRESHNESS.held_against(in_seconds(self.ages.p99_ms))];
        let Ages { looks, files, p50_ms, p99_ms, max_ms } = self.ages;
        let [p50, p99, max] = [p50_ms, p99_ms, max_ms].map(in_seconds);
        let (cpu, peak) = (self.cpu_seconds_per_million, goals::Unit::Bytes.told(self.peak_bytes as f64));
        let lines = vec![
            format!("{kept} records/s in {} partitions, roll_age {ROLL_AGE}, {} s", self.partitions, self.seconds),
            format!("age of the newest row, worst partition: p50 {p50:.2} s, p99 {p99:.2} s, max {max:.2} s"),
            format!("{looks} looks, {files} files; {cpu:.2} CPU s/million, peak memory {peak}"),
        ];
        Ok(Outcome { figures, details: serde_json::to_value(&self)?, lines })
    }
}
