//! Instructions a record of decode, features, score and encode, held against `benches/counts.json`: a figure that does
//! not depend on how busy the machine is.
//!
//! ```text
//! cargo bench --bench counts                  # fails if a stage takes more than the file allows
//! cargo bench --bench counts -- --renew       # writes the file anew
//! ```
//!
//! Each stage runs under valgrind's callgrind in a process of its own, over some records and over twice as many of the
//! same; what the second run took more is theirs alone, without start and preparation, which are the same in both. The
//! numbers in the file are those of the build that `.ci/run` makes; `benches/README.md` has its command.
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]

mod common;
#[path = "end_to_end/pipeline.rs"]
mod pipeline;

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    process::{self, Command},
    thread,
};

use alluvium::lake::Scored;
use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};

use self::{
    common::{Stages, done},
    pipeline::{Pipeline, Place, settings},
};

/// As many as a fetch of 4 MiB has, give or take.
const BATCH_RECORDS: usize = 16_384;
/// A stage may take so much more than the file says.
const ALLOWED: f64 = 1.15;
/// …and if it takes so much less, the file is no use any more.
const REMARKABLE: f64 = 0.85;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.json");

/// By pipeline and stage.
type Counts = BTreeMap<String, BTreeMap<String, f64>>;

/// Count the instructions a record takes in each stage, and hold them against benches/counts.json
#[derive(Debug, Parser)]
struct Args {
    /// Write the file anew instead
    #[arg(long)]
    renew: bool,
    /// Given by `cargo bench`; without it, as when all targets are tested, each stage only runs once, uncounted
    #[arg(long, hide = true)]
    bench: bool,
    /// Run one stage over so many batches, which is what callgrind counts
    #[arg(long, num_args = 3, value_names = ["PIPELINE", "STAGE", "BATCHES"], hide = true)]
    run: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stage {
    Decode,
    Features,
    Score,
    Encode,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Features => "features",
            Self::Score => "score",
            Self::Encode => "encode",
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(run) = &args.run {
        return run_asked(run);
    }
    if !args.bench && !args.renew {
        let once =
            |pipeline: Pipeline| Stage::value_variants().iter().try_for_each(|stage| run_stage(pipeline, *stage, 1));
        return Pipeline::value_variants().iter().copied().try_for_each(once);
    }
    let counted = count_all()?;
    if args.renew {
        fs::write(FILE, serde_json::to_string_pretty(&counted)? + "\n").context("write benches/counts.json")?;
        println!("benches/counts.json is written");
        return Ok(());
    }
    let known = fs::read_to_string(FILE).context("read benches/counts.json; --renew writes it")?;
    compare(&counted, &serde_json::from_str(&known).context("read benches/counts.json; --renew writes it anew")?)
}

fn compare(counted: &Counts, known: &Counts) -> anyhow::Result<()> {
    println!("{:14} {:10} {:>14} {:>14} {:>8}", "instructions", "a record", "counted", "in the file", "");
    let (mut above, mut remarkable) = (vec![], false);
    for (pipeline, stages) in counted {
        for (stage, &count) in stages {
            let before = known.get(pipeline).and_then(|stages| stages.get(stage));
            let &before =
                before.with_context(|| format!("benches/counts.json has no {pipeline} {stage}; --renew adds it"))?;
            let ratio = count / before;
            println!("{pipeline:14} {stage:10} {count:>14.1} {before:>14.1} {ratio:>7.2}x");
            remarkable |= ratio < REMARKABLE;
            if ratio > ALLOWED {
                above.push(format!("{stage} of {pipeline} takes {count:.1} instructions a record; {before:.1} are in benches/counts.json"));
            }
        }
    }
    if remarkable {
        println!("\nsome take far fewer now: write the file anew with --renew, so that it guards what was gained");
    }
    ensure!(
        above.is_empty(),
        "{}\nFind out why. If it is worth it, write the file anew: add `-- --renew` to the command, and say so in the commit",
        above.join("\n")
    );
    Ok(())
}

fn count_all() -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for pipeline in Pipeline::value_variants() {
        for stage in Stage::value_variants() {
            let count = counted(*pipeline, *stage)?;
            counts.entry(pipeline.name().into()).or_default().insert(stage.name().into(), count);
        }
    }
    Ok(counts)
}

/// Instructions a record.
#[expect(clippy::cast_precision_loss, reason = "they are fewer than 2^52")]
fn counted(pipeline: Pipeline, stage: Stage) -> anyhow::Result<f64> {
    let (once, twice) = thread::scope(|scope| {
        let once = scope.spawn(|| under_callgrind(pipeline, stage, 1));
        let twice = under_callgrind(pipeline, stage, 2);
        (once.join(), twice)
    });
    let (once, twice) = (once.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, twice?);
    let more = twice.checked_sub(once).context("twice the records took fewer instructions")?;
    // To one decimal place, as more would change with every build.
    Ok((more as f64 / BATCH_RECORDS as f64 * 10.0).round() / 10.0)
}

fn under_callgrind(pipeline: Pipeline, stage: Stage, batches: usize) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["--run", pipeline.name(), stage.name(), &batches.to_string()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("run valgrind; install it, such as by `apt-get install valgrind`")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stage:?} of {pipeline} failed under valgrind: {told}");
    let line = told.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = line.with_context(|| format!("callgrind told no count: {told}"))?;
    count.trim().parse().context("read callgrind's count")
}

fn run_asked(words: &[String]) -> anyhow::Result<()> {
    let [pipeline, stage, batches] = words else { bail!("--run PIPELINE STAGE BATCHES") };
    let pipeline = Pipeline::from_str(pipeline, false).map_err(anyhow::Error::msg)?;
    run_stage(pipeline, Stage::from_str(stage, false).map_err(anyhow::Error::msg)?, batches.parse()?)?;
    // What was prepared and not used is not freed, or the two runs would differ by that.
    process::exit(0)
}

/// Prepares two batches, whatever is done with them, and does it with so many.
fn run_stage(pipeline: Pipeline, stage: Stage, batches: usize) -> anyhow::Result<()> {
    let lake = env::temp_dir().join("alluvium-counts");
    let lake = lake.to_str().context("the temporary folder's name is text")?;
    let place =
        Place { broker: "localhost:9092", topic: "counts", lake, short_waits: false, roll_age: None, model: None };
    let stages = Stages::of(&settings(&pipeline.file(&place)?)?, pipeline.source());
    let records = stages.records(2 * BATCH_RECORDS);
    let scored = stages.scored(2 * BATCH_RECORDS, BATCH_RECORDS);
    match stage {
        Stage::Decode => records.chunks(BATCH_RECORDS).take(batches).for_each(|batch| {
            black_box(stages.decode(black_box(batch)));
        }),
        Stage::Features => scored.iter().take(batches).for_each(|batch| {
            stages
                .scorer
                .features(black_box(&batch.decoded.rows.columns))
                .for_each(|floats| drop(black_box(done(floats))));
        }),
        Stage::Score => scored.iter().take(batches).for_each(|batch| {
            black_box(done(stages.scorer.score(black_box(&batch.decoded.rows.columns))));
        }),
        Stage::Encode => encode(&stages, scored, batches),
    }
    Ok(())
}

/// Into one segment.
fn encode(stages: &Stages, scored: Vec<Scored>, batches: usize) {
    let mut segment = stages.segment();
    let mut scored = scored.into_iter();
    for batch in scored.by_ref().take(batches) {
        assert!(done(segment.append(batch)).is_none(), "all in one hour");
    }
    black_box(done(segment.finish()));
    std::mem::forget(scored);
}
