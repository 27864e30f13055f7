//! The same journey with the lake on S3.

use std::{collections::BTreeMap, sync::Arc};

use alluvium::lake::{FileKind, Store};
use object_store::ObjectStore;
use tokio::process::Command;

use crate::support::{
    LIMIT,
    lake::{places, rows},
    proof::{Promise, Proof},
    s3::{BUCKET, S3Server},
    stage::{DATASET, Stage},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_several_writers_win_is_refused() {
    let proof = Proof::of("the store lets several writers win", &[Promise::L9]);
    let sound = S3Server::start(true).await;
    Store::over(Arc::new(sound.client()), "s3://lake").probe().await.unwrap();

    let unsound = S3Server::start(false).await;
    let store = Store::over(Arc::new(unsound.client()), "s3://lake");
    let mut refused = false;
    for _ in 0..20 {
        match store.probe().await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.to_string().contains("more than one was told that it had won"), "{error}");
                refused = true;
                break;
            }
        }
    }
    assert!(refused, "in twenty probes the race shows");
    proof.shown(&[Promise::L9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lands_on_s3_with_everything_from_the_usual_environment() {
    let server = S3Server::start(true).await;
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 300).await;
    let file = stage.folder.path().join("s3.toml");
    std::fs::write(&file, stage.pipeline(&format!("s3://{BUCKET}/some/prefix"), "")).unwrap();
    for expected in ["\"scored\": 600", "\"scored\": 0"] {
        let run = Command::new(env!("CARGO_BIN_EXE_alluvium"))
            .args(["batch", file.to_str().unwrap(), "--json"])
            .envs(server.environment())
            .output();
        let output = tokio::time::timeout(LIMIT, run).await.expect("the batch ends").unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(expected), "{out}\n{err}");
    }
    let bucket = object_store::prefix::PrefixStore::new(server.client(), "some/prefix");
    let objects: Arc<dyn ObjectStore> = Arc::new(bucket);
    let landed = places(&rows(&objects, FileKind::Scored, DATASET).await.unwrap());
    assert_eq!(landed, (0..2).flat_map(|p| (0..300).map(move |o| (p, o))).collect::<Vec<_>>());
    let report = alluvium::lake::audit::audit(&objects, DATASET, &BTreeMap::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
