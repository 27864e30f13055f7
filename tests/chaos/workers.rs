//! The workers of a round: rivals on one topic and one lake, started again whatever ends them.
//!
//! Owns: which of them runs, and whether an end was called for. Does not own: when they are killed ([`super::round`]).

use std::{
    collections::BTreeSet,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::{process::Child, time::Instant};

use super::{
    plan::Role,
    process::{self, Program, Signal},
    tally::Tally,
};

/// How long SIGTERM may take: the pipeline file's `stop_timeout`, and the time that a busy machine takes.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// A process so young may not have asked for signals yet.
const YOUNG: Duration = Duration::from_secs(2);
/// A batch run that had nothing to do is not repeated at once.
const BATCH_EVERY: Duration = Duration::from_millis(300);
const SIGTERM: i32 = 15;
/// What a member says when it has its partitions of a generation.
const REBALANCED: &str = " rebalanced group=";
/// What no log may hold: each is a fault, or asks for a person where none is needed.
const FORBIDDEN: [&str; 4] = ["panicked", "lane stopped", "ended abnormally", " ERROR "];

#[derive(Debug)]
pub struct Workers {
    program: Program,
    /// What each runs, in their order.
    pipelines: Vec<PathBuf>,
    folder: PathBuf,
    all: Vec<Worker>,
    /// Whether something that a start may fail over is out right now.
    pub outage: bool,
}

#[derive(Debug)]
struct Worker {
    role: Role,
    log: PathBuf,
    child: Child,
    started: Instant,
    /// Its life met an outage, or stood still: it may give up, and say so.
    disturbed: bool,
    frozen: bool,
    /// It ended, and is not to be started again for now.
    away: bool,
}

/// What the workers' logs told.
#[derive(Debug, Default)]
pub struct Told {
    /// How often a worker was fenced.
    pub fences: u64,
    /// The generations of the group that a worker was part of: each is the end of a rebalance.
    pub generations: BTreeSet<i64>,
}

impl Workers {
    pub fn new(program: Program, pipelines: Vec<PathBuf>, folder: &Path) -> Self {
        Self { program, pipelines, folder: folder.to_owned(), all: vec![], outage: false }
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The numbers of those that are not away.
    pub fn present(&self) -> Vec<usize> {
        self.all.iter().enumerate().filter(|(_, worker)| !worker.away).map(|(number, _)| number).collect()
    }

    /// That one, or another in its place if it is away.
    pub fn someone(&self, number: usize) -> anyhow::Result<usize> {
        let present = self.present();
        present.get(number % present.len().max(1)).copied().context("somebody is there")
    }

    pub fn first_away(&self) -> Option<usize> {
        self.all.iter().position(|worker| worker.away)
    }

    /// It has ended, and is started again by [`Workers::restart`] alone.
    pub fn stays_away(&mut self, number: usize) -> anyhow::Result<()> {
        self.get(number)?.away = true;
        Ok(())
    }

    pub fn hire(&mut self, role: Role) -> anyhow::Result<()> {
        let number = self.all.len();
        let log = self.folder.join(format!("worker-{number}.log"));
        let child = self.start(number, role, &log)?;
        let (started, disturbed) = (Instant::now(), self.outage);
        self.all.push(Worker { role, log, child, started, disturbed, frozen: false, away: false });
        Ok(())
    }

    fn start(&self, number: usize, role: Role, log: &Path) -> anyhow::Result<Child> {
        let mode = match role {
            Role::Stream => "stream",
            Role::Batch => "batch",
        };
        let file = self
            .pipelines
            .get(number)
            .context("there is a pipeline file for it")?
            .to_str()
            .context("the folder's name is text")?;
        self.program.start(&[mode, file, "--json"], log)
    }

    /// Starts a worker again that has ended; its new process's number.
    pub fn restart(&mut self, number: usize) -> anyhow::Result<u32> {
        let worker = self.all.get(number).context("there is such a worker")?;
        let child = self.start(number, worker.role, &worker.log)?;
        let pid = child.id().context("it runs")?;
        let outage = self.outage;
        let worker = self.all.get_mut(number).context("there is such a worker")?;
        (worker.child, worker.started, worker.disturbed) = (child, Instant::now(), outage);
        (worker.frozen, worker.away) = (false, false);
        Ok(pid)
    }

    /// The number of a worker's process.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.all.get(number)?.child.id()
    }

    /// The worker that made a claim, if that process still runs.
    pub fn who_wrote(&self, writer: &str) -> Option<usize> {
        let pid = writer.split_once('-')?.0.parse().ok();
        self.all.iter().position(|worker| worker.child.id().is_some() && worker.child.id() == pid)
    }

    /// Whether it ran until then.
    pub async fn kill(&mut self, number: usize) -> anyhow::Result<bool> {
        process::kill(&mut self.get(number)?.child).await
    }

    /// Whether it ran until then.
    pub async fn freeze(&mut self, number: usize) -> anyhow::Result<bool> {
        let worker = self.get(number)?;
        if worker.child.try_wait()?.is_some() {
            return Ok(false);
        }
        (worker.frozen, worker.disturbed) = (true, true);
        process::signal(&worker.child, Signal::Stop).await?;
        Ok(true)
    }

    pub async fn thaw(&mut self, number: usize) -> anyhow::Result<()> {
        let worker = self.get(number)?;
        worker.frozen = false;
        process::signal(&worker.child, Signal::Continue).await
    }

    /// SIGTERM, and an end that fits it: with all in hand committed, or before anything was in hand.
    pub async fn terminate(&mut self, number: usize) -> anyhow::Result<()> {
        let worker = self.get(number)?;
        process::signal(&worker.child, Signal::Terminate).await?;
        let status = process::ended(&mut worker.child, STOP_LIMIT).await.with_context(|| worker.name())?;
        let young = worker.started.elapsed() < YOUNG;
        let fits = match status.code() {
            Some(0) => true,
            Some(1) => worker.disturbed || worker.said("interrupted before the first record was read")?,
            _ => young && status.signal() == Some(SIGTERM),
        };
        ensure!(fits, "{} ended after SIGTERM with {status}", worker.name());
        Ok(())
    }

    /// The end of the round for a worker, which may have come to its own end by now.
    pub async fn end(&mut self, number: usize) -> anyhow::Result<()> {
        let worker = self.get(number)?;
        match worker.child.try_wait()? {
            Some(status) => worker.may_end(status).map(drop),
            None => self.terminate(number).await,
        }
    }

    /// An outage begins or ends: whoever runs now has met it.
    pub fn set_outage(&mut self, outage: bool) {
        self.outage = outage;
        self.all.iter_mut().for_each(|worker| worker.disturbed = true);
    }

    /// Starts again who ended by itself and may have; an end that nothing explains is a fault.
    pub fn tend(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        for number in 0..self.all.len() {
            let worker = self.get(number)?;
            if worker.frozen || worker.away {
                continue;
            }
            let Some(status) = worker.child.try_wait()? else { continue };
            if status.success() && worker.started.elapsed() < BATCH_EVERY {
                continue;
            }
            tally.gave_up += u64::from(!worker.may_end(status)?);
            self.restart(number)?;
        }
        Ok(())
    }

    /// What must not be in any log is in none.
    pub fn read_logs(&self) -> anyhow::Result<Told> {
        let mut told = Told::default();
        for worker in &self.all {
            let log = String::from_utf8_lossy(&std::fs::read(&worker.log)?).into_owned();
            for line in log.lines() {
                if FORBIDDEN.iter().any(|words| line.contains(words)) {
                    bail!("{} says: {line}", worker.name());
                }
                told.fences += u64::from(line.contains("fenced: "));
                told.generations.extend(generation(line));
            }
        }
        Ok(told)
    }

    fn get(&mut self, number: usize) -> anyhow::Result<&mut Worker> {
        self.all.get_mut(number).context("there is such a worker")
    }
}

/// The generation of the group that a line tells of.
fn generation(line: &str) -> Option<i64> {
    let (_, behind) = line.split_once(REBALANCED)?.1.split_once("generation=")?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Worker {
    /// Whether it had done its work; if not, an outage must explain why it ended.
    fn may_end(&self, status: ExitStatus) -> anyhow::Result<bool> {
        match (self.role, status.code()) {
            (Role::Batch, Some(0)) => Ok(true),
            (_, Some(1)) if self.disturbed || self.said_last("no answer within")? => Ok(false),
            _ => bail!("{} ended by itself with {status}", self.name()),
        }
    }

    /// A machine that is busy enough is an outage too.
    fn said_last(&self, words: &str) -> anyhow::Result<bool> {
        let log = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        Ok(log.lines().next_back().is_some_and(|line| line.contains(words)))
    }

    fn said(&self, words: &str) -> anyhow::Result<bool> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).contains(words))
    }

    fn name(&self) -> String {
        self.log.display().to_string()
    }
}
