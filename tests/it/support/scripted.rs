//! A broker that says what a test wants to hear, down to the byte: one topic, hand-made frames.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

pub const TOPIC: &str = "orders";
const NODE: i32 = 7;

const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

/// Asks for the first offset instead of the time of one.
const EARLIEST: i64 = -2;

/// How a fetch is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Record batches, one after the other.
    Records(Vec<u8>),
    /// The same, and the transactions among them that were aborted: producer and first offset.
    Transactions(Vec<u8>, Vec<(i64, i64)>),
    /// One of the protocol's error codes.
    Error(i16),
    /// Half a frame, and then the connection is closed.
    CutOff,
    /// Not even the topic, and so many milliseconds to wait: the client has used up its quota.
    Throttled(i32),
    /// Nothing, ever.
    Silence,
}

pub struct Script {
    /// -1: nobody.
    pub leader: i32,
    /// May change while the broker runs.
    pub partitions: Arc<AtomicI32>,
    /// The first offset that is still there.
    pub earliest: i64,
    pub high_watermark: i64,
    pub fetch: Box<dyn Fn(i64) -> Answer + Send + Sync>,
}

impl Script {
    pub fn fetches(high_watermark: i64, fetch: impl Fn(i64) -> Answer + Send + Sync + 'static) -> Self {
        let partitions = Arc::new(AtomicI32::new(1));
        Self { leader: NODE, partitions, earliest: 0, high_watermark, fetch: Box::new(fetch) }
    }
}

pub struct Scripted {
    pub address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Scripted {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), address.port()));
            }
        });
        Self { address, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// Answers until either side has had enough.
async fn serve(mut stream: TcpStream, script: Arc<Script>, port: u16) -> Option<()> {
    loop {
        let length = stream.read_i32().await.ok()?;
        let mut request = vec![0; usize::try_from(length).ok()?];
        stream.read_exact(&mut request).await.ok()?;
        let mut request = Request(&request);
        let (api, version, correlation) = (request.i16(), request.i16(), request.i32());
        let client = usize::try_from(request.i16()).unwrap();
        request.skip(client);

        let mut frame = correlation.to_be_bytes().to_vec();
        match (api, version) {
            // An empty answer makes the client ask in an older way.
            (API_VERSIONS, 1..) => {}
            (API_VERSIONS, _) => api_versions(&mut frame),
            (METADATA, _) => metadata(&mut frame, &script, port),
            (LIST_OFFSETS, _) => {
                // replica; topics; topic; partitions
                request.skip(4 + 4 + 2 + TOPIC.len() + 4);
                let (partition, at) = (request.i32(), request.i64());
                let offset = if at == EARLIEST { script.earliest } else { script.high_watermark };
                put_offset(&mut frame, partition, offset);
            }
            (FETCH, _) => {
                // replica, wait, bytes, bytes, isolation; topics; topic; partitions
                request.skip(4 + 4 + 4 + 4 + 1 + 4 + 2 + TOPIC.len() + 4);
                let partition = request.i32();
                match (script.fetch)(request.i64()) {
                    Answer::Records(records) => fetched(&mut frame, partition, script.high_watermark, 0, &records, &[]),
                    Answer::Transactions(records, aborted) => {
                        fetched(&mut frame, partition, script.high_watermark, 0, &records, &aborted);
                    }
                    Answer::Error(code) => fetched(&mut frame, partition, script.high_watermark, code, &[], &[]),
                    Answer::CutOff => {
                        stream.write_i32(1_000).await.ok()?;
                        stream.write_all(&frame).await.ok()?;
                        return None;
                    }
                    Answer::Throttled(wait_ms) => put_i32s(&mut frame, &[wait_ms, 0]),
                    Answer::Silence => std::future::pending().await,
                }
            }
            other => panic!("no answer is scripted for {other:?}"),
        }
        stream.write_i32(i32::try_from(frame.len()).unwrap()).await.ok()?;
        stream.write_all(&frame).await.ok()?;
    }
}

struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn skip(&mut self, bytes: usize) {
        self.0 = &self.0[bytes..];
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.0[..N].try_into().unwrap();
        self.skip(N);
        taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_i32s(out: &mut Vec<u8>, numbers: &[i32]) {
    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

fn api_versions(out: &mut Vec<u8>) {
    let spoken = [(FETCH, 4_i16), (LIST_OFFSETS, 1), (METADATA, 4), (API_VERSIONS, 0)];
    out.extend(0_i16.to_be_bytes());
    put_i32s(out, &[i32::try_from(spoken.len()).unwrap()]);
    for (api, version) in spoken {
        out.extend([api, version, version].iter().flat_map(|number| number.to_be_bytes()));
    }
}

fn metadata(out: &mut Vec<u8>, script: &Script, port: u16) {
    put_i32s(out, &[0, 1, NODE]); // no throttling, brokers
    put_string(out, "127.0.0.1");
    put_i32s(out, &[i32::from(port)]);
    out.extend([-1_i16, -1].iter().flat_map(|none| none.to_be_bytes())); // no rack, no cluster name
    put_i32s(out, &[NODE, 1]); // controller, topics
    out.extend(0_i16.to_be_bytes());
    put_string(out, TOPIC);
    out.push(0); // not internal
    let partitions = script.partitions.load(SeqCst);
    put_i32s(out, &[partitions]);
    for partition in 0..partitions {
        out.extend(0_i16.to_be_bytes());
        put_i32s(out, &[partition, script.leader, 1, NODE, 1, NODE]); // replicas, in-sync replicas
    }
}

fn put_offset(out: &mut Vec<u8>, partition: i32, offset: i64) {
    put_i32s(out, &[1]);
    put_string(out, TOPIC);
    put_i32s(out, &[1, partition]);
    out.extend(0_i16.to_be_bytes());
    out.extend((-1_i64).to_be_bytes());
    out.extend(offset.to_be_bytes());
}

fn fetched(out: &mut Vec<u8>, partition: i32, high_watermark: i64, error: i16, records: &[u8], aborted: &[(i64, i64)]) {
    put_i32s(out, &[0, 1]); // no throttling
    put_string(out, TOPIC);
    put_i32s(out, &[1, partition]);
    out.extend(error.to_be_bytes());
    out.extend(high_watermark.to_be_bytes());
    out.extend(high_watermark.to_be_bytes()); // the last stable offset
    put_i32s(out, &[i32::try_from(aborted.len()).unwrap()]);
    out.extend(aborted.iter().flat_map(|(producer, first)| [*producer, *first]).flat_map(i64::to_be_bytes));
    put_i32s(out, &[i32::try_from(records.len()).unwrap()]);
    out.extend(records);
}

/// A batch's attributes.
pub const PLAIN: i16 = 0;
pub const TRANSACTIONAL: i16 = 0b01_0000;
pub const TRANSACTION_MARKER: i16 = 0b11_0000;
/// Who sends every batch.
pub const PRODUCER: i64 = -1;

/// A record batch of format 2, with a right checksum.
pub fn batch(base_offset: i64, last_delta: i32, attributes: i16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut body = attributes.to_be_bytes().to_vec();
    put_i32s(&mut body, &[last_delta]);
    body.extend([1_000_i64, 1_000, PRODUCER].iter().flat_map(|number| number.to_be_bytes())); // times, producer
    body.extend((-1_i16).to_be_bytes());
    put_i32s(&mut body, &[-1, i32::try_from(records.len()).unwrap()]);
    body.extend(records.concat());

    let mut batch = base_offset.to_be_bytes().to_vec();
    put_i32s(&mut batch, &[i32::try_from(4 + 1 + 4 + body.len()).unwrap(), 0]); // leader epoch
    batch.push(2);
    batch.extend(crc32c::crc32c(&body).to_be_bytes());
    batch.extend(body);
    batch
}

pub fn record(delta: i64, key: &[u8], value: &[u8], headers: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut body = vec![0];
    put_varint(&mut body, 0); // time
    put_varint(&mut body, delta);
    put_bytes(&mut body, Some(key));
    put_bytes(&mut body, Some(value));
    put_varint(&mut body, i64::try_from(headers.len()).unwrap());
    for (name, value) in headers {
        put_bytes(&mut body, Some(name.as_bytes()));
        put_bytes(&mut body, *value);
    }
    let mut record = Vec::new();
    put_bytes(&mut record, Some(&body));
    record
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()));
    out.extend(bytes.unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap());
}
