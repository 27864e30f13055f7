//! `alluvium rejects` and `alluvium replay` as a user types them, and the limit on rejects.

use std::collections::BTreeMap;

use alluvium::record::Record;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    matrix::replays::{IN_SMALL_SEGMENTS, Scene, View, padded},
    support::{
        program::{Ran, pipeline_file, run},
        stage::{Stage, batch, flower, objects, value},
    },
};

async fn told(scene: &Scene, command: &str, arguments: &[&str]) -> Ran {
    let file = pipeline_file(&scene.stage, "", IN_SMALL_SEGMENTS);
    let arguments = [command, file.to_str().unwrap()].into_iter().chain(arguments.iter().copied());
    run(arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_counted_shown_and_exported_as_they_came() {
    let scene = Scene::new().await;
    let shown = told(&scene, "rejects", &[]).await;
    shown.assert_told(
        0,
        &[
            "hour",
            "not_json",
            "too_large",
            "2024-01-15T09",
            "2024-01-15T10",
            "is no flower",
            "header   sent-by: ff 00 (2 bytes)",
        ],
    );
    let counts = told(&scene, "rejects", &["--json", "--limit", "2"]).await;
    assert_eq!((counts.code, counts.figure("rejects")), (Some(0), 36), "{counts:?}");
    let counts: serde_json::Value = serde_json::from_str(&counts.stdout).unwrap();
    assert_eq!((&counts["by_reason"]["not_json"], &counts["by_reason"]["too_large"]), (&12.into(), &24.into()));
    assert_eq!(counts["sample"].as_array().unwrap().len(), 2);

    let lines = told(&scene, "rejects", &["--export", "-", "--reason", "too_large", "--since", "2024-01-15T10"]).await;
    let mut exported = BTreeMap::new();
    for line in lines.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |of: &serde_json::Value| BASE64_STANDARD.decode(of.as_str().unwrap()).unwrap();
        exported.insert(line["offset"].as_i64().unwrap(), (bytes(&line["key"]), bytes(&line["value"])));
        assert_eq!(bytes(&line["headers"][0]["value"]), [0xff, 0x00]);
    }
    let sent = (0..120).filter(|id| id % 10 == 6).map(|id| (i64::try_from(id).unwrap(), padded(id)));
    let sent: BTreeMap<_, _> = sent.map(|(id, record)| (id, (record.key.unwrap(), record.value.unwrap()))).collect();
    assert!(exported == sent, "{lines:?}");

    let file = scene.stage.folder.path().join("values");
    let values = told(
        &scene,
        "rejects",
        &["--export", file.to_str().unwrap(), "--form", "values", "--reason", "not_json", "--limit", "3"],
    )
    .await;
    assert_eq!((values.code, values.stdout.as_str()), (Some(0), ""), "{values:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "3 is no flower\n13 is no flower\n23 is no flower\n");
    told(&scene, "rejects", &["--reason", "nonsense"]).await.assert_refused(2, &["the reasons are empty, too_large"]);
    told(&scene, "rejects", &["--partition", "7"]).await.assert_told(0, &["no rejects"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_is_asked_for_tells_what_became_of_it_and_the_second_finds_nothing() {
    let scene = Scene::new().await;
    let dry = told(&scene, "replay", &["--dry-run"]).await;
    dry.assert_told(
        0,
        &["taken        36 rejects", "became rows  24", "still        12: 12 not_json", "nothing is changed yet"],
    );
    let none = told(&scene, "replay", &["--partition", "3"]).await;
    none.assert_told(0, &["taken        0 rejects"]);
    let first = told(&scene, "replay", &["--since", "2024-01-15T10", "--json"]).await;
    assert_eq!((first.figure("scored"), first.figure("left_out")), (12, 24), "{first:?}");
    let second = told(&scene, "replay", &["--reason", "too_large", "--json"]).await;
    assert_eq!((second.figure("scored"), second.figure("left_out")), (12, 12), "{second:?}");
    told(&scene, "replay", &[]).await.assert_told(0, &["became rows  0", "still        12: 12 not_json"]);
    told(&scene, "audit", &[]).await.assert_told(0, &["clean"]);
    told(&scene, "rejects", &["--json"]).await.assert_told(0, &["\"rejects\": 12"]);
}

/// A batch with a limit that bad records pass, then what a person may do.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_rejects_stop_a_batch_and_a_person_may_let_them_land() {
    let stage = Stage::new(1).await;
    stage.send(0, (0..50).map(flower).collect()).await;
    let limit = "[rejected]\nstop_above = \"50%\"\nstop_records = 20\n";
    let file = pipeline_file(&stage, limit, "");
    let file = file.to_str().unwrap();
    assert_eq!(run(["batch", file, "--json"]).await.figure("scored"), 50);
    stage.send(0, (0..40).map(|id| value(format!("{id} is no flower"))).collect::<Vec<Record>>()).await;
    let stopped = run(["batch", file, "--json"]).await;
    assert_eq!((stopped.code, stopped.figure("records"), stopped.figure("remaining")), (Some(1), 0, 40), "{stopped:?}");
    for part in ["too many rejects: 40 of the 40 records", "100 %", "offset 50: not_json", "--accept-rejects"] {
        assert!(stopped.stderr.contains(part), "`{part}` is missing in {}", stopped.stderr);
    }
    let accepted = run(["batch", file, "--json", "--accept-rejects"]).await;
    assert_eq!((accepted.code, accepted.figure("rejected")), (Some(0), 40), "{accepted:?}");
    run(["audit", file]).await.assert_told(0, &["clean"]);
}

/// What is filed under more hours than a segment may have takes more than one revision.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_many_hours_take_several_revisions() {
    let stage = Stage::new(1).await;
    let many_hours = |id: usize| {
        let spread = i64::try_from(id % 8).unwrap() * 3_600_000;
        Record { timestamp_ms: 1_705_314_600_000 - spread, ..padded(id / 10 * 10 + 7) }
    };
    stage.send(0, (0..80).map(many_hours).collect()).await;
    batch(stage.limited("lake", "record_bytes = \"1KiB\"\nsegment_hours = 24\n", "")).await;
    let file = pipeline_file(&stage, "[limits]\nsegment_hours = 3\n", "");
    let told = run(["replay", file.to_str().unwrap(), "--json"]).await;
    assert_eq!((told.code, told.figure("taken"), told.figure("scored")), (Some(0), 80, 80), "{told:?}");
    assert_eq!(told.figure("revisions"), 3, "8 hours, 3 at a time: {told:?}");
    let view = View::of(&objects(&stage.settings("lake", ""))).await;
    assert_eq!((view.scored.len(), view.rejected.len()), (80, 0));
    run(["audit", file.to_str().unwrap(), "--deep"]).await.assert_told(0, &["clean"]);
}
