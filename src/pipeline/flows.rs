//! Which topics are read, and the dataset of each.
//!
//! Owns: patterns, and what a topic's dataset is called. Does not own: which topics and datasets there are; the broker and
//! the lake tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use crate::{
    broker::{Broker, BrokerError},
    lake::{LakeError, Store, names::is_dataset},
};

/// Where the topic's name stands in a dataset's.
const TOPIC: &str = "{topic}";
/// What begins so is the broker's own; nobody means it by a `*`.
const INTERNAL: &str = "__";

/// A topic, and the dataset that its records land in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub topic: Arc<str>,
    pub dataset: Arc<str>,
}

/// What a pipeline file says of topics and datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flows {
    One(Flow),
    /// Each topic lands in a dataset of its own.
    Many {
        topics: Vec<TopicPattern>,
        datasets: Naming,
    },
}

/// A topic's name, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern(String);

/// How a dataset is named after its topic: what stands before the topic's name, and what behind it. So no two topics
/// have the same dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    before: String,
    after: String,
}

/// What a broker has of what is wanted.
#[derive(Debug, Default)]
pub struct Found {
    pub flows: BTreeMap<Flow, Vec<i32>>,
    /// Topics that fit, and whose names can't be a dataset's.
    pub misnamed: BTreeSet<String>,
}

impl Flows {
    /// Whether the file may mean more than one.
    #[must_use]
    pub fn are_many(&self) -> bool {
        matches!(self, Self::Many { .. })
    }

    /// Those whose topics are named in full.
    #[must_use]
    pub fn named(&self) -> Vec<Flow> {
        match self {
            Self::One(flow) => vec![flow.clone()],
            Self::Many { topics, datasets } => {
                topics.iter().filter_map(TopicPattern::name).map(|topic| datasets.flow(topic)).collect()
            }
        }
    }

    /// The topic with its dataset, if it is wanted.
    #[must_use]
    pub fn of_topic(&self, topic: &str) -> Option<Flow> {
        match self {
            Self::One(flow) => (*flow.topic == *topic).then(|| flow.clone()),
            Self::Many { topics, datasets } => {
                topics.iter().any(|wanted| wanted.matches(topic)).then(|| datasets.flow(topic))
            }
        }
    }

    /// The dataset with its topic, if there is a topic that would be wanted.
    #[must_use]
    pub fn of_dataset(&self, dataset: &str) -> Option<Flow> {
        match self {
            Self::One(flow) => (*flow.dataset == *dataset).then(|| flow.clone()),
            Self::Many { datasets, .. } => datasets.topic(dataset).and_then(|topic| self.of_topic(topic)),
        }
    }

    /// With another naming, for the same topics.
    #[must_use]
    pub fn into_datasets(flows: &[Flow], datasets: Naming) -> Self {
        let topics = flows.iter().map(|flow| TopicPattern::new(&flow.topic)).collect();
        Self::Many { topics, datasets }
    }

    /// What the broker has of them. A topic that is named in full must be there.
    pub async fn at(&self, broker: &Broker) -> Result<Found, BrokerError> {
        let topics = match self {
            Self::One(flow) => [(flow.topic.to_string(), broker.partitions(&flow.topic).await?)].into(),
            Self::Many { .. } => self.topics_at(broker).await?,
        };
        Ok(self.found_in(topics))
    }

    /// The same once the run goes on: a topic that is gone is its lanes' affair.
    pub async fn look(&self, broker: &Broker) -> Result<Found, BrokerError> {
        match self {
            Self::One(_) => self.at(broker).await,
            Self::Many { .. } => Ok(self.found_in(broker.topics().await?)),
        }
    }

    async fn topics_at(&self, broker: &Broker) -> Result<BTreeMap<String, Vec<i32>>, BrokerError> {
        let mut topics = broker.topics().await?;
        for Flow { topic, .. } in self.named() {
            if topics.get(&*topic).is_none_or(Vec::is_empty) {
                // Waits for one that is being made, and tells of names that are alike.
                topics.insert(topic.to_string(), broker.partitions(&topic).await?);
            }
        }
        Ok(topics)
    }

    /// Those of `topics` that are wanted.
    #[must_use]
    pub fn found_in(&self, topics: BTreeMap<String, Vec<i32>>) -> Found {
        let mut found = Found::default();
        for (topic, partitions) in topics {
            match self.of_topic(&topic) {
                Some(flow) if is_dataset(&flow.dataset) => {
                    found.flows.insert(flow, partitions);
                }
                Some(_) => {
                    found.misnamed.insert(topic);
                }
                None => {}
            }
        }
        found
    }

    /// Those that are named in full, and what the lake has of the others.
    pub async fn in_lake(&self, store: &Store) -> Result<Vec<Flow>, LakeError> {
        let mut flows: BTreeSet<Flow> = self.named().into_iter().collect();
        if self.are_many() {
            for dataset in store.datasets().await? {
                let Some(flow) = self.of_dataset(&dataset).filter(|flow| !flows.contains(flow)) else { continue };
                // Not so where records were scored again: such a dataset's name may look like a topic's.
                if store.topic_of(&dataset).await?.as_deref() == Some(&*flow.topic) {
                    flows.insert(flow);
                }
            }
        }
        Ok(flows.into_iter().collect())
    }
}

impl TopicPattern {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The only topic that it means, if there is nothing in it to be filled in.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&self.0)
    }

    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with(INTERNAL) && !self.0.starts_with(INTERNAL) {
            return false;
        }
        let mut pieces = self.0.split('*');
        let Some(mut rest) = topic.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.split_once(piece) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Naming {
    /// From a name with `{topic}` in it, once.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(TOPIC)?;
        let once = !after.contains(TOPIC);
        once.then(|| Self { before: before.into(), after: after.into() })
    }

    #[must_use]
    pub fn dataset(&self, topic: &str) -> String {
        format!("{}{topic}{}", self.before, self.after)
    }

    /// The same, with more behind it.
    #[must_use]
    pub fn followed_by(&self, more: &str) -> Self {
        Self { before: self.before.clone(), after: format!("{}{more}", self.after) }
    }

    fn topic<'a>(&self, dataset: &'a str) -> Option<&'a str> {
        let topic = dataset.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!topic.is_empty()).then_some(topic)
    }

    fn flow(&self, topic: &str) -> Flow {
        Flow { topic: topic.into(), dataset: self.dataset(topic).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(topics: &[&str], datasets: &str) -> Flows {
        let topics = topics.iter().map(|topic| TopicPattern::new(topic)).collect();
        Flows::Many { topics, datasets: Naming::new(datasets).unwrap() }
    }

    fn datasets(found: &Found) -> Vec<&str> {
        found.flows.keys().map(|flow| &*flow.dataset).collect()
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_dot_for_itself() {
        let fits = |pattern: &str, topic: &str| TopicPattern::new(pattern).matches(topic);
        for (pattern, topic) in
            [("a", "a"), ("*", "a"), ("a.*", "a.b.c"), ("*.b", "a.b"), ("a*c*e", "abcde"), ("a**", "a")]
        {
            assert!(fits(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in
            [("a", "ab"), ("a.*", "ab"), ("a*a", "a"), ("*b", "abc"), ("a*c*e", "ae"), ("*", "__offsets")]
        {
            assert!(!fits(pattern, topic), "{pattern} {topic}");
        }
        assert!(fits("__*", "__offsets"));
    }

    #[test]
    fn each_topic_has_a_dataset_of_its_own_and_the_way_back() {
        let flows = many(&["iris", "payments.*"], "raw-{topic}.x");
        let flow = flows.of_topic("payments.eu").unwrap();
        assert_eq!(&*flow.dataset, "raw-payments.eu.x");
        assert_eq!(flows.of_dataset(&flow.dataset), Some(flow));
        assert_eq!(flows.of_dataset("raw-other.x"), None);
        assert_eq!(flows.of_dataset("payments.eu"), None);
        assert_eq!(flows.named().len(), 1);
    }

    #[test]
    fn a_topic_whose_name_can_not_be_a_dataset_s_is_left_out_and_told() {
        let topics = ["_odd", "sound", "other"].map(|topic| (topic.to_owned(), vec![0]));
        let found = many(&["*d*"], TOPIC).found_in(topics.into());
        assert_eq!(datasets(&found), ["sound"]);
        assert_eq!(found.misnamed, ["_odd".to_owned()].into());
    }
}
