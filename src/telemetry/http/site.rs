//! What each request is answered.
//!
//! Invariant: only GET and HEAD, never a body; no answer may be kept, framed, or read as anything but what it says it is.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Frame},
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
        REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::sync::Semaphore;

use super::{Door, Looks, page::Page};
use crate::telemetry::status::Status;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Of what is no page.
const NOTHING_RUNS: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Metrics are written for so many at a time; the others wait.
const SCRAPES_MAX: usize = 1;

pub(super) struct Site {
    door: Door,
    looks: Looks,
    metrics: Box<dyn Fn(&Status) -> String + Send + Sync>,
    scrapes: Semaphore,
    pages: Arc<Semaphore>,
    index: Page,
    enter: Page,
}

impl Site {
    pub(super) fn new(
        door: Door,
        looks: Looks,
        metrics: Box<dyn Fn(&Status) -> String + Send + Sync>,
        pages_max: usize,
    ) -> Self {
        let (pages, scrapes) = (Arc::new(Semaphore::new(pages_max)), Semaphore::new(SCRAPES_MAX));
        Self { door, looks, metrics, scrapes, pages, index: Page::index(), enter: Page::enter() }
    }

    pub(super) async fn answer<B: Body>(&self, request: Request<B>) -> Result<Answer, Infallible> {
        let is_head = request.method() == Method::HEAD;
        if !is_head && request.method() != Method::GET {
            let refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
            return Ok(closing(with(refusal, ALLOW, HeaderValue::from_static("GET, HEAD"))));
        }
        if !request.body().is_end_stream() {
            return Ok(closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here\n")));
        }
        let headers = request.headers();
        Ok(match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "alive\n"),
            "/readyz" => self.ready(self.door.opens_to(headers)),
            _ if !self.door.knows_name(headers) => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this run is shown on its own machine alone, as localhost; to have it under another name, set a token under [http]\n",
            ),
            "/session" => self.session(headers),
            "/" if !self.door.opens_to(headers) => with_page(StatusCode::UNAUTHORIZED, &self.enter),
            _ if !self.door.opens_to(headers) => unauthorized(),
            "/" => with_page(StatusCode::OK, &self.index),
            "/status" => whole(StatusCode::OK, JSON, self.looks.whole(&self.looks.newest())),
            "/events" if is_head => whole(StatusCode::OK, EVENTS, Bytes::new()),
            "/events" => self.events(),
            "/metrics" => self.scrape().await,
            _ => plain(
                StatusCode::NOT_FOUND,
                "there is nothing here; there is /, /status, /events, /metrics, /healthz and /readyz\n",
            ),
        })
    }

    /// What is in the way is told to those who may look.
    fn ready(&self, tells: bool) -> Answer {
        let look = self.looks.newest();
        if look.status.ready {
            return plain(StatusCode::OK, "ready\n");
        }
        let lines = if tells { look.status.not_ready.join("\n") + "\n" } else { String::new() };
        whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready\n{lines}").into())
    }

    /// A browser can't show a token with each request; it shows it once, and gets a cookie.
    fn session(&self, headers: &HeaderMap) -> Answer {
        match self.door.cookie_for(headers) {
            Some(cookie) => with(plain(StatusCode::NO_CONTENT, ""), SET_COOKIE, cookie),
            None if self.door.opens_to(headers) => plain(StatusCode::NO_CONTENT, ""),
            None => unauthorized(),
        }
    }

    fn events(&self) -> Answer {
        let Ok(seat) = self.pages.clone().try_acquire_owned() else {
            let refusal = plain(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n");
            return with(refusal, RETRY_AFTER, HeaderValue::from_static("5"));
        };
        let (past, looks) = (self.looks.past(), self.looks.follow());
        // Who is slow misses looks; none wait for them.
        let events = stream::unfold((Some(past), looks, seat), |(past, mut looks, seat)| async move {
            let told = if let Some(past) = past {
                past
            } else {
                looks.changed().await.ok()?;
                let look = looks.borrow_and_update().clone();
                look.event()
            };
            Some((Ok(Frame::data(told)), (None, looks, seat)))
        });
        dressed(StatusCode::OK, EVENTS, StreamBody::new(events).boxed_unsync())
    }

    async fn scrape(&self) -> Answer {
        let _turn = self.scrapes.acquire().await;
        let text = (self.metrics)(&self.looks.newest().status);
        whole(StatusCode::OK, PROMETHEUS, text.into())
    }
}

fn unauthorized() -> Answer {
    let refusal =
        plain(StatusCode::UNAUTHORIZED, "send the token that is set under [http]: `Authorization: Bearer …`\n");
    with(refusal, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn with_page(code: StatusCode, page: &Page) -> Answer {
    with(whole(code, HTML, page.html.clone()), CONTENT_SECURITY_POLICY, page.policy.clone())
}

fn plain(code: StatusCode, text: &'static str) -> Answer {
    whole(code, TEXT, Bytes::from_static(text.as_bytes()))
}

fn whole(code: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    dressed(code, kind, Full::new(bytes).boxed_unsync())
}

fn dressed(code: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (CONTENT_SECURITY_POLICY, NOTHING_RUNS),
    ]);
    answer
}

/// What is left of the request is not read.
fn closing(answer: Answer) -> Answer {
    with(answer, CONNECTION, HeaderValue::from_static("close"))
}

fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}
