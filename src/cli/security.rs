//! TLS and SASL for the commands that are told their brokers by option rather than by a pipeline file.
//!
//! Invariant: no option takes a secret, as everyone on the machine can read the options of a process.

use std::{env, path::PathBuf};

use clap::{Args, ValueEnum};

use super::Usage;
use crate::broker::{Identity, Mechanism, Password, SaslSettings, Secret, SecuritySettings, TlsSettings, TokenSource};

/// Where the password is read from.
pub(super) const PASSWORD: &str = "ALLUVIUM_PASSWORD";
const USER: &str = "Who logs in; the password is read from the environment variable ALLUVIUM_PASSWORD";

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Broker security")]
pub(super) struct SecurityArgs {
    /// Speak TLS to the brokers; each of the --tls-… options does so too
    #[arg(long)]
    tls: bool,
    /// A file of certificates in PEM that are trusted in place of the system's
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
    /// The certificate in PEM to show to brokers that ask for one
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// Its key in PEM, without a passphrase
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// How to log in
    #[arg(long, value_enum, value_name = "MECHANISM")]
    pub(super) sasl: Option<Sasl>,
    #[arg(long, value_name = "NAME", help = USER, requires = "sasl")]
    pub(super) user: Option<String>,
    /// The file of the token for --sasl oauthbearer
    #[arg(long, value_name = "FILE", requires = "sasl", conflicts_with = "user")]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sasl {
    Plain,
    #[value(name = "scram-sha-256")]
    ScramSha256,
    #[value(name = "scram-sha-512")]
    ScramSha512,
    Oauthbearer,
}

impl SecurityArgs {
    pub(super) fn speaks_tls(&self) -> bool {
        self.tls || self.tls_ca.is_some() || self.tls_cert.is_some()
    }

    pub(super) fn settings(&self) -> Result<SecuritySettings, Usage> {
        let tls = self.speaks_tls().then(|| {
            let identity = self.tls_cert.clone().zip(self.tls_key.clone());
            TlsSettings { ca: self.tls_ca.clone(), identity: identity.map(|(cert, key)| Identity { cert, key }) }
        });
        Ok(SecuritySettings { tls, sasl: self.sasl.map(|sasl| self.login(sasl)).transpose()? })
    }

    fn login(&self, sasl: Sasl) -> Result<SaslSettings, Usage> {
        let mechanism = match sasl {
            Sasl::Plain => Mechanism::Plain,
            Sasl::ScramSha256 => Mechanism::ScramSha256,
            Sasl::ScramSha512 => Mechanism::ScramSha512,
            Sasl::Oauthbearer => {
                let path = self.token_file.clone();
                let path = path.ok_or_else(|| Usage("--sasl oauthbearer needs --token-file beside it".into()))?;
                return Ok(SaslSettings::Token(TokenSource::File(path)));
            }
        };
        let user = self.user.clone().ok_or_else(|| Usage("this --sasl needs --user beside it".into()))?;
        let password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        let missing = || Usage(format!("--user needs the environment variable {PASSWORD} to hold the password"));
        let password = Password::Given(Secret::new(password.ok_or_else(missing)?));
        Ok(SaslSettings::Login { mechanism, user, password })
    }
}
