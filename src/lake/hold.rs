//! Holds the program still before a step of its store, so that a test can kill it or freeze it exactly there.
//!
//! Does nothing unless `ALLUVIUM_HOLD` names a folder, and nothing at all in a release build. Each step goes as a line
//! into the folder's file `steps`; before the one whose number is in `ALLUVIUM_HOLD_AT`, the file `held` appears, and
//! the program goes on when there is a file `go`.

use std::{
    env, fs, io,
    io::Write as _,
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use object_store::path::Path;

use super::names;

/// How often it is looked for the word to go on.
const LOOKED_EVERY: Duration = Duration::from_millis(5);

static HOLD: LazyLock<Option<Hold>> = LazyLock::new(Hold::from_env);

struct Hold {
    folder: PathBuf,
    at: Option<usize>,
    passed: Mutex<usize>,
}

impl Hold {
    fn from_env() -> Option<Self> {
        let folder = PathBuf::from(env::var_os("ALLUVIUM_HOLD")?);
        let at = env::var("ALLUVIUM_HOLD_AT").ok().and_then(|at| at.parse().ok());
        Some(Self { folder, at, passed: Mutex::new(0) })
    }

    /// Writes the step down; whether it is the one to be held at.
    fn reached(&self, verb: &str, path: &Path) -> io::Result<bool> {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut steps = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("steps"))?;
        writeln!(steps, "{verb} {path}")?;
        *passed += 1;
        Ok(self.at == Some(*passed - 1))
    }
}

/// Before a step that changes the store.
pub(crate) async fn before(verb: &str, path: &Path) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(hold) = HOLD.as_ref().filter(|_| !path.prefix_matches(&names::probes())) else { return };
    match hold.reached(verb, path) {
        Ok(false) => return,
        Ok(true) => {}
        Err(error) => return tracing::warn!(%error, "the steps can't be written down"),
    }
    if let Err(error) = fs::write(hold.folder.join("held"), verb) {
        return tracing::warn!(%error, "can't say that it holds");
    }
    while !hold.folder.join("go").exists() {
        tokio::time::sleep(LOOKED_EVERY).await;
    }
}
