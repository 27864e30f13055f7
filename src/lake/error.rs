//! What can go wrong in the lake, by what the caller must do about it.

use object_store::{Error as StoreError, path::Path};

use crate::{objects::OpenError, offset::LaneId};

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store failed or could not be reached.
    #[error("{action} {path}")]
    Store { action: &'static str, path: String, source: StoreError },

    /// The store understood, and won't: credentials that have expired, or that allow too little. Whoever hands them out may
    /// be about to renew them, so it is tried again for a while.
    #[error("{action} {path}: the store refused it ({answer}); {}", remedy(answer))]
    Refused { action: &'static str, path: String, answer: String },

    /// An attempt is left alone: unsettled after every try, or so old that its staging may be swept.
    #[error("gave up the commit of {id} at offset {start}: {reason}")]
    Abandoned { id: LaneId, start: i64, reason: &'static str, source: Option<Box<LakeError>> },

    #[error("lake {0}")]
    Url(#[from] OpenError),

    /// Law L9.
    #[error(
        "the store at {url} can't hold a lake: {reason}; use a store that honours conditional writes (If-None-Match)"
    )]
    Unfit { url: String, reason: String },

    #[error("{path}: {reason}")]
    Corrupt { path: Path, reason: String },

    #[error("generation {generation} is more than the column `_generation` holds; the largest is {}", i32::MAX)]
    Generation { generation: u32 },

    #[error("encode {what}")]
    Encode { what: &'static str, source: parquet::errors::ParquetError },

    #[error("assemble {what}")]
    Assemble { what: &'static str, source: arrow::error::ArrowError },

    /// The lane handed over a batch that doesn't follow the one before.
    #[error("{id}: a batch from offset {found} can't follow offset {expected}")]
    Discontinuous { id: LaneId, expected: i64, found: i64 },
}

impl LakeError {
    pub(super) fn store(action: &'static str, path: &Path) -> impl FnOnce(StoreError) -> Self {
        move |source| match refusal(&source) {
            Some(answer) => Self::Refused { action, path: path.to_string(), answer },
            None => Self::Store { action, path: path.to_string(), source },
        }
    }

    /// Whether going on from the ledger may mend it; everything else needs a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use StoreError as E;
        match self {
            Self::Abandoned { .. } | Self::Refused { .. } => true,
            Self::Store { source, .. } => !matches!(
                source,
                E::NotSupported { .. }
                    | E::NotImplemented { .. }
                    | E::InvalidPath { .. }
                    | E::UnknownConfigurationKey { .. }
            ),
            _ => false,
        }
    }

    /// Whether the store refused the credentials: worth some tries, not endless ones.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// S3 answers some of these with 400, which says nothing by itself.
const EXPIRED: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"];

/// What the store said, if it refused the credentials.
fn refusal(error: &StoreError) -> Option<String> {
    // The status and the body are told in the text alone, by this error or by one behind it.
    let text = error.to_string();
    let code = between(&text, "<Code>", "</Code>");
    let refused = matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. })
        || code.is_some_and(|code| EXPIRED.contains(&code) || code == "AccessDenied")
        || ["status code: 401", "status code: 403"].iter().any(|status| text.contains(status));
    let message = between(&text, "<Message>", "</Message>");
    refused.then(|| match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.into(),
        _ => "without a reason".into(),
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn remedy(answer: &str) -> &'static str {
    let code = answer.split(':').next().unwrap_or_default();
    match code {
        code if EXPIRED.contains(&code) => {
            "the credentials have expired: put fresh AWS_* keys into the environment and start again, or give the \
             process a role, whose keys renew themselves"
        }
        "RequestTimeTooSkewed" => "set this machine's clock",
        _ => "check the credentials, and that they allow to read, write, list and delete there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &'static str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn a_refusal_says_what_the_store_said_and_what_to_do() {
        let told = |source| LakeError::store("create", &Path::from("_ledger/x"))(source).to_string();
        let expired =
            "status code: 400 Bad Request: <Error><Code>ExpiredToken</Code><Message>It is over.</Message></Error>";
        assert_eq!(
            told(generic(expired)),
            "create _ledger/x: the store refused it (ExpiredToken: It is over.); the credentials have expired: put fresh \
             AWS_* keys into the environment and start again, or give the process a role, whose keys renew themselves"
        );
        let denied = StoreError::PermissionDenied { path: "x".into(), source: "403".into() };
        let expected = "(without a reason); check the credentials, and that they allow to read, write, list and delete";
        assert!(told(denied).contains(expected));
    }

    #[test]
    fn what_only_sounds_like_a_refusal_is_none() {
        for text in
            ["status code: 503: <Error><Code>SlowDown</Code></Error>", "connection reset", "No space left on device"]
        {
            let error = LakeError::store("write", &Path::from("x"))(generic(text));
            assert!(!error.is_refusal() && error.is_transient(), "{error}");
        }
    }
}
