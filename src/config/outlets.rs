//! `[results]`, `[rejected]` and `[postgres]`: who else is told of what is in the lake.
//!
//! Owns: the rules between these and the rest of the file. Does not own: whether the targets are there; `alluvium check`
//! asks them.

#![expect(clippy::option_option, reason = "the outer one is absent where a fault was noted")]

use std::path::PathBuf;

use super::{
    fields::Declared,
    keys::{self, Key},
    reader::Reader,
    section::Section,
    sections,
    source::is_topic,
    value::{Given, Refusal, did_you_mean_this, quoted},
};
use crate::{
    broker::BrokerLimits,
    lane::RejectLimit,
    outlet::{
        Condition, Known, OutletSettings, PostgresSettings, RejectedSettings, ResultsSettings, Secret, TableName,
        TopicName, check_url,
    },
    pipeline::Flows,
};

/// Where the topic's name stands in another topic's.
const TOPIC: &str = "{topic}";

/// The outlets; and when a lane stops for its rejects, which stands beside the topic for them.
pub(super) fn outlets(
    reader: &mut Reader<'_>,
    fields: &[Declared],
    flows: Option<&Flows>,
    limits: Option<BrokerLimits>,
) -> (Option<OutletSettings>, Option<Option<RejectLimit>>) {
    let results = results(&mut reader.section("results"), fields, flows);
    let taken = results.as_ref().and_then(|results| results.as_ref()).map(|results| results.topic.clone());
    let mut table = reader.section("rejected");
    let limit = sections::reject_limit(&mut table);
    let rejected = rejected(&mut table, flows, taken.as_ref());
    let postgres = postgres(&mut reader.section("postgres"), flows, limits);
    let settings = || Some(OutletSettings { results: results?, rejected: rejected?, postgres: postgres? });
    (settings(), limit)
}

fn results(table: &mut Section<'_, '_>, fields: &[Declared], flows: Option<&Flows>) -> Option<Option<ResultsSettings>> {
    let topic = topic(table, &keys::RESULTS_TOPIC, flows);
    let format = table.choice(&keys::RESULTS_FORMAT, &keys::RESULT_FORMATS);
    let condition = condition(table, fields);
    let alone = [&keys::RESULTS_FORMAT, &keys::WHERE].into_iter().find(|key| table.has(key));
    match (topic?, alone) {
        (None, Some(key)) => table.refuse(key, without("topic", "[results]")),
        (None, None) => Some(None),
        (Some(topic), _) => Some(Some(ResultsSettings { topic, format: format?, condition: condition? })),
    }
}

fn rejected(
    table: &mut Section<'_, '_>,
    flows: Option<&Flows>,
    taken: Option<&TopicName>,
) -> Option<Option<RejectedSettings>> {
    let topic = topic(table, &keys::REJECTED_TOPIC, flows)?;
    if topic.is_some() && topic.as_ref() == taken {
        return table.refuse(&keys::REJECTED_TOPIC, Refusal::because("results and rejects need topics of their own"));
    }
    Some(topic.map(|topic| RejectedSettings { topic }))
}

/// A topic that is written to; never one that is read.
fn topic(table: &mut Section<'_, '_>, key: &Key, flows: Option<&Flows>) -> Option<Option<TopicName>> {
    let topic = table.read_or(key, None, |given| {
        let text = given.as_text()?;
        let fits = text.matches(TOPIC).count() <= 1 && is_topic(&text.replace(TOPIC, "a"));
        if fits { Ok(Some(TopicName::new(text))) } else { Err(Refusal::default()) }
    })?;
    let Some(name) = topic else { return Some(None) };
    match flows.and_then(|flows| read_too(flows, &name)) {
        None => Some(Some(name)),
        Some(read) => {
            let told = format!("topic {} is read by this pipeline, and would be read again for ever", quoted(&read));
            let hint =
                if name.follows() { "choose a name that `topics` does not fit" } else { "such as \"{topic}.results\"" };
            table.refuse(key, Refusal::because(told).hint(hint))
        }
    }
}

/// A name that the topic would have, and that is read.
fn read_too(flows: &Flows, name: &TopicName) -> Option<String> {
    let sources = match flows {
        Flows::One(flow) => vec![flow.topic.to_string()],
        Flows::Many { topics, .. } => topics.iter().map(|topic| topic.to_string().replace('*', "a")).collect(),
    };
    sources.iter().map(|source| name.of(source)).find(|topic| flows.of_topic(topic).is_some())
}

fn condition(table: &mut Section<'_, '_>, fields: &[Declared]) -> Option<Option<Condition>> {
    if !table.has(&keys::WHERE) {
        return Some(None);
    }
    let text = table.read(&keys::WHERE, |given| Ok(given.as_text()?.to_owned()))?;
    // One that could not be read has its own fault already.
    let fields: Vec<_> = fields.iter().map(|declared| declared.field.clone()).collect::<Option<_>>()?;
    match Condition::parse(&text, Known { fields: &fields }) {
        Ok(condition) => Some(Some(condition)),
        Err(misread) => {
            let refusal = Refusal::because(format!("where: {}", misread.reason));
            let hint = misread.meant.and_then(|meant| did_you_mean_this(&meant).hint);
            table.note_inside(&keys::WHERE, misread.at, Refusal { hint, ..refusal });
            None
        }
    }
}

fn postgres(
    table: &mut Section<'_, '_>,
    flows: Option<&Flows>,
    limits: Option<BrokerLimits>,
) -> Option<Option<PostgresSettings>> {
    let url = table.read_or(&keys::POSTGRES_URL, None, |given| url(given).map(Some));
    let name = table.read(&keys::TABLE, |given| TableName::new(given.as_text()?).ok_or_else(Refusal::default));
    let ca = table.read_or(&keys::CA, None, |given| Ok(Some(PathBuf::from(given.as_text()?))));
    if let Some(name) = &name
        && flows.is_some_and(Flows::are_many)
        && !name.tells_datasets_apart()
    {
        let told = Refusal::because("table must hold {dataset} where there are topics");
        return table.refuse(&keys::TABLE, told.hint("their offsets are the same, so each needs a table of its own"));
    }
    let alone = [&keys::TABLE, &keys::CA].into_iter().find(|key| table.has(key));
    match (url?, alone) {
        (None, Some(key)) => table.refuse(key, without("url", "[postgres]")),
        (None, None) => Some(None),
        (Some(url), _) => {
            let BrokerLimits { connect_timeout, request_timeout: answer_timeout, .. } = limits?;
            Some(Some(PostgresSettings { url, table: name?, ca: ca?, connect_timeout, answer_timeout }))
        }
    }
}

/// Never shown: there is a password in it.
fn url(given: &Given<'_>) -> Result<Secret, Refusal> {
    let hint = "such as postgres://user:password@host:5432/database?sslmode=verify-full";
    let bad = |why: &str| Refusal::because(format!("url is no URL of a PostgreSQL server: {why}")).hint(hint);
    let text = given.as_text().map_err(|_| bad("it is no text"))?;
    check_url(text).map_err(|why| bad(&why))?;
    Ok(Secret::new(text))
}

fn without(key: &str, table: &str) -> Refusal {
    Refusal::because(format!("{table} has no {key}, without which the rest means nothing"))
}
