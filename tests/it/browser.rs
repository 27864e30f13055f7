//! The page in a real browser: Chromium, driven by `selenium` over `tests/it/support/browser.py`.

use std::{path::PathBuf, process::Stdio};

use alluvium::{
    record::Record,
    telemetry::http::{HttpSettings, Token, TokenFrom},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::support::{
    LIMIT, parts, program,
    stage::{Stage, value},
    web::{LIMITS, Shown, anywhere, made_up, serving},
};

const HOSTILE: &str = "<script>window.hit=1</script><img src=x onerror=window.hit=2>";

/// A person before the page.
struct Browser {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    hears: ChildStdin,
}

impl Browser {
    /// `None` where a part is missing, which is said.
    fn open(url: &str, scene: &str) -> Option<Self> {
        let (python, chromium, driver) =
            (parts::python_with("selenium")?, browser("chromium")?, browser("chromedriver")?);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/browser.py");
        let mut command = Command::new(python);
        command.arg(script).args([chromium, driver]).args([url, scene]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (says, hears) = (BufReader::new(child.stdout.take().unwrap()).lines(), child.stdin.take().unwrap());
        Some(Self { child, says, hears })
    }

    /// What it wants next; `None` when the scene has ended well.
    async fn wants(&mut self) -> Option<String> {
        let line = timeout(LIMIT, self.says.next_line()).await.expect("the scene goes on").unwrap();
        let Some(line) = line else {
            panic!("the scene broke off, as it says on stderr: {:?}", self.child.wait().await);
        };
        if line == "done" {
            return None;
        }
        Some(line.strip_prefix("want ").unwrap_or_else(|| panic!("{line}")).to_owned())
    }

    async fn go_on(&mut self) {
        self.hears.write_all(b"so it is\n").await.unwrap();
    }
}

fn browser(name: &str) -> Option<PathBuf> {
    parts::program(name)
}

fn iris(id: usize, species: &str) -> Record {
    let petal = [(1.4, 0.2), (4.3, 1.3), (5.6, 2.0)][id % 3];
    let (length, width) = petal;
    let record = serde_json::json!({
        "id": id, "sepal_length": 5.9, "sepal_width": 3.0, "petal_length": length, "petal_width": width, "species": species,
    });
    value(record.to_string())
}

/// A record with script wherever a record has room for it: the one that lands, and the one that doesn't.
fn hostile() -> Vec<Record> {
    let broken = serde_json::json!({ "id": HOSTILE, "sepal_length": HOSTILE, "species": HOSTILE });
    vec![iris(1, HOSTILE), value(broken.to_string())]
}

fn pipeline(stage: &Stage, listen: &str) -> PathBuf {
    let more = format!("[[fields]]\nname = \"species\"\ntype = \"string\"\n[http]\nlisten = \"{listen}\"\n");
    program::pipeline_file(stage, &more, "roll_age = \"200ms\"\n")
}

#[tokio::test]
async fn in_a_browser_a_run_is_shown_as_it_goes_and_so_are_an_outage_and_its_end() {
    let stage = Stage::new(2).await;
    let mut run = Shown::stream(&pipeline(&stage, "127.0.0.1:0")).await;
    let address = run.address;
    let Some(mut browser) = Browser::open(&format!("http://{address}/"), "run") else { return };
    while let Some(wanted) = browser.wants().await {
        match wanted.as_str() {
            "records" => {
                for partition in 0..2 {
                    stage.send(partition, (0..30).map(|id| iris(id, "a flower")).collect()).await;
                }
            }
            "hostile records" => stage.send(0, hostile()).await,
            "more records" => stage.send(1, (0..5).map(|id| iris(id, "one more")).collect()).await,
            "outage" => {
                run.child.kill().await.unwrap();
            }
            "return" => run = Shown::stream(&pipeline(&stage, &address.to_string())).await,
            other => panic!("it wants {other}"),
        }
        browser.go_on().await;
    }
    assert_eq!(run.stop().await, Some(0));
}

#[tokio::test]
async fn in_a_browser_a_thousand_partitions_of_hostile_names_are_text_and_keep_up() {
    let server = serving(&anywhere(), LIMITS, made_up(1000, HOSTILE)).await;
    let Some(mut browser) = Browser::open(&server.url(), "thousand") else { return };
    assert_eq!(browser.wants().await, None);
}

#[tokio::test]
async fn in_a_browser_the_token_is_asked_for_once() {
    let token = Token::new("planted-token-of-32-characters-x").map(TokenFrom::Text);
    let server = serving(&HttpSettings { token, ..anywhere() }, LIMITS, made_up(2, "x")).await;
    let Some(mut browser) = Browser::open(&server.url(), "token") else { return };
    assert_eq!(browser.wants().await, None);
}
