//! The matrix of guarantees: what is promised, against what may come between. Each test begins with its `Proof`.

pub mod cuts;
mod histories;
mod ledger;
mod replay_model;
#[cfg(unix)]
mod replay_steps;
pub mod replays;
mod rivals;
#[cfg(unix)]
mod steps;
mod undisturbed;

use std::sync::Arc;

use alluvium::{lake::FileKind, pipeline::Settings};
use object_store::ObjectStore;

use crate::support::{
    lake::{places, rows},
    proof::Sent,
    stage::{DATASET, Stage, flower, objects, value},
};

/// Many small segments, in several files each.
pub const SMALL_SEGMENTS: &str = "roll_rows = 50\nroll_age = \"1s\"";

/// Sends `count` records to each of `partitions`, one in ten of them bad; each has an id of its own.
pub async fn send_mixed(stage: &Stage, sent: &mut Sent, partitions: i32, count: usize) {
    for partition in 0..partitions {
        let first = sent.len();
        let records: Vec<_> = (first..first + count)
            .map(|id| if id % 10 == 3 { value(format!("{id} is no flower")) } else { flower(id) })
            .collect();
        sent.add(partition, &records);
        stage.send(partition, records).await;
    }
}

/// How many rows of either kind a reader sees.
pub async fn visible(settings: &Settings) -> usize {
    visible_in(&objects(settings)).await
}

pub async fn visible_in(objects: &Arc<dyn ObjectStore>) -> usize {
    let mut visible = 0;
    for kind in [FileKind::Scored, FileKind::Rejected] {
        visible += rows(objects, kind, DATASET).await.map_or(0, |rows| places(&rows).len());
    }
    visible
}
