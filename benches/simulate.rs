//! Records a second of each simulated source as JSON, CSV and Avro, one thread.
//!
//! ```text
//! cargo bench --bench simulate                    # all of it
//! cargo bench --bench simulate -- "sensors json"
//! ```
//!
//! The bound is copying the same records, made beforehand, into the same buffer.
#![allow(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]

mod common;

use std::hint::black_box;

use alluvium::simulate::{Source, encoding::Encoding};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: usize = 10_000;
const SEED: u64 = 1;

fn simulate(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulate");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for source in Source::ALL {
        let avro = Encoding::avro(source, false).expect("the schema is sound");
        for (format, encoding) in [("json", Encoding::json(false)), ("csv", Encoding::csv(false)), ("avro", avro)] {
            let records = records(source, &encoding);
            let mut buffer = Vec::with_capacity(2 * records.iter().map(Vec::len).sum::<usize>());
            let mut stream = source.stream(SEED, 0);
            group.bench_function(format!("{} {format}", source.name()), |b| {
                b.iter(|| {
                    buffer.clear();
                    for _ in 0..RECORDS {
                        black_box(encoding.push(&mut stream, &mut buffer));
                    }
                    black_box(buffer.len())
                });
            });
            group.bench_function(format!("{} {format}, bound: a copy", source.name()), |b| {
                b.iter(|| {
                    buffer.clear();
                    for record in &records {
                        buffer.extend_from_slice(record);
                    }
                    black_box(buffer.len())
                });
            });
        }
    }
}

fn records(source: Source, encoding: &Encoding) -> Vec<Vec<u8>> {
    let mut stream = source.stream(SEED, 0);
    let record = |_| {
        let mut value = Vec::new();
        encoding.push(&mut stream, &mut value);
        value
    };
    (0..RECORDS).map(record).collect()
}

criterion_group!(benches, simulate);
criterion_main!(benches);
