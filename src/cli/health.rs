//! `alluvium health`: one question to a run, for a container's health check, where there is no shell and no curl.
//!
//! Owns: one GET over plain HTTP, and its limits. Does not own: what is answered, and showing it to people (`top`).

use std::{io, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Exit;

/// From the connection to the last byte of the answer.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(3);
/// What a run says of a thousand partitions that are not open.
const HEALTH_BYTES_MAX: u64 = 256 << 10;
const PORT: &str = "9184";

/// Ask a running stream or batch whether it is alive, or ready
///
/// Exits with 0 if it is, else with 1 and what it said. Alive is a process that answers; ready is one whose partitions are
/// all open. It asks without TLS and without a token: neither question needs one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alluvium health\n  alluvium health --ready\n  alluvium health 10.0.0.7:9184 --ready"
)]
pub struct Health {
    /// Where it serves, as `listen` under [http] says
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:9184")]
    address: Address,
    /// Ask whether it is ready, not only whether it is alive
    #[arg(long)]
    ready: bool,
}

/// Of a run's HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("https://") {
            return Err("it asks without TLS; have your own prober ask where there is `tls_cert` under [http]".into());
        }
        let place = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]%".contains(c);
        if place.is_empty() || !place.chars().all(plain) {
            return Err("it takes a host and a port, such as 127.0.0.1:9184".into());
        }
        let has_port = place
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
        Ok(Self(if has_port { place.to_owned() } else { format!("{place}:{PORT}") }))
    }
}

impl Health {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let Address(address) = &self.address;
        let asked = timeout(HEALTH_WAIT_MAX, ask(address, path)).await;
        let answer = asked.with_context(|| format!("{address} does not answer within {HEALTH_WAIT_MAX:?}"))?;
        let (code, body) = answer.with_context(|| format!("nobody answers for a run at {address}"))?;
        if code != 200 {
            bail!("{address} answers {path} with {code}: {}", body.trim());
        }
        println!("{}", body.trim());
        Ok(Exit::Done)
    }
}

/// The answer's code and its body.
async fn ask(address: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(HEALTH_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let no_http = || io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(no_http)?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_goes_without_saying() {
        for (text, address) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("http://worker:9184/", "worker:9184"),
            ("worker", "worker:9184"),
            ("[::1]", "[::1]:9184"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse(), Ok(Address(address.into())), "{text}");
        }
        for wrong in ["", "http://", "a b:1", "me:secret@host:1", "https://worker", "worker/path", "a\r\nb:1"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
