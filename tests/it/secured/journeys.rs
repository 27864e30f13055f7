//! From a secure broker to the lake: batches by every mechanism, groups, a login that runs out, and the commands that
//! are told their brokers by option.

use std::fs;

use alluvium::config;

use crate::{
    groups::crew::Worker,
    matrix::visible_in,
    support::{
        admin::Admin,
        program::{Ran, command, ended, written},
        secure::{SecureKafka, USER, token},
        stage::{Stage, assert_clean, batch, objects, unique_topic},
        until,
    },
};

const PARTITIONS: i32 = 2;
const RECORDS: usize = 30;

/// A topic of one's own at the shared broker, and a lake. What is sent goes over the plain listener, and the pipeline's
/// brokers are told by another.
async fn stage(secure: &SecureKafka, listener: &str) -> Stage {
    let mut stage = Stage::at(&secure.kafka.brokers(), &unique_topic()).await;
    stage.broker.create_topic(&stage.topic, PARTITIONS, 1).await.unwrap();
    stage.brokers = secure.address(listener);
    stage
}

fn trusted(secure: &SecureKafka) -> String {
    format!("tls = {{ ca = {} }}\n", secure.files.quoted("lab-ca.pem"))
}

fn login(mechanism: &str, password: &str) -> String {
    format!("sasl = {{ mechanism = \"{mechanism}\", user = \"{USER}\", {password} }}\n")
}

/// A pipeline file with more lines of `[source]`.
fn text(stage: &Stage, source: &str, more: &str) -> String {
    let text = stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), more);
    text.replacen("[source]\n", &format!("[source]\n{source}"), 1)
}

/// Everything that was sent is in the lake after a batch that was told this of its broker.
async fn assert_lands(secure: &SecureKafka, listener: &str, security: &str) {
    let stage = stage(secure, listener).await;
    stage.send_flowers(PARTITIONS, RECORDS).await;
    let text = text(&stage, security, "[limits]\nfetch_wait = \"10ms\"\n\n[results]\ntopic = \"{topic}.results\"\n");
    let password = |name: &str| (name == "PASSWORD").then(|| secure.password.clone());
    let settings = config::parse(&text, password).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    let summary = batch(settings.clone()).await;
    let all = u64::from(PARTITIONS.unsigned_abs()) * RECORDS as u64;
    assert_eq!(summary.tally.counts.scored, all, "{listener} {security}");
    assert_clean(&settings).await;
    let results = format!("{}.results", stage.topic);
    let admin = Admin::connect(&secure.kafka.brokers()).await.unwrap();
    let mut handed_on = 0;
    for partition in 0..PARTITIONS {
        handed_on += admin.read(&results, partition).await.len();
    }
    assert_eq!(handed_on as u64, all, "{listener} {security}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lands_all_records_over_tls_with_and_without_a_certificate_of_ours() {
    let Some(secure) = SecureKafka::shared().await else { return };
    assert_lands(secure, "TLS", &trusted(secure)).await;
    let [ca, cert, key] = ["lab-ca.pem", "client.pem", "client.key"].map(|name| secure.files.quoted(name));
    assert_lands(secure, "MUTUAL", &format!("tls = {{ ca = {ca}, cert = {cert}, key = {key} }}\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lands_all_records_by_every_mechanism_with_a_password() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let tls = trusted(secure);
    for mechanism in ["plain", "scram-sha-256", "scram-sha-512"] {
        assert_lands(secure, "SASLTLS", &format!("{tls}{}", login(mechanism, "password = \"${PASSWORD}\""))).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{}\n", secure.password)).unwrap();
    let of_file = login("scram-sha-256", &format!("password_file = {:?}", file.to_str().unwrap()));
    assert_lands(secure, "SASL", &of_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lands_all_records_with_a_token_from_a_file_and_from_a_command() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, token("alice", 3_600) + "\n").unwrap();
    let path = file.to_str().unwrap();
    for source in [format!("token_file = {path:?}"), format!("token_command = [\"cat\", {path:?}]")] {
        let sasl = format!("sasl = {{ mechanism = \"oauthbearer\", {source} }}\n");
        assert_lands(secure, "SASLTLS", &format!("{}{sasl}", trusted(secure))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shares_the_partitions_over_tls_and_a_login_and_logs_no_password() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, token("alice", 3_600)).unwrap();
    let bearer = format!("sasl = {{ mechanism = \"oauthbearer\", token_file = {:?} }}\n", file.to_str().unwrap());
    let scram = login("scram-sha-512", &format!("password = {:?}", secure.password));
    for (sasl, protocol) in [(scram, "classic"), (bearer, "consumer")] {
        let stage = stage(secure, "SASLTLS").await;
        let lines = format!("{}{sasl}group_protocol = \"{protocol}\"\n", trusted(secure));
        let lines = if protocol == "consumer" { format!("{lines}session_timeout = \"45s\"\n") } else { lines };
        let workers = ["a", "b"].map(|name| Worker::start(&stage, name, &lines));
        // By the `consumer` protocol a member is not told of the generation in which only the others' parts changed.
        let has_one = |worker: &Worker| worker.parts().last().is_some_and(|part| part.held == 1);
        until("each worker has one of the two partitions", async || workers.iter().all(has_one)).await;
        stage.send_flowers(PARTITIONS, RECORDS).await;
        let settings =
            config::parse(&stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), ""), |_| None).unwrap();
        let all = usize::try_from(PARTITIONS).unwrap() * RECORDS;
        until("all is visible", async || visible_in(&objects(&settings)).await == all).await;
        for worker in workers {
            let log = worker.log();
            assert!(!log.contains(&secure.password) && !log.contains(&fs::read_to_string(&file).unwrap()), "{log}");
            worker.stop().await;
        }
        assert_clean(&settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_when_its_login_runs_out() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let stage = stage(secure, "SHORT").await;
    let lines = login("scram-sha-256", &format!("password = {:?}", secure.password));
    let worker = Worker::start(&stage, "a", &lines);
    let settings = config::parse(&stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), ""), |_| None).unwrap();
    let (mut sent, one) = (0, usize::try_from(PARTITIONS).unwrap());
    // The broker ends connections whose login has run out, and says so in none of them.
    until("the stream has lost its connections and gone on", async || {
        stage.send_flowers(PARTITIONS, 1).await;
        sent += one;
        until("all is visible", async || visible_in(&objects(&settings)).await == sent).await;
        worker.log().matches("early eof").count() >= 2 * one
    })
    .await;
    worker.stop().await;
    assert_clean(&settings).await;
}

/// The program at a broker that is told by options, with the password in the environment.
async fn at(secure: &SecureKafka, password: &str, arguments: &[&str]) -> Ran {
    let (address, ca) = (secure.address("SASLTLS"), secure.files.path("lab-ca.pem"));
    let mut program = command(arguments);
    program.args(["--brokers", &address, "--tls-ca", ca.to_str().unwrap(), "--sasl", "scram-sha-512", "--user", USER]);
    ended(program.env("ALLUVIUM_PASSWORD", password).spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_infer_check_and_doctor_reach_a_secure_broker() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let stage = stage(secure, "SASLTLS").await;
    let topic = stage.topic.as_str();
    let produce = ["produce", "--topic", topic, "--source", "iris", "--count", "100"];
    at(secure, &secure.password, &produce).await.assert_told(0, &["sent 100 of 100 records"]);
    let wrong = at(secure, "wr0ng geheim", &produce).await;
    wrong.assert_refused(1, &["it refuses the user `alice` or the password (SASL SCRAM-SHA-512)"]);
    assert!(!wrong.stderr.contains("geheim"), "{}", wrong.stderr);

    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let lake = stage.lake_folder("lake");
    let infer = ["infer", "--topic", topic, "--pipeline", "--model", model, "--lake", lake.to_str().unwrap()];
    let inferred = at(secure, &secure.password, &infer).await;
    inferred.assert_told(0, &["[source.tls]", "mechanism = \"scram-sha-512\"", "password = \"${ALLUVIUM_PASSWORD}\""]);
    // What it wrote is a pipeline file as it stands.
    let file = written(&stage, &inferred.stdout);
    for name in ["check", "doctor", "batch"] {
        let mut program = command([name, file.to_str().unwrap()]);
        let ran = ended(program.env("ALLUVIUM_PASSWORD", &secure.password).spawn().unwrap()).await;
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
        assert!(!format!("{ran:?}").contains(&secure.password), "{name}");
    }
}

#[tokio::test]
async fn options_that_do_not_go_together_are_told() {
    let produce = ["produce", "--brokers", "localhost:9", "--topic", "t", "--source", "iris"];
    for (options, told) in [
        (&["--sasl", "plain"][..], "this --sasl needs --user beside it"),
        (&["--sasl", "plain", "--user", "me"], "--user needs the environment variable ALLUVIUM_PASSWORD"),
        (&["--sasl", "oauthbearer"], "--sasl oauthbearer needs --token-file beside it"),
        (&["--tls-cert", "c.pem"], "--tls-key"),
        (&["--user", "me"], "--sasl"),
    ] {
        let mut program = command(produce.iter().chain(options));
        ended(program.env_remove("ALLUVIUM_PASSWORD").spawn().unwrap()).await.assert_refused(2, &[told]);
    }
}
