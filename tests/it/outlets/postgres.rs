//! A table of PostgreSQL: what is in it, and what it must look like.

use std::time::Duration;

use alluvium::record::Record;
use tokio_postgres::Client;

use super::{assert_same, file, in_the_lake, settings, text};
use crate::support::{
    counted::Counted,
    postgres::{PASSWORD, Postgres},
    program::{command, ended, run},
    stage::{Running, Stage, assert_clean, batch, flower, value},
    until,
};

fn table(server: &Postgres, table: &str) -> String {
    format!("[postgres]\nurl = \"{}\"\ntable = '{table}'\n", server.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_there_once_after_a_load_a_restart_and_more_of_it() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(3).await;
    stage.send_flowers(3, 700).await;
    stage.send(1, vec![value("not a flower"), Record { key: Some(b"\0k".to_vec()), ..flower(7) }]).await;
    let settings = settings(&stage, &table(&server, "public.flowers"), "roll_rows = 100\n");
    let first = batch(settings.clone()).await;
    assert_eq!((first.failures, first.outlets[0].sent, first.outlets[0].behind), (vec![], 2101, 0));
    let client = server.client().await;
    assert_same(&client, "flowers", &settings, 2101).await;
    let again = batch(settings.clone()).await;
    assert_eq!((again.failures, again.outlets[0].sent), (vec![], 0), "nothing is sent twice");
    stage.send_flowers(3, 50).await;
    assert_eq!(batch(settings.clone()).await.outlets[0].sent, 150);
    assert_same(&client, "flowers", &settings, 2251).await;
    assert_clean(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_s_rows_are_there_as_soon_as_they_are_committed() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(2).await;
    let settings = settings(&stage, &table(&server, "{dataset}"), "roll_age = \"100ms\"\n");
    let running = Running::start(settings.clone()).await;
    stage.send_flowers(2, 200).await;
    let client = server.client().await;
    until("all are there", async || super::count(&client, "iris").await == 400).await;
    stage.send_flowers(2, 10).await;
    until("they are committed", async || running.committed() == 420).await;
    let summary = running.stop().await;
    assert_eq!(summary.outlets[0].behind, 0, "a stream that stops sends what it has committed");
    assert_same(&client, "iris", &settings, 420).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_at_once_double_nothing() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(2).await;
    let settings = settings(&stage, &table(&server, "flowers"), "roll_rows = 50\nroll_age = \"100ms\"\n");
    let counted = Counted::of("alluvium_outlet_fences_total");
    let workers = [Running::start(settings.clone()).await, Running::start(settings.clone()).await];
    for _ in 0..20 {
        stage.send_flowers(2, 60).await;
    }
    let (client, mut sent) = (server.client().await, 2400);
    until("all are there, and the two have met", async || {
        let all = super::count(&client, "flowers").await >= i64::try_from(sent).unwrap();
        if all && !counted.has_moved() {
            stage.send_flowers(2, 60).await;
            sent += 120;
            return false;
        }
        all
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    assert_same(&client, "flowers", &settings, sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_other_columns_is_told_with_the_statement_that_helps() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 20).await;
    let (file, settings) = (file(&stage, &table(&server, "t"), ""), settings(&stage, &table(&server, "t"), ""));
    let client = server.client().await;
    client.batch_execute("CREATE TABLE t (id bigint, mine text DEFAULT 'x', prediction text)").await.unwrap();
    let checked = run(["check".as_ref(), file.as_os_str()]).await;
    checked.assert_told(1, &["FAIL  postgres", "ALTER TABLE \"t\" ADD COLUMN \"sepal_length\" double precision"]);
    let ran = ended(command(["batch".as_ref(), file.as_os_str(), "--json".as_ref()]).spawn().unwrap()).await;
    assert_eq!((ran.code, ran.figure("scored")), (Some(1), 20), "{ran:?}");
    let alter = ran.stderr.split("run: ").nth(1).and_then(|rest| rest.lines().next()).unwrap().to_owned();
    assert!(alter.starts_with("ALTER TABLE \"t\" ADD COLUMN"), "{}", ran.stderr);
    assert_eq!(in_the_lake(&settings).await.len(), 20, "the lake goes on without it");
    client.batch_execute(&alter).await.unwrap();
    run(["check".as_ref(), file.as_os_str()]).await.assert_told(0, &["fits the rows, and can be written"]);
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    assert_same(&client, "t", &settings, 20).await;
    let defaults: i64 = client.query_one("SELECT count(*) FROM t WHERE mine = 'x'", &[]).await.unwrap().get(0);
    assert_eq!(defaults, 20, "a column of one's own keeps its default");
    client.batch_execute("ALTER TABLE t ALTER id TYPE text").await.unwrap();
    let ran = run(["check".as_ref(), file.as_os_str()]).await;
    ran.assert_told(1, &["\"id\" is text, and the rows need bigint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_a_run_would_do_and_makes_nothing() {
    let Some(mut server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    let named = |name: &str| file(&stage, &table(&server, name), "");
    let told = run(["check".as_ref(), named("t").as_os_str()]).await;
    told.assert_told(0, &["ok    postgres", "\"t\" is not there yet; the first run makes it"]);
    let told = run(["check".as_ref(), named("nowhere.t").as_os_str()]).await;
    told.assert_told(1, &["there is no schema \"nowhere\""]);
    let client = server.client().await;
    let tables = client.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", &[]).await.unwrap();
    assert!(tables.is_empty());
    let file = named("t");
    server.crash();
    let told = run(["check".as_ref(), file.as_os_str()]).await;
    told.assert_told(1, &["FAIL  postgres", "connect to PostgreSQL"]);
    assert!(!told.stdout.contains(PASSWORD) && !told.stderr.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_names() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 5).await;
    let hostile = "x\"; DROP TABLE victims; --";
    let client = server.client().await;
    client.batch_execute("CREATE TABLE victims (a int); CREATE SCHEMA \"s \"\"q\"").await.unwrap();
    let outlets = table(&server, "s \"q.{dataset} \"; DROP TABLE victims; --");
    let field = "[[fields]]\nname = 'x\"; DROP TABLE victims; --'\ntype = \"string\"\npath = \"none\"\n";
    let settings = settings(&stage, &format!("{field}{outlets}"), "");
    assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
    let quoted = "\"s \"\"q\".\"iris \"\"; DROP TABLE victims; --\"";
    assert_same(&client, quoted, &settings, 5).await;
    let column = format!("SELECT count(*) FROM {quoted} WHERE \"{}\" IS NULL", hostile.replace('"', "\"\""));
    assert_eq!(client.query_one(&column, &[]).await.unwrap().get::<_, i64>(0), 5);
    client.query("SELECT a FROM victims", &[]).await.expect("nobody was dropped");
}

/// One text a column, as the server writes them.
async fn shown(client: &Client, columns: &str) -> Vec<Vec<Option<String>>> {
    let columns: Vec<_> = columns.split(", ").map(|column| format!("{column}::text")).collect();
    let select = format!("SET timezone = 'UTC'; SELECT {} FROM kinds ORDER BY _offset", columns.join(", "));
    let messages = client.simple_query(&select).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_arrives_as_it_is_or_as_the_page_says() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    let kinds = [
        ("i32", "int32", ""),
        ("f32", "float32", ""),
        ("flag", "bool", ""),
        ("word", "string", ""),
        ("day", "date", ""),
        ("rfc", "timestamp", ""),
        ("ns", "timestamp", "unit = \"ns\"\n"),
        ("ns_exact", "timestamp", "unit = \"ns\"\n"),
        ("far", "timestamp", "unit = \"s\"\n"),
    ];
    let fields: String =
        kinds.map(|(name, kind, more)| format!("[[fields]]\nname = \"{name}\"\ntype = \"{kind}\"\n{more}")).concat();
    let with = |more: &str| {
        let iris = "\"sepal_length\":5.9,\"sepal_width\":3.0,\"petal_length\":5.6,\"petal_width\":2.0";
        value(format!("{{\"id\":-9223372036854775808,{iris}{more}}}"))
    };
    stage
        .send(
            0,
            vec![
                with(
                    ",\"i32\":-2147483648,\"f32\":0.1,\"flag\":true,\"word\":\"a\\u0000é\\n\",\"day\":\"1969-12-31\",\
                     \"rfc\":\"1999-12-31T23:59:59.999999Z\",\"ns\":1700000000123456789,\
                     \"ns_exact\":1700000000123456789,\"far\":-9223372036854",
                ),
                with(""),
            ],
        )
        .await;
    let client = server.client().await;
    let settings = settings(&stage, &format!("{fields}{}", table(&server, "kinds")), "");
    // A column of nanoseconds keeps them all in a bigint.
    let counted = Counted::of("alluvium_outlet_altered_total");
    let probe = batch(settings.clone()).await;
    counted.assert_moved();
    assert_eq!(probe.failures, Vec::<String>::new());
    assert_eq!(probe.outlets[0].sent, 2);
    let rows = shown(&client, "id, i32, f32, flag, word, day, rfc, ns, far").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows[0],
        [
            text("-9223372036854775808"),
            text("-2147483648"),
            text("0.1"),
            text("true"),
            text("a\u{fffd}é\n"),
            text("1969-12-31"),
            text("1999-12-31 23:59:59.999999+00"),
            text("2023-11-14 22:13:20.123456+00"),
            text("-infinity"),
        ]
    );
    assert_eq!(rows[1][1..], [None, None, None, None, None, None, None, None]);
    client
        .batch_execute(
            "TRUNCATE kinds; DELETE FROM alluvium_positions; \
             ALTER TABLE kinds ALTER ns_exact TYPE bigint USING 0",
        )
        .await
        .unwrap();
    assert_eq!(batch(settings.clone()).await.outlets[0].sent, 2, "what was emptied is filled again");
    assert_eq!(shown(&client, "ns_exact").await[0], [text("1700000000123456789")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_lake_s_rows_never_come_into_the_same_table() {
    let Some(server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 5).await;
    let one = settings(&stage, &table(&server, "t"), "");
    assert_eq!(batch(one.clone()).await.failures, Vec::<String>::new());
    let other = text(&stage, "other", &table(&server, "t"), "");
    let other = alluvium::config::parse(&other, |_| None).unwrap();
    let summary = batch(other).await;
    assert!(summary.failures[0].contains("has rows of another lake's dataset `iris`"), "{:?}", summary.failures);
    assert_same(&server.client().await, "t", &one, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_line_that_a_run_writes() {
    let Some(mut server) = Postgres::start().await else { return };
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 5).await;
    let file = file(&stage, &table(&server, "t"), "");
    server.crash();
    let mut batch = command(["batch".as_ref(), file.as_os_str(), "--log".as_ref(), "trace".as_ref()]);
    let ran = tokio::time::timeout(Duration::from_mins(1), ended(batch.spawn().unwrap())).await.unwrap();
    ran.assert_told(1, &["postgres", "failed"]);
    assert!(ran.stderr.contains("outlet stopped"), "{}", ran.stderr);
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "{}", ran.stderr);
}
