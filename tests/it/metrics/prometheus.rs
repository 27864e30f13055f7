//! Debian's Prometheus reads the running program, with the alerts that go with it.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{
    LIMIT, parts,
    program::{command, pipeline_file, signal},
    stage::Stage,
    until,
};

/// A port that is free now.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn get(url: &str) -> Option<String> {
    let answer = tokio::time::timeout(LIMIT, reqwest::get(url)).await.expect("an answer").ok()?;
    if answer.status().is_success() { answer.text().await.ok() } else { None }
}

/// What an expression is now, if there is anything.
async fn query(prometheus: &str, expression: &str) -> Option<f64> {
    let url = format!("{prometheus}/api/v1/query?query={expression}");
    let answer: Value = serde_json::from_str(&get(&url).await?).ok()?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_running_program_and_promtool_finds_no_fault_with_its_page() {
    let Some(prometheus) = parts::program("prometheus") else { return };
    let Some(promtool) = parts::program("promtool") else { return };
    let stage = Stage::new(2).await;
    stage.send_flowers(2, 50).await;
    let target = format!("127.0.0.1:{}", port());
    let file = pipeline_file(&stage, &format!("[http]\nlisten = \"{target}\"\n"), "roll_age = \"200ms\"\n");
    let mut streaming = command(["stream", file.to_str().unwrap()]).stderr(Stdio::null()).spawn().unwrap();
    let page = format!("http://{target}/metrics");
    until("all is in the lake", async || {
        get(&page).await.is_some_and(|page| page.contains("alluvium_records_total{outcome=\"scored\"} 100\n"))
    })
    .await;
    lint(&promtool, &get(&page).await.unwrap()).await;

    let folder = tempfile::tempdir().unwrap();
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/alerts.yml");
    let config = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms, scrape_timeout: 200ms}}\nrule_files: [{alerts:?}]\n\
         scrape_configs: [{{job_name: alluvium, static_configs: [{{targets: [{target:?}]}}]}}]\n"
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let listen = format!("127.0.0.1:{}", port());
    let mut reader = tokio::process::Command::new(prometheus);
    reader.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
    reader.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    reader.arg(format!("--web.listen-address={listen}"));
    let _reader = reader.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let api = format!("http://{listen}");
    for (expression, expected) in [
        ("sum(alluvium_records_total)", 100.0),
        ("alluvium_lanes{state=\"running\"}", 2.0),
        ("alluvium_ready", 1.0),
        ("sum(alluvium_partition_position)", 100.0),
        ("sum(alluvium_predictions_total)", 100.0),
        ("count(alluvium_build_info)", 1.0),
    ] {
        until(expression, async || query(&api, expression).await == Some(expected)).await;
    }
    until("the alerts are evaluated, and none has a fault", async || {
        let Some(rules) = get(&format!("{api}/api/v1/rules")).await else { return false };
        let rules: Value = serde_json::from_str(&rules).unwrap();
        let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        rules.len() >= 9 && rules.iter().all(|rule| rule["health"] == "ok")
    })
    .await;
    signal(&streaming, &["TERM"]);
    assert!(tokio::time::timeout(LIMIT, streaming.wait()).await.expect("it ends").unwrap().success());
}

async fn lint(promtool: &std::path::Path, page: &str) {
    let mut promtool = Command::new(promtool);
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut linting = tokio::process::Command::from(promtool).spawn().unwrap();
    linting.stdin.take().unwrap().write_all(page.as_bytes()).await.unwrap();
    let ran = tokio::time::timeout(LIMIT, linting.wait_with_output()).await.expect("promtool ends").unwrap();
    let said = [ran.stdout.as_slice(), &ran.stderr].map(String::from_utf8_lossy).concat();
    assert!(ran.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
}
