//! The whole way, from a broker's topic to the lake, measured from outside: the real program as a process of its own, on
//! the cores that the broker and the store have too. Each figure stands beside what it must be and what it aims at.
//!
//! ```text
//! cargo bench --bench end_to_end -- --help
//! ```
//!
//! Owns: which experiments are made. Does not own: an experiment (each has a module), what they stand on ([`stand`]), how a
//! process is measured ([`measured`]), what is told ([`report`]).
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]
// An experiment is one future; laying it out goes deeper than the compiler's default.
#![recursion_limit = "256"]

#[path = "../common/apart.rs"]
#[allow(dead_code, reason = "shared with the benchmark of workers, which needs more of it")]
mod apart;
mod args;
mod bare;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod freshness;
mod goals;
mod growth;
mod job;
mod measured;
mod model;
mod observer;
mod padded;
mod partitions;
mod pipeline;
mod report;
mod s3;
mod sizing;
mod stand;
mod start;
mod throughput;

use clap::Parser;

use self::{
    args::{Args, Experiment},
    report::{Outcome, Report},
    stand::Stand,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(child) = child::asked_for() {
        return child.run().await;
    }
    let args = Args::parse();
    let mut report = Report::new(&args);
    for experiment in args.experiments() {
        eprintln!("measuring {experiment}");
        report.add(experiment, measure(experiment, &args).await?);
    }
    report.tell(args.json)
}

/// Each on a stand of its own, so that none is slowed down by what another left.
async fn measure(experiment: Experiment, args: &Args) -> anyhow::Result<Outcome> {
    let mut stand = Stand::open(args, experiment).await?;
    let measuring = async {
        match experiment {
            Experiment::Throughput => throughput::measure(args, &mut stand).await,
            Experiment::Growth => growth::measure(args, &mut stand).await,
            Experiment::Partitions => partitions::measure(args, &mut stand).await,
            Experiment::Freshness => freshness::measure(args, &mut stand).await,
            Experiment::Start => start::measure(args, &mut stand).await,
            Experiment::Sizing => sizing::measure(args, &mut stand).await,
        }
    };
    let outcome = tokio::select! {
        outcome = measuring => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let closed = stand.close().await;
    let outcome = outcome?;
    closed.map(|()| outcome)
}
