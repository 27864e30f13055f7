//! What each table of the file means: from its keys to the settings of the stages.
//!
//! Owns: the form of names and addresses, and the rules between keys. Does not own: positions, defaults and ranges;
//! `[source]` ([`super::source`]).

use std::{thread, time::Duration};

use super::{
    fields, format, http, keys, outlets,
    reader::Reader,
    registry::registry,
    section::Section,
    source::{Topics, source},
    value::{self, Given, Refusal, quoted},
};
use crate::{
    broker::BrokerLimits,
    decode::DecodeSettings,
    lake::{LakeSettings, Roll, names},
    lane::{Limits, Percentage, RejectLimit},
    model::ModelSettings,
    pipeline::{Flow, Flows, Naming, Settings},
};

/// Of a path or a URL: an object's key may have 1,024 bytes, and those of a lake go on behind it.
const PLACE_BYTES_MAX: usize = 800;

/// The settings, unless a fault was noted. Every table is read before the first `?`, so that no fault hides another.
pub(super) fn settings(reader: &mut Reader<'_>) -> Option<Settings> {
    let (source, topics, sharing) = source(reader);
    let fields = fields::declared(reader);
    let registry = registry(&mut reader.section("registry"));
    let has_registry = !matches!(registry, Ok(None));
    let event_time = fields::event_time(&mut reader.section("event_time"), &fields);
    let (model, model_refresh) = model(&mut reader.section("model"));
    let limits = limits(&mut reader.section("limits"));
    let format = format::format(&mut reader.section("format"), &fields, limits.segment_hours_max, has_registry);
    let (lake, flows) = lake(&mut reader.section("lake"), limits.segment_hours_max, &topics);
    let http = http::http(&mut reader.section("http"));
    let (outlets, rejects) = outlets::outlets(reader, &fields, flows.as_ref(), limits.broker);

    let (event_time, window) = event_time?;
    let fields = fields.into_iter().map(|declared| declared.field).collect::<Option<_>>()?;
    Some(Settings {
        source: source?,
        flows: flows?,
        sharing: sharing?,
        broker: limits.broker?,
        decode: DecodeSettings {
            format: format?,
            fields,
            event_time,
            window,
            record_bytes_max: limits.record_bytes_max?,
        },
        registry: registry.ok()?,
        model: model?,
        model_refresh: model_refresh?,
        lake: lake?,
        limits: limits.lanes?,
        rejects: rejects?,
        outlets: outlets?,
        http: http?,
    })
}

fn model(table: &mut Section<'_, '_>) -> (Option<ModelSettings>, Option<Duration>) {
    let url = table.read(&keys::MODEL_PATH, place);
    let version = table.read(&keys::VERSION, |given| match given.as_text() {
        Ok("champion") => Ok(None),
        _ => value::version(given).map(Some),
    });
    let backend = table.choice(&keys::BACKEND, &keys::BACKENDS);
    let refresh = table.duration(&keys::REFRESH);
    let settings = || Some(ModelSettings { url: url?, version: version?, backend: backend? });
    (settings(), refresh)
}

fn lake(
    table: &mut Section<'_, '_>,
    segment_hours_max: Option<usize>,
    topics: &Topics,
) -> (Option<LakeSettings>, Option<Flows>) {
    let url = table.read(&keys::URL, place);
    let flows = flows(table, topics);
    let generation = table.number(&keys::GENERATION);
    let partition_by = table.choice(&keys::PARTITION_BY, &keys::PARTITIONINGS);
    let compression = table.choice(&keys::COMPRESSION, &keys::COMPRESSIONS);
    let roll = roll(table);
    let settings = || {
        Some(LakeSettings {
            url: url?,
            generation: generation?,
            partition_by: partition_by?,
            compression: compression?,
            roll: roll?,
            segment_hours_max: segment_hours_max?,
        })
    };
    (settings(), flows)
}

/// Each topic with its dataset.
fn flows(table: &mut Section<'_, '_>, topics: &Topics) -> Option<Flows> {
    match topics {
        Topics::Faulty => {
            table
                .read_or(&keys::DATASET, (), |given| naming(given).map(|_| ()).or_else(|_| dataset(given).map(|_| ())));
            None
        }
        Topics::One(topic) => {
            let dataset = table.read(&keys::DATASET, dataset)?;
            let topic = topic.as_deref()?;
            Some(Flows::One(Flow { topic: topic.into(), dataset: dataset.into() }))
        }
        Topics::Many(topics) => {
            let datasets = table.read_or(&keys::DATASET, Naming::default(), naming)?;
            let flows = Flows::Many { topics: topics.clone()?, datasets };
            let misnamed = flows.named().into_iter().find(|flow| !names::is_dataset(&flow.dataset));
            match misnamed {
                None => Some(flows),
                Some(Flow { topic, dataset }) => {
                    let told = format!("topic {} can't land in {}", quoted(&topic), quoted(&dataset));
                    table.refuse(
                        &keys::DATASET,
                        Refusal::because(told).hint(format!("dataset takes {}", keys::DATASET.takes)),
                    )
                }
            }
        }
    }
}

fn roll(table: &mut Section<'_, '_>) -> Option<Roll> {
    let rows_max = table.number(&keys::ROLL_ROWS);
    let bytes_max = table.number(&keys::ROLL_BYTES);
    let age_max = table.duration(&keys::ROLL_AGE);
    Some(Roll { rows_max: rows_max?, bytes_max: bytes_max?, age_max: age_max? })
}

/// When a lane stops for its rejects; not by default.
#[expect(clippy::option_option, reason = "the outer one is absent where a fault was noted")]
pub(super) fn reject_limit(table: &mut Section<'_, '_>) -> Option<Option<RejectLimit>> {
    let above = table.read_or(&keys::STOP_ABOVE, None, |given| value::percentage(given).map(Percentage).map(Some));
    let window = table.duration(&keys::STOP_WINDOW);
    let records_min = table.number(&keys::STOP_RECORDS);
    let (above, window, records_min) = (above?, window?, records_min?);
    Some(above.map(|above| RejectLimit { above, window, records_min }))
}

/// Of a lake, of a model: what `Objects` can open.
fn place(given: &Given<'_>) -> Result<String, Refusal> {
    let url = given.as_text()?;
    let known = match url.split_once("://") {
        None => true,
        Some(("file", path)) => path.starts_with('/'),
        Some(("s3", place)) => is_bucket_and_prefix(place),
        Some(_) => false,
    };
    let fits = url.len() <= PLACE_BYTES_MAX && !url.chars().any(char::is_control);
    if known && fits { Ok(url.to_owned()) } else { Err(Refusal::default()) }
}

/// The bucket goes into an address, and nothing of a prefix leads out of it.
fn is_bucket_and_prefix(place: &str) -> bool {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !bucket.is_empty() && bucket.chars().all(plain) && !prefix.split('/').any(|part| matches!(part, "." | ".."))
}

fn dataset(given: &Given<'_>) -> Result<String, Refusal> {
    let name = given.as_text()?;
    if names::is_dataset(name) { Ok(name.to_owned()) } else { Err(Refusal::default()) }
}

/// A dataset's name with the topic's in it.
fn naming(given: &Given<'_>) -> Result<Naming, Refusal> {
    let text = given.as_text()?;
    let Some(naming) = Naming::new(text) else {
        let reason = format!("dataset must hold {{topic}} once where there are topics, not {}", quoted(text));
        return Err(Refusal::because(reason).hint(format!("such as \"{text}-{{topic}}\"")));
    };
    // Whether the topics' own names fit is told for those that are named.
    if names::is_dataset(&naming.dataset("a")) { Ok(naming) } else { Err(Refusal::default()) }
}

/// `[limits]` is one table for people and several settings for the stages.
struct LimitsTable {
    broker: Option<BrokerLimits>,
    lanes: Option<Limits>,
    record_bytes_max: Option<usize>,
    segment_hours_max: Option<usize>,
}

fn limits(table: &mut Section<'_, '_>) -> LimitsTable {
    let (broker, lanes) = (broker_limits(table), lane_limits(table));
    if let (Some(broker), Some(lanes)) = (broker, lanes) {
        note_conflicts(table, broker, lanes);
    }
    let record_bytes_max = table.number(&keys::RECORD_BYTES);
    let segment_hours_max = table.number(&keys::SEGMENT_HOURS);
    LimitsTable { broker, lanes, record_bytes_max, segment_hours_max }
}

fn broker_limits(table: &mut Section<'_, '_>) -> Option<BrokerLimits> {
    let connect_timeout = table.duration(&keys::CONNECT_TIMEOUT);
    let request_timeout = table.duration(&keys::REQUEST_TIMEOUT);
    let fetch_bytes_max = table.number(&keys::FETCH_BYTES);
    let fetch_wait_max = table.duration(&keys::FETCH_WAIT);
    Some(BrokerLimits {
        connect_timeout: connect_timeout?,
        request_timeout: request_timeout?,
        fetch_bytes_max: fetch_bytes_max?,
        fetch_wait_max: fetch_wait_max?,
    })
}

fn lane_limits(table: &mut Section<'_, '_>) -> Option<Limits> {
    let memory_bytes_max = table.number(&keys::MEMORY);
    let stop_timeout = table.duration(&keys::STOP_TIMEOUT);
    let retry_for_max = table.duration(&keys::RETRY_FOR);
    let partitions_refresh = table.duration(&keys::PARTITIONS_REFRESH);
    let cpu_threads = if table.has(&keys::CPU_THREADS) { table.number(&keys::CPU_THREADS) } else { Some(cores()) };
    Some(Limits {
        memory_bytes_max: memory_bytes_max?,
        stop_timeout: stop_timeout?,
        retry_for_max: retry_for_max?,
        partitions_refresh: partitions_refresh?,
        cpu_threads: cpu_threads?,
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(keys::CPU_THREADS_MAX))
}

/// Limits that are right each by itself, and can't work together.
fn note_conflicts(table: &mut Section<'_, '_>, broker: BrokerLimits, lanes: Limits) {
    if broker.fetch_wait_max >= broker.request_timeout {
        let reason = "fetch_wait must be shorter than request_timeout, or every fetch of an idle topic fails";
        table.note(&keys::FETCH_WAIT, Refusal::because(reason));
    }
    if usize::try_from(broker.fetch_bytes_max).is_ok_and(|bytes| bytes > lanes.memory_bytes_max) {
        let reason = "fetch_bytes must not be larger than memory, or no fetch ever fits";
        table.note(&keys::FETCH_BYTES, Refusal::because(reason));
    }
}
