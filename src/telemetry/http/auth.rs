//! Who may look.
//!
//! Owns: the token, the cookie that a browser gets for it, and by which names a page without a token may be called. Invariant:
//! no text that leaves here has the token in it, and none is compared in a time that depends on where it differs.

use std::{
    fs,
    hint::black_box,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HOST, HeaderValue},
};
use sha2::{Digest, Sha256};

use super::HttpError;
use crate::secret::Secret;

/// Shorter ones could be guessed.
pub const TOKEN_CHARACTERS_MIN: usize = 16;
/// Longer ones would not fit into a request's head beside the rest.
pub const TOKEN_CHARACTERS_MAX: usize = 1024;

/// What a request must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// `None` for what is no token: too short, too long, or not of letters, digits and signs alone.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let lengths = TOKEN_CHARACTERS_MIN..=TOKEN_CHARACTERS_MAX;
        let fits = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(Secret::new(text)))
    }

    pub(crate) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    File(PathBuf),
    Text(Token),
}

impl TokenFrom {
    pub(super) fn read(&self) -> Result<Token, HttpError> {
        match self {
            Self::Text(token) => Ok(token.clone()),
            Self::File(path) => {
                let text = fs::read_to_string(path).map_err(|source| HttpError::File {
                    what: "token",
                    path: path.clone(),
                    source,
                })?;
                Token::new(text.trim()).ok_or_else(|| HttpError::Token { path: path.clone() })
            }
        }
    }
}

type Sum = [u8; 32];

/// Lets requests in, or not.
pub(super) struct Door {
    lock: Option<Lock>,
    /// Nobody but this machine is meant to come: its names alone are answered to.
    this_machine_alone: bool,
}

struct Lock {
    token: Sum,
    cookie: Sum,
    /// Ports share their cookies, so each has a name of its own.
    name: String,
    secure: bool,
}

impl Door {
    pub(super) fn new(token: Option<&Token>, address: SocketAddr, secure: bool) -> Self {
        let lock = token.map(|token| Lock {
            token: sum(token.reveal().as_bytes()),
            cookie: cookie(token),
            name: format!("alluvium-{}", address.port()),
            secure,
        });
        Self { this_machine_alone: lock.is_none() && address.ip().is_loopback(), lock }
    }

    /// Whether the request shows the token, or the cookie that was given for it, or needs neither.
    pub(super) fn opens_to(&self, headers: &HeaderMap) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.is_opened_by_token(headers) || lock.is_opened_by_cookie(headers))
    }

    /// The cookie for whoever shows the token itself.
    pub(super) fn cookie_for(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let lock = self.lock.as_ref().filter(|lock| lock.is_opened_by_token(headers))?;
        let secure = if lock.secure { "; Secure" } else { "" };
        let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict{secure}", lock.name, hex(&lock.cookie));
        HeaderValue::try_from(cookie).ok()
    }

    /// A site elsewhere can have its own name point here, and would then read what this machine's browser is shown. What
    /// has no token answers to no such name.
    pub(super) fn knows_name(&self, headers: &HeaderMap) -> bool {
        !self.this_machine_alone || headers.get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_this_machine))
    }
}

impl Lock {
    fn is_opened_by_token(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        shown.is_some_and(|(_, token)| is_same(&sum(token.trim().as_bytes()), &self.token))
    }

    fn is_opened_by_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let right = sum(hex(&self.cookie).as_bytes());
        pairs.any(|(name, value)| name == self.name && is_same(&sum(value.as_bytes()), &right))
    }
}

/// Tells who has it nothing of the token, and is the same after a restart.
fn cookie(token: &Token) -> Sum {
    let mut hash = Sha256::new();
    hash.update(b"the cookie of alluvium's page\0");
    hash.update(token.reveal());
    hash.finalize().into()
}

fn sum(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}

fn is_same(one: &Sum, other: &Sum) -> bool {
    black_box(one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other))) == 0
}

fn hex(sum: &Sum) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// `localhost:9184`, `127.0.0.1`, `[::1]:9184`
fn is_this_machine(host: &str) -> bool {
    let port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if port(digits) && !name.ends_with(':') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sixteen-or-more-characters";

    fn door(token: Option<&str>, address: &str) -> Door {
        Door::new(token.and_then(Token::new).as_ref(), address.parse().unwrap(), false)
    }

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::try_from(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn the_token_opens_and_nothing_like_it_does() {
        let door = door(Some(TOKEN), "0.0.0.0:1");
        assert!(door.opens_to(&headers(AUTHORIZATION, &format!("Bearer {TOKEN}"))));
        assert!(door.opens_to(&headers(AUTHORIZATION, &format!("bearer  {TOKEN}"))));
        for wrong in [TOKEN, "Bearer", "Bearer ", "Basic c2l4", &format!("Bearer {TOKEN}x"), "Bearer sixteen"] {
            assert!(!door.opens_to(&headers(AUTHORIZATION, wrong)), "{wrong}");
        }
        assert!(!door.opens_to(&HeaderMap::new()));
    }

    #[test]
    fn a_browser_gets_a_cookie_that_opens_and_does_not_hold_the_token() {
        let door = door(Some(TOKEN), "127.0.0.1:9184");
        let shown = headers(AUTHORIZATION, &format!("Bearer {TOKEN}"));
        let cookie = door.cookie_for(&shown).unwrap().to_str().unwrap().to_owned();
        assert!(
            cookie.starts_with("alluvium-9184=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        assert!(!cookie.contains(TOKEN));
        let pair = cookie.split(';').next().unwrap();
        assert!(door.opens_to(&headers(COOKIE, &format!("other=1; {pair}"))));
        assert!(!door.opens_to(&headers(COOKIE, &pair.replace("9184", "9185"))));
        assert!(!door.opens_to(&headers(COOKIE, "alluvium-9184=")));
        assert!(door.cookie_for(&headers(COOKIE, pair)).is_none(), "no cookie for a cookie");
    }

    #[test]
    fn without_a_token_this_machine_is_called_by_its_own_names_alone() {
        let alone = door(None, "127.0.0.1:9184");
        for own in
            ["localhost", "localhost:9184", "127.0.0.1:9184", "127.0.0.1", "[::1]:9184", "[::1]", "a.localhost:1"]
        {
            assert!(alone.knows_name(&headers(HOST, own)), "{own}");
        }
        for other in ["evil.example", "evil.example:9184", "localhost.evil.example", "127.0.0.1.evil.example:9184", ""]
        {
            assert!(!alone.knows_name(&headers(HOST, other)), "{other}");
        }
        assert!(door(None, "0.0.0.0:9184").knows_name(&headers(HOST, "alluvium:9184")));
        assert!(door(Some(TOKEN), "127.0.0.1:9184").knows_name(&headers(HOST, "proxy.example")));
    }

    #[test]
    fn a_token_is_never_shown_and_never_short() {
        let token = Token::new(TOKEN).unwrap();
        assert!(!format!("{token:?} {:?}", TokenFrom::Text(token.clone())).contains(TOKEN));
        for wrong in ["", "fifteen-letters", "sixteen or more letters", "sixteen-or-more-lettérs"] {
            assert!(Token::new(wrong).is_none(), "{wrong}");
        }
        assert!(Token::new(&"x".repeat(TOKEN_CHARACTERS_MAX + 1)).is_none());
    }
}
