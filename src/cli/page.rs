//! The page of `stream` and `batch`: from before the pipeline is open until the run is over.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use chrono::Utc;

use crate::{
    pipeline::{Mode, Pipeline},
    telemetry::{
        http::{self, HttpSettings, Server, Sources},
        metrics,
        status::Status,
    },
};

const OPENING: &str = "the pipeline is being opened: model, store and broker are asked";
const STOPPING: &str = "the run is stopping";

/// What the page is told, while there is a pipeline and before.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    mode: &'static str,
    started_ms: i64,
    pipeline: Arc<OnceLock<Arc<Pipeline>>>,
    stopping: Arc<AtomicBool>,
}

impl Stand {
    pub(super) fn new(mode: &Mode) -> Self {
        let (pipeline, stopping) = (Arc::default(), Arc::default());
        Self { mode: mode.name(), started_ms: Utc::now().timestamp_millis(), pipeline, stopping }
    }

    pub(super) fn opened(&self, pipeline: &Arc<Pipeline>) {
        let _ = self.pipeline.set(pipeline.clone());
    }

    pub(super) fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> Status {
        let mut status = self.pipeline.get().map_or_else(|| self.opening(), |pipeline| pipeline.status());
        if self.stopping.load(Ordering::Relaxed) {
            status.ready = false;
            status.not_ready.insert(0, STOPPING.into());
        }
        status
    }

    fn opening(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            mode: self.mode.into(),
            started_ms: self.started_ms,
            now_ms: Utc::now().timestamp_millis(),
            not_ready: vec![OPENING.into()],
            ..Status::default()
        }
    }
}

/// Serves what `stand` tells until the server is dropped; `None` where the settings say so.
pub(super) async fn serve(settings: &HttpSettings, stand: Stand) -> anyhow::Result<Option<Server>> {
    let counted = metrics::install().context("begin to count")?;
    let sources =
        Sources { status: Box::new(move || stand.status()), metrics: Box::new(move |status| counted.render(status)) };
    Ok(http::serve(settings, sources).await?)
}
