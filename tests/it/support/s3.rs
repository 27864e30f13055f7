//! An S3 server in this process. Its file system lets several conditional creates win when they come at once, so a
//! lock around writes makes it keep the contract; without the lock it is a store that must be refused.

use std::{net::SocketAddr, sync::Arc};

use hyper::{
    Method, Request,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Mutex};
use tokio_util::task::AbortOnDropHandle;

pub const BUCKET: &str = "lake";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

#[derive(Debug)]
pub struct S3Server {
    pub address: SocketAddr,
    _folder: TempDir,
    _server: AbortOnDropHandle<()>,
}

impl S3Server {
    pub async fn start(writes_one_at_a_time: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let lock = writes_one_at_a_time.then(|| Arc::new(Mutex::new(())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, lock) = (service.clone(), lock.clone());
                let guarded = service_fn(move |request: Request<Incoming>| {
                    let (service, lock) = (service.clone(), lock.clone());
                    async move {
                        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
                        let _turn = match lock.filter(|_| !reads) {
                            Some(lock) => Some(lock.lock_owned().await),
                            None => None,
                        };
                        Service::call(&service, request).await
                    }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), guarded).await;
                });
            }
        });
        Self { address, _folder: folder, _server: AbortOnDropHandle::new(server) }
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

    /// A client of the bucket, built without the environment, which tests share.
    pub fn client(&self) -> AmazonS3 {
        let settings = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .with_bucket_name(BUCKET);
        settings.build().unwrap()
    }
}
