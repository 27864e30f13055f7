//! The real `alluvium replay`, killed or frozen before every step that changes its store.

use std::{path::PathBuf, sync::Arc};

use alluvium::lake::Store;
use futures::StreamExt;
use object_store::{ObjectStore, prefix::PrefixStore};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::replays::{IN_SMALL_SEGMENTS, Scene, View, copy_all, everything};
use crate::support::{
    program::{self, Hold, command, ended, signal},
    proof::{OF_A_REPLAY, Promise, Proof},
    s3::{BUCKET, S3Server},
    stage::objects,
};

/// Runs at once; each is a process or two.
const AT_ONCE: usize = 3;

enum Ground {
    Local,
    S3(S3Server),
}

struct Steps {
    scene: Scene,
    ground: Ground,
    before: View,
}

impl Steps {
    async fn new(ground: Ground) -> Self {
        let scene = Scene::new().await;
        let before = View::of(&objects(&scene.now)).await;
        Self { scene, ground, before }
    }

    fn url(&self, lake: &str) -> String {
        match &self.ground {
            Ground::Local => self.scene.stage.lake_folder(lake).to_str().unwrap().to_owned(),
            Ground::S3(_) => format!("s3://{BUCKET}/{lake}"),
        }
    }

    /// The lake as it was before any replay, under a name of its own.
    async fn lake(&self, name: &str) -> Arc<dyn ObjectStore> {
        let lake: Arc<dyn ObjectStore> = match &self.ground {
            Ground::Local => Store::open(&self.url(name)).unwrap().objects().clone(),
            Ground::S3(server) => Arc::new(PrefixStore::new(server.client(), name)),
        };
        copy_all(&objects(&self.scene.now), &lake).await;
        lake
    }

    fn replay(&self, lake: &str, hold: Hold<'_>) -> Command {
        let stage = &self.scene.stage;
        let file = stage.folder.path().join(format!("{lake}.toml"));
        std::fs::write(&file, stage.pipeline(&self.url(lake), "") + IN_SMALL_SEGMENTS).unwrap();
        let mut command = command([PathBuf::from("replay"), file, "--json".into()]);
        if let Ground::S3(server) = &self.ground {
            command.envs(server.environment());
        }
        program::hold(&mut command, hold);
        command
    }

    async fn steps(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        self.lake("whole").await;
        let ran = ended(self.replay("whole", Some((&folder, None))).spawn().unwrap()).await;
        assert_eq!((ran.code, ran.figure("scored")), (Some(0), 24), "{ran:?}");
        let steps = program::steps(&folder);
        let count = |begin: &str| steps.iter().filter(|step| step.starts_with(begin)).count();
        assert!(count("create _ledger") >= 2 && count("publish scored") >= 2, "{steps:?}");
        assert!(count("replace rejected") >= 1 && count("delete rejected") >= 1, "{steps:?}");
        steps
    }

    async fn held(&self, lake: &str, at: usize) -> (Child, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let child = self.replay(lake, Some((&folder, Some(at)))).spawn().unwrap();
        program::stands_still(&folder).await;
        (child, folder)
    }

    async fn assert_done(&self, proof: &Proof, lake: &str, objects: &Arc<dyn ObjectStore>) {
        View::of(objects).await.assert_follows(&self.before, lake);
        proof.lake(objects, &self.scene.sent).await;
        let all = everything(objects).await;
        let again = ended(self.replay(lake, None).spawn().unwrap()).await;
        assert_eq!((again.code, again.figure("revisions"), again.figure("finished")), (Some(0), 0, 0), "{again:?}");
        assert!(everything(objects).await == all, "{lake}: a replay run again changes nothing");
        proof.shown(&[Promise::L4, Promise::R1, Promise::R2, Promise::R3, Promise::R4, Promise::R5, Promise::Resumes]);
    }

    async fn killed(&self, proof: &Proof, at: usize) {
        let lake = format!("killed-{at}");
        let objects = self.lake(&lake).await;
        let (child, _folder) = self.held(&lake, at).await;
        signal(&child, &["KILL"]);
        assert_eq!(ended(child).await.code, None);
        View::of(&objects).await.assert_follows(&self.before, &lake);
        let next = ended(self.replay(&lake, None).spawn().unwrap()).await;
        assert_eq!(next.code, Some(0), "{next:?}");
        self.assert_done(proof, &lake, &objects).await;
    }

    async fn frozen(&self, proof: &Proof, at: usize) -> i64 {
        let lake = format!("frozen-{at}");
        let objects = self.lake(&lake).await;
        let (child, folder) = self.held(&lake, at).await;
        signal(&child, &["STOP"]);
        let rival = ended(self.replay(&lake, None).spawn().unwrap()).await;
        assert_eq!(rival.code, Some(0), "{rival:?}");
        program::let_go(&folder);
        signal(&child, &["CONT"]);
        let zombie = ended(child).await;
        assert_eq!(zombie.code, Some(0), "{zombie:?}");
        self.assert_done(proof, &lake, &objects).await;
        zombie.figure("fences")
    }

    async fn killed_everywhere(&self, proof: &Proof) {
        let steps = self.steps().await.len();
        let kills = (0..steps).map(|at| self.killed(proof, at));
        futures::stream::iter(kills).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }

    async fn frozen_everywhere(&self, proof: &Proof) {
        let steps = self.steps().await.len();
        let freezes = (0..steps).map(|at| self.frozen(proof, at));
        let fences: Vec<_> = futures::stream::iter(freezes).buffer_unordered(AT_ONCE).collect().await;
        assert!(fences.iter().sum::<i64>() > 0, "who was frozen before its revision has lost it: {fences:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_killed_before_any_step_is_finished_by_the_next() {
    let proof = Proof::of("a replay is killed at every step: local folder", OF_A_REPLAY);
    Steps::new(Ground::Local).await.killed_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_killed_before_any_step_on_s3_is_finished_by_the_next() {
    let proof = Proof::of("a replay is killed at every step: S3", OF_A_REPLAY);
    Steps::new(Ground::S3(S3Server::start(true).await)).await.killed_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_frozen_before_any_step_while_another_works_corrupts_nothing() {
    let proof = Proof::of("a replay is frozen at every step while another does its work: local folder", OF_A_REPLAY);
    Steps::new(Ground::Local).await.frozen_everywhere(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_frozen_before_any_step_on_s3_while_another_works_corrupts_nothing() {
    let proof = Proof::of("a replay is frozen at every step while another does its work: S3", OF_A_REPLAY);
    Steps::new(Ground::S3(S3Server::start(true).await)).await.frozen_everywhere(&proof).await;
}
