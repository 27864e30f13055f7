//! Tables where they lie: in a folder, in a bucket.

use std::fs;

use object_store::{ObjectStoreExt as _, PutPayload, path::Path};

use crate::support::{
    program::{command, ended},
    s3::{BUCKET, S3Server},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_trained_on_a_table_in_a_bucket_as_on_the_same_files_here() {
    let server = S3Server::start(true).await;
    let iris = fs::read_to_string("models/iris/data/iris.csv").unwrap();
    let (header, rows) = iris.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let folder = tempfile::tempdir().unwrap();
    for (name, part) in [("a.csv", &rows[..70]), ("b.csv", &rows[70..])] {
        let csv = format!("{header}\n{}\n", part.join("\n"));
        fs::write(folder.path().join(name), &csv).unwrap();
        put(&server, &format!("some/flowers/{name}"), csv).await;
    }
    put(&server, "some/flowers/_staging/c.csv", "half a file".to_owned()).await;

    let here = digest(&server, &[folder.path().to_str().unwrap()]).await;
    let url = |rest: &str| format!("s3://{BUCKET}/some/flowers{rest}");
    assert_eq!(digest(&server, &[&url("")]).await, here);
    assert_eq!(digest(&server, &[&url("/a.csv"), &url("/b.csv")]).await, here);

    let nothing = train(&server, &[&url("/none")]).await;
    assert_eq!(nothing.0, Some(2), "{}", nothing.1);
    assert!(nothing.1.contains("flowers/none: there is no file in it whose name ends in .csv or .parquet"));
}

async fn put(server: &S3Server, name: &str, text: String) {
    server.client().put(&Path::from(name), PutPayload::from(text)).await.unwrap();
}

/// The digest of the data that the trained model's manifest has.
async fn digest(server: &S3Server, data: &[&str]) -> String {
    let (code, stderr, manifest) = train(server, data).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("150 rows"), "{stderr}");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["training"]["data"].as_str().unwrap().to_owned()
}

/// The exit code, what was told, and the manifest.
async fn train(server: &S3Server, data: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("iris");
    let mut train = command(["train"]);
    train.args(data).args(["--label", "species", "--epochs", "2", "--out"]).arg(&out).envs(server.environment());
    let ran = ended(train.spawn().unwrap()).await;
    (ran.code, ran.stderr, fs::read_to_string(out.join("1/manifest.json")).unwrap_or_default())
}
