//! `[http]`: where the page, `/status` and `/metrics` are served, and to whom.
//!
//! Invariant: no fault shows a token.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    keys::{self, Key},
    section::Section,
    value::{self, Given, Refusal},
};
use crate::telemetry::http::{HttpSettings, Identity, Listen, Token, TokenFrom};

pub(super) fn http(table: &mut Section<'_, '_>) -> Option<HttpSettings> {
    let listen = table.read_or(&keys::HTTP_LISTEN, Listen::Default, listen);
    let written = table.read_or(&keys::HTTP_TOKEN, None, |given| token(given).map(Some));
    let file = path(table, &keys::HTTP_TOKEN_FILE);
    let cert = path(table, &keys::HTTP_TLS_CERT);
    let key = path(table, &keys::HTTP_TLS_KEY);
    // All of them are looked at before any of them ends it: every fault is told at once.
    let token = match (written, file) {
        (Some(Some(_)), Some(Some(_))) => {
            table.refuse(&keys::HTTP_TOKEN_FILE, Refusal::because("token and token_file can't both be there"))
        }
        (Some(Some(token)), Some(None)) => Some(Some(TokenFrom::Text(token))),
        (Some(None), Some(file)) => Some(file.map(TokenFrom::File)),
        (None, _) | (_, None) => None,
    };
    let tls = match (cert, key) {
        (Some(Some(cert)), Some(Some(key))) => Some(Some(Identity { cert, key })),
        (Some(Some(_)), Some(None)) => {
            table.refuse(&keys::HTTP_TLS_CERT, Refusal::because("tls_cert needs tls_key beside it"))
        }
        (Some(None), Some(Some(_))) => {
            table.refuse(&keys::HTTP_TLS_KEY, Refusal::because("tls_key needs tls_cert beside it"))
        }
        (Some(None), Some(None)) => Some(None),
        (None, _) | (_, None) => None,
    };
    Some(HttpSettings { listen: listen?, token: token?, tls: tls? })
}

fn listen(given: &Given<'_>) -> Result<Listen, Refusal> {
    let text = given.as_text()?.trim();
    if text == "off" {
        return Ok(Listen::Off);
    }
    text.parse::<SocketAddr>().map(Listen::At).map_err(|_| {
        match text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')) {
            Some(port) => value::did_you_mean_this(&format!("127.0.0.1:{port}")),
            None => Refusal::default(),
        }
    })
}

fn token(given: &Given<'_>) -> Result<Token, Refusal> {
    let refusal = || {
        Refusal::because(format!("token takes {}", keys::HTTP_TOKEN.takes)).hint("such as `openssl rand -hex 32` makes")
    };
    given.as_text().ok().and_then(Token::new).ok_or_else(refusal)
}

#[expect(clippy::option_option, reason = "the outer one is absent where a fault was noted")]
fn path(table: &mut Section<'_, '_>, key: &Key) -> Option<Option<PathBuf>> {
    table.read_or(key, None, |given| match given.as_text()? {
        "" => Err(Refusal::default()),
        path => Ok(Some(PathBuf::from(path))),
    })
}
