//! Which run `top` and `health` ask, and with what they come in.
//!
//! Owns: the address, the token, who is trusted. Does not own: what is asked.

use std::{env, path::PathBuf};

use clap::Args;

use super::Usage;
use crate::telemetry::http::{Client, ClientError, TOKEN_CHARACTERS_MAX, TOKEN_CHARACTERS_MIN, Token};

/// Holds the token of the run that is asked.
const TOKEN: &str = "ALLUVIUM_HTTP_TOKEN";

/// A run that is asked over HTTP.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Where it serves, as `listen` under [http] says; `http://` and the port 9184 may be left out together
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9184")]
    url: String,
    /// For https: a file of certificates (PEM) that are trusted in place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Asked {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.url, self.ca_file.as_deref(), token()?).map_err(|error| match error {
            ClientError::Url { .. } => Usage(error.to_string()).into(),
            error => anyhow::Error::new(error),
        })
    }
}

fn token() -> Result<Option<Token>, Usage> {
    let takes = format!("{TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} letters, digits and signs");
    let bad = || Usage(format!("{TOKEN} holds no token: one is {takes}"));
    let given = env::var(TOKEN).ok().filter(|token| !token.is_empty());
    given.map(|token| Token::new(&token).ok_or_else(bad)).transpose()
}
