//! `alluvium health` against what a run may answer.

use std::net::SocketAddr;

use axum::{Router, http::StatusCode, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

use crate::support::program::run;

/// Alive, and ready or not.
async fn served(ready: (StatusCode, &'static str)) -> (SocketAddr, AbortOnDropHandle<()>) {
    let routes = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(move || async move { ready }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn a_run_that_is_alive_and_ready_is_0() {
    let (address, _serving) = served((StatusCode::OK, "ready\n")).await;
    run(["health", &address.to_string()]).await.assert_told(0, &["alive\n"]);
    run(["health", "--ready", &format!("http://{address}/")]).await.assert_told(0, &["ready\n"]);
}

#[tokio::test]
async fn a_run_that_is_not_ready_is_1_with_what_it_says() {
    let (address, _serving) = served((StatusCode::SERVICE_UNAVAILABLE, "not ready\niris/g0/p3: no leader\n")).await;
    run(["health", &address.to_string()]).await.assert_told(0, &["alive"]);
    run(["health", "--ready", &address.to_string()]).await.assert_refused(1, &["503", "iris/g0/p3: no leader"]);
}

#[tokio::test]
async fn nobody_a_stranger_and_silence_are_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    run(["health", &address]).await.assert_refused(1, &["does not answer within 3s"]);
    drop(silent);
    run(["health", &address]).await.assert_refused(1, &["nobody answers", &address]);
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let greeting = async {
        let (mut stream, _) = stranger.accept().await.unwrap();
        let _asked = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"220 mail.example\r\n").await.unwrap();
    };
    let (ran, ()) = tokio::join!(run(["health", &address]), greeting);
    ran.assert_refused(1, &["does not speak HTTP"]);
}
