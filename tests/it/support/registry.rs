//! Schema registries: Apicurio, from the folder that `ALLUVIUM_TEST_REGISTRY` names (`.ci/registry` fetches it), and one
//! in this process that fails where a test says.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use alluvium::registry::{Registry, RegistrySettings};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, header},
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OnceCell,
};

use super::{parts, until};

/// Small, and quick to start rather than quick for long.
const JAVA: [&str; 5] = ["java", "-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
/// Kills the server when the shell's input ends, hence when this process is gone in whatever way.
const KEEPER: &str = r#""$@" >/dev/null 2>&1 </dev/null & cat >/dev/null; kill -9 $! 2>/dev/null"#;

static SHARED: OnceCell<Option<Apicurio>> = OnceCell::const_new();

/// A registry that others wrote, in memory; all tests share it, each with subjects of its own.
#[derive(Debug)]
pub struct Apicurio {
    port: u16,
    _keeper: Child,
}

impl Apicurio {
    /// `None` where there is none, which is said.
    pub async fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::start).await.as_ref()
    }

    async fn start() -> Option<Self> {
        let folder = env::var_os("ALLUVIUM_TEST_REGISTRY").map(PathBuf::from).filter(|folder| folder.is_dir());
        let Some(folder) = folder else {
            return parts::missing("no schema registry (ALLUVIUM_TEST_REGISTRY names its folder, see .ci/registry)");
        };
        let mut files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let program = files.find(|path| path.to_string_lossy().ends_with("-runner.jar"));
        let program = program.expect("the folder holds the registry's program");
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "sh"]).args(JAVA).arg(format!("-Dquarkus.http.port={port}"));
        shell.arg("-Dquarkus.http.host=127.0.0.1").arg("-jar").arg(program);
        let keeper = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the registry listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        let this = Self { port, _keeper: keeper };
        until("the registry answers", async || this.client().latest("nothing").await.is_ok()).await;
        Some(this)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    pub fn client(&self) -> Registry {
        client(&self.url())
    }
}

pub fn client(url: &str) -> Registry {
    let settings = RegistrySettings {
        urls: vec![url.to_owned()],
        user: None,
        password: None,
        ca: None,
        timeout: super::LIMIT,
        schemas_max: 100,
    };
    Registry::open(&settings).unwrap()
}

/// A registry in this process: schemas by their ids, and whether it can be reached.
#[derive(Clone, Default)]
pub struct Scripted {
    state: Arc<Mutex<Scene>>,
}

#[derive(Default)]
struct Scene {
    schemas: BTreeMap<u32, serde_json::Value>,
    /// Answers this to everything.
    refuses_with: Option<u16>,
    password: Option<String>,
    asked: usize,
}

impl Scripted {
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    pub fn hold(&self, id: u32, kind: &str, text: &str) {
        self.state.lock().unwrap().schemas.insert(id, json!({"schema": text, "schemaType": kind}));
    }

    pub fn refuse_with(&self, status: Option<u16>) {
        self.state.lock().unwrap().refuses_with = status;
    }

    /// As the header of basic authentication has it.
    pub fn want(&self, authorization: &str) {
        self.state.lock().unwrap().password = Some(authorization.to_owned());
    }

    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

async fn answer(State(registry): State<Scripted>, request: Request) -> Response<Body> {
    let (request, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut scene = registry.state.lock().unwrap();
    scene.asked += 1;
    if request.method == "POST" && scene.refuses_with.is_none() {
        let id = u32::try_from(scene.schemas.len()).unwrap() + 1;
        scene.schemas.insert(id, serde_json::from_slice(&body).unwrap());
        return Response::new(Body::from(json!({"id": id}).to_string()));
    }
    let authorization = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let id = request.uri.path().rsplit('/').next().and_then(|id| id.parse().ok());
    let (status, body) = match id.and_then(|id: u32| scene.schemas.get(&id)) {
        _ if scene.refuses_with.is_some() => (scene.refuses_with.unwrap(), json!({})),
        _ if scene.password.is_some() && scene.password.as_deref() != authorization => {
            (401, json!({"error_code": 401, "message": "Unauthorized"}))
        }
        Some(schema) => (200, schema.clone()),
        None => (404, json!({"error_code": 40403, "message": "Schema not found"})),
    };
    Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
}
