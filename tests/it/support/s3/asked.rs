//! What a request to S3 asks for, read off its head.

use std::fmt;

use hyper::{Method, Request, Uri, header};

use super::BUCKET;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    Put,
    Copy,
    BeginParts,
    Part,
    CompleteParts,
    AbortParts,
    Get,
    Head,
    List,
    Delete,
    Other,
}

/// A request, as a script sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// From nought, since the server began or was last told to [`play`](super::S3Server::play) a script.
    pub number: usize,
    pub verb: Verb,
    /// The object, or what a listing asks for; several deletions in one request are one text.
    pub key: String,
}

pub(super) fn verb<B>(request: &Request<B>) -> Verb {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let headers = request.headers();
    match *request.method() {
        Method::PUT if has("partNumber") => Verb::Part,
        Method::PUT if headers.contains_key("x-amz-copy-source") => Verb::Copy,
        Method::PUT if headers.contains_key(header::IF_NONE_MATCH) => Verb::Create,
        Method::PUT => Verb::Put,
        Method::POST if has("uploads") => Verb::BeginParts,
        Method::POST if has("uploadId") => Verb::CompleteParts,
        Method::DELETE if has("uploadId") => Verb::AbortParts,
        Method::POST if has("delete") => Verb::Delete,
        Method::DELETE => Verb::Delete,
        Method::GET if has("list-type") => Verb::List,
        Method::GET => Verb::Get,
        Method::HEAD => Verb::Head,
        _ => Verb::Other,
    }
}

/// The key in the address; of a listing, its prefix.
pub(super) fn key(uri: &Uri) -> String {
    let bucket = format!("/{BUCKET}");
    let path = uri.path().strip_prefix(&bucket).unwrap_or(uri.path()).trim_start_matches('/');
    let prefix = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("prefix=")));
    let key = if path.is_empty() { prefix.unwrap_or_default() } else { path };
    key.replace("%2F", "/").replace("%3D", "=")
}

/// The keys that a bulk deletion names.
pub(super) fn keys_in(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} {}", self.number, self.verb, self.key)
    }
}
