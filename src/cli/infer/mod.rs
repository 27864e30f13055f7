//! `alluvium infer`: the fields of a pipeline file, by a sample of a topic.
//!
//! Owns: which records are read, what is asked of a person. Does not own: what the records say ([`crate::infer`]), how the
//! file is written ([`file`]).

use std::{
    env,
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{Exit, Usage, security::SecurityArgs};
use crate::{
    broker::{Broker, BrokerLimits, Partition},
    infer::{self, BySchema, Guide, Inferred},
    record::{Record, SchemaKind, name::visible},
    registry::{Registry, RegistrySettings, Secret},
    telemetry::progress::count,
};

mod file;

const LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(30),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(100),
};
/// Records of a sample.
const RECORDS_MAX: u32 = 100_000;
/// Bytes of values that a sample holds; what is fetched beyond them is let go.
const SAMPLE_BYTES_MAX: usize = 64 << 20;
const PARTITIONS_ASKED_MAX: usize = 8;
/// Schemas that a sample may name; those of the highest ids beyond are not asked for.
const SCHEMAS_MAX: usize = 100;

/// Write the fields of a pipeline file by looking at a topic
///
/// Reads the newest records of every partition, and tells for each member what type holds it, whether it may be absent,
/// and in how many records it is. What no field can hold is left out, with a comment that says why. A sample proves
/// nothing about the next record: read what comes out, and change it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  alluvium infer --brokers localhost:9092 --topic iris
  alluvium infer --brokers localhost:9092 --topic iris --pipeline --model models/iris > iris.toml
  alluvium infer --brokers localhost:9092 --topic readings --format csv --delimiter ';' --columns id,at,level
  alluvium infer --brokers localhost:9092 --topic orders --format avro --registry http://localhost:8081
  ALLUVIUM_PASSWORD=… alluvium infer --brokers kafka:9093 --topic iris --tls --sasl scram-sha-512 --user alice
  alluvium infer --brokers localhost:9092 --topic iris --json

Lines of JSON and Debezium's envelope are recognised. What is odd about the records goes to stderr, with the \
number of records that these fields would make rejects.")]
pub(super) struct Infer {
    /// The brokers to begin with; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    brokers: Vec<String>,
    /// The topic to look at
    #[arg(long)]
    topic: String,
    /// How many records to look at, over all partitions
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(RECORDS_MAX)))]
    records: u32,
    /// How the records are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What parts the columns of CSV: one ASCII character
    #[arg(long, value_name = "CHAR", default_value = ",")]
    delimiter: char,
    /// The names of CSV's columns, in order; numbered if not given
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// The schema registry that knows what Avro and Protobuf are written by
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    registry: Vec<String>,
    /// The user there; the password is read from `ALLUVIUM_REGISTRY_PASSWORD`
    #[arg(long, value_name = "NAME", requires = "registry")]
    registry_user: Option<String>,
    /// The message that Protobuf's records are; the schema's first if not given
    #[arg(long, value_name = "NAME")]
    message: Option<String>,
    /// Read for so many seconds at most; what has come by then is the sample
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Write a whole pipeline file
    #[arg(long, requires = "model", conflicts_with = "json")]
    pipeline: bool,
    /// The model of that file
    #[arg(long, value_name = "PATH", requires = "pipeline")]
    model: Option<String>,
    /// The lake of that file
    #[arg(long, value_name = "PATH or URL", default_value = "sink/lake", requires = "pipeline")]
    lake: String,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    security: SecurityArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Json,
    Csv,
    Avro,
    Protobuf,
    Raw,
}

/// What was read.
#[derive(Debug)]
struct Sample {
    records: Vec<Record>,
    partitions: usize,
    /// It was cut short by the clock.
    late: bool,
}

impl Infer {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let guide = self.guide()?;
        let sample = self.sample().await?;
        if sample.records.is_empty() {
            anyhow::bail!("topic {} holds no records to look at", self.topic);
        }
        let inferred = match guide {
            Some(guide) => infer::infer(&sample.records, &guide),
            None => self.by_schema(&sample).await?,
        };
        let columns = file::columns(&inferred);
        tell(&sample, &inferred);
        if columns.iter().all(|column| column.field.is_none()) {
            anyhow::bail!(
                "no field was found; if the records are no JSON objects, say how they are written with --format"
            );
        }
        let fields = columns.iter().filter_map(|column| column.field.clone()).collect();
        for (reason, records) in inferred.rejects(fields, &sample.records)? {
            eprintln!(
                "note: {} of the {} records would be rejects: {reason}",
                count(records),
                count(sample.records.len() as u64)
            );
        }
        let written = self.written(&sample, &inferred, &columns)?;
        // A file gets each name as it is, to the last character.
        let for_people = !self.json && io::stdout().is_terminal();
        print!("{}", if for_people { visible(&written) } else { written.as_str().into() });
        Ok(Exit::Done)
    }

    fn guide(&self) -> Result<Option<Guide>, Usage> {
        let delimiter =
            u8::try_from(self.delimiter).ok().filter(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric());
        match self.format {
            Format::Json => Ok(Some(Guide::Json)),
            Format::Raw => Ok(Some(Guide::Raw)),
            Format::Avro | Format::Protobuf if self.registry.is_empty() => {
                Err(Usage("--format avro and protobuf need --registry".into()))
            }
            Format::Avro | Format::Protobuf => Ok(None),
            Format::Csv => {
                let refused = || Usage(format!("--delimiter takes one ASCII character, not {:?}", self.delimiter));
                let delimiter = delimiter.filter(|byte| !b"\"\r\n ".contains(byte)).ok_or_else(refused)?;
                Ok(Some(Guide::Csv { delimiter, columns: self.columns.clone() }))
            }
        }
    }

    /// The schemas that the sample names, asked of the registry.
    async fn by_schema(&self, sample: &Sample) -> anyhow::Result<Inferred> {
        let kind = if self.format == Format::Avro { SchemaKind::Avro } else { SchemaKind::Protobuf };
        let registry = Registry::open(&RegistrySettings {
            urls: self.registry.clone(),
            user: self.registry_user.clone(),
            password: env::var("ALLUVIUM_REGISTRY_PASSWORD").ok().map(Secret::new),
            ca: None,
            timeout: LIMITS.connect_timeout,
            schemas_max: SCHEMAS_MAX,
        })?;
        let mut writers = vec![];
        for id in infer::schemas_named(&sample.records).into_iter().take(SCHEMAS_MAX) {
            let schema = registry.schema(id).await?.filter(|schema| schema.kind == kind);
            writers.extend(schema.map(|schema| (id, (*schema).clone())));
        }
        let guide = BySchema { writers, message: self.message.clone() };
        infer::infer_by_schema(&sample.records, &guide).map_err(|why| anyhow::anyhow!("{why}"))
    }

    fn written(&self, sample: &Sample, inferred: &Inferred, columns: &[file::Column]) -> anyhow::Result<String> {
        if self.json {
            return file::json(inferred, columns).context("write the answer");
        }
        let heading = format!(
            "# {} of topic {}, over {}: what `alluvium infer` made of them.\n",
            plural(sample.records.len(), "record"),
            self.topic,
            plural(sample.partitions, "partition")
        );
        let fields = file::fields(inferred, columns);
        Ok(match &self.model {
            None => [heading, file::format(inferred), fields].concat(),
            Some(model) => {
                let source = file::source(&self.brokers, &self.topic) + file::security(&self.security).as_str();
                let registry = file::registry(&self.registry, self.registry_user.as_deref());
                let rest = file::rest(model, &self.lake, &self.topic);
                [heading, source, registry, file::format(inferred), fields, rest].concat()
            }
        })
    }

    /// The newest records of every partition, as many of each as there are to be in all.
    async fn sample(&self) -> anyhow::Result<Sample> {
        let deadline = Instant::now() + Duration::from_secs(self.seconds);
        let broker = Broker::secured(&self.brokers, &self.security.settings()?, LIMITS).await?;
        let numbers = broker.partitions(&self.topic).await?;
        let open = stream::iter(numbers.clone()).map(|number| extent(&broker, &self.topic, number));
        let extents: Vec<_> = open.buffered(PARTITIONS_ASKED_MAX).try_collect().await?;
        let shares =
            shares(&extents.iter().map(|(_, from, to)| to.abs_diff(*from)).collect::<Vec<_>>(), self.records.into());
        let bytes_max = SAMPLE_BYTES_MAX / numbers.len().max(1);
        let mut sample = Sample { records: vec![], partitions: numbers.len(), late: false };
        let read = extents
            .iter()
            .zip(shares)
            .map(|((partition, _, to), share)| newest(partition, *to, share, bytes_max, deadline));
        let mut read = stream::iter(read.collect::<Vec<_>>()).buffered(PARTITIONS_ASKED_MAX);
        while let Some((records, late)) = read.try_next().await? {
            sample.records.extend(records);
            sample.late |= late;
        }
        Ok(sample)
    }
}

async fn extent(broker: &Broker, topic: &str, number: i32) -> anyhow::Result<(Partition, i64, i64)> {
    let partition = broker.partition(topic, number).await?;
    let (earliest, latest) = (partition.earliest().await?, partition.latest().await?);
    Ok((partition, earliest, latest.max(earliest)))
}

/// How many offsets to take of each partition: evenly, and what one has not the others give.
fn shares(available: &[u64], wanted: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..available.len()).collect();
    order.sort_by_key(|at| available.get(*at));
    let (mut shares, mut left) = (vec![0; available.len()], wanted);
    for (served, at) in order.iter().enumerate() {
        let even = left.div_ceil((available.len() - served) as u64);
        let share = available.get(*at).copied().unwrap_or(0).min(even);
        left -= share;
        if let Some(place) = shares.get_mut(*at) {
            *place = share;
        }
    }
    shares
}

/// The records of the last `share` offsets before `to`, and whether time ran out.
async fn newest(
    partition: &Partition,
    to: i64,
    share: u64,
    bytes_max: usize,
    deadline: Instant,
) -> anyhow::Result<(Vec<Record>, bool)> {
    let (mut records, mut bytes) = (vec![], 0);
    let mut at = to.saturating_sub_unsigned(share);
    while at < to && bytes < bytes_max {
        let fetch = partition.fetch(at, LIMITS.fetch_bytes_max, LIMITS.fetch_wait_max);
        let Ok(batch) = timeout_at(deadline, fetch).await else { return Ok((records, true)) };
        let batch = batch?;
        at = batch.range.end;
        for record in batch.records.into_iter().filter(|record| record.offset < to) {
            bytes += record.value.as_ref().map_or(0, Vec::len);
            records.push(record);
        }
    }
    Ok((records, false))
}

fn tell(sample: &Sample, inferred: &Inferred) {
    if sample.late {
        eprintln!("note: time was up before all of the sample was read; --seconds gives more");
    }
    for (what, records) in &inferred.odd {
        eprintln!("note: {} {what}", plural(usize::try_from(*records).unwrap_or(usize::MAX), "record"));
    }
}

fn plural(n: usize, word: &str) -> String {
    let ending = if n == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(n as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_partition_has_not_the_others_give() {
        for (available, wanted, expected) in [
            (&[100, 100][..], 10, &[5, 5][..]),
            (&[3, 100, 0], 10, &[3, 7, 0]),
            (&[2, 1], 10, &[2, 1]),
            (&[100, 100, 100], 10, &[4, 3, 3]),
            (&[], 10, &[]),
            (&[u64::MAX], 1, &[1]),
        ] {
            assert_eq!(shares(available, wanted), expected, "{available:?}");
        }
    }
}
