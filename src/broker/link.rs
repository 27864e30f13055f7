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
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    BrokerLimits,
    cause::Cause,
    error::BrokerErrorKind,
    security::{self, Security},
    wire::{Leader, Wire},
};

/// The largest frame taken from a broker; a fetch holds at least one batch, however large.
pub(super) const FRAME_BYTES_MAX: usize = 100 << 20;
/// What brokers call us in their logs.
pub(super) const CLIENT: &str = "alluvium";
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Link {
    brokers: Vec<String>,
    security: Security,
    pub(super) limits: BrokerLimits,
    client: Kept<Client>,
    /// Asked for leaders.
    wire: Kept<Wire>,
}

impl Link {
    pub(super) fn new(brokers: &[String], security: Security, limits: BrokerLimits) -> Self {
        Self { brokers: brokers.to_vec(), security, limits, client: Kept::default(), wire: Kept::default() }
    }

    /// As [`Self::client`], for the first time.
    pub(super) async fn reach(&self) -> Result<(), Cause> {
        self.client_seen(Cause::at_once).await.map(drop)
    }

    /// The client that stands, or a new one.
    pub(super) async fn client(&self) -> Result<Arc<Client>, Cause> {
        self.client_seen(|cause| cause).await
    }

    async fn client_seen(&self, view: fn(Cause) -> Cause) -> Result<Arc<Client>, Cause> {
        let attempt = |left| async move {
            any(&self.brokers, move |broker| connect(broker, &self.security, left)).await.map_err(view)
        };
        self.client.get(|| patiently(self.limits.connect_timeout, attempt)).await
    }

    /// One call over the shared connection, which is given up if the call lost it.
    pub(super) async fn once<T, F>(&self, limit: Duration, call: impl FnOnce(Arc<Client>) -> F) -> Result<T, Cause>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let client = self.client().await?;
        let outcome = within(limit, Box::pin(call(Arc::clone(&client)))).await;
        if outcome.as_ref().is_err_and(|cause| cause.connection_lost) {
            self.client.forget(&client).await;
        }
        outcome
    }

    /// A connection of its own to whoever leads the partition now.
    pub(super) async fn leader(&self, topic: &str, partition: i32, limit: Duration) -> Result<Wire, Cause> {
        let wire = self.wire(limit).await?;
        let found = within(limit, Box::pin(wire.leader(topic, partition))).await;
        self.follow(&wire, found, limit).await
    }

    /// A connection of its own to whoever keeps the group now.
    pub(super) async fn coordinator(&self, group: &str, limit: Duration) -> Result<Wire, Cause> {
        let wire = self.wire(limit).await?;
        let found = within(limit, Box::pin(wire.coordinator(group))).await;
        self.follow(&wire, found, limit).await
    }

    /// How many brokers keep each partition of the topic.
    pub(super) async fn replication(&self, topic: &str, limit: Duration) -> Result<usize, Cause> {
        let wire = self.wire(limit).await?;
        let found = within(limit, Box::pin(wire.replication(topic))).await;
        if found.as_ref().is_err_and(|cause| cause.connection_lost) {
            self.wire.forget(&wire).await;
        }
        found
    }

    async fn wire(&self, limit: Duration) -> Result<Arc<Wire>, Cause> {
        let connect = |broker| within(limit, Box::pin(Wire::connect(broker, &self.security)));
        self.wire.get(|| any(&self.brokers, connect)).await
    }

    /// Connects to whom `asked` has named.
    async fn follow(&self, asked: &Arc<Wire>, found: Result<Leader, Cause>, limit: Duration) -> Result<Wire, Cause> {
        if found.as_ref().is_err_and(|cause| cause.connection_lost) {
            self.wire.forget(asked).await;
        }
        let address = found?.address();
        let leading = within(limit, Box::pin(Wire::connect(&address, &self.security))).await;
        if leading.is_err() {
            // Who named it may know no better than that.
            self.wire.forget(asked).await;
        }
        leading
    }
}

/// A connection that stands until it is lost; none before it is needed.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The one that stands, or a new one.
    pub(super) async fn get<F>(&self, connect: impl FnOnce() -> F) -> Result<Arc<T>, Cause>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let mut kept = self.0.lock().await;
        if let Some(kept) = &*kept {
            return Ok(Arc::clone(kept));
        }
        Ok(Arc::clone(kept.insert(Arc::new(connect().await?))))
    }

    /// The next one to ask connects anew.
    pub(super) async fn forget(&self, lost: &Arc<T>) {
        let mut kept = self.0.lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, lost)) {
            *kept = None;
        }
    }
}

/// Asks all brokers at once, so that one which hangs doesn't hold up those that answer.
async fn any<'a, T, F>(brokers: &'a [String], connect: impl Fn(&'a str) -> F) -> Result<T, Cause>
where
    F: Future<Output = Result<T, Cause>>,
{
    let mut attempts: FuturesUnordered<_> = brokers.iter().map(|broker| connect(broker)).collect();
    let mut refusals: Option<Cause> = None;
    while let Some(outcome) = attempts.next().await {
        match outcome {
            Ok(connected) => return Ok(connected),
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

async fn connect(broker: &str, security: &Security, limit: Duration) -> Result<Client, Cause> {
    let deadline = Instant::now() + limit;
    if security.is_any() {
        // What rskafka says of a refusal is what three libraries below it say; ours says what to do.
        within(limit, Box::pin(Wire::connect(broker, security))).await?;
    }
    let no_retries = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
    let mut builder = ClientBuilder::new(vec![broker.to_owned()])
        .client_id(CLIENT)
        .max_message_size(FRAME_BYTES_MAX)
        .backoff_config(no_retries);
    if let Some(tls) = security.tls_config() {
        builder = builder.tls_config(tls);
    }
    if let Some(sasl) = security.sasl_config().await? {
        builder = builder.sasl_config(sasl);
    }
    match within(limit, Box::pin(builder.build())).await {
        Err(cause) if cause.connection_lost => Err(told_better(cause, broker, security, deadline).await),
        outcome => outcome.map_err(|cause| cause.of_broker(broker)),
    }
}

/// What a broker ends without a word, as an error that says why if it can be found out.
async fn told_better(cause: Cause, broker: &str, security: &Security, deadline: Instant) -> Cause {
    let told = timeout_at(deadline, Box::pin(security::why_ended(broker, security))).await;
    told.ok().flatten().unwrap_or_else(|| cause.of_broker(broker))
}

/// Waits for an answer, but not for ever.
///
/// The call comes boxed: rskafka's futures are nested so deep that the compiler refuses to lay out what holds them.
pub(super) async fn within<T, E>(limit: Duration, call: BoxFuture<'_, Result<T, E>>) -> Result<T, Cause>
where
    Cause: From<E>,
{
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
