//! scratch
#![allow(dead_code, unused_imports, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "it/support/mod.rs"]
mod support;
#[path = "it/stores/mod.rs"]
mod stores;
#[path = "it/s3.rs"]
mod s3;
mod matrix {
    #[path = "../it/matrix/cuts.rs"]
    pub mod cuts;
    use std::sync::Arc;
    use alluvium::{lake::FileKind, pipeline::Settings};
    use object_store::ObjectStore;
    use crate::support::{lake::{places, rows}, proof::Sent, stage::{DATASET, Stage, flower, objects, value}};
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
    pub async fn visible_in(objects: &Arc<dyn ObjectStore>) -> usize {
        let mut visible = 0;
        for kind in [FileKind::Scored, FileKind::Rejected] {
            visible += rows(objects, kind, DATASET).await.map_or(0, |rows| places(&rows).len());
        }
        visible
    }
}
