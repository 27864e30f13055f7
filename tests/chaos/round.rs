//! One round: a topic, a lake, some workers, and what befalls them; then the verdict.
//!
//! Owns: the order of things. Does not own: any of the things.

mod members;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alluvium::broker::Broker;
use anyhow::{Context, bail, ensure};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use uuid::Uuid;

use super::{
    broker::{IMPATIENT, PATIENT, TestBroker},
    duckdb::{Judge, Watcher},
    lake::{Heads, TestLake, pipeline_file, pipeline_files},
    load::{Load, Log, Truth},
    plan::{BrokerFault, Ending, Event, Moment, Name, Plan, Role, Share, StoreFault, What},
    process::Program,
    reader::{self, Watched},
    store::S3Server,
    tally::Tally,
    verdict,
    workers::Workers,
};

/// How long an event waits for a claim to happen at.
const CLAIM_AWAITED: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(4);
const READERS_LOOK_EVERY: Duration = Duration::from_millis(30);
/// Nothing committed for so long is a fault of its own.
const STALLED: Duration = Duration::from_mins(1);
/// How long a zombie stays one while nobody takes its work.
const FROZEN: Duration = Duration::from_secs(6);
const COMMAND_LIMIT: Duration = Duration::from_mins(2);

/// What all rounds share.
#[derive(Debug)]
pub struct Stand {
    pub program: Program,
    /// One that runs already; else each round has its own.
    pub broker: Option<String>,
    pub python: Option<PathBuf>,
    pub judge: Option<Judge>,
}

pub struct Round<'a> {
    stand: &'a mut Stand,
    plan: Plan,
    folder: PathBuf,
    pipeline: PathBuf,
    program: Program,
    topic: String,
    broker: TestBroker,
    client: Broker,
    lake: TestLake,
    heads: Heads,
    pub workers: Workers,
    pub sent: Arc<Log>,
    pub allowed: watch::Sender<usize>,
    sending: Option<AbortOnDropHandle<anyhow::Result<()>>>,
    /// Restarts after which the next claim can only be theirs: the processes' numbers, and when.
    restarts: Vec<(Vec<u32>, i64)>,
    /// Until then the group may wait for somebody who died, or stood still.
    calm_at: Instant,
    pub tally: Tally,
}

/// Who looks at the lake all the while.
pub struct Readers {
    watching: JoinHandle<anyhow::Result<Watched>>,
    duckdb: Option<Watcher>,
    stop: DropGuard,
}

/// Plays a round in a folder of its own; an error is a verdict too.
pub async fn play(stand: &mut Stand, name: Name, folder: &Path) -> (Tally, anyhow::Result<()>) {
    let mut round = match Round::begin(stand, name, Plan::of(name), folder).await {
        Ok(round) => round,
        Err(error) => return (Tally::default(), Err(error.context("begin the round"))),
    };
    let verdict = round.run().await;
    (round.tally, verdict)
}

impl<'a> Round<'a> {
    /// Broker, topic, lake and producer; no worker runs yet.
    pub async fn begin(stand: &'a mut Stand, name: Name, plan: Plan, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("plan.txt"), format!("{name}\n{plan:#?}\n"))?;
        let lake = TestLake::new(name.place, folder).await?;
        let topic = format!("chaos-{name}-{}", Uuid::new_v4().simple());
        let broker = match &stand.broker {
            Some(named) => TestBroker::Named(named.clone()),
            None => TestBroker::start(&stand.program, folder, plan.broker_keeps).await?,
        };
        broker.connect(PATIENT).await?.create_topic(&topic, plan.partitions, 1).await?;
        let client = broker.connect(IMPATIENT).await?;
        let pipeline = folder.join("pipeline.toml");
        std::fs::write(&pipeline, pipeline_file(&broker.address(), &topic, "", &lake.url, &plan))?;
        let shares = pipeline_files(&broker.address(), &topic, &lake.url, &plan, folder)?;
        let mut program = stand.program.clone();
        program.environment.extend(lake.s3.iter().flat_map(S3Server::environment));
        let (allowed, gate) = watch::channel(plan.lead);
        let sent = Arc::new(Log::default());
        let load = Load::new(name.seed, &plan);
        let sending = load.send(client.clone(), topic.clone(), plan.partitions, sent.clone(), gate);
        Ok(Self {
            heads: Heads::new(&lake, plan.partitions),
            workers: Workers::new(program.clone(), shares, folder),
            sending: Some(AbortOnDropHandle::new(tokio::spawn(sending))),
            tally: Tally { rounds: 1, ..Tally::default() },
            folder: folder.to_owned(),
            restarts: vec![],
            calm_at: Instant::now(),
            stand,
            plan,
            pipeline,
            program,
            topic,
            broker,
            client,
            lake,
            sent,
            allowed,
        })
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let readers = self.open(READERS_LOOK_EVERY).await?;
        for event in self.plan.events.clone() {
            self.befall(&event).await.with_context(|| format!("{event:?}"))?;
        }
        self.close(readers).await
    }

    /// Readers look from before the first record on, and then the workers begin.
    pub async fn open(&mut self, look_every: Duration) -> anyhow::Result<Readers> {
        let stop = CancellationToken::new();
        let watching = tokio::spawn(reader::watch(self.lake.objects.clone(), look_every, stop.clone()));
        let duckdb = self.duckdb_watcher().await?;
        for role in self.plan.workers.clone() {
            self.workers.hire(role)?;
        }
        Ok(Readers { watching, duckdb, stop: stop.drop_guard() })
    }

    /// All that is left of the load lands, and the lake is judged.
    pub async fn close(&mut self, readers: Readers) -> anyhow::Result<()> {
        self.allowed.send_replace(usize::MAX);
        self.reach(usize::MAX).await?;
        self.end_workers().await?;
        let completed = self.complete().await;
        let truth = self.sent.settle(&self.client, &self.topic, self.plan.partitions).await?;
        self.tally.records = truth.len() as u64;
        // Each says what it finds, whatever the others find.
        let verdicts = [
            completed,
            self.heard(readers).await,
            self.read_logs().await,
            reader::rows(&self.lake.objects).await.and_then(|rows| verdict::compare(&truth, &rows)),
            self.asked_duckdb(&truth).await,
        ];
        let faults: Vec<_> = verdicts.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        ensure!(faults.is_empty(), "{}", faults.join("; and "));
        Ok(())
    }

    /// What the readers saw, who may look once more now that nothing changes any more.
    async fn heard(&mut self, readers: Readers) -> anyhow::Result<()> {
        drop(readers.stop);
        self.tally.looks += readers.watching.await??.looks;
        match readers.duckdb {
            Some(duckdb) => duckdb.finish().await,
            None => Ok(()),
        }
    }

    async fn duckdb_watcher(&self) -> anyhow::Result<Option<Watcher>> {
        match &self.stand.python {
            Some(python) if self.plan.duckdb_watches => Watcher::start(python, self.lake.as_folder().await?).map(Some),
            _ => Ok(None),
        }
    }

    /// Waits for the event's moment, and makes it happen.
    async fn befall(&mut self, event: &Event) -> anyhow::Result<()> {
        self.allowed.send_replace(event.committed + self.plan.lead);
        self.reach(event.committed).await?;
        let claimant = self.wait_for(event.moment).await?;
        let whom = |worker| claimant.map_or_else(|| self.workers.someone(worker), Ok);
        match event.what {
            What::Kill { worker, down_ms, again_after_ms } => {
                let worker = whom(worker)?;
                self.kill(&[worker], down_ms).await?;
                if let Some(after_ms) = again_after_ms {
                    sleep(Duration::from_millis(after_ms)).await;
                    self.kill(&[worker], 0).await?;
                }
                Ok(())
            }
            What::KillAll { down_ms } => self.kill(&self.workers.present(), down_ms).await,
            What::Terminate { worker, down_ms } => self.terminate(self.workers.someone(worker)?, down_ms).await,
            What::Fall { worker } => self.fall(whom(worker)?).await,
            What::HandOver { worker } => self.hand_over(whom(worker)?).await,
            What::Join { role } => self.join(role).await,
            What::Leave { worker } => self.leave(whom(worker)?).await,
            What::Freeze { worker, others_commit, longer_ms } => {
                self.freeze(whom(worker)?, others_commit, longer_ms).await
            }
            What::Broker { how, for_ms, kill } => self.broker_outage(how, for_ms, kill).await,
            What::Store { how, for_ms, kill } => self.store_outage(how, for_ms, kill).await,
        }
    }

    /// Who made the claim that was waited for, if one was.
    async fn wait_for(&mut self, moment: Moment) -> anyhow::Result<Option<usize>> {
        if let Moment::Later(ms) = moment {
            sleep(Duration::from_millis(ms)).await;
            return Ok(None);
        }
        let (before, deadline) = (self.heads.claims.len(), Instant::now() + CLAIM_AWAITED);
        while self.heads.claims.len() == before && Instant::now() < deadline {
            self.heads.committed().await?;
            tokio::task::yield_now().await;
        }
        let newest = self.heads.claims.get(before..).and_then(<[_]>::last);
        Ok(newest.and_then(|claim| self.workers.who_wrote(&claim.writer)))
    }

    pub async fn kill(&mut self, whom: &[usize], down_ms: u64) -> anyhow::Result<()> {
        for &worker in whom {
            self.tally.kills += u64::from(self.workers.kill(worker).await?);
        }
        self.stirred();
        sleep(Duration::from_millis(down_ms)).await;
        let waiting = self.sent.len() > self.heads.committed().await?;
        let now_ms = chrono::Utc::now().timestamp_millis();
        let mut pids = vec![];
        for &worker in whom {
            pids.push(self.workers.restart(worker)?);
        }
        // In a group they wait for a session too.
        let at_once = self.plan.share != Share::Group && !self.workers.outage;
        if waiting && whom.len() == self.workers.count() && at_once {
            self.restarts.push((pids, now_ms));
        }
        Ok(())
    }

    async fn terminate(&mut self, worker: usize, down_ms: u64) -> anyhow::Result<()> {
        self.workers.terminate(worker).await?;
        self.tally.terms += 1;
        sleep(Duration::from_millis(down_ms)).await;
        self.workers.restart(worker).map(drop)
    }

    /// Holds a worker still until others have done its work, then lets it go on as if nothing had happened.
    async fn freeze(&mut self, worker: usize, others_commit: usize, longer_ms: u64) -> anyhow::Result<()> {
        if self.workers.present().len() == 1 {
            self.join(Role::Stream).await?;
        }
        if !self.workers.freeze(worker).await? {
            return Ok(());
        }
        let before = self.heads.committed().await?;
        self.allowed.send_replace(before + others_commit + self.plan.lead);
        let deadline = Instant::now() + FROZEN;
        while Instant::now() < deadline && self.progress().await? < before + others_commit && !self.all_landed().await?
        {
            sleep(LOOK_EVERY).await;
        }
        sleep(Duration::from_millis(longer_ms)).await;
        self.tally.zombies += u64::from(self.heads.committed().await? > before);
        self.stirred();
        self.workers.thaw(worker).await
    }

    fn stirred(&mut self) {
        self.calm_at = Instant::now() + Duration::from_millis(self.plan.session_ms);
    }

    async fn broker_outage(&mut self, how: BrokerFault, for_ms: u64, kill: bool) -> anyhow::Result<()> {
        if !self.broker.is_ours() {
            return Ok(());
        }
        self.workers.set_outage(true);
        self.broker.fail(how).await?;
        self.tally.broker_outages += 1;
        self.suffer(for_ms, kill).await?;
        self.broker.mend(how).await?;
        self.stirred();
        self.workers.set_outage(false);
        Ok(())
    }

    async fn store_outage(&mut self, how: StoreFault, for_ms: u64, kill: bool) -> anyhow::Result<()> {
        self.workers.set_outage(true);
        let before = self.set_store_fault(Some(how));
        self.tally.store_outages += 1;
        self.suffer(for_ms, kill).await?;
        self.tally.requests_failed += u64::from(self.set_store_fault(None) - before);
        self.workers.set_outage(false);
        Ok(())
    }

    fn set_store_fault(&self, fault: Option<StoreFault>) -> u32 {
        self.lake.s3.as_ref().map_or(0, |s3| {
            s3.set(fault);
            s3.struck()
        })
    }

    /// An outage goes on; in its midst, everyone may be killed as well.
    async fn suffer(&mut self, for_ms: u64, kill: bool) -> anyhow::Result<()> {
        let half = Duration::from_millis(for_ms / 2);
        sleep(half).await;
        if kill {
            self.kill(&self.workers.present(), 0).await?;
        }
        sleep(half).await;
        Ok(())
    }

    /// Waits until so much is committed, or all there is.
    async fn reach(&mut self, goal: usize) -> anyhow::Result<()> {
        let (mut best, mut since) = (0, Instant::now());
        loop {
            let committed = self.progress().await?;
            if committed >= goal || self.all_landed().await? {
                return Ok(());
            }
            if committed > best {
                (best, since) = (committed, Instant::now());
            }
            let sent = self.sent.len();
            ensure!(since.elapsed() < STALLED, "nothing committed for {STALLED:?}: {committed} of {sent} acknowledged");
            sleep(LOOK_EVERY).await;
        }
    }

    /// How much is committed; whoever ended meanwhile is started again.
    pub async fn progress(&mut self) -> anyhow::Result<usize> {
        self.workers.tend(&mut self.tally)?;
        self.heads.committed().await
    }

    /// Whether the producer is done and nothing more can come.
    async fn all_landed(&mut self) -> anyhow::Result<bool> {
        if let Some(sending) = self.sending.take_if(|sending| sending.is_finished()) {
            sending.await?.context("send the load")?;
        }
        Ok(self.sending.is_none() && self.heads.committed().await? >= self.sent.len())
    }

    async fn end_workers(&mut self) -> anyhow::Result<()> {
        for worker in self.workers.present() {
            match self.plan.ending {
                Ending::Kill => self.workers.kill(worker).await.map(drop)?,
                Ending::Terminate => self.workers.end(worker).await?,
            }
        }
        Ok(())
    }

    /// One worker runs to the end, and the audit finds nothing.
    async fn complete(&self) -> anyhow::Result<()> {
        let summary = self.command("batch").await?;
        let nothing_left = summary["remaining"] == 0 && summary["failures"].as_array().is_some_and(Vec::is_empty);
        ensure!(nothing_left, "the last batch run says {summary}");
        let report = self.command("audit").await?;
        ensure!(report["verdict"] == "clean" && report["totals"]["lag"] == 0, "the audit says {report}");
        Ok(())
    }

    async fn command(&self, command: &str) -> anyhow::Result<serde_json::Value> {
        let file = self.pipeline.to_str().context("the folder's name is text")?;
        let log = self.folder.join(format!("{command}.log"));
        let ran = self.program.run(&[command, file, "--json"], &log, COMMAND_LIMIT).await?;
        if ran.code != Some(0) {
            bail!("`alluvium {command}` exits with {:?}: {}; see {}", ran.code, ran.stdout, log.display());
        }
        serde_json::from_str(&ran.stdout).with_context(|| format!("`alluvium {command} --json` prints {}", ran.stdout))
    }

    async fn asked_duckdb(&mut self, truth: &Truth) -> anyhow::Result<()> {
        match &mut self.stand.judge {
            Some(judge) => judge.judge(self.lake.as_folder().await?, truth).await,
            None => Ok(()),
        }
    }

    async fn read_logs(&mut self) -> anyhow::Result<()> {
        self.heads.committed().await?;
        self.tally.recoveries_ms = self.restarts.iter().filter_map(|(pids, at)| self.recovery(pids, *at)).collect();
        let told = self.workers.read_logs()?;
        (self.tally.fences, self.tally.rebalances) = (told.fences, told.generations.len() as u64);
        Ok(())
    }

    /// From a restart to the first claim of any of these processes; none, if they were killed before.
    fn recovery(&self, pids: &[u32], at: i64) -> Option<u64> {
        let theirs = self.heads.claims.iter().filter(|claim| pids.iter().any(|pid| claim.is_by(*pid)));
        theirs.map(|claim| (claim.at_ms - at).unsigned_abs()).min()
    }
}
