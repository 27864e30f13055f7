//! `[source.tls]` and `[source.sasl]`: who the broker is, and who we are.
//!
//! Owns: the rules between these keys. Invariant: no fault shows a password, nor what a command is called with.

use std::path::PathBuf;

use super::{
    keys::{self, Key},
    reader::Reader,
    section::{Noted, Section},
    value::{Given, Refusal},
};
use crate::broker::{
    Identity, Mechanism, Password, SaslSettings, Secret, SecuritySettings, TlsSettings, TokenCommand, TokenSource,
};

pub(super) fn security(reader: &mut Reader<'_>) -> Option<SecuritySettings> {
    let tls = optional(&mut reader.section("source.tls"), tls);
    let sasl = optional(&mut reader.section("source.sasl"), sasl);
    Some(SecuritySettings { tls: tls.ok()?, sasl: sasl.ok()? })
}

/// What a table says, if it is there.
fn optional<T>(
    table: &mut Section<'_, '_>,
    read: impl Fn(&mut Section<'_, '_>) -> Option<T>,
) -> Result<Option<T>, Noted> {
    if table.is_there() { read(table).map(Some).ok_or(Noted) } else { Ok(None) }
}

fn tls(table: &mut Section<'_, '_>) -> Option<TlsSettings> {
    let (ca, cert, key) = (path(table, &keys::TLS_CA), path(table, &keys::TLS_CERT), path(table, &keys::TLS_KEY));
    let identity = match (cert?, key?) {
        (Some(cert), Some(key)) => Some(Identity { cert, key }),
        (None, None) => None,
        (Some(_), None) => return table.refuse(&keys::TLS_CERT, Refusal::because("cert needs key beside it")),
        (None, Some(_)) => return table.refuse(&keys::TLS_KEY, Refusal::because("key needs cert beside it")),
    };
    Some(TlsSettings { ca: ca?, identity })
}

fn sasl(table: &mut Section<'_, '_>) -> Option<SaslSettings> {
    let mechanism = table.choice(&keys::SASL_MECHANISM, &keys::MECHANISMS);
    let user = table.read_or(&keys::SASL_USER, None, |given| given.as_text().map(|user| Some(user.to_owned())));
    let password = table.read_or(&keys::SASL_PASSWORD, None, |given| password(given).map(Some));
    let password_file = path(table, &keys::SASL_PASSWORD_FILE);
    let token_file = path(table, &keys::TOKEN_FILE);
    let command =
        if table.has(&keys::TOKEN_COMMAND) { table.list(&keys::TOKEN_COMMAND, ' ', word) } else { Some(vec![]) };
    let (user, password, password_file) = (user?, password?, password_file?);
    let (token_file, command) = (token_file?, command?);
    if let Some(mechanism) = mechanism? {
        without(table, &[&keys::TOKEN_FILE, &keys::TOKEN_COMMAND], "is for mechanism = \"oauthbearer\"")?;
        login(table, mechanism, user, password, password_file)
    } else {
        let of_users = [&keys::SASL_USER, &keys::SASL_PASSWORD, &keys::SASL_PASSWORD_FILE];
        without(table, &of_users, "is for all mechanisms but \"oauthbearer\", whose token says who we are")?;
        token(table, token_file, command)
    }
}

fn login(
    table: &mut Section<'_, '_>,
    mechanism: Mechanism,
    user: Option<String>,
    password: Option<Secret>,
    file: Option<PathBuf>,
) -> Option<SaslSettings> {
    let Some(user) = user else {
        return table.refuse(&keys::SASL_MECHANISM, Refusal::because("this mechanism needs user beside it"));
    };
    let password = match (password, file) {
        (Some(password), None) => Password::Given(password),
        (None, Some(file)) => Password::File(file),
        (Some(_), Some(_)) => {
            let told = Refusal::because("password and password_file exclude each other").hint("keep one of them");
            return table.refuse(&keys::SASL_PASSWORD_FILE, told);
        }
        (None, None) => {
            let told = Refusal::because("user needs password or password_file beside it");
            return table.refuse(&keys::SASL_USER, told);
        }
    };
    Some(SaslSettings::Login { mechanism, user, password })
}

fn token(table: &mut Section<'_, '_>, file: Option<PathBuf>, command: Vec<String>) -> Option<SaslSettings> {
    let source = match (file, command.is_empty()) {
        (Some(file), true) => TokenSource::File(file),
        (None, false) => TokenSource::Command(TokenCommand::new(command)),
        (Some(_), false) => {
            let told = Refusal::because("token_file and token_command exclude each other").hint("keep one of them");
            return table.refuse(&keys::TOKEN_COMMAND, told);
        }
        (None, true) => {
            let told = Refusal::because("oauthbearer needs token_file or token_command beside it");
            return table.refuse(&keys::SASL_MECHANISM, told);
        }
    };
    Some(SaslSettings::Token(source))
}

/// Notes each of `keys` that is there.
fn without(table: &mut Section<'_, '_>, keys: &[&Key], why: &str) -> Option<()> {
    let there: Vec<_> = keys.iter().filter(|key| table.has(key)).collect();
    for key in &there {
        table.note(key, Refusal::because(format!("{} {why}", key.name)));
    }
    there.is_empty().then_some(())
}

#[expect(clippy::option_option, reason = "the outer one is absent where a fault was noted")]
fn path(table: &mut Section<'_, '_>, key: &Key) -> Option<Option<PathBuf>> {
    table.read_or(key, None, |given| given.as_text().map(|path| Some(PathBuf::from(path))))
}

fn password(given: &Given<'_>) -> Result<Secret, Refusal> {
    secretive(&keys::SASL_PASSWORD, given).map(Secret::new)
}

fn word(given: &Given<'_>) -> Result<String, Refusal> {
    secretive(&keys::TOKEN_COMMAND, given).map(str::to_owned)
}

/// A text that no fault shows.
fn secretive<'g>(key: &Key, given: &'g Given<'_>) -> Result<&'g str, Refusal> {
    given.as_text().map_err(|_| Refusal::because(format!("{} takes {}", key.name, key.takes)))
}
