//! The form of what is logged.

use std::path::Path;

use crate::support::{
    program::{Ran, command, ended, pipeline_file},
    stage::Stage,
};

/// A command that logs a line.
async fn export(file: &Path, out: &Path, arguments: &[&str], format: Option<&str>) -> Ran {
    let mut command = command(["rejects", file.to_str().unwrap(), "--export", out.to_str().unwrap()]);
    command.args(arguments).env_remove("ALLUVIUM_LOG_FORMAT");
    format.map(|format| command.env("ALLUVIUM_LOG_FORMAT", format));
    ended(command.spawn().unwrap()).await
}

#[tokio::test]
async fn it_is_json_where_no_terminal_is_and_text_where_it_is_asked_for() {
    let stage = Stage::new(1).await;
    let (file, out) = (pipeline_file(&stage, "", ""), stage.folder.path().join("bad.jsonl"));
    for ran in
        [export(&file, &out, &[], None).await, export(&file, &out, &["--log-format", "json"], Some("text")).await]
    {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let line: serde_json::Value = serde_json::from_str(ran.stderr.trim()).unwrap_or_else(|_| panic!("{ran:?}"));
        assert_eq!((&line["level"], &line["fields"]["message"]), (&"INFO".into(), &"0 rejects exported".into()));
    }
    let ran = export(&file, &out, &[], Some("text")).await;
    assert!(ran.stderr.trim().ends_with("INFO 0 rejects exported"), "{ran:?}");
    let refused = export(&file, &out, &["--log-format", "xml"], None).await;
    refused.assert_refused(2, &["--log-format", "it is auto, text or json"]);
}
