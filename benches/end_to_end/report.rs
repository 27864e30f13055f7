//! What is told: the figures beside their bounds, and below them what each experiment has to add.

use std::{collections::BTreeMap, fs, thread};

use serde::Serialize;
use serde_json::Value;

use crate::{
    apart::print_json,
    args::{Args, Experiment},
    goals::Figure,
    pipeline::Pipeline,
};

/// What came of one experiment.
pub struct Outcome {
    pub figures: Vec<Figure>,
    /// All that was measured, for JSON.
    pub details: Value,
    /// The same in short, for people.
    pub lines: Vec<String>,
}

#[derive(Serialize)]
pub struct Report {
    program: Program,
    machine: Machine,
    pipeline: &'static str,
    broker: String,
    store: String,
    figures: Vec<Figure>,
    experiments: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    lines: Vec<(Experiment, Vec<String>)>,
}

#[derive(Serialize)]
struct Program {
    version: &'static str,
    /// Figures of a debug build say nothing.
    debug: bool,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    processor: Option<String>,
}

impl Report {
    pub fn new(args: &Args) -> Self {
        let cores = thread::available_parallelism().map_or(1, Into::into);
        Self {
            program: Program { version: env!("CARGO_PKG_VERSION"), debug: cfg!(debug_assertions) },
            machine: Machine { cores, processor: processor() },
            pipeline: Pipeline::name(args.pipeline),
            broker: args.broker.clone().unwrap_or_else(|| "alluvium broker".into()),
            store: args.store.to_string(),
            figures: vec![],
            experiments: BTreeMap::new(),
            lines: vec![],
        }
    }

    pub fn add(&mut self, experiment: Experiment, outcome: Outcome) {
        self.figures.extend(outcome.figures);
        self.experiments.insert(experiment.name(), outcome.details);
        self.lines.push((experiment, outcome.lines));
    }

    pub fn tell(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        let Self { pipeline, broker, store, program, machine, .. } = self;
        let debug = if program.debug { ", a DEBUG BUILD" } else { "" };
        let processor = machine.processor.as_deref().unwrap_or("unknown");
        println!("{pipeline}, from {broker}, into {store}; {} cores ({processor}){debug}\n", machine.cores);
        if !self.figures.is_empty() {
            Figure::print_head();
        }
        self.figures.iter().for_each(Figure::print);
        for (experiment, lines) in &self.lines {
            println!("\n{experiment}");
            for line in lines {
                println!("  {line}");
            }
        }
        Ok(())
    }
}

/// Only Linux tells.
fn processor() -> Option<String> {
    let told = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([':', ' ', '\t']).to_owned())
}
