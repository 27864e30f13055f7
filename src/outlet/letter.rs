//! Rejects as records of a topic: byte for byte, with the headers that Kafka Connect gives its dead letters.
//!
//! Owns: what each header holds.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    datatypes::{Int32Type, Int64Type, TimestampMillisecondType},
    record_batch::RecordBatch,
};

use super::{Source, message::Outgoing};
use crate::record::Record;

const TOPIC: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const CONNECTOR: &str = "__connect.errors.connector.name";
const TASK: &str = "__connect.errors.task.id";
const STAGE: &str = "__connect.errors.stage";
const CLASS: &str = "__connect.errors.class.name";
const EXCEPTION: &str = "__connect.errors.exception.class.name";
const MESSAGE: &str = "__connect.errors.exception.message";
const TIMESTAMP: &str = "alluvium.timestamp";
const GENERATION: &str = "alluvium.generation";
/// Before the name of a header that the record had already: it may be a dead letter of someone else's.
const PREVIOUS: &str = "previous.";

/// The record of each reject; `None` if the rows are no rejects.
pub(super) fn records(source: &Source, rows: &RecordBatch) -> Option<Vec<Outgoing>> {
    let column = |name: &str| rows.column_by_name(name);
    let partitions = column("_partition")?.as_primitive_opt::<Int32Type>()?;
    let offsets = column("_offset")?.as_primitive_opt::<Int64Type>()?;
    let times = column("_timestamp")?.as_primitive_opt::<TimestampMillisecondType>()?;
    let keys = column("_key")?.as_binary_opt::<i32>()?;
    let values = column("_value")?.as_binary_opt::<i32>()?;
    let reasons = column("reason")?.as_string_opt::<i32>()?;
    let details = column("detail")?.as_string_opt::<i32>()?;
    let mut records = vec![];
    for row in 0..rows.num_rows() {
        let mut headers = headers(rows, row)?;
        let partition = partitions.value(row).to_string();
        let ours = [
            (TOPIC, source.topic.to_string()),
            (PARTITION, partition.clone()),
            (OFFSET, offsets.value(row).to_string()),
            (CONNECTOR, source.id.dataset.to_string()),
            (TASK, partition),
            (STAGE, "VALUE_CONVERTER".into()),
            (CLASS, "alluvium.decode".into()),
            (EXCEPTION, reasons.value(row).into()),
            (MESSAGE, details.value(row).into()),
            (TIMESTAMP, times.value(row).to_string()),
            (GENERATION, source.id.generation.to_string()),
        ];
        for (name, value) in ours {
            add(&mut headers, name, value.into_bytes());
        }
        let bytes = |values: &arrow::array::BinaryArray| values.is_valid(row).then(|| values.value(row).to_vec());
        records.push(Outgoing {
            came_from: partitions.value(row),
            record: Record { key: bytes(keys), value: bytes(values), headers, ..Record::default() },
        });
    }
    Some(records)
}

fn add(headers: &mut BTreeMap<String, Vec<u8>>, name: &str, value: Vec<u8>) {
    if let Some(before) = headers.insert(name.to_owned(), value) {
        add(headers, &format!("{PREVIOUS}{name}"), before);
    }
}

fn headers(rows: &RecordBatch, row: usize) -> Option<BTreeMap<String, Vec<u8>>> {
    let lists = rows.column_by_name("_headers")?.as_list_opt::<i32>()?;
    let pairs = lists.value(row);
    let pairs = pairs.as_struct_opt()?;
    let (keys, values) = (pairs.column(0).as_string_opt::<i32>()?, pairs.column(1).as_binary_opt::<i32>()?);
    Some((0..pairs.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_vec())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_was_there_keeps_its_value_under_another_name() {
        let mut headers = BTreeMap::from([(TOPIC.to_owned(), b"a".to_vec()), ("x".to_owned(), b"y".to_vec())]);
        add(&mut headers, TOPIC, b"b".to_vec());
        add(&mut headers, TOPIC, b"c".to_vec());
        let of = |name: &str| headers.get(name).map(Vec::as_slice);
        assert_eq!(of(TOPIC), Some(&b"c"[..]));
        assert_eq!(of("previous.__connect.errors.topic"), Some(&b"b"[..]));
        assert_eq!(of("previous.previous.__connect.errors.topic"), Some(&b"a"[..]));
        assert_eq!(of("x"), Some(&b"y"[..]));
    }
}
