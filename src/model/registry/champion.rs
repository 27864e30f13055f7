//! Who is champion, and who was before: a text file that a person can read, and write.
//!
//! ```text
//! 3 2026-11-21T12:30:00Z
//! 1 2026-11-02T09:12:44Z
//! ```
//!
//! The newest comes first. A number alone, written by hand, will do.

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use object_store::path::Path;
use serde::Serialize;

use super::{CHAMPION, CHAMPION_BYTES_MAX, Registry, files::Written};
use crate::model::error::ModelError;

/// Changes of champion that are remembered; older ones are forgotten.
pub(super) const CHAMPIONS_MAX: usize = 100;

/// Tries to write the file while others do.
const PROMOTE_TRIES_MAX: usize = 8;

/// A version, and when it became champion; unknown when a person wrote the number down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Champion {
    pub version: u32,
    pub since: Option<String>,
}

impl Registry {
    /// The number of the version in use.
    pub async fn champion(&self) -> Result<u32, ModelError> {
        let path = Path::from(CHAMPION);
        let Some(bytes) = self.files.read(&path, CHAMPION_BYTES_MAX).await? else {
            let told = self.versions_told().await?;
            let remedy = "name a version, or promote one with `alluvium models promote`";
            let fault = format!("no champion is named; {told}; {remedy}");
            return Err(ModelError::artifact(self.files.url(), fault));
        };
        let text = String::from_utf8_lossy(&bytes);
        let first = text.trim().lines().next().unwrap_or_default().trim();
        let champion = parse(first).ok_or_else(|| {
            ModelError::artifact(&self.files.place(&path), format!("it holds `{first}`, which is no version number"))
        })?;
        Ok(champion.version)
    }

    /// All champions that are remembered, the present one first; none if no champion is named.
    pub async fn champions(&self) -> Result<Vec<Champion>, ModelError> {
        let seen = self.files.read(&Path::from(CHAMPION), CHAMPION_BYTES_MAX).await?;
        Ok(seen.map_or_else(Vec::new, |bytes| history(&bytes)))
    }

    /// Names a version champion, whatever it is. `false` if it was already.
    pub async fn name_champion(&self, version: u32) -> Result<bool, ModelError> {
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let new = Champion { version, since: Some(since) };
        let push = |old: &[Champion]| match old.first() {
            Some(champion) if champion.version == version => None,
            _ => Some([std::slice::from_ref(&new), old].concat()),
        };
        self.rewrite(push).await
    }

    /// Names the champion before `present` again. `false` if `present` is no longer champion, so that two who roll back at once
    /// go back one step together.
    pub async fn unname_champion(&self, present: u32) -> Result<bool, ModelError> {
        let pop = |old: &[Champion]| match old {
            [first, rest @ ..] if first.version == present && !rest.is_empty() => Some(rest.to_vec()),
            _ => None,
        };
        self.rewrite(pop).await
    }

    /// Changes the file as `change` tells; `false` if it told of no change.
    async fn rewrite(&self, change: impl Fn(&[Champion]) -> Option<Vec<Champion>>) -> Result<bool, ModelError> {
        let path = Path::from(CHAMPION);
        for _ in 0..PROMOTE_TRIES_MAX {
            let seen = self.files.look(&path, CHAMPION_BYTES_MAX).await?;
            let old = seen.as_ref().map_or_else(Vec::new, |seen| history(&seen.bytes));
            let Some(new) = change(&old) else { return Ok(false) };
            let state = seen.map(|seen| seen.state);
            if self.files.replace(&path, text(&new), state).await? == Written::Now {
                return Ok(true);
            }
        }
        let told = format!("others changed it {PROMOTE_TRIES_MAX} times meanwhile; look who they are, and try again");
        Err(ModelError::artifact(&self.files.place(&path), told))
    }
}

/// Lines that tell no version are passed over.
fn history(bytes: &[u8]) -> Vec<Champion> {
    String::from_utf8_lossy(bytes).lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Champion> {
    let mut words = line.split_whitespace();
    Some(Champion { version: words.next()?.parse().ok()?, since: words.next().map(String::from) })
}

fn text(champions: &[Champion]) -> Bytes {
    let line = |champion: &Champion| match &champion.since {
        Some(since) => format!("{} {since}\n", champion.version),
        None => format!("{}\n", champion.version),
    };
    champions.iter().take(CHAMPIONS_MAX).map(line).collect::<String>().into()
}
