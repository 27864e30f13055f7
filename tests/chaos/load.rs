//! What is sent: good and bad records with a running number, in bursts; and what the broker said where each landed.
//!
//! Owns: the truth that the lake is held against. Does not own: reading the lake ([`super::verdict`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alluvium::{
    broker::{Broker, BrokerError, BrokerErrorKind, Compression, Partition},
    record::Record,
};
use anyhow::{Context, bail, ensure};
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::plan::Plan;

/// A record's running number, by which it is known wherever it lands.
const NUMBER: &str = "n";
/// 2026-11-20T07:30:00Z: the load's event times begin there.
const BEGINS_MS: i64 = 1_795_159_800_000;
const HOUR_MS: i64 = 3_600_000;
const LATE_ONE_IN: u32 = 100;
/// Values are larger than the pipeline's `record_bytes`.
const LARGE_BYTES: usize = 5_000;
const LIMIT: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The broker's file storage takes its time over each record: more at once would outlast a request.
const SETTLE_BYTES: i32 = 32 << 10;
const SETTLE_WAIT: Duration = Duration::from_millis(10);

/// One record as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub record: Record,
    /// Whether it must be scored; else it must be among the rejects.
    pub good: bool,
}

/// Partition and offset.
pub type Spot = (i32, i64);

/// All that was sent so far.
#[derive(Debug, Default)]
pub struct Log {
    /// By running number.
    records: Mutex<HashMap<i64, Sent>>,
    /// Where the broker said that a record landed.
    told: Mutex<BTreeMap<Spot, i64>>,
}

/// Where each record of the topic is, by the broker's own words.
pub type Truth = BTreeMap<Spot, (i64, Sent)>;

#[derive(Debug)]
pub struct Load {
    dice: ChaCha8Rng,
    records: usize,
    records_a_batch: std::ops::RangeInclusive<usize>,
    bad_one_in: u32,
    hours: i64,
}

impl Load {
    pub fn new(seed: u64, plan: &Plan) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        // Not the plan's own dice: what is sent stays the same when a plan is made otherwise.
        dice.set_stream(1);
        let (records, bad_one_in, hours) = (plan.records, plan.bad_one_in, plan.hours);
        Self { dice, records, records_a_batch: plan.records_a_batch.clone(), bad_one_in, hours }
    }

    /// Sends all records, never more than `allowed` of them so far.
    pub async fn send(
        mut self,
        broker: Broker,
        topic: String,
        partitions: i32,
        log: Arc<Log>,
        mut allowed: watch::Receiver<usize>,
    ) -> anyhow::Result<()> {
        let mut leaders = vec![];
        for partition in 0..partitions {
            leaders.push((partition, opened(&broker, &topic, partition).await?));
        }
        let mut sent = 0;
        while sent < self.records {
            allowed.wait_for(|&allowed| sent < allowed).await?;
            let (number, leader) = leaders.choose(&mut self.dice).context("there is a partition")?;
            for _ in 0..self.dice.random_range(1..=4) {
                let count = self.dice.random_range(self.records_a_batch.clone()).min(self.records - sent);
                let batch: Vec<_> = (sent..sent + count).map(|n| self.record(n)).collect();
                send_batch(leader, *number, batch, &log).await?;
                sent += count;
            }
        }
        Ok(())
    }

    /// Event time goes on with the records, but for a few that are late.
    fn event_time(&mut self, number: i64) -> i64 {
        let records = i64::try_from(self.records).unwrap_or(i64::MAX);
        let late = self.dice.random_ratio(1, LATE_ONE_IN);
        let hour = if late { self.dice.random_range(0..self.hours) } else { number * self.hours / records };
        BEGINS_MS + hour * HOUR_MS + number % HOUR_MS
    }

    fn record(&mut self, number: usize) -> (i64, Sent) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let dice = &mut self.dice;
        let good = !dice.random_ratio(1, self.bad_one_in);
        let (value, in_time) = if good { (Some(flower(number, dice)), true) } else { bad(number, dice) };
        let timestamp_ms = if in_time { self.event_time(number) } else { number };
        let dice = &mut self.dice;
        let key = dice.random_bool(0.7).then(|| (0..dice.random_range(0..12)).map(|_| dice.random()).collect());
        let mut headers = BTreeMap::from([(NUMBER.to_owned(), number.to_string().into_bytes())]);
        if dice.random_ratio(1, 4) {
            headers.insert("trace".into(), (0..dice.random_range(0..9)).map(|_| dice.random()).collect());
        }
        (number, Sent { record: Record { offset: 0, timestamp_ms, key, value, headers }, good })
    }
}

/// How long a petal is, by its record's number: what a scored row must say.
pub fn petal_length(number: i64) -> f64 {
    let tenths = i32::try_from(number.rem_euclid(70)).unwrap_or_default();
    f64::from(tenths) / 10.0
}

fn flower(number: i64, dice: &mut impl Rng) -> Vec<u8> {
    let width = f64::from(dice.random_range(1..25)) / 10.0;
    let petal = petal_length(number);
    format!(
        "{{\"id\":{number},\"sepal_length\":5.9,\"sepal_width\":3.0,\"petal_length\":{petal},\"petal_width\":{width}}}"
    )
    .into_bytes()
}

/// A value that can't be a row, or a sound one at an impossible time.
fn bad(number: i64, dice: &mut impl Rng) -> (Option<Vec<u8>>, bool) {
    let value = match dice.random_range(0..6) {
        0 => return (None, true),
        1 => return (Some(flower(number, dice)), false),
        2 => (0..dice.random_range(1..200)).map(|_| dice.random::<u8>() | 0x80).collect(),
        3 => format!("{{\"id\":{number},\"petal_length\":\"long\"}}").into_bytes(),
        4 => format!("{{\"id\":{number},\"sepal_length\":5.9").into_bytes(),
        _ => vec![b' '; LARGE_BYTES],
    };
    (Some(value), true)
}

async fn opened(broker: &Broker, topic: &str, partition: i32) -> anyhow::Result<Partition> {
    patiently(|| broker.partition(topic, partition)).await
}

/// Asks until the broker answers, or a person would have to be asked.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let deadline = Instant::now() + LIMIT;
    loop {
        match ask().await {
            Err(error) if error.kind() == BrokerErrorKind::Transient && Instant::now() < deadline => {
                sleep(ASK_AGAIN).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Sends until the broker says that it has them; a try without an answer may have arrived too.
async fn send_batch(leader: &Partition, number: i32, batch: Vec<(i64, Sent)>, log: &Log) -> anyhow::Result<()> {
    let records: Vec<_> = batch.iter().map(|(_, sent)| sent.record.clone()).collect();
    let numbers: Vec<_> = batch.iter().map(|(number, _)| *number).collect();
    log.records().extend(batch);
    let offsets = patiently(|| leader.produce(records.clone(), Compression::None)).await?;
    ensure!(offsets.len() == numbers.len(), "the broker told {} offsets of {} records", offsets.len(), numbers.len());
    log.told().extend(offsets.into_iter().map(|offset| (number, offset)).zip(numbers));
    Ok(())
}

impl Log {
    fn records(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Sent>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, BTreeMap<Spot, i64>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records the broker has said to have.
    pub fn len(&self) -> usize {
        self.told().len()
    }

    /// The offset after a partition's last record that the broker has said to have.
    pub fn end(&self, partition: i32) -> i64 {
        let told = self.told();
        let last = told.range((partition, i64::MIN)..=(partition, i64::MAX)).next_back();
        last.map_or(0, |((_, offset), _)| offset + 1)
    }

    /// Where everything is: as the broker said when it was sent; and for what it could not say, as it says now.
    pub async fn settle(&self, broker: &Broker, topic: &str, partitions: i32) -> anyhow::Result<Truth> {
        let mut truth = Truth::new();
        for partition in 0..partitions {
            let leader = opened(broker, topic, partition).await?;
            let end = patiently(|| leader.latest()).await?;
            let mut at = 0;
            while at < end {
                let batch = patiently(|| leader.fetch(at, SETTLE_BYTES, SETTLE_WAIT)).await?;
                ensure!(batch.range.end > at, "the broker sends nothing from offset {at} of {end} on");
                at = batch.range.end;
                for record in batch.records {
                    let spot = (partition, record.offset);
                    truth.insert(spot, self.known(spot, record)?);
                }
            }
        }
        let told = self.told();
        if let Some((spot, number)) = told.iter().find(|(spot, _)| !truth.contains_key(spot)) {
            bail!("the broker lost a record that it had acknowledged: number {number} at {spot:?}");
        }
        Ok(truth)
    }

    /// The record as it was sent, if the broker holds that one there.
    fn known(&self, spot: Spot, mut found: Record) -> anyhow::Result<(i64, Sent)> {
        let says = found.headers.get(NUMBER).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let number = match (self.told().get(&spot).copied(), says) {
            (Some(told), Some(says)) if told != says => {
                bail!("the broker holds record {says} at {spot:?}, where it acknowledged {told}")
            }
            (Some(number), _) | (None, Some(number)) => number,
            (None, None) => bail!("the broker holds a record at {spot:?} that nobody sent"),
        };
        let sent = self.records().get(&number).cloned().with_context(|| format!("nobody sent record {number}"))?;
        found.offset = 0;
        ensure!(found == sent.record, "the broker holds record {number} at {spot:?} otherwise than it was sent");
        Ok((number, sent))
    }
}
