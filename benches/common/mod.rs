//! What the benchmarks share: the binary's allocator, so that their figures are the product's, and the demo's stages.
#![allow(dead_code, reason = "each benchmark takes what it needs")]

use std::{fmt::Debug, path::Path, sync::Arc};

use alluvium::{
    config,
    decode::Decoder,
    lake::{Compression, Layout, Scored, Segment},
    model::{Model, Scorer},
    offset::{LaneId, OffsetRange},
    pipeline::Settings,
    record::{Batch, Decoded, Record},
    simulate::{Source, Stream},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The pipeline file of `alluvium demo`, before its blanks are filled in.
pub const DEMO: &str = include_str!("../../src/cli/demo.toml");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
const SEED: u64 = 1;
/// 2026-11-21T07:00:00Z
const NOW_MS: i64 = 1_795_244_400_000;

/// The pipeline of `alluvium demo`, between this broker and this lake.
pub fn demo_settings(broker: &str, lake: &Path) -> Settings {
    settings(DEMO, broker, lake)
}

/// The same, as a member of a group.
pub fn demo_settings_of_a_group(broker: &str, lake: &Path, group: &str) -> Settings {
    settings(&DEMO.replacen("[source]\n", &format!("[source]\ngroup = \"{group}\"\n"), 1), broker, lake)
}

fn settings(pipeline: &str, broker: &str, lake: &Path) -> Settings {
    let variable = |name: &str| match name {
        "BROKER" => Some(broker.to_owned()),
        "MODEL" => Some(MODEL.to_owned()),
        "LAKE" => Some(lake.display().to_string()),
        "GENERATION" => Some("0".to_owned()),
        _ => None,
    };
    config::parse(pipeline, variable).expect("the demo's pipeline file")
}

pub fn lane_id() -> LaneId {
    LaneId { dataset: "bench".into(), generation: 0, partition: 0 }
}

/// A folder on the disk that is built on; the system's own folder for such things may be memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the lake")
}

/// A pipeline's stages from bytes to the lake's files.
pub struct Stages {
    source: Source,
    decoder: Decoder,
    pub scorer: Scorer,
    layout: Arc<Layout>,
}

impl Stages {
    /// The demo's.
    pub fn new(compression: Compression) -> Self {
        let mut settings = demo_settings("localhost:9092", Path::new("lake"));
        settings.lake.compression = compression;
        Self::of(&settings, Source::Iris)
    }

    pub fn of(settings: &Settings, source: Source) -> Self {
        let model = tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(Model::load(&settings.model))
            .expect("a shipped model");
        let decoder = Decoder::new(&settings.decode);
        let scorer = model.scorer(&decoder.schema()).expect("the fields that the model wants");
        let layout =
            Layout::new(&settings.lake, &decoder.schema(), decoder.is_numbered(), model.classes(), model.reference());
        Self { source, decoder, scorer, layout: Arc::new(layout.expect("columns that differ in name")) }
    }

    pub fn segment(&self) -> Segment {
        Segment::new(lane_id(), self.layout.clone(), 0)
    }

    /// Simulated records from offset 0 on, decoded and scored, in batches of `batch_records`.
    pub fn scored(&self, records: usize, batch_records: usize) -> Vec<Scored> {
        self.records(records).chunks(batch_records).map(|records| self.score(records.to_vec())).collect()
    }

    /// Simulated records from offset 0 on.
    pub fn records(&self, records: usize) -> Vec<Record> {
        let mut stream = self.source.stream(SEED, 0);
        (0..).map(|offset| record(&mut stream, offset)).take(records).collect()
    }

    pub fn decode(&self, records: &[Record]) -> Decoded {
        let decoded = done(self.decoder.decode(records, NOW_MS));
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
        decoded
    }

    fn score(&self, mut records: Vec<Record>) -> Scored {
        let decoded = self.decode(&records);
        let scores = done(self.scorer.score(&decoded.rows.columns));
        // What was decoded is in the columns; freeing the bytes is not what is measured.
        for record in &mut records {
            record.value = None;
        }
        let start = records.first().map_or(0, |first| first.offset);
        let end = records.last().map_or(start, |last| last.offset + 1);
        let batch = Batch { records, range: OffsetRange { start, end }, high_watermark: end };
        Scored { batch, decoded, scores }
    }
}

fn record(stream: &mut Stream, offset: i64) -> Record {
    let mut value = vec![];
    stream.json(&mut value, true);
    Record { offset, timestamp_ms: NOW_MS, value: Some(value), ..Record::default() }
}

/// What must not fail, or there is nothing to measure.
pub fn done<T, E: Debug>(outcome: Result<T, E>) -> T {
    outcome.expect("a benchmark's own work")
}
