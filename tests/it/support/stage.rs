//! A broker, a lake of one's own, and a pipeline file between them.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use alluvium::{
    broker::{Broker, BrokerLimits, Compression, EmbeddedBroker, EmbeddedStorage},
    config,
    lake::{Store, audit},
    pipeline::{Mode, Pipeline, Settings, Summary},
    record::Record,
};
use object_store::ObjectStore;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{LIMIT, admin::Admin, kafka::Kafka, parts};

pub const TOPIC: &str = "flowers";
pub const DATASET: &str = "iris";

/// Which broker stands behind a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    Embedded,
    /// Apache Kafka, the one that all tests share.
    Kafka,
    /// The one that `ALLUVIUM_TEST_BROKERS` names.
    Named,
}

pub struct Stage {
    pub behind: Behind,
    /// `host:port` of the brokers, separated by commas.
    pub brokers: String,
    pub topic: String,
    pub broker: Broker,
    pub folder: TempDir,
    _embedded: Option<EmbeddedBroker>,
}

impl Stage {
    /// A broker of its own with a topic of `partitions` partitions, and an empty lake.
    pub async fn new(partitions: i32) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let embedded = EmbeddedBroker::start(any, EmbeddedStorage::Memory).await.unwrap();
        let brokers = embedded.address().to_string();
        let stage = Self { _embedded: Some(embedded), behind: Behind::Embedded, ..Self::at(&brokers, TOPIC).await };
        stage.broker.create_topic(TOPIC, partitions, 1).await.unwrap();
        stage
    }

    /// The same on any broker, with a topic of its own; `None` where there is no such broker, which is said.
    pub async fn on(behind: Behind, partitions: i32) -> Option<Self> {
        let brokers = match behind {
            Behind::Embedded => return Some(Self::new(partitions).await),
            Behind::Kafka => Kafka::shared().await?.brokers(),
            Behind::Named => parts::named_brokers()?,
        };
        let stage = Self { behind, ..Self::at(&brokers, &unique_topic()).await };
        stage.broker.create_topic(&stage.topic, partitions, 1).await.unwrap();
        Some(stage)
    }

    /// On a Kafka that is there already; the topic is the test's affair.
    pub async fn at(brokers: &str, topic: &str) -> Self {
        let limits = BrokerLimits {
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            fetch_bytes_max: 1 << 20,
            fetch_wait_max: Duration::from_millis(10),
        };
        let named: Vec<_> = brokers.split(',').map(str::to_owned).collect();
        Self {
            behind: Behind::Kafka,
            brokers: brokers.into(),
            topic: topic.into(),
            broker: Broker::connect(&named, limits).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            _embedded: None,
        }
    }

    /// Takes the topic from a broker that others use too.
    pub async fn leave(&self) {
        let admin = self.admin().await;
        if self.behind != Behind::Embedded && admin.knows(&self.topic).await {
            admin.delete(&self.topic).await;
        }
    }

    pub async fn admin(&self) -> Admin {
        Admin::connect(&self.brokers).await.unwrap()
    }

    /// The text of a pipeline file; `more` is appended, and may open tables of its own.
    pub fn pipeline(&self, lake: &str, more: &str) -> String {
        let brokers = &self.brokers;
        let topic = &self.topic;
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
        let measurements: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
            .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\n"))
            .concat();
        // Tests run side by side, and the default address is one.
        let page = if more.contains("[http]") { "" } else { "[http]\nlisten = \"off\"\n" };
        format!(
            "[source]\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n\n[[fields]]\nname = \"id\"\ntype = \"int64\"\n\
             {measurements}\n[model]\npath = \"{model}\"\n\n{page}\n{more}\n\n[lake]\nurl = \"{lake}\"\ndataset = \"{DATASET}\"\n"
        )
    }

    pub fn lake_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings for the lake of that name; `more` is appended to the `[lake]` table.
    pub fn settings(&self, lake: &str, more: &str) -> Settings {
        self.limited(lake, "", more)
    }

    /// The same with limits of one's own.
    pub fn limited(&self, lake: &str, limits: &str, more: &str) -> Settings {
        let lake = self.lake_folder(lake);
        let limits = format!("[limits]\nfetch_wait = \"10ms\"\n{limits}\n");
        let text = self.pipeline(lake.to_str().unwrap(), &limits) + more;
        config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
    }

    pub async fn send(&self, partition: i32, records: Vec<Record>) {
        let partition = self.broker.partition(&self.topic, partition).await.unwrap();
        partition.produce(records, Compression::None).await.unwrap();
    }

    /// Sends `count` sound records to each of `partitions`.
    pub async fn send_flowers(&self, partitions: i32, count: usize) {
        for partition in 0..partitions {
            self.send(partition, (0..count).map(flower).collect()).await;
        }
    }
}

/// A topic's name that no other test has, nor any topic of a broker that is not ours.
pub fn unique_topic() -> String {
    format!("alluvium-test-{}", uuid::Uuid::new_v4().simple())
}

/// A sound record.
pub fn flower(id: usize) -> Record {
    let petal = [(1.4, 0.2), (4.3, 1.3), (5.6, 2.0)][id % 3];
    value(format!(
        "{{\"id\":{id},\"sepal_length\":5.9,\"sepal_width\":3.0,\"petal_length\":{},\"petal_width\":{}}}",
        petal.0, petal.1
    ))
}

pub fn value(value: impl Into<Vec<u8>>) -> Record {
    let timestamp_ms = chrono::Utc::now().timestamp_millis();
    Record { value: Some(value.into()), timestamp_ms, ..Record::default() }
}

/// A batch run to its end.
pub async fn batch(settings: Settings) -> Summary {
    let pipeline = Pipeline::open(settings, Mode::Batch, CancellationToken::new()).await.unwrap();
    tokio::time::timeout(LIMIT, pipeline.run()).await.expect("the batch ends").unwrap()
}

/// A stream in the background.
pub struct Running {
    pub pipeline: Arc<Pipeline>,
    stop: CancellationToken,
    task: JoinHandle<Summary>,
}

impl Running {
    pub async fn start(settings: Settings) -> Self {
        let stop = CancellationToken::new();
        Self::run(Pipeline::open(settings, Mode::Stream, stop.clone()).await.unwrap(), stop)
    }

    /// With the lake in a store of the test's own.
    pub async fn over(store: Store, settings: Settings) -> Self {
        let stop = CancellationToken::new();
        Self::run(Pipeline::over(store, settings, Mode::Stream, stop.clone()).await.unwrap(), stop)
    }

    fn run(pipeline: Pipeline, stop: CancellationToken) -> Self {
        let pipeline = Arc::new(pipeline);
        let running = pipeline.clone();
        Self { pipeline, stop, task: tokio::spawn(async move { running.run().await.unwrap() }) }
    }

    /// As a kill would: nothing is finished, and nothing is told.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// How many records it has committed.
    pub fn committed(&self) -> u64 {
        self.pipeline.progress().tally.counts.records
    }

    pub async fn stop(self) -> Summary {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until it ends by itself, as it does when its last lane has.
    pub async fn ended(self) -> Summary {
        tokio::time::timeout(LIMIT, self.task).await.expect("the stream stops").unwrap()
    }
}

/// The lake in a folder, for reading.
pub fn objects(settings: &Settings) -> Arc<dyn ObjectStore> {
    Store::open(&settings.lake.url).unwrap().objects().clone()
}

/// The audit finds nothing.
pub async fn assert_clean(settings: &Settings) {
    let report = audit::audit(&objects(settings), DATASET, &BTreeMap::default(), |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
