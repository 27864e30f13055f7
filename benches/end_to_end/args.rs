//! What is measured, and how much of it.

use std::{fmt, time::Duration};

use alluvium::broker::Compression;
use clap::{Parser, ValueEnum};

use crate::{pipeline::Pipeline, stand::StoreKind};

const EXPERIMENTS: &str = "\
What to measure, one or more of throughput, growth, partitions, freshness, start, all (of those) and sizing; see below";

const MORE: &str = "\
Experiments:
  throughput   Fills a topic. A round is the bare loop, `alluvium batch` into an empty lake, and the bare loop again: rskafka
               fetching the same topic, a task a partition, as much a fetch as the pipeline asks for, and dropping the
               records. The share is against the bare loops just before and after, so that a machine whose speed drifts
               does not spoil it. Both begin with the start of a process and end with its exit.
  growth       CPU per record of one batch run over --growth-records, over the median of runs over --growth-base, which are
               made before and after it. What a start costs would flatter the large run, so it is taken off both: it is the
               CPU of a run on the same topic and lake that finds nothing new. The topic of 100,000,000 records of iris takes
               14 GB of memory in the built-in broker, or 2 GB with --compression zstd, which both runs then unpack.
  partitions   CPU per record over 64 partitions (--many), over the same records in 4 (--partitions), in turns. What each
               start costs is in both: opening 64 partitions is a part of having them.
  freshness    `alluvium produce` sends 100,000 records/s (--rate) while `alluvium stream` lands them, rolling every 2 s. A
               reader of the lake lists the scored files every 50 ms and reads the footers of new ones: by them it knows the
               newest timestamp of each partition, and looks at how old that is, in the worst partition. Timestamps are
               when the record was made. 10 s to warm up, then 60 s (--seconds) that count.
  start        A topic whose first 100,000 records (--claims) belong to as many claims of a local lake. One record more is
               sent, and `alluvium batch` is run: its whole life, up to its exit, is the figure, so that the first fetch came
               earlier. Once as it is; once with the ledger's hints deleted, so that the claims are listed; and both on a lake
               that has the same records by one claim a partition. Always in a local folder, whatever --store says.
  sizing       Batch runs that differ from one another in one thing each: the cores that the program may use (by taskset, so
               on Linux), the partitions, the length of a record (by a text that the pipeline does not read), the hidden
               layers of the network. No topic is larger than 4 GiB. For irises only, and no part of all.

Examples:
  cargo bench --bench end_to_end
  cargo bench --bench end_to_end -- throughput --pipeline transactions --store s3 --json
  cargo bench --bench end_to_end -- growth --compression zstd
  cargo bench --bench end_to_end -- all --broker localhost:9092";

/// Measure the whole way, from a topic to the lake
///
/// What is measured is the real program, as a process of its own with a pipeline file of its own, on the same cores as the
/// broker, which is a process of its own too. Its CPU seconds are what the system booked for it, user and system together,
/// from its start to its exit; its memory is what was resident at the worst moment.
#[derive(Debug, Parser)]
#[command(name = "end_to_end", after_help = MORE)]
pub struct Args {
    #[arg(value_enum, value_name = "EXPERIMENT", default_value = "throughput", hide_possible_values = true, help = EXPERIMENTS)]
    experiments: Vec<Asked>,
    /// What is scored: iris (JSON of 106 bytes, a network of 4-16-3), transactions (12 fields, 30-64-2) or sentiment (text)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub pipeline: Pipeline,
    /// Where the lake is: in a local folder on the disk that is built on, or in an S3 server that is a process of its own
    #[arg(long, value_enum, default_value_t)]
    pub store: StoreKind,
    /// A broker that runs already, such as Apache Kafka; topics are made there under new names, and deleted at the end
    /// [default: `alluvium broker`, which keeps the records in memory]
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Option<String>,
    /// How many partitions the topic has
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// How the records are packed in the topic
    #[arg(long, value_enum, default_value_t)]
    pub compression: Compression,
    /// How many records the topic of throughput and of partitions holds [default: 10000000]
    #[arg(long, value_name = "N", env = "ALLUVIUM_BENCH_RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// How often each thing is measured; figures are medians [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: Option<u64>,
    /// The large run of growth [default: 100000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    growth_records: Option<u64>,
    /// The small runs of growth [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    growth_base: Option<u64>,
    /// What partitions holds against --partitions
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub many: i32,
    /// Records a second of freshness, over all partitions [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// How long freshness looks, after the time to warm up [default: 60]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// How many claims the ledger of start has, over all partitions [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    claims: Option<u64>,
    /// Print JSON
    #[arg(long, env = "ALLUVIUM_BENCH_JSON")]
    pub json: bool,
    /// Given by `cargo bench`; without it, as when all targets are tested, it is only shown that it works
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    Throughput,
    Growth,
    Partitions,
    Freshness,
    Start,
    Sizing,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experiment {
    Throughput,
    Growth,
    Partitions,
    Freshness,
    Start,
    Sizing,
}

impl Experiment {
    const ALL: [Self; 6] =
        [Self::Throughput, Self::Growth, Self::Partitions, Self::Freshness, Self::Start, Self::Sizing];

    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Growth => "growth",
            Self::Partitions => "partitions",
            Self::Freshness => "freshness",
            Self::Start => "start",
            Self::Sizing => "sizing",
        }
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Asked {
    fn means(self, experiment: Experiment) -> bool {
        match self {
            Self::Throughput => experiment == Experiment::Throughput,
            Self::Growth => experiment == Experiment::Growth,
            Self::Partitions => experiment == Experiment::Partitions,
            Self::Freshness => experiment == Experiment::Freshness,
            Self::Start => experiment == Experiment::Start,
            Self::Sizing => experiment == Experiment::Sizing,
            Self::All => experiment != Experiment::Sizing,
        }
    }
}

impl Args {
    /// Each once, in one order.
    pub fn experiments(&self) -> impl Iterator<Item = Experiment> {
        let asked = |experiment: &Experiment| self.experiments.iter().any(|asked| asked.means(*experiment));
        Experiment::ALL.into_iter().filter(asked)
    }

    pub fn records(&self) -> u64 {
        self.size(self.records, 10_000_000, 10_000)
    }

    pub fn rounds(&self) -> u64 {
        self.size(self.rounds, 5, 1)
    }

    pub fn growth_records(&self) -> u64 {
        self.size(self.growth_records, 100_000_000, 40_000)
    }

    pub fn growth_base(&self) -> u64 {
        self.size(self.growth_base, 1_000_000, 10_000)
    }

    pub fn claims(&self) -> u64 {
        self.size(self.claims, 100_000, 100)
    }

    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(if self.bench { 100_000 } else { 1_000 })
    }

    pub fn seconds(&self) -> Duration {
        Duration::from_secs(self.size(self.seconds, 60, 3))
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(if self.bench { 10 } else { 3 })
    }

    fn size(&self, asked: Option<u64>, measured: u64, shown: u64) -> u64 {
        asked.unwrap_or(if self.bench { measured } else { shown })
    }
}
