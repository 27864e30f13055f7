//! What replays of a dataset have made rows of, handed on to the outlets of the pipeline file.
//!
//! Owns: which outlets and partitions, how long a target is tried, and what is told. Does not own: what is sent, and what
//! keeps it from being sent twice ([`crate::outlet`]).

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Flow, PipelineError, Settings,
    models::Models,
    outlets::{RETRY_WAIT, RETRY_WAIT_MAX, postgres, results},
};
use crate::{
    broker::{Broker, BrokerErrorKind},
    lake::{Ledger, Store},
    outlet::{self, Outlet},
    telemetry::chain,
};

/// The rows of a dataset's revisions, on their way to other programs.
#[derive(Debug)]
pub struct HandOn<'a> {
    pub settings: &'a Settings,
    pub store: &'a Store,
    pub flow: &'a Flow,
    /// Who does it, for people.
    pub writer: Arc<str>,
}

/// What became of it at one outlet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandedOn {
    /// `results` or `postgres`.
    pub outlet: &'static str,
    pub to: String,
    /// Rows or records that have arrived.
    pub sent: u64,
    /// Rows of files that an expiry deleted before they could be sent.
    pub expired: u64,
    /// Why the rest could not be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl HandOn<'_> {
    /// One for each outlet that takes rows. An outlet that fails keeps none of the others from its rows.
    pub async fn run(&self) -> Result<Vec<HandedOn>, PipelineError> {
        let (settings, mut handed_on) = (self.settings, vec![]);
        if settings.outlets.results.is_none() && settings.outlets.postgres.is_none() {
            return Ok(handed_on);
        }
        let models = Models::load(settings).await?;
        if let Some(to) = &settings.outlets.results {
            handed_on.push(match self.broker().await {
                Ok(broker) => self.all(&results(settings, to, self.store, &broker, &models)?).await,
                Err(error) => {
                    let (to, failure) = (format!("topic {}", to.topic), Some(chain(&error)));
                    HandedOn { outlet: "results", to, sent: 0, expired: 0, failure }
                }
            });
        }
        if let Some(to) = &settings.outlets.postgres {
            handed_on.push(self.all(&postgres(to, self.store, &models)?).await);
        }
        Ok(handed_on)
    }

    async fn broker(&self) -> Result<Broker, PipelineError> {
        let mut patience = Patience::of(self.settings);
        loop {
            match self.settings.source.connect(self.settings.broker).await {
                Ok(broker) => return Ok(broker),
                Err(error) => {
                    let passes = error.kind() != BrokerErrorKind::Person;
                    if !patience.waits(passes, &chain(&error)).await {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Partition after partition. What a target that is out could not get, the next time has.
    async fn all(&self, outlet: &Outlet) -> HandedOn {
        let mut patience = Patience::of(self.settings);
        let failure = loop {
            let sent = outlet.sent();
            let Err(error) = self.partitions(outlet).await else { break None };
            if outlet.sent() > sent {
                patience = Patience::of(self.settings);
            }
            let told = chain(&error);
            if !patience.waits(error.is_transient(), &told).await {
                break Some(told);
            }
        };
        let tally = outlet.tally(0, Some((&self.flow.topic, &self.flow.dataset)));
        HandedOn { outlet: tally.outlet, to: tally.to, sent: tally.sent, expired: tally.expired, failure }
    }

    async fn partitions(&self, outlet: &Outlet) -> Result<(), outlet::OutletError> {
        for id in self.store.lanes(&self.flow.dataset).await? {
            let ledger = Ledger::new(self.store.clone(), id, self.writer.clone());
            outlet::hand_on(outlet, &ledger, &self.flow.topic).await?;
        }
        Ok(())
    }
}

/// How long a target that is out is tried.
struct Patience {
    limit: Duration,
    failing: Option<Instant>,
    wait: Duration,
}

impl Patience {
    fn of(settings: &Settings) -> Self {
        Self { limit: settings.limits.retry_for_max, failing: None, wait: RETRY_WAIT }
    }

    /// Waits for another try; false, if there is to be none.
    async fn waits(&mut self, may_pass: bool, told: &str) -> bool {
        let failing_for = self.failing.get_or_insert_with(Instant::now).elapsed();
        if !may_pass || failing_for >= self.limit {
            return false;
        }
        tracing::warn!("handing on: {told}; trying again in {:?}", self.wait);
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(RETRY_WAIT_MAX);
        true
    }
}
