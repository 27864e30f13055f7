//! No secret is in anything that a command says: its help, its output, its errors, its logs at their fullest; nor in the
//! arguments that everybody on the machine can read.

use std::{collections::BTreeSet, fs, path::Path};

use alluvium::{cli::Cli, config};
use clap::CommandFactory;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::support::{
    program::{Ran, command, ended, signal, written},
    s3::{BUCKET, S3Server, SECRET as OF_THE_SERVER},
    stage::Stage,
    until,
};

/// In every secret that these tests plant.
const PLANTED: &str = "pl4nted";
const TOKEN: &str = "pl4nted-token-of-the-page";
/// All that the program and its libraries have to say.
const EVERYTHING: &str = "trace,alluvium=trace";
const IRIS_CSV: &str = "models/iris/data/iris.csv";
/// Keys of the pipeline file that take a secret; a key that looks like one and is not here fails a test.
const SECRET_KEYS: [(&str, &str); 4] =
    [("registry", "password"), ("postgres", "url"), ("http", "token"), ("source.sasl", "password")];

/// Each in a place of its own, so that one that is found tells which it is.
const IN_THE_ENVIRONMENT: [(&str, &str); 7] = [
    ("AWS_SECRET_ACCESS_KEY", "pl4nted-s3-key"),
    ("AWS_SESSION_TOKEN", "pl4nted-s3-token"),
    ("ALLUVIUM_REGISTRY_PASSWORD", "pl4nted-registry"),
    ("ALLUVIUM_HTTP_TOKEN", TOKEN),
    ("PLANTED_TOKEN", TOKEN),
    ("PLANTED_PASSWORD", "pl4nted-password"),
    ("PLANTED_URL", "postgres://user:pl4nted-postgres@127.0.0.1:1/db?sslmode=disable"),
];

/// The tables with the secrets; the registry and the database are not there.
const SECRET_TABLES: &str = "[registry]\nurl = \"http://127.0.0.1:1\"\nuser = \"me\"\npassword = \"${PLANTED_PASSWORD}\"\n\
     timeout = \"200ms\"\n\n[postgres]\nurl = \"${PLANTED_URL}\"\n\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"${PLANTED_TOKEN}\"\n\n\
     [limits]\nconnect_timeout = \"500ms\"\nretry_for = \"1s\"\n";

/// A broker that asks for no login is told one.
const LOGIN: &str = "[source.sasl]\nmechanism = \"scram-sha-256\"\nuser = \"me\"\npassword = \"${PLANTED_PASSWORD}\"\n";

fn planted<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = command(arguments);
    command.envs(IN_THE_ENVIRONMENT).env("ALLUVIUM_LOG", EVERYTHING).env("RUST_BACKTRACE", "1");
    command
}

#[track_caller]
fn assert_silent(what: &str, ran: &Ran) {
    for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        for secret in [PLANTED, OF_THE_SERVER] {
            let found = text.lines().find(|line| line.contains(secret));
            assert!(found.is_none(), "{what}: a secret is on {stream}: {found:?}");
        }
        // In Base64, as in the header of basic authentication, at each of its three places.
        for encoded in ["cGw0bnRlZ", "BsNG50ZW", "wbDRudGVk"] {
            assert!(!text.contains(encoded), "{what}: a secret is on {stream}, in Base64");
        }
    }
}

/// Commands that do something, as `models promote`.
fn commands() -> BTreeSet<String> {
    fn leaves(of: &clap::Command, path: &str, into: &mut BTreeSet<String>) {
        let mut below = of.get_subcommands().filter(|below| below.get_name() != "help").peekable();
        if below.peek().is_none() {
            into.insert(path.trim().to_owned());
        }
        for command in below {
            leaves(command, &format!("{path} {}", command.get_name()), into);
        }
    }
    let mut found = BTreeSet::new();
    leaves(&Cli::command(), "", &mut found);
    found
}

/// For each command a way to run it, with a pipeline file, a broker and a folder to write to.
fn ways(file: &str, broker: &str, out: &Path) -> Vec<(&'static str, Vec<String>)> {
    let path = |name: &str| out.join(name).to_str().unwrap().to_owned();
    let (model, lake, csv) = (path("model"), path("demo"), path("scored.csv"));
    let (made, export, drawn) = (path("made"), path("export.jsonl"), path("drawn.csv"));
    let iris = "models/iris@1";
    let rows: [(&'static str, &[&str]); 23] = [
        ("check", &[file]),
        ("batch", &[file]),
        ("audit", &[file]),
        ("doctor", &[file]),
        ("rejects", &[file, "--export", &export]),
        ("replay", &[file]),
        ("rescore", &[file, "--model", iris, "--into", "again"]),
        ("expire", &[file, "--before", "1d"]),
        ("train", &[IRIS_CSV, "--label", "species", "--out", &model]),
        ("score", &["--model", iris, IRIS_CSV, "--out", &csv]),
        ("models list", &["models/iris"]),
        ("models show", &[iris]),
        ("models verify", &[iris]),
        ("models compare", &[iris, iris, IRIS_CSV]),
        ("models promote", &[&made]),
        ("models rollback", &[&made]),
        (
            "produce",
            &["--brokers", broker, "--topic", "more", "--source", "iris", "--count", "10", "--partitions", "1"],
        ),
        ("draw", &["--source", "iris", "--rows", "10", "--out", &drawn]),
        ("infer", &["--brokers", broker, "--topic", "flowers", "--seconds", "5"]),
        ("demo", &["--records", "100", "--partitions", "1", "--lake", &lake]),
        ("health", &["127.0.0.1:1"]),
        ("top", &["http://127.0.0.1:1", "--once"]),
        ("stream", &[file]),
    ];
    let whole = |(name, rest): (&'static str, &[&str])| {
        let words = name.split(' ').chain(rest.iter().copied()).map(str::to_owned).collect();
        (name, words)
    };
    rows.into_iter().map(whole).collect()
}

#[test]
fn every_command_is_tried_and_every_key_that_takes_a_secret_is_planted() {
    let tried: BTreeSet<_> = ways("f", "b", Path::new("o")).into_iter().map(|(name, _)| name.to_owned()).collect();
    let others: BTreeSet<_> = commands().difference(&tried).cloned().collect();
    // It serves until it is stopped, and is told nothing that is secret.
    assert_eq!(others, ["broker".to_owned()].into(), "what is new needs a way in `ways`");
    let looks_secret =
        |name: &str| ["password", "secret", "token", "credential"].iter().any(|word| name.contains(word));
    let is_elsewhere = |name: &str| ["_file", "_command"].iter().any(|end| name.ends_with(end));
    for key in config::KEYS.iter().filter(|key| looks_secret(key.name) && !is_elsewhere(key.name)) {
        assert!(SECRET_KEYS.contains(&(key.table, key.name)), "plant [{}] {} in SECRET_TABLES", key.table, key.name);
    }
    for (_, key) in SECRET_KEYS {
        let planted = format!("{key} = \"${{PLANTED");
        assert!([SECRET_TABLES, LOGIN].iter().any(|tables| tables.contains(&planted)), "{key} is not planted");
    }
}

#[test]
fn no_argument_takes_a_secret() {
    fn arguments(of: &clap::Command, into: &mut Vec<String>) {
        into.extend(of.get_arguments().map(|argument| argument.get_id().to_string()));
        of.get_subcommands().for_each(|below| arguments(below, into));
    }
    let mut all = vec![];
    arguments(&Cli::command(), &mut all);
    assert!(all.len() > 50);
    for name in all {
        let secret = ["password", "secret", "token", "credential"].iter().find(|word| name.contains(*word));
        assert!(secret.is_none() || name.ends_with("_file"), "`--{name}`: everybody sees arguments in `ps`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_help_shows_a_secret_of_the_environment() {
    for name in commands() {
        let ran = ended(planted(name.split_whitespace().chain(["--help"])).spawn().unwrap()).await;
        assert_eq!(ran.code, Some(0), "{name}");
        assert_silent(&format!("{name} --help"), &ran);
    }
    assert_silent("--help", &ended(planted(["--help"]).spawn().unwrap()).await);
}

/// Runs each command to its end, but for the stream, which is stopped once it has shown its arguments.
async fn try_all(file: &Path, broker: &str, out: &Path, environment: &[(&str, String)]) -> Vec<(&'static str, Ran)> {
    let mut all = vec![];
    for (name, mut arguments) in ways(file.to_str().unwrap(), broker, out) {
        if name == "stream" {
            arguments.extend(["--log-format".into(), "json".into()]);
        }
        let child = planted(&arguments).envs(environment.iter().map(|(key, value)| (key, value))).spawn().unwrap();
        if name == "stream" {
            seen_in_ps_and_stopped(&child).await;
        }
        all.push((name, ended(child).await));
    }
    all
}

async fn seen_in_ps_and_stopped(child: &tokio::process::Child) {
    let arguments = Path::new("/proc").join(child.id().unwrap().to_string()).join("cmdline");
    if let Ok(shown) = fs::read(&arguments) {
        let shown = String::from_utf8_lossy(&shown).replace('\0', " ");
        assert!(!shown.contains(PLANTED), "{shown}");
    }
    // Signals are waited for from the start; one that came before would end it too.
    until("it has begun", async || {
        fs::read_to_string(arguments.with_file_name("status")).is_ok_and(|status| catches_sigterm(&status))
    })
    .await;
    signal(child, &["TERM"]);
}

/// Whether the process has a handler for SIGTERM, or is over; true at once where nobody can tell.
fn catches_sigterm(status: &str) -> bool {
    const SIGTERM: u64 = 1 << 14;
    if status.contains("State:\tZ") {
        return true;
    }
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
    caught.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & SIGTERM != 0))
}

fn copy_model(out: &Path) {
    for version in ["1", "2"] {
        let to = out.join("made").join(version);
        fs::create_dir_all(&to).unwrap();
        for part in ["manifest.json", "weights.safetensors"] {
            let bytes = fs::read(Path::new("models/iris/1").join(part)).unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let bytes = match part {
                "manifest.json" => text(bytes).replace("\"version\": 1", &format!("\"version\": {version}")).into(),
                _ => bytes,
            };
            fs::write(to.join(part), bytes).unwrap();
        }
    }
    fs::write(out.join("made/champion"), "1\n").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_says_a_secret_where_all_goes_well_but_database_and_registry() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 30).await;
    copy_model(stage.folder.path());
    let lake = stage.lake_folder("lake");
    let file = written(&stage, &stage.pipeline(lake.to_str().unwrap(), SECRET_TABLES));
    let all = try_all(&file, &stage.brokers, stage.folder.path(), &[]).await;
    for (name, ran) in &all {
        assert_silent(name, ran);
    }
    let code = |wanted: &str| all.iter().find(|(name, _)| *name == wanted).and_then(|(_, ran)| ran.code);
    for name in
        ["audit", "doctor", "rejects", "train", "score", "models list", "models show", "produce", "infer", "demo"]
    {
        assert_eq!(code(name), Some(0), "{name}: {:?}", all.iter().find(|(of, _)| *of == name));
    }
    // The database is away, which is said without its password.
    assert_eq!(code("check"), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_says_the_keys_of_a_bucket_be_they_right_or_wrong() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 30).await;
    copy_model(stage.folder.path());
    let server = S3Server::start(true).await;
    let file = written(&stage, &stage.pipeline(&format!("s3://{BUCKET}"), "[limits]\nretry_for = \"1s\"\n"));
    let right: Vec<_> = server.environment().into_iter().chain([("AWS_SESSION_TOKEN", String::new())]).collect();
    let wrong: Vec<_> = server.environment().into_iter().filter(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY").collect();
    for (environment, batch) in [(right, Some(0)), (wrong, Some(1))] {
        for (name, ran) in try_all(&file, &stage.brokers, stage.folder.path(), &environment).await {
            assert_silent(name, &ran);
            if name == "batch" {
                assert_eq!(ran.code, batch, "{}", ran.stdout);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_says_how_it_would_log_in() {
    let stage = Stage::new(1).await;
    copy_model(stage.folder.path());
    let lake = stage.lake_folder("lake");
    let token = stage.folder.path().join("token");
    fs::write(&token, "pl4nted-token").unwrap();
    let bearer = |by: &str| format!("[source.sasl]\nmechanism = \"oauthbearer\"\n{by}\n");
    let by_file = bearer(&format!("token_file = \"{}\"", token.display()));
    let by_command = bearer(&format!("token_command = [\"cat\", \"{}\"]", token.display()));
    let plain = LOGIN.replace("scram-sha-256", "plain");
    for login in [LOGIN, &plain, &by_file, &by_command] {
        let more = format!("{login}\n[limits]\nconnect_timeout = \"1s\"\nretry_for = \"1s\"\n");
        let file = written(&stage, &stage.pipeline(lake.to_str().unwrap(), &more));
        for name in ["check", "batch", "stream", "audit", "doctor"] {
            let ran = ended(planted([name, file.to_str().unwrap()]).spawn().unwrap()).await;
            assert!(matches!(ran.code, Some(0 | 1 | 3)), "{name} with {login}: {ran:?}");
            assert_silent(&format!("{name} with {login}"), &ran);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_file_is_told_without_the_secrets_in_it() {
    let stage = Stage::new(1).await;
    let lake = stage.lake_folder("lake");
    let broken = [
        "[registry]\nurl = \"http://me:pl4nted@h\"\n",
        "[registry]\nurl = \"http://h\"\npassword = \"pl4nted\"\n",
        "[registry]\nurl = \"http://h\"\nuser = \"me\"\npassword = [\"pl4nted\"]\n",
        "[registry]\nurl = \"http://h\"\nuser = \"me\"\npasword = \"pl4nted\"\n",
        "[postgres]\nurl = \"mysql://me:pl4nted@h/d\"\n",
        "[postgres]\nurl = [\"postgres://me:pl4nted@h/d\"]\n",
        "[postgres]\nurl = \"postgres://me:pl4nted@h:port/d\"\n",
        "[registry]\nurl = \"http://h\"\nuser = \"me\"\npassword = \"pl4nted\nrest\"\n",
        "[http]\ntoken = \"pl4nted\"\n",
        "[http]\ntoken = \"pl4nted and with spaces\"\n",
        "[http]\ntoken = [\"pl4nted-token-of-the-page\"]\n",
    ];
    for more in broken {
        let file = written(&stage, &stage.pipeline(lake.to_str().unwrap(), more));
        for name in ["check", "batch", "audit"] {
            let ran = ended(planted([name, file.to_str().unwrap()]).spawn().unwrap()).await;
            assert_eq!(ran.code, Some(2), "{more}: {ran:?}");
            assert_silent(&format!("{name} of {more}"), &ran);
        }
    }
}

/// What a run shows to those who may look.
async fn shown(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_stream_shows_no_secret_over_http() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 30).await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let lake = stage.lake_folder("lake");
    let tables = SECRET_TABLES.replace("127.0.0.1:0", &address);
    let file = written(&stage, &(stage.pipeline(lake.to_str().unwrap(), &tables) + "roll_age = \"100ms\"\n"));
    let child = planted(["stream", file.to_str().unwrap()]).spawn().unwrap();
    // By then the outlet's errors are among what is told.
    until("something has landed", async || {
        shown(&address, "/status").await.is_some_and(|text| text.contains("\"records\":30"))
    })
    .await;
    for path in ["/", "/status", "/metrics", "/healthz", "/readyz", "/nothing"] {
        let answer = shown(&address, path).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 401"), "{path}: {answer}");
        assert_silent(path, &Ran { code: None, stdout: answer, stderr: String::new() });
    }
    signal(&child, &["TERM"]);
    assert_silent("stream", &ended(child).await);
}
