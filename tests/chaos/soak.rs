//! One long round: two rivals under a steady load, one of them killed every minute, and what the other takes.
//!
//! Owns: the pace, and the samples. Does not own: the round ([`super::round`]).

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use super::{
    plan::{Name, Place, Plan, Share},
    round::{Round, Stand},
    tally::Tally,
};

const RECORDS_A_SECOND: usize = 200;
const KILL_EVERY: Duration = Duration::from_mins(1);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const READERS_LOOK_EVERY: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(200);
/// By then a worker has all that it keeps.
const WARM_AFTER: Duration = Duration::from_mins(10);
/// How much more it may take at the end, in percent.
const GROWTH_MAX: u64 = 10;
/// Descriptors come and go with connections and files on their way; more than so many more is a leak.
const DESCRIPTORS_MORE_MAX: u64 = 8;
/// A figure is the median of so many samples.
const SAMPLES: usize = 12;

/// The one that lives, and the one that is killed.
const STEADY: usize = 0;
const MORTAL: usize = 1;

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    resident_kib: u64,
    descriptors: u64,
}

/// Plays it; an error is a verdict too.
pub async fn play(stand: &mut Stand, seed: u64, duration: Duration, folder: &Path) -> (Tally, anyhow::Result<()>) {
    let records = usize::try_from(duration.as_secs()).unwrap_or(usize::MAX).saturating_mul(RECORDS_A_SECOND);
    let name = Name { place: Place::Local, share: Share::All, seed };
    let mut round = match Round::begin(stand, name, Plan::soak(records), folder).await {
        Ok(round) => round,
        Err(error) => return (Tally::default(), Err(error.context("begin the soak"))),
    };
    let verdict = run(&mut round, duration).await;
    (round.tally, verdict)
}

async fn run(round: &mut Round<'_>, duration: Duration) -> anyhow::Result<()> {
    let readers = round.open(READERS_LOOK_EVERY).await?;
    let warm_after = WARM_AFTER.min(duration / 2);
    let (began, mut samples, mut warm) = (Instant::now(), vec![], None);
    let (mut next_kill, mut next_sample) = (KILL_EVERY, SAMPLE_EVERY);
    while began.elapsed() < duration {
        let passed = began.elapsed();
        round.allowed.send_replace(usize::try_from(passed.as_millis())? * RECORDS_A_SECOND / 1000);
        let committed = round.progress().await?;
        if passed >= next_sample {
            samples.push(sample(round)?);
            next_sample += SAMPLE_EVERY;
        }
        if passed >= warm_after && warm.is_none() {
            warm = Some(median(&samples));
        }
        if passed >= next_kill {
            tell(passed, committed, round.sent.len(), median(&samples));
            round.kill(&[MORTAL], 0).await?;
            next_kill += KILL_EVERY;
        }
        sleep(STEP).await;
    }
    let (warm, last) = (warm.context("it took long enough to be measured")?, median(&samples));
    println!("after {} s: {warm}; at the end: {last}", warm_after.as_secs());
    round.close(readers).await?;
    if warm_after < WARM_AFTER {
        println!("too short to judge by; give it {} s at least", 2 * WARM_AFTER.as_secs());
        return Ok(());
    }
    let flat = last.resident_kib * 100 <= warm.resident_kib * (100 + GROWTH_MAX);
    ensure!(flat, "memory grew from {} to {} KiB", warm.resident_kib, last.resident_kib);
    ensure!(last.descriptors <= warm.descriptors + DESCRIPTORS_MORE_MAX, "descriptors grew: {warm}, then {last}");
    Ok(())
}

fn tell(passed: Duration, committed: usize, sent: usize, now: Sample) {
    println!("{:>5} s  {sent:>8} sent  {committed:>8} committed  {now}", passed.as_secs());
}

fn sample(round: &Round<'_>) -> anyhow::Result<Sample> {
    let pid = round.workers.pid(STEADY).context("the steady worker runs")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read /proc, which only Linux has")?;
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Sample { resident_kib: resident.context("its resident size")?, descriptors: descriptors as u64 })
}

/// Each figure's median over the newest samples.
fn median(samples: &[Sample]) -> Sample {
    let newest = samples.get(samples.len().saturating_sub(SAMPLES)..).unwrap_or_default();
    let middle = |figure: fn(&Sample) -> u64| {
        let mut figures: Vec<_> = newest.iter().map(figure).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    Sample { resident_kib: middle(|sample| sample.resident_kib), descriptors: middle(|sample| sample.descriptors) }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} KiB resident, {} descriptors", self.resident_kib, self.descriptors)
    }
}
