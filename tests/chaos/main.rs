//! A campaign of rounds against the real program: rivals on one topic and one lake, killed, frozen, cut off from broker
//! and store; after each round the lake is held against what was sent. Not in the shipped binary.
//!
//! Owns: which rounds are played, and what is told of them. Does not own: a round ([`round`]).

mod args;
mod broker;
mod duckdb;
mod lake;
mod load;
#[path = "../it/support/parts.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need more of it")]
mod parts;
mod plan;
mod process;
mod proxy;
mod reader;
mod round;
mod soak;
mod store;
mod tally;
mod verdict;
mod workers;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::{args::Args, duckdb::Judge, plan::Name, process::Program, round::Stand, tally::Tally};

fn main() -> ExitCode {
    let args = Args::parse();
    if args.is_left_out() {
        println!("chaos: left out");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let played = runtime.context("start the runtime").and_then(|runtime| runtime.block_on(campaign_or_signal(&args)));
    match played {
        Ok(tally) if tally.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A signal ends the campaign here, so that no process is left behind, stopped or not.
async fn campaign_or_signal(args: &Args) -> anyhow::Result<Tally> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        played = campaign(args) => played,
        _ = terminate.recv() => bail!("terminated"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

/// Plays the rounds one after the other, and tells what came of them.
async fn campaign(args: &Args) -> anyhow::Result<Tally> {
    let folder = args.folder()?;
    let mut stand = stand(args)?;
    if let Some(duration) = args.soak {
        return soaked(&mut stand, duration, args, &folder).await;
    }
    let names = args.names();
    println!("{} rounds from seed {}", names.len(), args.seed);
    let mut tally = Tally::default();
    for name in names {
        tally += play(&mut stand, name, &folder, args.keep).await;
    }
    tell(&tally, args)?;
    tally.judge()?;
    // Rounds that failed are kept in it, and keep it.
    let _kept = std::fs::remove_dir(&folder);
    Ok(tally)
}

async fn soaked(stand: &mut Stand, duration: Duration, args: &Args, folder: &Path) -> anyhow::Result<Tally> {
    let (mut tally, verdict) = soak::play(stand, args.seed, duration, folder).await;
    if let Err(error) = verdict {
        tally.failed = 1;
        println!("FAILED: {error:#}; what is left is in {}", folder.display());
    } else {
        std::fs::remove_dir_all(folder)?;
    }
    tell(&tally, args)?;
    Ok(tally)
}

fn stand(args: &Args) -> anyhow::Result<Stand> {
    let program = Program { path: args.program(), environment: vec![] };
    let python = parts::python_with("duckdb");
    let judge = python.as_deref().map(Judge::start).transpose()?;
    Ok(Stand { program, broker: args.brokers.clone(), python, judge })
}

/// One round, and a line about it; a round that failed leaves its folder behind.
async fn play(stand: &mut Stand, name: Name, folder: &Path, keep: bool) -> Tally {
    let began = Instant::now();
    let folder = folder.join(name.to_string());
    let (mut tally, verdict) = round::play(stand, name, &folder).await;
    let Tally { records, kills, zombies, terms, rebalances, broker_outages, store_outages, fences, .. } = tally;
    let line = format!(
        "{:<20} {records:>6} records  {kills:>2} kills  {zombies} zombies  {terms:>2} terms  \
         {broker_outages}+{store_outages} outages  {rebalances:>3} rebalances  {fences:>4} fences  {:>5.1} s",
        name.to_string(),
        began.elapsed().as_secs_f64()
    );
    match verdict {
        Ok(()) => {
            println!("{line}  ok");
            if !keep {
                // What can't be removed is no fault of the round.
                let _left_behind = std::fs::remove_dir_all(&folder);
            }
        }
        Err(error) => {
            tally.failed = 1;
            println!("{line}  FAILED: {error:#}");
            println!("  its folder:  {}", folder.display());
            println!("  once more:   cargo test --test chaos -- --round {name}");
        }
    }
    tally
}

fn tell(tally: &Tally, args: &Args) -> anyhow::Result<()> {
    for (label, figure) in tally.lines() {
        println!("{label:<20} {figure}");
    }
    if let Some(path) = &args.report {
        let mut report = serde_json::to_value(tally)?;
        report["seed"] = args.seed.into();
        for (name, times) in tally.times() {
            report[name] = serde_json::to_value(times)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
