//! Every key of the pipeline file, once: its name, what it takes, its default and its meaning.
//!
//! Owns: the list that faults, defaults, ranges and the README's table all come from. Does not own: reading
//! ([`super::sections`]).

use std::fmt;

use crate::{
    broker::{GroupProtocol, Mechanism, Start},
    decode::Envelope,
    lake::{Compression, PartitionBy},
    model::Backend,
    outlet::ResultFormat,
    record::{FieldKind, TimestampFormat},
};

use super::value::{DAY, GIB, HOUR, KIB, MIB, SECOND, bytes, duration};
use Fallback::{Required, Rule, Unless, Value};
use Takes::{Choice, Count, Duration, Flag, Size, Text, Time};

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub table: &'static str,
    pub name: &'static str,
    pub takes: Takes,
    pub default: Fallback,
    pub meaning: &'static str,
}

impl Key {
    const fn new(
        table: &'static str,
        name: &'static str,
        takes: Takes,
        default: Fallback,
        meaning: &'static str,
    ) -> Self {
        Self { table, name, takes, default, meaning }
    }

    #[must_use]
    pub const fn is_required(&self) -> bool {
        matches!(self.default, Required | Unless(_))
    }
}

/// What may stand as a key's value; ranges have both ends in them.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// Text of a form of its own, described.
    Text(&'static str),
    Flag,
    Count(u64, u64),
    /// In bytes.
    Size(u64, u64),
    /// In milliseconds.
    Duration(u64, u64),
    Time,
    Choice(&'static [&'static str]),
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug)]
pub enum Fallback {
    Required,
    /// Required where the other key is left out.
    Unless(&'static str),
    /// Read as if it had been written.
    Value(&'static str),
    /// Depends on something else; described.
    Rule(&'static str),
}

pub(super) const BROKERS: Key =
    Key::new("source", "brokers", Text("`host:port`, or a list of them"), Required, "brokers to ask first");
pub(super) const TOPIC: Key = Key::new("source", "topic", Text("a topic name"), Unless("topics"), "topic to read");
pub(super) const TOPICS: Key = Key::new(
    "source",
    "topics",
    Text("a list of topic names; `*` in them stands for any characters"),
    Rule("`topic` alone"),
    "topics to read, each into a dataset of its own; new ones that fit a `*` are found while a stream runs",
);
pub(super) const ENCODING: Key = Key::new(
    "format",
    "encoding",
    Choice(&words(&ENCODINGS)),
    Value("registry"),
    "for avro and protobuf, what tells a record's schema: an id before it (`registry`), a fingerprint (avro alone), or \
     nothing",
);
pub(super) const SCHEMA: Key = Key::new(
    "format",
    "schema",
    Text("a path to a schema, or a list of them"),
    Rule("the registry's"),
    "for avro without a registry, what records are written by: one of these, or if `plain`, the last, which may name those \
     before it",
);
pub(super) const READER_SCHEMA: Key = Key::new(
    "format",
    "reader_schema",
    Text("a path to a schema, or a list of them"),
    Rule("the writer's schema"),
    "for avro, what records are taken for, whoever wrote them: the last, which may name those before it",
);
pub(super) const DESCRIPTOR: Key = Key::new(
    "format",
    "descriptor",
    Text("a path to what `protoc --include_imports -o` wrote, or to a `.proto` that imports no other file"),
    Rule("the registry's"),
    "for protobuf, what records are written by",
);
pub(super) const MESSAGE: Key = Key::new(
    "format",
    "message",
    Text("a message's full name, such as `shop.Order`"),
    Rule("the one that the record names"),
    "for protobuf, what a record is; needed with `descriptor`",
);
pub(super) const START: Key = Key::new(
    "source",
    "start",
    Text("`earliest`, `latest` or a time such as `2026-11-01T00:00:00Z`"),
    Value("earliest"),
    "where a partition begins that the lake does not know yet",
);
pub(super) const GROUP: Key = Key::new(
    "source",
    "group",
    Text("a group name of 1 to 249 characters"),
    Rule("none: every partition is read"),
    "consumer group whose members share the partitions among them",
);
pub(super) const GROUP_INSTANCE: Key = Key::new(
    "source",
    "group_instance",
    Text("a name of 1 to 249 letters, digits, `.`, `_` and `-`"),
    Rule("none"),
    "this worker's own name in the group, such as `${HOSTNAME}`: a restart within `session_timeout` moves no partition",
);
pub(super) const GROUP_PROTOCOL: Key = Key::new(
    "source",
    "group_protocol",
    Choice(&words(&GROUP_PROTOCOLS)),
    Value("classic"),
    "who hands the partitions out: a member, or the broker (Apache Kafka 4 and later)",
);
pub(super) const SESSION_TIMEOUT: Key = Key::new(
    "source",
    "session_timeout",
    Duration(SECOND, HOUR),
    Value("10s"),
    "a worker that is not heard of for so long loses its partitions to the others",
);
pub(super) const HEARTBEAT: Key = Key::new(
    "source",
    "heartbeat",
    Duration(100, 600 * SECOND),
    Value("1s"),
    "how often a worker is heard of, and hears that partitions are to move",
);
pub(super) const HANDOVER: Key = Key::new(
    "source",
    "handover",
    Duration(SECOND, HOUR),
    Value("30s"),
    "how long a partition that is to move may take to commit; what takes longer is dropped, and read again",
);
pub(super) const WORKER: Key = Key::new(
    "source",
    "worker",
    Text("`i/n` with `i` from 1 to `n`, such as `2/5`"),
    Rule("every partition is read"),
    "this worker's fixed share of the partitions, without a group",
);

pub(super) const TLS_CA: Key = Key::new(
    "source.tls",
    "ca",
    Text("a path to certificates in PEM"),
    Rule("the system's"),
    "authorities that are trusted, in place of the system's; the table alone turns TLS on",
);
pub(super) const TLS_CERT: Key = Key::new(
    "source.tls",
    "cert",
    Text("a path to a certificate in PEM, with those between it and an authority"),
    Rule("none"),
    "what is shown to brokers that ask for a client certificate",
);
pub(super) const TLS_KEY: Key = Key::new(
    "source.tls",
    "key",
    Text("a path to a private key in PEM, without a passphrase"),
    Rule("none"),
    "the key of `cert`",
);
pub(super) const SASL_MECHANISM: Key = Key::new(
    "source.sasl",
    "mechanism",
    Choice(&words(&MECHANISMS)),
    Rule("required in this table"),
    "how we log in at a broker",
);
pub(super) const SASL_USER: Key =
    Key::new("source.sasl", "user", Text("a name"), Rule("none"), "who logs in, for all but `oauthbearer`");
pub(super) const SASL_PASSWORD: Key = Key::new(
    "source.sasl",
    "password",
    Text("a password, best as a variable: `${BROKER_PASSWORD}`"),
    Rule("none"),
    "of `user`; never shown",
);
pub(super) const SASL_PASSWORD_FILE: Key = Key::new(
    "source.sasl",
    "password_file",
    Text("a path to a file with the password alone in it"),
    Rule("none"),
    "in place of `password`; read for each connection",
);
pub(super) const TOKEN_FILE: Key = Key::new(
    "source.sasl",
    "token_file",
    Text("a path to a file with the token alone in it"),
    Rule("none"),
    "for `oauthbearer`; read for each connection",
);
pub(super) const TOKEN_COMMAND: Key = Key::new(
    "source.sasl",
    "token_command",
    Text("a program and its arguments with spaces between them, or a list of them"),
    Rule("none"),
    "for `oauthbearer`: what prints the token, run without a shell; connections made within 5 s share one run",
);

pub(super) const FORMAT: Key =
    Key::new("format", "type", Choice(&words(&FORMATS)), Value("json"), "how a record's value is written");
pub(super) const LINES: Key = Key::new(
    "format",
    "lines",
    Flag,
    Value("false"),
    "whether a value may be several lines, each a row; if one can't be a row, the record is a reject",
);
pub(super) const ENVELOPE: Key = Key::new(
    "format",
    "envelope",
    Choice(&words(&ENVELOPES)),
    Value("none"),
    "what is around the fields; with `debezium` paths begin in `after`, those with `@` before them in the envelope",
);
pub(super) const COLUMNS: Key = Key::new(
    "format",
    "columns",
    Text("the columns' names in order, with commas between them, or a list"),
    Rule("the fields, in their order"),
    "what stands in a row of CSV; a field is read from the column that its path names",
);
pub(super) const DELIMITER: Key = Key::new(
    "format",
    "delimiter",
    Text("one ASCII character, such as `;` or a tab"),
    Value(","),
    "what parts the columns of CSV",
);
pub(super) const NULLS: Key = Key::new(
    "format",
    "nulls",
    Text("a text, or a list of them"),
    Rule("the empty text"),
    "what stands for null in CSV; what is quoted never does",
);

pub(super) const NAME: Key = Key::new(
    "fields",
    "name",
    Text("a column name of 1 to 200 characters"),
    Required,
    "column in the lake, and the model's name for it",
);
pub(super) const TYPE: Key =
    Key::new("fields", "type", Choice(&words(&TYPES)), Required, "what the field holds; anything else is a reject");
pub(super) const NULLABLE: Key =
    Key::new("fields", "nullable", Flag, Value("true"), "whether it may be null or absent in a record");
pub(super) const PATH: Key = Key::new(
    "fields",
    "path",
    Text("member names with dots between them, or a list of up to 32"),
    Rule("its name"),
    "where it stands in the record; a list where a member's name holds a dot",
);
pub(super) const UNIT: Key =
    Key::new("fields", "unit", Choice(&words(&UNITS)), Value("rfc3339"), "how a timestamp is written");

pub(super) const EVENT_FIELD: Key = Key::new(
    "event_time",
    "field",
    Text("the name of a timestamp field"),
    Rule("the broker's timestamp"),
    "what files a record under its date and hour; a record without it is a reject",
);
pub(super) const EARLIEST: Key =
    Key::new("event_time", "earliest", Time, Value("2000-01-01T00:00:00Z"), "an earlier event time makes a reject");
pub(super) const AHEAD: Key = Key::new(
    "event_time",
    "ahead",
    Duration(0, 3650 * DAY),
    Value("1d"),
    "an event time further ahead of now makes a reject",
);

pub(super) const REGISTRY_URL: Key = Key::new(
    "registry",
    "url",
    Text("`http://…` or `https://…`, or a list of them"),
    Rule("no registry"),
    "schema registry with Confluent's API; of several URLs, those after the first are asked when it does not answer",
);
pub(super) const REGISTRY_USER: Key =
    Key::new("registry", "user", Text("a name"), Rule("none"), "for basic authentication");
pub(super) const REGISTRY_PASSWORD: Key = Key::new(
    "registry",
    "password",
    Text("a password, best as a variable: `${REGISTRY_PASSWORD}`"),
    Rule("none"),
    "for basic authentication; never shown",
);
pub(super) const REGISTRY_CA: Key = Key::new(
    "registry",
    "ca",
    Text("a path to certificates in PEM"),
    Rule("the system's"),
    "authorities that are trusted for `https://`, in place of the system's",
);
pub(super) const REGISTRY_TIMEOUT: Key =
    Key::new("registry", "timeout", Duration(100, HOUR), Value("10s"), "one answer; it is asked for again");
pub(super) const SCHEMAS_MAX: Key = Key::new(
    "registry",
    "schemas_max",
    Count(1, 100_000),
    Value("1_000"),
    "schemas held in memory; beyond, the one not wanted for longest is forgotten and asked for again",
);

pub(super) const MODEL_PATH: Key = Key::new(
    "model",
    "path",
    Text("a path, `file:///path` or `s3://bucket/prefix`"),
    Required,
    "where all the model's versions are",
);
pub(super) const VERSION: Key = Key::new(
    "model",
    "version",
    Text("a version number from 1, or `champion`"),
    Value("champion"),
    "which version scores; the champion is the one promoted",
);
pub(super) const BACKEND: Key = Key::new(
    "model",
    "backend",
    Choice(&words(&BACKENDS)),
    Value("ndarray"),
    "which of two libraries multiplies the matrices",
);

pub(super) const REFRESH: Key = Key::new(
    "model",
    "refresh",
    Duration(100, HOUR),
    Value("30s"),
    "how often a stream that runs the champion looks for a newly promoted one",
);

pub(super) const URL: Key =
    Key::new("lake", "url", Text("a path, `file:///path` or `s3://bucket/prefix`"), Required, "where results land");
pub(super) const DATASET: Key = Key::new(
    "lake",
    "dataset",
    Text("a name of 1 to 100 letters, digits, `.`, `_` and `-` that starts with none of `.` and `_`"),
    Unless("topics"),
    "folder in the lake; with `topics` the topic's own name, or a name with `{topic}` in it",
);
pub(super) const GENERATION: Key = Key::new(
    "lake",
    "generation",
    Count(0, i32::MAX as u64),
    Value("0"),
    "to be raised when the topic was made anew and its offsets begin again",
);
pub(super) const PARTITION_BY: Key = Key::new(
    "lake",
    "partition_by",
    Choice(&words(&PARTITIONINGS)),
    Value("hour"),
    "folders of the lake, by event time in UTC",
);
pub(super) const COMPRESSION: Key =
    Key::new("lake", "compression", Choice(&words(&COMPRESSIONS)), Value("zstd"), "of the Parquet files");
pub(super) const ROLL_ROWS: Key =
    Key::new("lake", "roll_rows", Count(1, 100_000_000), Value("1_000_000"), "rows after which a segment is committed");
pub(super) const ROLL_BYTES: Key = Key::new(
    "lake",
    "roll_bytes",
    Size(64 * KIB, 4 * GIB),
    Value("128MiB"),
    "encoded size at which a segment is committed",
);
/// A writer gives up staging that is older than an hour, so no segment may take longer.
pub(super) const ROLL_AGE: Key =
    Key::new("lake", "roll_age", Duration(100, HOUR), Value("30s"), "age at which a segment is committed");

pub(super) const STOP_ABOVE: Key = Key::new(
    "rejected",
    "stop_above",
    Text("a share such as `50%`, from `0.01%` to `99.99%`"),
    Rule("off"),
    "a partition stops, before they land, when more than this share of its records are rejects",
);
pub(super) const STOP_WINDOW: Key = Key::new(
    "rejected",
    "stop_window",
    Duration(SECOND, HOUR),
    Value("1m"),
    "the time over which the share of rejects is taken",
);
pub(super) const STOP_RECORDS: Key = Key::new(
    "rejected",
    "stop_records",
    Count(1, 1_000_000_000),
    Value("100"),
    "with fewer records than this within `stop_window` no partition stops",
);

pub(super) const MEMORY: Key = Key::new(
    "limits",
    "memory",
    Size(16 * MIB, 1024 * GIB),
    Value("1GiB"),
    "what all partitions together may hold; the largest segment is committed early when it is short",
);
pub(super) const RECORD_BYTES: Key =
    Key::new("limits", "record_bytes", Size(KIB, 64 * MIB), Value("1MiB"), "a larger value makes a reject");
pub(super) const FETCH_BYTES: Key =
    Key::new("limits", "fetch_bytes", Size(16 * KIB, 64 * MIB), Value("4MiB"), "what one fetch asks for");
pub(super) const FETCH_WAIT: Key = Key::new(
    "limits",
    "fetch_wait",
    Duration(1, 30 * SECOND),
    Value("500ms"),
    "how long a broker may hold an empty fetch back",
);
pub(super) const CONNECT_TIMEOUT: Key = Key::new(
    "limits",
    "connect_timeout",
    Duration(100, HOUR),
    Value("10s"),
    "connecting for the first time, with every retry in it",
);
pub(super) const REQUEST_TIMEOUT: Key =
    Key::new("limits", "request_timeout", Duration(100, HOUR), Value("30s"), "any one call to a broker");
pub(super) const STOP_TIMEOUT: Key = Key::new(
    "limits",
    "stop_timeout",
    Duration(100, HOUR),
    Value("10s"),
    "from the first signal to the end of the process",
);
pub(super) const RETRY_FOR: Key = Key::new(
    "limits",
    "retry_for",
    Duration(0, 7 * DAY),
    Value("5m"),
    "how long a batch run retries what may mend; a stream does so for ever, and this long where the store refuses its credentials",
);
pub(super) const PARTITIONS_REFRESH: Key = Key::new(
    "limits",
    "partitions_refresh",
    Duration(100, HOUR),
    Value("30s"),
    "how often a stream looks for new partitions",
);
pub(super) const SEGMENT_HOURS: Key = Key::new(
    "limits",
    "segment_hours",
    Count(1, 1000),
    Value("24"),
    "date and hour folders that one segment may write to",
);
pub(super) const CPU_THREADS: Key = Key::new(
    "limits",
    "cpu_threads",
    Count(1, CPU_THREADS_MAX as u64),
    Rule("number of cores"),
    "batches decoded, scored and encoded at once",
);
pub(super) const CPU_THREADS_MAX: usize = 1024;

pub(super) const RESULTS_TOPIC: Key = Key::new(
    "results",
    "topic",
    Text("a topic name, perhaps with `{topic}` in it"),
    Rule("off"),
    "topic that scored records are sent to once they are in the lake, each at least once",
);
pub(super) const RESULTS_FORMAT: Key =
    Key::new("results", "format", Choice(&words(&RESULT_FORMATS)), Value("json"), "how a result is written");
pub(super) const WHERE: Key = Key::new(
    "results",
    "where",
    Text("a condition such as `prediction = \"fraud\" and confidence >= 0.9`"),
    Rule("all are sent"),
    "which scored records are sent",
);

pub(super) const REJECTED_TOPIC: Key = Key::new(
    "rejected",
    "topic",
    Text("a topic name, perhaps with `{topic}` in it, such as `{topic}.rejected`"),
    Rule("off"),
    "topic that rejects are sent to once they are in the lake, byte for byte, each at least once",
);

pub(super) const POSTGRES_URL: Key = Key::new(
    "postgres",
    "url",
    Text("`postgres://user:password@host/database`, by a variable such as `${ALLUVIUM_POSTGRES_URL}`"),
    Rule("off"),
    "database that gets every scored row once",
);
pub(super) const TABLE: Key = Key::new(
    "postgres",
    "table",
    Text("a name, perhaps `schema.name`, perhaps with `{dataset}` in it"),
    Value("{dataset}"),
    "table of the rows; it is made if it is not there",
);
pub(super) const CA: Key = Key::new(
    "postgres",
    "ca",
    Text("a file of certificates (PEM)"),
    Rule("the system's, where `sslmode` asks for any"),
    "what the server's certificate must be signed by",
);

pub(super) const HTTP_LISTEN: Key = Key::new(
    "http",
    "listen",
    Text("an address such as `127.0.0.1:9184`, or `off`"),
    Rule("`127.0.0.1:9184`, where that is free"),
    "where `stream` and `batch` serve the page, `/status`, `/metrics`, `/healthz` and `/readyz`",
);
pub(super) const HTTP_TOKEN: Key = Key::new(
    "http",
    "token",
    Text("16 to 1024 letters, digits and signs, by a variable such as `${ALLUVIUM_HTTP_TOKEN}`"),
    Rule("none: whoever reaches the address may look"),
    "what a request must show, as `Authorization: Bearer …`; a browser asks for it",
);
pub(super) const HTTP_TOKEN_FILE: Key =
    Key::new("http", "token_file", Text("a path"), Rule("none"), "a file that holds the token, in place of `token`");
pub(super) const HTTP_TLS_CERT: Key = Key::new(
    "http",
    "tls_cert",
    Text("a file of certificates (PEM)"),
    Rule("none: no TLS"),
    "certificate of the page's server, with those that lead to it",
);
pub(super) const HTTP_TLS_KEY: Key =
    Key::new("http", "tls_key", Text("a file (PEM)"), Rule("none: no TLS"), "the private key of `tls_cert`");

/// All of them, in the order of the README.
pub const KEYS: &[Key] = &[
    BROKERS,
    TOPIC,
    TOPICS,
    START,
    GROUP,
    GROUP_INSTANCE,
    GROUP_PROTOCOL,
    SESSION_TIMEOUT,
    HEARTBEAT,
    HANDOVER,
    WORKER,
    TLS_CA,
    TLS_CERT,
    TLS_KEY,
    SASL_MECHANISM,
    SASL_USER,
    SASL_PASSWORD,
    SASL_PASSWORD_FILE,
    TOKEN_FILE,
    TOKEN_COMMAND,
    FORMAT,
    LINES,
    ENVELOPE,
    COLUMNS,
    DELIMITER,
    NULLS,
    ENCODING,
    SCHEMA,
    READER_SCHEMA,
    DESCRIPTOR,
    MESSAGE,
    NAME,
    TYPE,
    NULLABLE,
    PATH,
    UNIT,
    EVENT_FIELD,
    EARLIEST,
    AHEAD,
    REGISTRY_URL,
    REGISTRY_USER,
    REGISTRY_PASSWORD,
    REGISTRY_CA,
    REGISTRY_TIMEOUT,
    SCHEMAS_MAX,
    MODEL_PATH,
    VERSION,
    BACKEND,
    REFRESH,
    URL,
    DATASET,
    GENERATION,
    PARTITION_BY,
    COMPRESSION,
    ROLL_ROWS,
    ROLL_BYTES,
    ROLL_AGE,
    STOP_ABOVE,
    STOP_WINDOW,
    STOP_RECORDS,
    MEMORY,
    RECORD_BYTES,
    FETCH_BYTES,
    FETCH_WAIT,
    CONNECT_TIMEOUT,
    REQUEST_TIMEOUT,
    STOP_TIMEOUT,
    RETRY_FOR,
    PARTITIONS_REFRESH,
    SEGMENT_HOURS,
    CPU_THREADS,
    RESULTS_TOPIC,
    RESULTS_FORMAT,
    WHERE,
    REJECTED_TOPIC,
    POSTGRES_URL,
    TABLE,
    CA,
    HTTP_LISTEN,
    HTTP_TOKEN,
    HTTP_TOKEN_FILE,
    HTTP_TLS_CERT,
    HTTP_TLS_KEY,
];

/// The table that is written once for each column.
pub(super) const FIELDS: &str = "fields";

pub(super) const FORMATS: [(&str, FormatName); 5] = [
    ("json", FormatName::Json),
    ("csv", FormatName::Csv),
    ("avro", FormatName::Avro),
    ("protobuf", FormatName::Protobuf),
    ("raw", FormatName::Raw),
];

pub(super) const ENVELOPES: [(&str, Envelope); 2] = [("none", Envelope::None), ("debezium", Envelope::Debezium)];

pub(super) const ENCODINGS: [(&str, Encoding); 3] =
    [("registry", Encoding::Registry), ("single-object", Encoding::SingleObject), ("plain", Encoding::Plain)];

/// What tells the schema that a record was written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Registry,
    SingleObject,
    Plain,
}

/// What is written; the format's settings are read by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormatName {
    Json,
    Csv,
    Avro,
    Protobuf,
    Raw,
}

/// Tables of earlier releases, and what is written in their place.
pub(super) const MOVED_TABLES: [(&str, &str); 1] =
    [("metrics", "write [http] in its place: its listen serves the page too")];

/// Keys that stood elsewhere in earlier releases: their table, their name, and where they went.
pub(super) const MOVED: [(&str, &str, &str); 1] = [("source", "format", "write it as type under [format]")];

pub(super) const RESULT_FORMATS: [(&str, ResultFormat); 2] =
    [("json", ResultFormat::Json), ("avro", ResultFormat::Avro)];

pub(super) const GROUP_PROTOCOLS: [(&str, GroupProtocol); 2] =
    [("classic", GroupProtocol::Classic), ("consumer", GroupProtocol::Consumer)];

/// Without one, there is a token.
pub(super) const MECHANISMS: [(&str, Option<Mechanism>); 4] = [
    ("plain", Some(Mechanism::Plain)),
    ("scram-sha-256", Some(Mechanism::ScramSha256)),
    ("scram-sha-512", Some(Mechanism::ScramSha512)),
    ("oauthbearer", None),
];

pub(super) const STARTS: [(&str, Start); 2] = [("earliest", Start::Earliest), ("latest", Start::Latest)];

pub(super) const TYPES: [(&str, FieldKind); 8] = [
    ("int32", FieldKind::Int32),
    ("int64", FieldKind::Int64),
    ("float32", FieldKind::Float32),
    ("float64", FieldKind::Float64),
    ("bool", FieldKind::Bool),
    ("string", FieldKind::String),
    ("timestamp", FieldKind::Timestamp(TimestampFormat::Rfc3339)),
    ("date", FieldKind::Date),
];

pub(super) const UNITS: [(&str, TimestampFormat); 5] = [
    ("rfc3339", TimestampFormat::Rfc3339),
    ("s", TimestampFormat::Seconds),
    ("ms", TimestampFormat::Milliseconds),
    ("us", TimestampFormat::Microseconds),
    ("ns", TimestampFormat::Nanoseconds),
];

pub(super) const BACKENDS: [(&str, Backend); 2] = [("ndarray", Backend::NdArray), ("flex", Backend::Flex)];

pub(super) const PARTITIONINGS: [(&str, PartitionBy); 3] =
    [("hour", PartitionBy::Hour), ("day", PartitionBy::Day), ("none", PartitionBy::None)];

pub(super) const COMPRESSIONS: [(&str, Compression); 3] =
    [("zstd", Compression::Zstd), ("snappy", Compression::Snappy), ("none", Compression::None)];

const fn words<T, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut i = 0;
    while i < N {
        words[i] = choices[i].0;
        i += 1;
    }
    words
}

/// A table's header as people write it: `[source]`, `[[fields]]`.
pub(super) fn header(table: &str) -> String {
    if table == FIELDS { format!("[[{table}]]") } else { format!("[{table}]") }
}

/// The tables, in the order of the README.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let first = |i: usize, key: &Key| !KEYS.iter().take(i).any(|earlier| earlier.table == key.table);
    KEYS.iter().enumerate().filter(move |(i, key)| first(*i, key)).map(|(_, key)| key.table)
}

pub(super) fn keys_of(table: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.table == table)
}

/// The Markdown table of every key that the README shows.
#[must_use]
pub fn markdown() -> String {
    let mut lines = vec!["| Table | Key | Takes | Default | Meaning |".to_owned(), "|---|---|---|---|---|".to_owned()];
    lines.extend(KEYS.iter().map(|key| {
        let table = header(key.table);
        format!("| `{table}` | `{}` | {} | {} | {} |", key.name, key.takes, key.default, key.meaning)
    }));
    lines.push(String::new());
    lines.join("\n")
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Text(form) => f.write_str(form),
            Flag => f.write_str("`true` or `false`"),
            Count(min, max) => write!(f, "a whole number from {min} to {max}"),
            Size(min, max) => write!(f, "a size from {} to {}", bytes(min), bytes(max)),
            Duration(min, max) => write!(f, "a duration from {} to {}", duration(min), duration(max)),
            Time => f.write_str("a time such as `2026-11-01T00:00:00Z`"),
            Choice(words) => write_choice(f, words),
        }
    }
}

/// `a`, `b` or `c`
fn write_choice(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    for (i, word) in words.iter().enumerate() {
        let joint = match i {
            0 => "",
            _ if i + 1 == words.len() => " or ",
            _ => ", ",
        };
        write!(f, "{joint}`{word}`")?;
    }
    Ok(())
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Required => f.write_str("required"),
            Unless(other) => write!(f, "required, unless `{other}` is there"),
            Value(value) => write!(f, "`{value}`"),
            Rule(rule) => f.write_str(rule),
        }
    }
}
