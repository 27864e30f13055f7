//! An S3 server in this process that keeps the contract (each request whole, in memory) and can fail on demand.
//!
//! Owns: the protocol, and when a request fails. Does not own: what is stored.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, memory::InMemory, path::Path,
};
use s3s::{
    Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    auth::SimpleAuth,
    dto::{
        CommonPrefix, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
        DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput,
        GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
        PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
    },
    service::{S3Service, S3ServiceBuilder},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::plan::{StoreFault, StoreFaultKind};

pub const BUCKET: &str = "lake";
const KEY: &str = "chaos-key";
const SECRET: &str = "chaos-secret";
/// How long a worker waits for an answer.
const REQUEST_TIMEOUT: &str = "700ms";

#[derive(Debug)]
pub struct S3Server {
    /// What is in the bucket, to be read without any fault.
    pub objects: Arc<InMemory>,
    address: SocketAddr,
    faults: Arc<Faults>,
    _serving: AbortOnDropHandle<()>,
}

/// Which requests fail right now, and how many did.
#[derive(Debug, Default)]
struct Faults {
    now: Mutex<Option<StoreFault>>,
    requests: AtomicU32,
    struck: AtomicU32,
}

impl S3Server {
    pub async fn start() -> anyhow::Result<Self> {
        let objects = Arc::new(InMemory::new());
        let mut service = S3ServiceBuilder::new(Bucket { objects: objects.clone() });
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let (service, faults) = (service.build(), Arc::new(Faults::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = faults.clone();
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, service.clone(), shared.clone()));
            }
        });
        Ok(Self { objects, address, faults, _serving: AbortOnDropHandle::new(serving) })
    }

    /// What a worker needs to find it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_TIMEOUT", REQUEST_TIMEOUT),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    pub fn set(&self, fault: Option<StoreFault>) {
        *self.faults.now() = fault;
    }

    /// How many requests were failed so far.
    pub fn struck(&self) -> u32 {
        self.faults.struck.load(Ordering::Relaxed)
    }
}

impl Faults {
    fn now(&self) -> std::sync::MutexGuard<'_, Option<StoreFault>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that the next request meets.
    fn next(&self) -> Option<StoreFault> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = self.now().filter(|fault| number.is_multiple_of(fault.one_in));
        self.struck.fetch_add(u32::from(fault.is_some()), Ordering::Relaxed);
        fault
    }
}

/// An answer that is no answer: the connection is reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be reset")]
struct Reset;

async fn serve(socket: TcpStream, service: S3Service, faults: Arc<Faults>) {
    let _only_faster = (socket.set_zero_linger(), socket.set_nodelay(true));
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, fault) = (service.clone(), faults.next());
        async move {
            if fault.is_none_or(|fault| fault.after_effect) {
                let answer = Service::call(&service, request).await.map_err(|_| Reset)?;
                match fault {
                    None => Ok(answer),
                    Some(fault) => spoilt(fault.kind).await,
                }
            } else {
                let kind = fault.map_or(StoreFaultKind::Reset, |fault| fault.kind);
                spoilt(kind).await
            }
        }
    });
    let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
}

async fn spoilt(kind: StoreFaultKind) -> Result<Response<Body>, Reset> {
    match kind {
        StoreFaultKind::Status(code) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(response)
        }
        StoreFaultKind::Reset => Err(Reset),
        StoreFaultKind::Silence => match std::future::pending::<Infallible>().await {},
    }
}

/// The operations that a lake asks for.
#[derive(Debug)]
struct Bucket {
    objects: Arc<InMemory>,
}

#[async_trait]
impl S3 for Bucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let mode = if input.if_none_match.is_some() { PutMode::Create } else { PutMode::Overwrite };
        let mut bytes = vec![];
        let mut body = input.body.ok_or_else(|| S3Error::new(S3ErrorCode::IncompleteBody))?;
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|_| S3Error::new(S3ErrorCode::IncompleteBody))?);
        }
        let put = self.objects.put_opts(&path(&input.key)?, bytes.into(), PutOptions::from(mode)).await;
        let e_tag = put.map_err(refused)?.e_tag.map(ETag::Strong);
        Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let found = self.objects.get(&path(&request.input.key)?).await.map_err(refused)?;
        let meta = found.meta.clone();
        let bytes = found.bytes().await.map_err(refused)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            e_tag: meta.e_tag.map(ETag::Strong),
            last_modified: Some(Timestamp::from(std::time::SystemTime::from(meta.last_modified))),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let meta = self.objects.head(&path(&request.input.key)?).await.map_err(refused)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(meta.size).ok(),
            e_tag: meta.e_tag.map(ETag::Strong),
            last_modified: Some(Timestamp::from(std::time::SystemTime::from(meta.last_modified))),
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket { key, .. } = &request.input.copy_source else {
            return Err(S3Error::new(S3ErrorCode::NotImplemented));
        };
        self.objects.copy(&path(key)?, &path(&request.input.key)?).await.map_err(refused)?;
        let copied = CopyObjectResult { e_tag: Some(ETag::Strong("copied".into())), ..CopyObjectResult::default() };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(copied), ..CopyObjectOutput::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.remove(&request.input.key).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut deleted = vec![];
        for object in request.input.delete.objects {
            self.remove(&object.key).await?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.max(input.start_after).unwrap_or_default();
        let mut listing = Listing::default();
        for meta in self.objects.list(None).try_collect::<Vec<_>>().await.map_err(refused)? {
            listing.add(meta, &prefix, input.delimiter.as_deref(), &after);
        }
        let page = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(1000);
        Ok(S3Response::new(listing.page(page)))
    }
}

/// Keys in their order, of which those with a common prefix up to the delimiter are one.
#[derive(Debug, Default)]
struct Listing(BTreeMap<String, Option<ObjectMeta>>);

impl Listing {
    fn add(&mut self, meta: ObjectMeta, prefix: &str, delimiter: Option<&str>, after: &str) {
        let key = meta.location.to_string();
        let Some(rest) = key.strip_prefix(prefix) else { return };
        let common = delimiter.and_then(|delimiter| Some((rest.split_once(delimiter)?.0, delimiter)));
        let (key, meta) = match common {
            Some((folder, delimiter)) => (format!("{prefix}{folder}{delimiter}"), None),
            None => (key, Some(meta)),
        };
        if key.as_str() > after {
            self.0.insert(key, meta);
        }
    }

    fn page(self, keys_max: usize) -> ListObjectsV2Output {
        let truncated = self.0.len() > keys_max;
        let kept: Vec<_> = self.0.into_iter().take(keys_max).collect();
        let next = kept.last().filter(|_| truncated).map(|(key, _)| key.clone());
        let (objects, folders): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(_, meta)| meta.is_some());
        let folders = folders.into_iter().map(|(key, _)| CommonPrefix { prefix: Some(key) }).collect();
        ListObjectsV2Output {
            contents: Some(objects.into_iter().filter_map(|(_, meta)| meta.map(listed)).collect()),
            common_prefixes: Some(folders),
            is_truncated: Some(truncated),
            next_continuation_token: next,
            ..ListObjectsV2Output::default()
        }
    }
}

impl Bucket {
    async fn remove(&self, key: &str) -> S3Result<()> {
        match self.objects.delete(&path(key)?).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }
}

fn path(key: &str) -> S3Result<Path> {
    Path::parse(key).map_err(|_| S3Error::new(S3ErrorCode::InvalidArgument))
}

fn listed(meta: ObjectMeta) -> Object {
    Object {
        key: Some(meta.location.to_string()),
        size: i64::try_from(meta.size).ok(),
        e_tag: meta.e_tag.map(ETag::Strong),
        last_modified: Some(Timestamp::from(std::time::SystemTime::from(meta.last_modified))),
        ..Object::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
fn refused(error: StoreError) -> S3Error {
    S3Error::new(match error {
        StoreError::NotFound { .. } => S3ErrorCode::NoSuchKey,
        StoreError::AlreadyExists { .. } => S3ErrorCode::PreconditionFailed,
        _ => S3ErrorCode::InternalError,
    })
}
