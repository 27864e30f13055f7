//! Records a second from decoded, scored batches to the bytes of a finished segment, one thread.
//!
//! ```text
//! cargo bench --bench encode
//! ```
//!
//! The bound of each codec is parquet's own writer with the same encodings, given only the decoded columns: no
//! prediction, no provenance, no hours to tell apart.
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]

mod common;

use alluvium::lake::{Compression, Finished, Scored, Segment};
use arrow::{array::RecordBatch, datatypes::DataType};
use common::{Stages, done};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as Codec, Encoding, ZstdLevel},
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

const RECORDS: usize = 100_000;
/// What a fetch of some megabytes brings.
const BATCH_RECORDS: usize = 10_000;
const SAMPLES: usize = 20;

fn encode(c: &mut Criterion) {
    let codecs = [
        ("zstd", Compression::Zstd, Codec::ZSTD(ZstdLevel::default())),
        ("snappy", Compression::Snappy, Codec::SNAPPY),
        ("none", Compression::None, Codec::UNCOMPRESSED),
    ];
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(SAMPLES);
    for (name, compression, codec) in codecs {
        let stages = Stages::new(compression);
        let batches = stages.scored(RECORDS, BATCH_RECORDS);
        group.bench_function(name, |b| {
            let input = || (stages.segment(), batches.iter().map(copy).collect());
            b.iter_batched(input, |(segment, batches)| ours(segment, batches), BatchSize::LargeInput);
        });
        let columns: Vec<_> = batches.iter().map(|scored| scored.decoded.rows.columns.clone()).collect();
        let properties = properties(&columns, codec);
        group.bench_function(format!("{name}, bound: the decoded columns alone"), |b| {
            b.iter_with_large_drop(|| bound(&columns, &properties));
        });
    }
}

fn ours(mut segment: Segment, batches: Vec<Scored>) -> Finished {
    for scored in batches {
        assert!(done(segment.append(scored)).is_none(), "all in one hour");
    }
    done(segment.finish())
}

fn bound(columns: &[RecordBatch], properties: &WriterProperties) -> Vec<u8> {
    let schema = columns.first().expect("batches").schema();
    let mut writer = done(ArrowWriter::try_new(vec![], schema, Some(properties.clone())));
    for batch in columns {
        done(writer.write(batch));
    }
    done(writer.into_inner())
}

/// As the lake writes these columns.
fn properties(columns: &[RecordBatch], codec: Codec) -> WriterProperties {
    let mut properties = WriterProperties::builder().set_compression(codec);
    for field in columns.first().expect("batches").schema().fields() {
        let column = ColumnPath::from(field.name().as_str());
        if field.data_type().is_numeric() {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if field.data_type() == &DataType::Int64 {
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

fn copy(scored: &Scored) -> Scored {
    Scored { batch: scored.batch.clone(), decoded: scored.decoded.clone(), scores: scored.scores.clone() }
}

criterion_group!(benches, encode);
criterion_main!(benches);
