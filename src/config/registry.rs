//! `[registry]`: where schemas are asked for.
//!
//! Invariant: no fault shows a password, nor a URL that may hold one.

use std::path::PathBuf;

use super::{
    keys,
    section::{Noted, Section},
    value::{Given, Refusal},
};
use crate::registry::{RegistrySettings, Secret};

/// The settings, if there is a registry.
pub(super) fn registry(table: &mut Section<'_, '_>) -> Result<Option<RegistrySettings>, Noted> {
    let urls = if table.has(&keys::REGISTRY_URL) { table.list(&keys::REGISTRY_URL, ',', url) } else { Some(vec![]) };
    let user = table.read_or(&keys::REGISTRY_USER, None, |given| given.as_text().map(|user| Some(user.to_owned())));
    let password = table.read_or(&keys::REGISTRY_PASSWORD, None, |given| password(given).map(Some));
    let ca = table.read_or(&keys::REGISTRY_CA, None, |given| given.as_text().map(|path| Some(PathBuf::from(path))));
    let timeout = table.duration(&keys::REGISTRY_TIMEOUT);
    let schemas_max = table.number(&keys::SCHEMAS_MAX);
    let settings = || {
        let (urls, user, password, ca) = (urls?, user?, password?, ca?);
        Some(RegistrySettings { urls, user, password, ca, timeout: timeout?, schemas_max: schemas_max? })
    };
    let settings = settings().ok_or(Noted)?;
    let refusal = match &settings {
        RegistrySettings { password: Some(_), user: None, .. } => {
            Some((&keys::REGISTRY_PASSWORD, "password needs user beside it"))
        }
        RegistrySettings { urls, user, ca, .. } if urls.is_empty() && (user.is_some() || ca.is_some()) => {
            Some((&keys::REGISTRY_URL, "missing key \"url\" in [registry]"))
        }
        _ => None,
    };
    match refusal {
        None => Ok(Some(settings).filter(|settings| !settings.urls.is_empty())),
        Some((key, why)) => {
            table.note(key, Refusal::because(why));
            Err(Noted)
        }
    }
}

fn password(given: &Given<'_>) -> Result<Secret, Refusal> {
    let refusal = |_| Refusal::because(format!("password takes {}", keys::REGISTRY_PASSWORD.takes));
    given.as_text().map(Secret::new).map_err(refusal)
}

fn url(given: &Given<'_>) -> Result<String, Refusal> {
    let refuse = |why: &str| Refusal::because(format!("url {why}"));
    let text = given.as_text().map_err(|_| refuse("takes text, or a list of texts"))?.trim();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| refuse("begins with neither http:// nor https://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    match () {
        () if host.contains('@') => Err(refuse("holds a user").hint("write user and password as keys of their own")),
        () if host.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace() || "?#".contains(c)) => {
            Err(refuse("is not one of a schema registry").hint("such as https://registry.example.com:8081"))
        }
        () => Ok(text.to_owned()),
    }
}
