//! A table of PostgreSQL on bad days: kills of ours, crashes of theirs, outages. Each row is there once all the same.

use std::path::PathBuf;

use alluvium::{config, pipeline::Settings};
use futures::StreamExt;

use super::{assert_same, count, settings, text};
use crate::support::{
    postgres::Postgres,
    program::{self, Hold, command, ended, signal},
    proof::{OF_A_TABLE, Promise, Proof},
    stage::{Running, Stage, assert_clean, batch, flower},
    until,
};

/// Runs at once; each is a process or two.
const AT_ONCE: usize = 3;
const BATCH: usize = 300;

fn table(server: &Postgres, table: &str) -> String {
    format!("[postgres]\nurl = \"{}\"\ntable = \"{table}\"\n", server.url())
}

/// Two batches of records, of which each fetch brings one.
async fn two_batches() -> Stage {
    let stage = Stage::new(1).await;
    for first in [0, BATCH] {
        stage.send(0, (first..first + BATCH).map(flower).collect()).await;
    }
    stage
}

struct Scene {
    stage: Stage,
    server: Postgres,
}

impl Scene {
    fn text(&self, name: &str) -> String {
        text(&self.stage, name, &table(&self.server, name), "roll_rows = 100\n")
    }

    fn settings(&self, name: &str) -> Settings {
        config::parse(&self.text(name), |_| None).unwrap()
    }

    fn batch(&self, name: &str, hold: Hold<'_>) -> tokio::process::Command {
        let file = self.stage.folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, self.text(name)).unwrap();
        let mut command = command([PathBuf::from("batch"), file, "--json".into()]);
        program::hold(&mut command, hold);
        command
    }

    async fn steps(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let ran = ended(self.batch("whole", Some((&folder, None))).spawn().unwrap()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        program::steps(&folder)
    }

    /// Killed, or frozen while another does all the work, before that step; then run to the end.
    async fn cut(&self, proof: &Proof, at: usize, frozen: bool) {
        let name = format!("{}_{at}", if frozen { "frozen" } else { "killed" });
        let folder = tempfile::tempdir().unwrap();
        let mut child = self.batch(&name, Some((&folder, Some(at)))).spawn().unwrap();
        let is_held = program::held(&mut child, &folder, at).await;
        if is_held {
            signal(&child, &[if frozen { "STOP" } else { "KILL" }]);
        }
        let next = ended(self.batch(&name, None).spawn().unwrap()).await;
        assert_eq!((next.code, next.figure("remaining")), (Some(0), 0), "{next:?}");
        if is_held && frozen {
            program::let_go(&folder);
            signal(&child, &["CONT"]);
        }
        let first = ended(child).await;
        assert_eq!(first.code, (frozen || !is_held).then_some(0), "{first:?}");
        proof.shown(&[Promise::Resumes]);
        let (client, settings) = (self.server.client().await, self.settings(&name));
        assert_same(&client, &name, &settings, BATCH * 2).await;
        assert_clean(&settings).await;
        proof.shown(&[Promise::NoneLost, Promise::NoneDoubled]);
    }

    async fn cut_everywhere(&self, proof: &Proof, frozen: bool) {
        let steps = self.steps().await;
        let ours = |begin: &str| steps.iter().filter(|step| step.starts_with(begin)).count();
        for step in ["postgres begin", "postgres copy", "postgres position", "postgres commit"] {
            assert!(ours(step) >= 2, "{step}: {steps:?}");
        }
        let first = steps.iter().position(|step| step.starts_with("postgres")).unwrap();
        let cuts = (first..steps.len()).map(|at| self.cut(proof, at, frozen));
        futures::stream::iter(cuts).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_step_each_row_is_in_the_table_once() {
    let Some(server) = Postgres::start().await else { return };
    let proof = Proof::of("a table of PostgreSQL: kill -9 at every step", OF_A_TABLE);
    Scene { stage: two_batches().await, server }.cut_everywhere(&proof, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_before_any_step_while_another_takes_over_each_row_is_in_the_table_once() {
    let Some(server) = Postgres::start().await else { return };
    let proof = Proof::of("a table of PostgreSQL: frozen at every step while another takes over", OF_A_TABLE);
    Scene { stage: two_batches().await, server }.cut_everywhere(&proof, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_again_and_again_gets_each_row_once() {
    let Some(mut server) = Postgres::start().await else { return };
    let proof = Proof::of("a table of PostgreSQL: the server crashes, and is out", OF_A_TABLE);
    let stage = Stage::new(2).await;
    let settings = settings(&stage, &table(&server, "flowers"), "roll_rows = 50\nroll_age = \"100ms\"\n");
    let running = Running::start(settings.clone()).await;
    let mut sent = 0;
    for crash in 0..4 {
        for _ in 0..10 {
            stage.send_flowers(2, 50).await;
        }
        sent += 1000;
        let client = server.client().await;
        until("some are there", async || count(&client, "flowers").await > sent - 1000 + crash * 130).await;
        server.crash();
        stage.send_flowers(2, 20).await;
        sent += 40;
        until("the lake goes on", async || i64::try_from(running.committed()).unwrap() == sent).await;
        server.resume().await;
    }
    let client = server.client().await;
    until("all are there", async || count(&client, "flowers").await >= sent).await;
    running.stop().await;
    assert_same(&client, "flowers", &settings, usize::try_from(sent).unwrap()).await;
    proof.shown(OF_A_TABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_at_the_start_stops_nothing_and_gets_all_later() {
    let Some(mut server) = Postgres::start().await else { return };
    let proof = Proof::of("a table of PostgreSQL: the server crashes, and is out", OF_A_TABLE);
    server.crash();
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 100).await;
    let settings = settings(&stage, &table(&server, "flowers"), "roll_age = \"100ms\"\n");
    let failed = batch(settings.clone()).await;
    assert_eq!((failed.tally.counts.scored, failed.failures.len()), (200, 2), "{failed:?}");
    assert!(failed.failures[0].contains("connect to PostgreSQL"), "{failed:?}");
    assert_eq!(failed.outlets[0].behind, 200);
    let running = Running::start(settings.clone()).await;
    stage.send_flowers(2, 50).await;
    until("the lake goes on", async || running.committed() == 100).await;
    server.resume().await;
    let client = server.client().await;
    until("all are there", async || count(&client, "flowers").await >= 300).await;
    running.stop().await;
    assert_same(&client, "flowers", &settings, 300).await;
    proof.shown(OF_A_TABLE);
}
