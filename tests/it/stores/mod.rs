//! Stores: what each must be able to do, and what becomes of the lake when they are in trouble.

mod conformance;
mod credentials;
mod folder;
mod late;
mod outage;
mod pages;
mod requests;
mod trouble;

use std::{sync::Arc, time::Duration};

use alluvium::{lake::Store, pipeline::Settings};
use object_store::ObjectStore;

use crate::{
    matrix::{send_mixed, visible_in},
    support::{
        proof::{Promise, Proof, Sent},
        s3::{Act, BUCKET, S3Server},
        stage::{DATASET, Running, Stage},
        until,
        witness::Witness,
    },
};

/// Many small segments.
const SMALL_SEGMENTS: &str = "roll_rows = 25\nroll_age = \"100ms\"\n";

/// A topic, and a lake on S3.
struct Scene {
    stage: Stage,
    sent: Sent,
    server: S3Server,
    /// Where nothing goes wrong.
    objects: Arc<dyn ObjectStore>,
    settings: Settings,
}

impl Scene {
    async fn new() -> Self {
        let (stage, server) = (Stage::new(1).await, S3Server::start(true).await);
        let (settings, objects) = (stage.settings("unused", SMALL_SEGMENTS), server.reader());
        Self { stage, sent: Sent::default(), server, objects, settings }
    }

    /// A stream in this process, whose client waits no longer than this for an answer.
    async fn stream(&self, answer_wait: Duration) -> Running {
        let client = Arc::new(self.server.client_that_waits(answer_wait));
        Running::over(Store::over(client, "s3://lake"), self.settings.clone()).await
    }

    async fn send(&mut self, count: usize) {
        send_mixed(&self.stage, &mut self.sent, 1, count).await;
    }

    async fn all_visible(&self) {
        until("all that was sent is visible", async || visible_in(&self.objects).await == self.sent.len()).await;
    }

    /// The text of a pipeline file for the real program; `limits` goes on in `[limits]`.
    fn file(&self, limits: &str) -> String {
        let limits = format!("[limits]\nfetch_wait = \"10ms\"\n{limits}");
        self.stage.pipeline(&format!("s3://{BUCKET}"), &limits) + SMALL_SEGMENTS
    }

    /// Nothing goes wrong any more: the next start brings what is still missing.
    async fn resumes(&mut self, proof: &Proof) {
        self.server.play(|_| Act::Pass);
        let running = self.stream(Duration::from_secs(30)).await;
        self.send(30).await;
        self.all_visible().await;
        assert_eq!(running.stop().await.failures, Vec::<String>::new());
        proof.shown(&[Promise::Resumes]);
        proof.lake(&self.objects, &self.sent).await;
    }

    fn witness(&self) -> Witness {
        Witness::of(&self.objects, DATASET)
    }
}
