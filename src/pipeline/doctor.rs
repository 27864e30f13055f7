//! Why a lane has stopped, or would: each partition is looked at as its lane would open it, and nothing is changed.
//!
//! Owns: what is looked at, and which ways on are safe. Does not own: the checks themselves, which are the lane's
//! ([`crate::lane::place`]); how it is told; the one change that can be asked for ([`gap`]).

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::{Flow, Settings};
use crate::{
    broker::{Broker, BrokerError, BrokerErrorKind, Partition},
    lake::{Genesis, Head, LakeError, Ledger, Store},
    lane::{
        LaneError,
        place::{self, Extent},
    },
    offset::{LaneId, OffsetRange},
    telemetry::chain,
};

pub mod gap;

/// How long a broker that says that there is more may send nothing; a lane waits longer before it stops.
const SILENCE_LOOK: Duration = Duration::from_secs(5);
/// Between two looks at a broker that sends nothing.
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// Partitions that are looked at once.
const PATIENTS_AT_ONCE: usize = 8;

/// What there is to look with.
#[derive(Debug)]
pub struct Doctor<'a> {
    pub settings: &'a Settings,
    /// Whose partitions are looked at.
    pub flow: &'a Flow,
    pub store: &'a Store,
    /// Without it only the ledger is looked at.
    pub broker: Option<&'a Broker>,
    /// Who looks, for what is written if a gap is accepted.
    pub writer: &'a str,
}

/// One partition, and how it is.
#[derive(Debug, Serialize)]
pub struct Patient {
    pub partition: i32,
    pub state: State,
    /// The next offset that nobody owns.
    pub position: Option<i64>,
    /// What the broker keeps.
    pub earliest: Option<i64>,
    pub latest: Option<i64>,
    /// What is wrong, in the words of the lane that stops over it.
    pub trouble: Option<String>,
    #[serde(skip)]
    pub ways: Vec<Way>,
    /// Worth knowing, and no trouble.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Well,
    /// A retry may mend it, and a stream does so by itself.
    Waiting,
    /// A lane stops here until a person does something.
    Stopped,
}

/// A safe way on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Begin a new generation beside the old one.
    NewGeneration { generation: u32 },
    /// Give these offsets up, for ever.
    AcceptGap { partition: i32, range: OffsetRange, known: Known },
    /// Anything else, in words.
    Do(String),
}

/// What is known of the offsets of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// None of them can be read.
    Unreadable,
    /// None of these can be read, and perhaps none further on.
    UpToHere,
    /// The broker sends nothing of them, which is no proof that they can't be read.
    Unseen,
}

impl Doctor<'_> {
    /// Looks at every partition that the topic or the ledger's generation has. `of_topic` is what the broker tells.
    pub async fn look(&self, of_topic: Option<&[i32]>) -> Result<Vec<Patient>, LakeError> {
        let lake = &self.settings.lake;
        let mut numbers: BTreeMap<i32, bool> =
            of_topic.unwrap_or_default().iter().map(|&number| (number, true)).collect();
        for id in self.store.lanes(&self.flow.dataset).await? {
            if id.generation == lake.generation {
                numbers.entry(id.partition).or_insert(of_topic.is_none());
            }
        }
        let patients = stream::iter(numbers).map(|(number, in_topic)| self.patient(number, in_topic));
        Ok(patients.buffered(PATIENTS_AT_ONCE).collect().await)
    }

    async fn patient(&self, number: i32, in_topic: bool) -> Patient {
        let mut patient = Patient::new(number);
        if let Err(error) = self.examine(&mut patient, in_topic).await {
            self.stopped_by(&mut patient, &error).await;
        }
        patient
    }

    /// Goes the way of a lane that opens; the first thing that would stop it is the error.
    async fn examine(&self, patient: &mut Patient, in_topic: bool) -> Result<(), LaneError> {
        let ledger = self.ledger(patient.partition);
        let head = match ledger.genesis().await? {
            None => {
                patient.notes.push("nothing of it is in the lake yet; the next start begins it".into());
                None
            }
            Some(genesis) => Some(self.head(&ledger, &genesis, patient).await?),
        };
        if !in_topic {
            patient.state = State::Stopped;
            let topic = &self.flow.topic;
            patient.trouble = Some(format!("the lake has this partition, and the topic `{topic}` has it no more"));
            patient.ways = vec![Way::Do(
                "if the topic was created again with fewer partitions, go by what is told of the others; what the lake has \
                 of this one stays as it is"
                    .into(),
            )];
            return Ok(());
        }
        let Some(broker) = self.broker else { return Ok(()) };
        let partition = broker.partition(&self.flow.topic, patient.partition).await?;
        // Asked first, so that what comes in meanwhile is not taken for something that is held back.
        let written = partition.written().await?;
        let extent = Extent::of(&partition).await?;
        if written > extent.latest {
            let waiting = OffsetRange { start: extent.latest, end: written };
            patient.notes.push(format!(
                "an open transaction holds back {waiting}: they can be read when it ends, at the latest after its producer's \
                 transaction.timeout.ms; if it does not end, find it with `kafka-transactions.sh find-hanging`"
            ));
        }
        (patient.earliest, patient.latest) = (Some(extent.earliest), Some(extent.latest));
        let position = match head {
            Some(head) => {
                place::same_topic_still(self.settings.lake.generation, &partition, &head, extent).await?;
                head.position
            }
            None => partition.start_offset(self.settings.source.start).await?,
        };
        if position < extent.earliest {
            let gone = OffsetRange { start: position, end: extent.earliest };
            patient
                .notes
                .push(format!("the broker no longer has {gone} (retention); the next start claims them as a gap"));
        }
        self.read(&partition, position.max(extent.earliest), extent.latest).await
    }

    async fn head(&self, ledger: &Ledger, genesis: &Genesis, patient: &mut Patient) -> Result<Head, LaneError> {
        place::same_name(genesis, &self.flow.topic)?;
        let head = ledger.look(genesis).await?;
        patient.position = Some(head.position);
        if let Some(newest) = &head.newest {
            let unpublished = ledger.unpublished(newest).await?;
            if unpublished > 0 {
                patient.notes.push(format!(
                    "{unpublished} files of its newest claim are in staging; the next start publishes them, and so does \
                     `alluvium audit --repair`"
                ));
            }
        }
        let revisions = ledger.revisions_on_their_way().await?;
        if revisions > 0 {
            patient.notes.push(format!(
                "a replay has left the rejects of {revisions} segments half done, or is under way; `alluvium replay` finishes \
                 it, and so does `alluvium audit --repair`"
            ));
        }
        let stale = ledger.stale_staging(head.newest.as_ref()).await?;
        if stale > 0 {
            patient.notes.push(format!(
                "{stale} objects in staging are stale; the next start sweeps them, and so does `alluvium audit --repair`"
            ));
        }
        Ok(head)
    }

    /// Reads what the lane would read next.
    async fn read(&self, partition: &Partition, at: i64, latest: i64) -> Result<(), LaneError> {
        if at >= latest {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let batch = partition.fetch(at, self.settings.broker.fetch_bytes_max, LOOKED_EVERY).await?;
            if !batch.range.is_empty() {
                return Ok(());
            }
            if began.elapsed() > SILENCE_LOOK {
                return Err(LaneError::Silent { position: at, end: batch.high_watermark });
            }
            tokio::time::sleep(LOOKED_EVERY).await;
        }
    }

    async fn stopped_by(&self, patient: &mut Patient, error: &LaneError) {
        patient.state = if error.is_transient() { State::Waiting } else { State::Stopped };
        patient.trouble = Some(chain(error));
        patient.ways = match error {
            LaneError::Broker(error) if error.unreadable() => self.around(patient, error).await,
            error => ways(error, patient.partition, self.settings.lake.generation),
        };
    }

    /// The ways on where a record can't be read, with its offsets as far as they can be found out.
    async fn around(&self, patient: &Patient, error: &BrokerError) -> Vec<Way> {
        let number = patient.partition;
        let mut ways = vec![Way::Do(
            "if nothing of it may be lost: read it with another client, and send it again in a form that can be read; accept \
             the gap then"
                .into(),
        )];
        let here = patient.position.filter(|&position| error.place().offset == Some(position));
        if let (Some(start), Some(latest), Some(broker)) = (here, patient.latest, self.broker)
            && let Ok(partition) = broker.partition(&self.flow.topic, number).await
            && let Ok(found) = gap::first_readable(&partition, OffsetRange { start, end: latest }).await
        {
            let (end, known) = match found {
                gap::Found::At(offset) => (offset, Known::Unreadable),
                gap::Found::Nothing => (latest, Known::Unreadable),
                gap::Found::NotUpTo(offset) => (offset, Known::UpToHere),
            };
            if start < end {
                ways.push(Way::AcceptGap { partition: number, range: OffsetRange { start, end }, known });
            }
        }
        ways
    }

    fn ledger(&self, partition: i32) -> Ledger {
        let generation = self.settings.lake.generation;
        let id = LaneId { dataset: self.flow.dataset.clone(), generation, partition };
        Ledger::new(self.store.clone(), id, self.writer.into())
    }
}

/// The ways on that the error alone tells.
fn ways(error: &LaneError, partition: i32, generation: u32) -> Vec<Way> {
    let next = Way::NewGeneration { generation: generation.saturating_add(1) };
    let wait = || vec![Way::Do("wait: a stream tries again by itself, and nothing is lost meanwhile".into())];
    let mend = |what: &str| vec![Way::Do(what.into())];
    match error {
        LaneError::Lake(LakeError::Refused { .. }) => {
            mend("do what the line above says; a lane tries again for `retry_for`, and stops then")
        }
        _ if error.is_transient() => wait(),
        LaneError::Recreated { .. } => vec![
            next,
            Way::Do(
                "if the topic will be brought back as it was, such as from a replica that is late: wait, and start the \
                 stream again then"
                    .into(),
            ),
        ],
        LaneError::OtherTopic { begun_from, .. } => vec![
            Way::Do(format!("if the file names the wrong topic: write `topic = \"{begun_from}\"` under [source]")),
            Way::Do("if another topic is meant: give it a `dataset` of its own under [lake]".into()),
        ],
        LaneError::Silent { position, end } => vec![
            Way::Do("look at the partition with another reader: if there are records, mend the broker".into()),
            Way::AcceptGap { partition, range: OffsetRange { start: *position, end: *end }, known: Known::Unseen },
        ],
        LaneError::Lake(LakeError::Corrupt { reason, .. }) if reason.contains("use a newer release") => {
            mend("run the release that wrote it, or a newer one")
        }
        LaneError::Lake(LakeError::Corrupt { .. }) => vec![
            Way::Do("bring the object back as it was, from a copy or an older version of it in the bucket".into()),
            Way::Do(format!(
                "if there is none: `generation = {}` under [lake]; what the topic holds is read again, and stands in the lake a \
                 second time, told from the first by `_generation`",
                generation.saturating_add(1)
            )),
        ],
        LaneError::Broker(error) if error.kind() == BrokerErrorKind::Person => {
            mend("mend what the line above names, at the broker; the lake needs nothing")
        }
        _ => mend("mend what the line above names; the lake is as it was"),
    }
}

impl Patient {
    fn new(partition: i32) -> Self {
        Self {
            partition,
            state: State::Well,
            position: None,
            earliest: None,
            latest: None,
            trouble: None,
            ways: vec![],
            notes: vec![],
        }
    }

    /// Records that the broker has and the lake has not, where both are known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let (position, latest) = self.position.zip(self.latest)?;
        u64::try_from(latest - position).ok()
    }
}
