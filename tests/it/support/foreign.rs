//! S3 servers that others wrote: moto from `PyPI`, `MinIO`, and whatever the environment names.

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alluvium::objects::Objects;
use hyper::Method;
use object_store::{
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::Signer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use super::{parts, until};

const BUCKET: &str = "lake";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// A server that ends with the test.
#[derive(Debug)]
pub struct Foreign {
    endpoint: String,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MOTO: &str = "
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=int(sys.argv[1]), verbose=False)
server.start()
sys.stdin.read()
";

impl Foreign {
    /// `None` where moto is not installed, which is said.
    pub async fn moto() -> Option<Self> {
        let python = parts::python_with("moto.server")?;
        let address = free_address().await;
        let port = address.rsplit(':').next().unwrap();
        let mut command = Command::new(python);
        command.args(["-c", MOTO, port]);
        Some(Self::start(command, &address).await)
    }

    /// `None` where there is no `minio` on the path and none named by `ALLUVIUM_TEST_MINIO`, which is said; it need not be
    /// there.
    pub async fn minio() -> Option<Self> {
        let program = env::var_os("ALLUVIUM_TEST_MINIO").map_or_else(|| PathBuf::from("minio"), PathBuf::from);
        let tried = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if tried.is_err() {
            eprintln!("skipped: there is no MinIO, and need not be (ALLUVIUM_TEST_MINIO names its program)");
            return None;
        }
        let address = free_address().await;
        let mut command = Command::new(program);
        command.args(["server", ".", "--quiet", "--address", &address]);
        command.env("MINIO_ROOT_USER", KEY).env("MINIO_ROOT_PASSWORD", SECRET);
        Some(Self::start(command, &address).await)
    }

    async fn start(mut command: Command, address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let server = Self { endpoint: format!("http://{address}"), child, _folder: folder };
        let bucket = server.client().signed_url(Method::PUT, &Path::default(), Duration::from_mins(5)).await.unwrap();
        until("the server has made a bucket", async || put(address, &bucket).await).await;
        server
    }

    pub fn client(&self) -> AmazonS3 {
        let settings = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .with_bucket_name(BUCKET);
        settings.build().unwrap()
    }
}

/// What `ALLUVIUM_TEST_S3` names, with the usual AWS environment; `None` where nothing is named.
pub fn named() -> Option<Objects> {
    let url = env::var("ALLUVIUM_TEST_S3").ok()?;
    Some(Objects::open(&url).unwrap())
}

async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Whether an empty PUT of an address that is signed already succeeds.
async fn put(address: &str, url: &Url) -> bool {
    let sent = async {
        let mut socket = TcpStream::connect(address).await?;
        let mut request = Vec::new();
        write!(
            request,
            "PUT {}?{} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            url.path(),
            url.query().unwrap_or_default()
        )?;
        socket.write_all(&request).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    sent.await.unwrap_or(false)
}
