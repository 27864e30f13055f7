//! One question to the registry: which URL is asked, how long, how often, and what its answer means.
//!
//! Owns: HTTP. Does not own: what is remembered ([`super::memory`]).

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{sleep, timeout};

use super::{
    RegistryError, RegistrySettings, Secret,
    answers::FaultAnswer,
    error::{causes, said},
};

/// A larger answer is no schema that anybody wrote.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const TRIES_MAX: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const REDIRECTS_MAX: usize = 3;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    urls: Vec<Url>,
    /// Which URL has answered last; it is asked first.
    first: AtomicUsize,
    user: Option<String>,
    password: Option<Secret>,
    timeout: Duration,
}

/// What one URL said.
enum Said {
    Found(Vec<u8>),
    NotFound,
}

impl Client {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        let urls = settings.urls.iter().map(|url| base(url)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(RegistryError::person("no URL is named"));
        }
        warn_of_plain_passwords(settings, &urls);
        Ok(Self {
            http: http(settings.ca.as_deref(), settings.timeout)?,
            urls,
            first: AtomicUsize::new(0),
            user: settings.user.clone(),
            password: settings.password.clone(),
            timeout: settings.timeout,
        })
    }

    #[cfg(test)]
    pub(super) fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    /// What stands at a path; `None` if the registry says that there is nothing.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, RegistryError> {
        self.ask(&Method::GET, path, None).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, RegistryError> {
        let body = serde_json::to_vec(body).map_err(|error| RegistryError::person(format!("write JSON: {error}")))?;
        let answer = self.ask(&Method::POST, path, Some(body)).await?;
        answer.ok_or_else(|| RegistryError::person(format!("it says that there is no {}", path.join("/"))))
    }

    /// Asks until there is an answer, or no more tries. Every URL gets its turn.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Option<T>, RegistryError> {
        let first = self.first.load(Ordering::Relaxed);
        let mut pause = PAUSE_FIRST;
        let mut tried = 0;
        loop {
            let at = (first + tried as usize) % self.urls.len();
            let (asked_for, error) = match self.ask_one(&self.urls[at], method, path, body.clone()).await {
                Ok(answer) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            tried += 1;
            if !error.is_transient() || tried >= TRIES_MAX.max(u32::try_from(self.urls.len()).unwrap_or(TRIES_MAX)) {
                return Err(error);
            }
            tracing::debug!(%error, "the schema registry is asked again");
            sleep(asked_for.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One try. A failure comes with the pause that the registry asked for, if it did.
    async fn ask_one<T: DeserializeOwned>(
        &self,
        url: &Url,
        method: &Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Option<T>, (Option<Duration>, RegistryError)> {
        let request = self.request(url, method, path, body).map_err(|error| (None, error))?;
        let said = timeout(self.timeout, say(request)).await;
        let said = said.unwrap_or_else(|_| Err((None, RegistryError::transient("no answer within `timeout`"))));
        let outcome = if said.is_ok() { "answered" } else { "failed" };
        metrics::counter!("alluvium_registry_requests_total", "outcome" => outcome).increment(1);
        match said.map_err(|(pause, error)| (pause, error.at(url.as_str())))? {
            Said::NotFound => Ok(None),
            Said::Found(bytes) => {
                let broken =
                    |error| RegistryError::transient(format!("its answer is not the JSON of its API: {error}"));
                serde_json::from_slice(&bytes).map(Some).map_err(|error| (None, broken(error).at(url.as_str())))
            }
        }
    }

    fn request(
        &self,
        base: &Url,
        method: &Method,
        path: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<RequestBuilder, RegistryError> {
        let mut url = base.clone();
        let mut segments =
            url.path_segments_mut().map_err(|()| RegistryError::person(format!("{base} is not a URL with a path")))?;
        segments.pop_if_empty().extend(path);
        drop(segments);
        let mut request = self.http.request(method.clone(), url).header(header::ACCEPT, ACCEPTED);
        if let Some(user) = &self.user {
            request = request.basic_auth(user, self.password.as_ref().map(Secret::reveal));
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, CONTENT_TYPE).body(body);
        }
        Ok(request)
    }
}

async fn say(request: RequestBuilder) -> Result<Said, (Option<Duration>, RegistryError)> {
    let response = request.send().await.map_err(|error| (None, RegistryError::unanswered(error)))?;
    let (status, pause) = (response.status(), retry_after(&response));
    let bytes = bounded(response).await.map_err(|error| (pause, error))?;
    if status.is_success() {
        return Ok(Said::Found(bytes));
    }
    let fault: FaultAnswer = serde_json::from_slice(&bytes).unwrap_or_default();
    // A 404 without the registry's own code comes from something else: the path is wrong, or a proxy answers.
    if status == StatusCode::NOT_FOUND && fault.error_code.is_some_and(is_absence) {
        return Ok(Said::NotFound);
    }
    Err((pause, refused(status, &fault)))
}

/// 404 itself, or the registry's codes for a subject, a version and a schema that is not there.
fn is_absence(code: u32) -> bool {
    code == 404 || (40401..=40403).contains(&code)
}

fn refused(status: StatusCode, fault: &FaultAnswer) -> RegistryError {
    let said = said(&fault.message);
    let told = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status.as_u16() {
        401 | 403 => RegistryError::person(format!("{told}; look at `user` and `password` under [registry]")),
        404 => RegistryError::person(format!("{told}; there is no schema registry at this URL: look at its path")),
        408 | 425 | 429 | 500.. => RegistryError::transient(told),
        _ => RegistryError::person(told),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(RegistryError::unanswered)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(RegistryError::person(format!("its answer is larger than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn base(text: &str) -> Result<Url, RegistryError> {
    let url = Url::parse(text).map_err(|error| RegistryError::person(format!("the URL can't be used: {error}")))?;
    let secretive = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        "http" | "https" if !secretive => Ok(url),
        "http" | "https" => {
            Err(RegistryError::person("its URL holds a user; write `user` and `password` under [registry] instead"))
        }
        scheme => Err(RegistryError::person(format!("`{scheme}://` is not spoken; write http:// or https://"))),
    }
}

fn http(ca: Option<&Path>, connect_timeout: Duration) -> Result<reqwest::Client, RegistryError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("alluvium/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .connect_timeout(connect_timeout);
    if let Some(path) = ca {
        builder = builder.tls_built_in_root_certs(false);
        for certificate in certificates(path)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| RegistryError::person(format!("prepare TLS: {}", causes(&error))))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, RegistryError> {
    let fault = |why: String| RegistryError::person(format!("read the certificates of {}: {why}", path.display()));
    let pem = fs::read(path).map_err(|error| fault(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| fault(causes(&error)))?;
    if certificates.is_empty() { Err(fault("there is none in it".into())) } else { Ok(certificates) }
}

fn warn_of_plain_passwords(settings: &RegistrySettings, urls: &[Url]) {
    let local = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if let (Some(_), Some(url)) = (&settings.password, urls.iter().find(|url| url.scheme() == "http" && !local(url))) {
        tracing::warn!("the password for the schema registry at {url} travels unencrypted; use https:// if it has it");
    }
}
