//! `[source]`: the brokers, which topics are read, and who reads which partitions.
//!
//! Owns: the form of topics' and groups' names, and the rules between these keys. Does not own: datasets
//! ([`super::sections`]).

use super::{
    keys::{self, Key},
    reader::Reader,
    section::Section,
    security::security,
    value::{self, Given, Refusal, quoted},
};
use crate::{
    broker::{GroupSettings, SourceSettings, Start},
    pipeline::{Sharing, TopicPattern},
};

/// Of a topic's name and of a group's.
const TOPIC_CHARS_MAX: usize = 249;
/// Shares that partitions can be cut into.
const WORKERS_MAX: u32 = 10_000;
/// A session holds so many heartbeats at least, so that one that is lost does no harm.
const HEARTBEATS_MIN: u32 = 3;

/// What is to be read; whoever finds nothing in it may be sure that a fault has been noted.
pub(super) enum Topics {
    One(Option<String>),
    Many(Option<Vec<TopicPattern>>),
    /// Both are there.
    Faulty,
}

pub(super) fn source(reader: &mut Reader<'_>) -> (Option<SourceSettings>, Topics, Option<Sharing>) {
    let security = security(reader);
    let table = &mut reader.section("source");
    let brokers = table.list(&keys::BROKERS, ',', host_and_port);
    let topics = topics(table);
    let start = table.read(&keys::START, start);
    let sharing = sharing(table);
    let settings = || Some(SourceSettings { brokers: brokers?, security: security?, start: start? });
    (settings(), topics, sharing)
}

fn host_and_port(given: &Given<'_>) -> Result<String, Refusal> {
    let text = given.as_text()?.trim();
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(if is_host(text) { value::did_you_mean_this(&format!("{text}:9092")) } else { Refusal::default() });
    };
    let port_is_one = port.parse::<u16>().is_ok_and(|port| port > 0);
    if port_is_one && is_host(host) { Ok(text.to_owned()) } else { Err(Refusal::default()) }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (host, more) = bare.map_or((host, "-._"), |host| (host, ":.%"));
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn topics(table: &mut Section<'_, '_>) -> Topics {
    if !table.has(&keys::TOPICS) {
        return Topics::One(table.read(&keys::TOPIC, topic));
    }
    let topics = table.list(&keys::TOPICS, ',', pattern);
    if table.has(&keys::TOPIC) {
        table.note(&keys::TOPICS, Refusal::because("topic and topics exclude each other").hint("keep one of them"));
        return Topics::Faulty;
    }
    Topics::Many(topics.and_then(|topics| without_twins(table, topics)))
}

fn topic(given: &Given<'_>) -> Result<String, Refusal> {
    let topic = given.as_text()?;
    if is_topic(topic) { Ok(topic.to_owned()) } else { Err(Refusal::default()) }
}

fn pattern(given: &Given<'_>) -> Result<TopicPattern, Refusal> {
    let text = given.as_text()?.trim();
    let fits = text.contains('*') || is_topic(text);
    if fits && is_name(&text.replace('*', "a")) { Ok(TopicPattern::new(text)) } else { Err(Refusal::default()) }
}

fn without_twins(table: &mut Section<'_, '_>, topics: Vec<TopicPattern>) -> Option<Vec<TopicPattern>> {
    let twin = topics.iter().enumerate().find(|(at, topic)| topics.iter().take(*at).any(|before| before == *topic));
    match twin {
        None => Some(topics),
        Some((_, twin)) => {
            let told = format!("topics has {} twice", quoted(&twin.to_string()));
            table.refuse(&keys::TOPICS, Refusal::because(told))
        }
    }
}

pub(super) fn is_topic(name: &str) -> bool {
    is_name(name) && !matches!(name, "." | "..")
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= TOPIC_CHARS_MAX && name.chars().all(plain)
}

fn start(given: &Given<'_>) -> Result<Start, Refusal> {
    match value::time(given) {
        Ok(ms) => Ok(Start::Timestamp(ms)),
        Err(_) => value::choice(&keys::STARTS, given),
    }
}

fn sharing(table: &mut Section<'_, '_>) -> Option<Sharing> {
    let group = group(table);
    let worker = table.read_or(&keys::WORKER, Sharing::All, worker);
    match (table.has(&keys::GROUP), table.has(&keys::WORKER)) {
        (true, true) => {
            let told = Refusal::because("worker and group exclude each other").hint("the group hands the shares out");
            table.refuse(&keys::WORKER, told)
        }
        (true, false) => group.map(Sharing::Group),
        (false, _) => {
            let alone = note_groupless(table);
            worker.filter(|_| alone)
        }
    }
}

fn group(table: &mut Section<'_, '_>) -> Option<GroupSettings> {
    let name = table.read_or(&keys::GROUP, String::new(), group_name);
    let instance = table.read_or(&keys::GROUP_INSTANCE, None, |given| topic(given).map(Some));
    let protocol = table.choice(&keys::GROUP_PROTOCOL, &keys::GROUP_PROTOCOLS);
    let session_timeout = table.duration(&keys::SESSION_TIMEOUT);
    let heartbeat_every = table.duration(&keys::HEARTBEAT);
    let handover_max = table.duration(&keys::HANDOVER);
    let (session_timeout, heartbeat_every) = (session_timeout?, heartbeat_every?);
    if heartbeat_every * HEARTBEATS_MIN > session_timeout {
        table.note(&keys::HEARTBEAT, Refusal::because("heartbeat must be a third of session_timeout at most"));
        return None;
    }
    Some(GroupSettings {
        name: name?,
        instance: instance?,
        protocol: protocol?,
        session_timeout,
        heartbeat_every,
        handover_max: handover_max?,
    })
}

/// Groups may have any name; what can't be shown on a line is a mistake.
fn group_name(given: &Given<'_>) -> Result<String, Refusal> {
    let name = given.as_text()?;
    let fits = name.chars().count() <= TOPIC_CHARS_MAX && !name.chars().any(char::is_control) && name.trim() == name;
    if fits { Ok(name.to_owned()) } else { Err(Refusal::default()) }
}

/// What is for groups alone, where there is none. Whether there was nothing to note.
fn note_groupless(table: &mut Section<'_, '_>) -> bool {
    let for_groups: [&Key; 5] =
        [&keys::GROUP_INSTANCE, &keys::GROUP_PROTOCOL, &keys::SESSION_TIMEOUT, &keys::HEARTBEAT, &keys::HANDOVER];
    let mut alone = true;
    for key in for_groups.into_iter().filter(|key| table.has(key)).collect::<Vec<_>>() {
        let told = format!("{} is for the members of a group", key.name);
        table.note(key, Refusal::because(told).hint("name it with group, or leave this out"));
        alone = false;
    }
    alone
}

/// `2/5`
fn worker(given: &Given<'_>) -> Result<Sharing, Refusal> {
    let numbers = given.as_text()?.split_once('/');
    let (index, of) = numbers.ok_or_else(Refusal::default)?;
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| Refusal::default());
    let (index, of) = (number(index)?, number(of)?);
    if (1..=of).contains(&index) && of <= WORKERS_MAX {
        Ok(Sharing::Worker { index, of })
    } else {
        Err(Refusal::default())
    }
}
