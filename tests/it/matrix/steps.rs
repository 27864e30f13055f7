//! The real program, killed or frozen at every step that changes its store.

use std::{path::PathBuf, sync::Arc};

use alluvium::record::Record;
use futures::StreamExt;
use object_store::{ObjectStore, prefix::PrefixStore};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{
    program::{self, Hold, Ran, command, ended, signal},
    proof::{OF_A_CRASH, OF_A_FREEZE, Promise, Proof, Sent},
    s3::{BUCKET, S3Server},
    stage::{DATASET, Stage, flower, value},
    witness::Witness,
};

/// Runs at once; each is a process or two.
const AT_ONCE: usize = 3;
/// One fetch brings one of the two batches that are sent; so there are two segments.
const ONE_BATCH_A_FETCH: &str = "[limits]\nfetch_wait = \"10ms\"\nfetch_bytes = \"16KiB\"\n";
const BATCH: usize = 300;

/// Where lakes can be made, each of its own.
enum Ground {
    Local,
    S3(S3Server),
}

/// A topic with two batches of records of two hours, some of them bad, and room for lakes.
struct Scene {
    stage: Stage,
    ground: Ground,
    sent: Sent,
}

impl Scene {
    async fn new(ground: Ground) -> Self {
        let (stage, mut sent) = (Stage::new(1).await, Sent::default());
        for first in [0, BATCH] {
            let records: Vec<Record> = (first..first + BATCH).map(of_two_hours).collect();
            sent.add(0, &records);
            stage.send(0, records).await;
        }
        Self { stage, ground, sent }
    }

    fn objects(&self, lake: &str) -> Arc<dyn ObjectStore> {
        match &self.ground {
            Ground::Local => {
                let folder = self.stage.lake_folder(lake);
                alluvium::lake::Store::open(folder.to_str().unwrap()).unwrap().objects().clone()
            }
            Ground::S3(server) => Arc::new(PrefixStore::new(server.client(), lake)),
        }
    }

    /// The program over this lake; it is held at the step if there is one.
    fn batch(&self, lake: &str, hold: Hold<'_>) -> Command {
        let url = match &self.ground {
            Ground::Local => self.stage.lake_folder(lake).to_str().unwrap().to_owned(),
            Ground::S3(_) => format!("s3://{BUCKET}/{lake}"),
        };
        let file = self.stage.folder.path().join(format!("{lake}.toml"));
        std::fs::write(&file, self.stage.pipeline(&url, ONE_BATCH_A_FETCH) + "roll_rows = 100\n").unwrap();
        let mut command = command([PathBuf::from("batch"), file, "--json".into()]);
        if let Ground::S3(server) = &self.ground {
            command.envs(server.environment());
        }
        program::hold(&mut command, hold);
        command
    }

    /// The steps of a run that nobody disturbs.
    async fn steps(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        whole(&ended(self.batch("whole", Some((&folder, None))).spawn().unwrap()).await, BATCH * 2);
        program::steps(&folder)
    }

    /// A run that stands still before that step.
    async fn held(&self, lake: &str, at: usize) -> (Child, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let child = self.batch(lake, Some((&folder, Some(at)))).spawn().unwrap();
        program::stands_still(&folder).await;
        (child, folder)
    }

    async fn assert_lake(&self, proof: &Proof, lake: &str, witness: Witness) {
        witness.agree(proof).await;
        proof.lake(&self.objects(lake), &self.sent).await;
        proof.same_rows(&self.objects("whole"), &self.objects(lake)).await;
    }

    async fn killed(&self, proof: &Proof, at: usize) {
        let lake = format!("killed-{at}");
        let witness = Witness::of(&self.objects(&lake), DATASET);
        let (child, _folder) = self.held(&lake, at).await;
        signal(&child, &["KILL"]);
        assert_eq!(ended(child).await.code, None);
        let next = ended(self.batch(&lake, None).spawn().unwrap()).await;
        assert_eq!((next.code, next.figure("remaining")), (Some(0), 0), "{next:?}");
        proof.shown(&[Promise::Resumes]);
        self.assert_lake(proof, &lake, witness).await;
    }

    /// Frozen, while another does all the work; then let go on.
    async fn frozen(&self, proof: &Proof, at: usize) -> u64 {
        let lake = format!("frozen-{at}");
        let witness = Witness::of(&self.objects(&lake), DATASET);
        let (child, folder) = self.held(&lake, at).await;
        signal(&child, &["STOP"]);
        let rival = ended(self.batch(&lake, None).spawn().unwrap()).await;
        assert_eq!((rival.code, rival.figure("remaining")), (Some(0), 0), "{rival:?}");
        program::let_go(&folder);
        signal(&child, &["CONT"]);
        let zombie = ended(child).await;
        assert_eq!((zombie.code, zombie.figure("remaining")), (Some(0), 0), "{zombie:?}");
        proof.shown(&[Promise::Resumes]);
        self.assert_lake(proof, &lake, witness).await;
        u64::try_from(zombie.figure("fences")).unwrap()
    }

    async fn killed_everywhere(&self, proof: &Proof) {
        let steps = self.steps().await;
        assert_every_kind(&steps);
        let kills = (0..steps.len()).map(|at| self.killed(proof, at));
        futures::stream::iter(kills).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }

    async fn frozen_everywhere(&self, proof: &Proof) {
        let steps = self.steps().await;
        assert_every_kind(&steps);
        let freezes = (0..steps.len()).map(|at| self.frozen(proof, at));
        let fences: Vec<_> = futures::stream::iter(freezes).buffer_unordered(AT_ONCE).collect().await;
        assert!(fences.iter().sum::<u64>() > 0, "who was frozen before its claim has lost it: {fences:?}");
        proof.shown(&[Promise::L6]);
    }
}

fn of_two_hours(id: usize) -> Record {
    let earlier = i64::try_from(id % 2).unwrap() * 3_600_000;
    let record = if id % 10 == 3 { value(format!("{id} is no flower")) } else { flower(id) };
    Record { timestamp_ms: record.timestamp_ms - earlier, ..record }
}

fn whole(ran: &Ran, records: usize) {
    assert_eq!((ran.code, ran.figure("records")), (Some(0), i64::try_from(records).unwrap()), "{ran:?}");
}

/// A run has all the steps there are, in two commits.
fn assert_every_kind(steps: &[String]) {
    let count = |begin: &str| steps.iter().filter(|step| step.starts_with(begin)).count();
    assert_eq!(count("create _ledger"), 3, "a genesis and two claims: {steps:?}");
    assert!(count("write _staging") >= 6 && count("publish ") >= 6 && count("hint _ledger") >= 2, "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_step_the_next_start_makes_the_lake_whole() {
    let proof = Proof::of("kill -9 at every step: local folder", OF_A_CRASH);
    Scene::new(Ground::Local).await.killed_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_step_on_s3_the_next_start_makes_the_lake_whole() {
    let proof = Proof::of("kill -9 at every step: S3", OF_A_CRASH);
    Scene::new(Ground::S3(S3Server::start(true).await)).await.killed_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_before_any_step_while_another_takes_over_it_corrupts_nothing() {
    let proof = Proof::of("frozen at every step while another takes over: local folder", OF_A_FREEZE);
    Scene::new(Ground::Local).await.frozen_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_before_any_step_on_s3_while_another_takes_over_it_corrupts_nothing() {
    let proof = Proof::of("frozen at every step while another takes over: S3", OF_A_FREEZE);
    Scene::new(Ground::S3(S3Server::start(true).await)).await.frozen_everywhere(&proof).await;
}
