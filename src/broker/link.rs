//! The connection to the cluster that all partitions share: made, kept, and made anew when it is lost.
//!
//! rskafka waits for ever by default and keeps a connection that no longer answers. Here its own retries are off, so
//! that every failure comes back with its cause; the time limits and the retries are ours.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use rskafka::{
    BackoffConfig,
    client::{Client, ClientBuilder, error::Error},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{BrokerLimits, cause::Cause, error::BrokerErrorKind};

/// The largest frame taken from a broker; a fetch holds at least one batch, however large.
const FRAME_BYTES_MAX: usize = 100 << 20;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Link {
    brokers: Vec<String>,
    pub(super) limits: BrokerLimits,
    client: Mutex<Option<Arc<Client>>>,
}

impl Link {
    pub(super) fn new(brokers: &[String], limits: BrokerLimits) -> Self {
        Self { brokers: brokers.to_vec(), limits, client: Mutex::new(None) }
    }

    /// The client that stands, or a new one.
    pub(super) async fn client(&self) -> Result<Arc<Client>, Cause> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let connected = patiently(self.limits.connect_timeout, |left| connect_any(&self.brokers, left)).await?;
        Ok(Arc::clone(client.insert(Arc::new(connected))))
    }

    /// One call over the shared connection, which is given up if the call lost it.
    pub(super) async fn once<T, F>(&self, limit: Duration, call: impl FnOnce(Arc<Client>) -> F) -> Result<T, Cause>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let client = self.client().await?;
        let outcome = within(limit, Box::pin(call(Arc::clone(&client)))).await;
        if outcome.as_ref().is_err_and(|cause| cause.connection_lost) {
            self.forget(&client).await;
        }
        outcome
    }

    async fn forget(&self, lost: &Arc<Client>) {
        let mut client = self.client.lock().await;
        if client.as_ref().is_some_and(|client| Arc::ptr_eq(client, lost)) {
            *client = None;
        }
    }
}

/// Asks all brokers at once, so that one which hangs doesn't hold up those that answer.
async fn connect_any(brokers: &[String], limit: Duration) -> Result<Client, Cause> {
    let mut attempts: FuturesUnordered<_> = brokers.iter().map(|broker| connect(broker, limit)).collect();
    let mut refusals: Option<Cause> = None;
    while let Some(outcome) = attempts.next().await {
        match outcome {
            Ok(client) => return Ok(client),
            Err(cause) => {
                refusals = Some(match refusals {
                    None => cause,
                    Some(others) => others.and(cause),
                });
            }
        }
    }
    Err(refusals.unwrap_or_else(|| Cause::person("no broker is given", "name at least one host:port")))
}

async fn connect(broker: &str, limit: Duration) -> Result<Client, Cause> {
    let no_retries = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
    let build = ClientBuilder::new(vec![broker.to_owned()])
        .client_id("alluvium")
        .max_message_size(FRAME_BYTES_MAX)
        .backoff_config(no_retries)
        .build();
    within(limit, Box::pin(build)).await.map_err(|cause| cause.of_broker(broker))
}

/// Waits for an answer, but not for ever.
///
/// The call comes boxed: rskafka's futures are nested so deep that the compiler refuses to lay out what holds them.
pub(super) async fn within<T>(limit: Duration, call: BoxFuture<'_, Result<T, Error>>) -> Result<T, Cause> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(Cause::from),
        Err(_) => Err(Cause::no_answer(limit)),
    }
}

/// Tries until it works, a person is needed, or the time is up; each attempt is told how much of it is left.
pub(super) async fn patiently<T, F>(limit: Duration, mut attempt: impl FnMut(Duration) -> F) -> Result<T, Cause>
where
    F: Future<Output = Result<T, Cause>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = PAUSE_FIRST;
    loop {
        match attempt(deadline - Instant::now()).await {
            Err(cause) if cause.kind == BrokerErrorKind::Transient && Instant::now() + pause < deadline => {
                tracing::info!(cause = cause.text, ?pause, "the broker is asked again");
            }
            outcome => return outcome,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
