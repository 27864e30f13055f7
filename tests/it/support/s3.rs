//! An S3 server in this process, which fails where a test says.
//!
//! Owns: the connection, and every way an answer can go wrong on it ([`Act`]). Does not own: what S3 is; that is s3s-fs.
//! Its file system lets several conditional creates win when they come at once, and shows a copy before it is whole, so a
//! lock makes it keep the contract; without the lock it is a store that must be refused.
//!
//! A request that reached the server whole has its effect even if the one who sent it is dead by then, as on any store.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use hyper::{Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{RwLock, watch},
};
use tokio_util::task::AbortOnDropHandle;

use super::LIMIT;

// By its path, as a benchmark takes this file by its own.
#[path = "s3/asked.rs"]
mod asked;

pub use asked::{Asked, Verb};
use asked::{key, keys_in, verb};

pub const BUCKET: &str = "lake";
const KEY: &str = "test-key";
pub const SECRET: &str = "test-secret";

#[derive(Debug)]
pub struct S3Server {
    pub address: SocketAddr,
    /// Where nothing goes wrong.
    calm: SocketAddr,
    shared: Arc<Shared>,
    _folder: TempDir,
    _doors: [AbortOnDropHandle<()>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The request has no effect.
    Before,
    /// It has, and the answer tells another story or none.
    After,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Act {
    Pass,
    /// This status, with S3's code for it in the body.
    Say(When, u16, &'static str),
    /// The connection is reset instead of an answer.
    Reset(When),
    /// …in the middle of the request's body.
    ResetInRequest,
    /// …in the middle of the answer's.
    ResetInAnswer,
    /// The answer's body ends short of its length.
    Truncate,
    /// No answer ever comes.
    Silence(When),
    /// It waits at the gate first; or has its effect, and the answer waits.
    Hold(When, Gate),
    /// Asked before the effect and after it, this says whether it may go on; if not, the answer is 500.
    Ask(Ask),
}

/// May take its time.
#[derive(Clone)]
pub struct Ask(pub Arc<dyn Fn(When) -> BoxFuture<'static, bool> + Send + Sync>);

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}

/// Holds requests until the test lets them go.
#[derive(Clone, Debug)]
pub struct Gate {
    stage: Arc<watch::Sender<Passage>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Passage {
    Expected,
    Reached,
    Open,
    Done,
}

impl Gate {
    pub fn new() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Passage::Expected)) }
    }

    /// Until a request stands there.
    pub async fn reached(&self) {
        self.at(Passage::Reached).await;
    }

    pub fn open(&self) {
        self.stage.send_replace(Passage::Open);
    }

    /// Until the request that stood there has had its effect, or none.
    pub async fn passed(&self) {
        self.at(Passage::Done).await;
    }

    async fn at(&self, stage: Passage) {
        let mut watching = self.stage.subscribe();
        let reached = watching.wait_for(|now| *now >= stage);
        tokio::time::timeout(LIMIT, reached).await.unwrap_or_else(|_| panic!("no request: {stage:?}")).unwrap();
    }

    async fn stand(&self) {
        self.stage.send_replace(Passage::Reached);
        self.at(Passage::Open).await;
    }

    fn leave(&self) {
        self.stage.send_replace(Passage::Done);
    }
}

type Script = Arc<dyn Fn(&Asked) -> Act + Send + Sync>;

struct Shared {
    service: S3Service,
    /// The same objects for requests whose signature no longer fits, because the server has changed them.
    unsigned: S3Service,
    /// Taken by writes alone and by reads together.
    turns: Option<RwLock<()>>,
    script: Mutex<Script>,
    log: Mutex<Vec<Asked>>,
    out: AtomicBool,
    /// Nought: as many as the request asks for.
    page_keys_max: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl S3Server {
    pub async fn start(keeps_the_contract: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let shared = Arc::new(Shared {
            service: service.build(),
            unsigned: S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap()).build(),
            turns: keeps_the_contract.then(RwLock::default),
            script: Mutex::new(Arc::new(|_| Act::Pass)),
            log: Mutex::default(),
            out: AtomicBool::new(false),
            page_keys_max: AtomicUsize::new(0),
        });
        let (address, troubled) = door(shared.clone(), false).await;
        let (calm, untroubled) = door(shared.clone(), true).await;
        Self { address, calm, shared, _folder: folder, _doors: [troubled, untroubled] }
    }

    /// From now on every request is looked at by `script`; the count of requests begins again.
    pub fn play(&self, script: impl Fn(&Asked) -> Act + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
        self.shared.log.lock().unwrap().clear();
    }

    /// The requests since the script began.
    pub fn log(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap().clone()
    }

    /// While it is out, every connection is reset.
    pub fn set_out(&self, out: bool) {
        self.shared.out.store(out, SeqCst);
    }

    /// No page of a listing holds more keys.
    pub fn set_page_keys_max(&self, keys: usize) {
        self.shared.page_keys_max.store(keys, SeqCst);
    }

    /// What a user would put into the environment.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_DEFAULT_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
        ]
    }

    /// A client of the bucket, built without the environment, which tests share; as patient as the product's.
    pub fn client(&self) -> AmazonS3 {
        settings(self.address, ClientOptions::new()).build().unwrap()
    }

    /// A client that waits no longer for an answer.
    pub fn client_that_waits(&self, limit: Duration) -> AmazonS3 {
        settings(self.address, ClientOptions::new().with_timeout(limit)).build().unwrap()
    }

    /// A client that takes the first failure for an answer, and waits for one as long as it takes.
    pub fn client_without_retries(&self) -> AmazonS3 {
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout_disabled();
        settings(self.address, options).with_retry(retry).build().unwrap()
    }

    /// For looking at the bucket: whatever the script says, nothing goes wrong.
    pub fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::new(settings(self.calm, ClientOptions::new()).build().unwrap())
    }
}

fn settings(address: SocketAddr, options: ClientOptions) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_client_options(options.with_allow_http(true))
        .with_endpoint(format!("http://{address}"))
        .with_region("us-east-1")
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .with_bucket_name(BUCKET)
}

async fn door(shared: Arc<Shared>, calm: bool) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(shared.clone(), socket, calm));
        }
    });
    (address, AbortOnDropHandle::new(accepting))
}

/// Ends the connection instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("planted")]
struct Cut;

async fn serve(shared: Arc<Shared>, socket: TcpStream, calm: bool) {
    // A second handle, so that the connection can be told how to end while hyper has it.
    let socket = socket.into_std().unwrap();
    let ending = Arc::new(TcpStream::from_std(socket.try_clone().unwrap()).unwrap());
    let socket = TcpStream::from_std(socket).unwrap();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, ending) = (shared.clone(), ending.clone());
        async move {
            if calm {
                return shared.answer_calmly(request).await;
            }
            shared.answer(request, &ending).await
        }
    });
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
}

/// What is left of the connection goes with it.
fn reset(socket: &TcpStream) -> Cut {
    socket.set_zero_linger().unwrap();
    Cut
}

impl Shared {
    async fn answer_calmly(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let verb = verb(&request);
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|_| Cut)?;
        Ok(self.work(verb, Request::from_parts(head, body)).await.map(Body::from))
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, socket: &TcpStream) -> Result<Response<Body>, Cut> {
        if self.out.load(SeqCst) {
            return Err(reset(socket));
        }
        let (asked, act, request) = self.look(request).await?;
        if matches!(act, Act::ResetInRequest) {
            take_half(request).await;
            return Err(reset(socket));
        }
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, to_bytes(body, usize::MAX).await.map_err(|_| Cut)?);
        // In a task of its own: what has come in whole is done, whoever still waits for it.
        let done = tokio::spawn(self.obey(act.clone(), asked.verb, request));
        let answer = done.await.unwrap();
        match act {
            Act::Say(_, status, code) => Ok(say(status, code)),
            Act::Reset(_) | Act::ResetInRequest => Err(reset(socket)),
            Act::Silence(_) => std::future::pending().await,
            Act::ResetInAnswer => {
                socket.set_zero_linger().unwrap();
                Ok(half(answer, Some(Cut)))
            }
            Act::Truncate => Ok(half(answer, None)),
            Act::Pass | Act::Hold(..) | Act::Ask(_) => Ok(answer.map(Body::from)),
        }
    }

    /// Notes the request and asks the script about it, once.
    async fn look(&self, request: Request<Incoming>) -> Result<(Asked, Act, Request<Body>), Cut> {
        let verb = verb(&request);
        let mut key = key(request.uri());
        let mut request = request.map(Body::new);
        if verb == Verb::Delete && key.is_empty() {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.map_err(|_| Cut)?;
            key = keys_in(&body);
            request = Request::from_parts(head, Body::from(body));
        }
        let asked = {
            let mut log = self.log.lock().unwrap();
            let asked = Asked { number: log.len(), verb, key };
            log.push(asked.clone());
            asked
        };
        let script = self.script.lock().unwrap().clone();
        let act = script(&asked);
        Ok((asked, act, request))
    }

    /// The effect, if there is to be one.
    async fn obey(self: Arc<Self>, act: Act, verb: Verb, request: Request<Bytes>) -> Response<Bytes> {
        match act {
            Act::Say(When::Before, ..) | Act::Reset(When::Before) | Act::Silence(When::Before) => Response::default(),
            Act::Hold(When::Before, gate) => {
                gate.stand().await;
                let answer = self.work(verb, request).await;
                gate.leave();
                answer
            }
            Act::Hold(When::After, gate) => {
                let answer = self.work(verb, request).await;
                gate.stand().await;
                gate.leave();
                answer
            }
            Act::Ask(ask) => {
                if !ask.0(When::Before).await {
                    return failed();
                }
                let answer = self.work(verb, request).await;
                if ask.0(When::After).await { answer } else { failed() }
            }
            _ => self.work(verb, request).await,
        }
    }

    async fn work(&self, verb: Verb, mut request: Request<Bytes>) -> Response<Bytes> {
        let (_shared, _alone);
        if let Some(turns) = &self.turns {
            match verb {
                Verb::Get | Verb::Head | Verb::List => _shared = turns.read().await,
                _ => _alone = turns.write().await,
            }
        }
        let keys_max = self.page_keys_max.load(SeqCst);
        let service = if verb == Verb::List && keys_max > 0 {
            request.headers_mut().remove(header::AUTHORIZATION);
            *request.uri_mut() = format!("{}&max-keys={keys_max}", request.uri()).parse().unwrap();
            &self.unsigned
        } else {
            &self.service
        };
        let (head, body) = service.call(request.map(s3s::Body::from)).await.unwrap().into_parts();
        Response::from_parts(head, to_bytes(Body::new(body), usize::MAX).await.unwrap())
    }
}

async fn take_half(request: Request<Body>) {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: usize = length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or_default();
    let (mut body, mut taken) = (request.into_body().into_data_stream(), 0);
    while taken < length / 2 {
        let Some(Ok(bytes)) = body.next().await else { return };
        taken += bytes.len();
    }
}

/// The answer with half of its body, and then nothing or an abrupt end.
fn half(answer: Response<Bytes>, end: Option<Cut>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if body.is_empty() {
        return Response::from_parts(head, Body::from(body));
    }
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let first = body.slice(..body.len() / 2);
    let rest = stream::once(async move {
        // Time for the first half to leave.
        tokio::time::sleep(Duration::from_millis(5)).await;
        end
    });
    let chunks = stream::iter([Ok(first)]).chain(rest.filter_map(async |end| end.map(Err)));
    Response::from_parts(head, Body::from_stream(chunks))
}

fn failed() -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}

fn say(status: u16, code: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n<Code>{code}</Code>\n<Message>planted by the test</Message>\n\
         <RequestId>0</RequestId>\n</Error>\n"
    );
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml").body(Body::from(body)).unwrap()
}
