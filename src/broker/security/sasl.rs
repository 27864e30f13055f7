//! Logging in at a broker.
//!
//! Owns: which secret goes into which mechanism. Does not own: the mechanisms, which are rskafka's, nor where secrets come
//! from ([`super::token`]).

use std::sync::Arc;

use rskafka::client::{Credentials, OauthBearerCredentials, SaslConfig};

use super::{
    super::cause::Cause,
    Mechanism, Password, SaslSettings, Secret, Security,
    connect::Line,
    diagnose, refusal,
    token::{Tokens, password_of},
};

#[derive(Debug)]
pub(super) enum Sasl {
    Login { mechanism: Mechanism, user: String, password: Password },
    Token(Arc<Tokens>),
}

impl Sasl {
    pub(super) fn new(settings: SaslSettings) -> Self {
        match settings {
            SaslSettings::Login { mechanism, user, password } => Self::Login { mechanism, user, password },
            SaslSettings::Token(source) => Self::Token(Arc::new(Tokens::new(source))),
        }
    }

    pub(super) fn mechanism(&self) -> &'static str {
        match self {
            Self::Login { mechanism, .. } => mechanism.name(),
            Self::Token(_) => "OAUTHBEARER",
        }
    }

    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Login { user, .. } => Some(user),
            Self::Token(_) => None,
        }
    }

    /// Whether the secret itself goes over the wire.
    pub(super) fn shows_the_secret(&self) -> bool {
        matches!(self, Self::Login { mechanism: Mechanism::Plain, .. } | Self::Token(_))
    }

    /// For a client that makes connections of its own, each of which asks for its token.
    pub(super) async fn lasting(&self) -> Result<SaslConfig, Cause> {
        match self {
            Self::Login { mechanism, user, password } => login(*mechanism, user, password).await,
            Self::Token(tokens) => {
                let tokens = Arc::clone(tokens);
                Ok(bearer(move || {
                    let tokens = Arc::clone(&tokens);
                    Box::pin(async move {
                        let token = tokens.get().await.map_err(|cause| cause.text)?;
                        Ok(token.reveal().to_owned())
                    })
                }))
            }
        }
    }

    /// Logs in over a connection that has just been made to `address`.
    pub(super) async fn log_in(&self, address: &str, line: &Line, security: &Security) -> Result<(), Cause> {
        let config = match self {
            Self::Login { mechanism, user, password } => login(*mechanism, user, password).await?,
            Self::Token(tokens) => once(tokens.get().await?),
        };
        let Err(error) = line.do_sasl(config).await else { return Ok(()) };
        if let Self::Token(tokens) = self {
            tokens.forget().await;
        }
        let offered = if refusal::is_of_the_mechanism(&error) {
            Box::pin(diagnose::mechanisms(address, security)).await
        } else {
            None
        };
        Err(refusal::of_login(error, self, offered).of_broker(address))
    }
}

async fn login(mechanism: Mechanism, user: &str, password: &Password) -> Result<SaslConfig, Cause> {
    let password = match password {
        Password::Given(secret) => secret.clone(),
        Password::File(path) => password_of(path).await?,
    };
    let credentials = Credentials::new(user.to_owned(), password.reveal().to_owned());
    Ok(match mechanism {
        Mechanism::Plain => SaslConfig::Plain(credentials),
        Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
        Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
    })
}

fn once(token: Secret) -> SaslConfig {
    bearer(move || {
        let token = token.reveal().to_owned();
        Box::pin(async move { Ok(token) })
    })
}

type Asked = futures::future::BoxFuture<'static, Result<String, Box<dyn std::error::Error + Send + Sync>>>;

fn bearer(ask: impl Fn() -> Asked + Send + Sync + 'static) -> SaslConfig {
    SaslConfig::Oauthbearer(OauthBearerCredentials { callback: Arc::new(ask), authz_id: None, bearer_kvs: vec![] })
}
