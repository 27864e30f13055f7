//! Passwords and tokens from outside: files that are read and commands that are run when a connection is made.
//!
//! Owns: how long a command may take, and how large an answer may be. Invariant: what a command prints is a token or is
//! forgotten; none of it is shown, nor are its arguments.

use std::{fmt, io, path::Path, process::Stdio, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{Secret, TokenSource};
use crate::broker::cause::Cause;

/// A file or an answer that is larger is neither a password nor a token.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// Less than a first connection may take, so that it can be told what is the matter.
const TOKEN_COMMAND_MAX: Duration = Duration::from_secs(8);
/// The connections that a start makes one after the other share one run of the command.
const TOKEN_SHARED_FOR: Duration = Duration::from_secs(5);
const BY_HAND: &str = "run it by hand: it must print the token and nothing else, and ask for nothing";
const ONE_TOKEN: &str = "let it hold the token and nothing else";

/// A program and its arguments, run without a shell.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenCommand(Vec<String>);

impl TokenCommand {
    /// The program comes first.
    #[must_use]
    pub fn new(words: Vec<String>) -> Self {
        Self(words)
    }

    fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

impl fmt::Debug for TokenCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCommand({} …)", self.program())
    }
}

/// Where the token of each connection comes from.
#[derive(Debug)]
pub(super) struct Tokens {
    source: TokenSource,
    last: Mutex<Option<(Instant, Secret)>>,
}

impl Tokens {
    pub(super) fn new(source: TokenSource) -> Self {
        Self { source, last: Mutex::default() }
    }

    pub(super) async fn get(&self) -> Result<Secret, Cause> {
        match &self.source {
            TokenSource::File(path) => token_of(path).await,
            TokenSource::Command(command) => {
                // Held while the command runs: it is run once, however many wait for a token.
                let mut last = self.last.lock().await;
                if let Some((_, token)) = last.as_ref().filter(|(since, _)| since.elapsed() < TOKEN_SHARED_FOR) {
                    return Ok(token.clone());
                }
                let token = run(command).await?;
                *last = Some((Instant::now(), token.clone()));
                Ok(token)
            }
        }
    }

    /// The broker wants none of it: the next connection asks for another.
    pub(super) async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

/// A file, without the line break at its end.
pub(super) async fn password_of(path: &Path) -> Result<Secret, Cause> {
    let remedy = "let `password_file` name a file that holds the password and nothing else";
    let text = read(path).await.map_err(|why| Cause::person(format!("{}: {why}", path.display()), remedy))?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if password.is_empty() {
        return Err(Cause::person(format!("{}: there is no password in it", path.display()), remedy));
    }
    Ok(Secret::new(password))
}

async fn token_of(path: &Path) -> Result<Secret, Cause> {
    let bad = |why: String| Cause::token(format!("{}: {why}", path.display()), ONE_TOKEN);
    let text = read(path).await.map_err(|error| bad(error.to_string()))?;
    token(&text).ok_or_else(|| bad("there is no token in it".into()))
}

async fn read(path: &Path) -> io::Result<String> {
    bounded(File::open(path).await?).await
}

async fn bounded(reader: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {SECRET_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))
}

/// Of the form of RFC 6750, which leaves no room for anything that would end the message that it is sent in.
fn token(text: &str) -> Option<Secret> {
    let token = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    (!token.is_empty() && token.chars().all(fits)).then(|| Secret::new(token))
}

async fn run(command: &TokenCommand) -> Result<Secret, Cause> {
    let bad = |why: String| Cause::token(format!("`{}` of token_command {why}", command.program()), BY_HAND);
    let answer = timeout(TOKEN_COMMAND_MAX, answer_of(command)).await;
    let answer = answer.map_err(|_| bad(format!("gave no token within {TOKEN_COMMAND_MAX:?}")))?;
    let (text, status) = answer.map_err(|error| bad(format!("can't be run: {error}")))?;
    if !status.success() {
        return Err(bad(format!("failed ({status})")));
    }
    token(&text).ok_or_else(|| bad("printed no token".into()))
}

async fn answer_of(command: &TokenCommand) -> io::Result<(String, std::process::ExitStatus)> {
    let mut process = Command::new(command.program());
    process.args(command.0.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = process.kill_on_drop(true).spawn()?;
    let text = match child.stdout.take() {
        Some(stdout) => bounded(stdout).await?,
        None => String::new(),
    };
    Ok((text, child.wait().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerErrorKind;

    fn command(words: &[&str]) -> Tokens {
        let words = words.iter().map(ToString::to_string).collect();
        Tokens::new(TokenSource::Command(TokenCommand::new(words)))
    }

    #[test]
    fn only_what_can_be_a_token_is_one() {
        assert_eq!(token(" a.b-c_~+/==\n").unwrap().reveal(), "a.b-c_~+/==");
        for text in ["", " \n", "a b", "a\u{1}b", "<html>", "é"] {
            assert!(token(text).is_none(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_command_is_run_once_for_those_who_ask_together_and_anew_after_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo x >> {0}; wc -l < {0}", count.display());
        let tokens = command(&["sh", "-c", &script]);
        assert_eq!(tokens.get().await.unwrap().reveal(), "1");
        assert_eq!(tokens.get().await.unwrap().reveal(), "1");
        tokens.forget().await;
        assert_eq!(tokens.get().await.unwrap().reveal(), "2");
    }

    #[tokio::test]
    async fn a_command_without_a_token_is_told_without_what_it_said() {
        for (words, told) in [
            (
                &["sh", "-c", "echo geheim; echo geheim >&2; exit 3"][..],
                "`sh` of token_command failed (exit status: 3)",
            ),
            (&["echo", "two", "words geheim"], "`echo` of token_command printed no token"),
            (&["yes", "geheim"], "`yes` of token_command can't be run: it is larger than 65536 bytes"),
            (
                &["alluvium-has-no-such-program", "geheim"],
                "`alluvium-has-no-such-program` of token_command can't be run:",
            ),
        ] {
            let cause = command(words).get().await.unwrap_err();
            assert!(cause.text.starts_with(told) && !cause.text.contains("geheim"), "{}", cause.text);
            assert_eq!((cause.kind, cause.at_once().kind), (BrokerErrorKind::Transient, BrokerErrorKind::Person));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_never_ends_is_given_up() {
        let cause = command(&["sleep", "1000"]).get().await.unwrap_err();
        assert_eq!(cause.text, "`sleep` of token_command gave no token within 8s");
    }

    #[tokio::test]
    async fn a_file_is_read_each_time_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, password) in [(" two words \r\n", " two words "), ("pä$$\n\n", "pä$$\n"), ("x", "x")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(password_of(&path).await.unwrap().reveal(), password);
        }
        let tokens = Tokens::new(TokenSource::File(path.clone()));
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(tokens.get().await.unwrap().reveal(), token);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(password_of(&path).await.unwrap_err().text.ends_with("there is no password in it"));
        assert!(tokens.get().await.unwrap_err().text.ends_with("there is no token in it"));
    }
}
