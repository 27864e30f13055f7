//! The parts that a test needs from the machine, and what happens when they aren't there: the test says so and passes,
//! unless `ALLUVIUM_TEST_ALL_PARTS=1` makes a missing part a failure.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A Python that can import `module`; `ALLUVIUM_TEST_PYTHON` says which to try first.
pub fn python_with(module: &str) -> Option<PathBuf> {
    find_python(module).or_else(|| missing(&format!("{module} is not installed (pip install {module})")))
}

/// The same for a module so large that no one has to have it: the test is left out, whatever the environment says.
pub fn python_with_optional(module: &str) -> Option<PathBuf> {
    let found = find_python(module);
    if found.is_none() {
        eprintln!("skipped: {module} is not installed, and need not be (pip install {module})");
    }
    found
}

fn find_python(module: &str) -> Option<PathBuf> {
    let named = env::var_os("ALLUVIUM_TEST_PYTHON").map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("python3")]).find(|python| {
        let import = format!("import {module}");
        let tried = Command::new(python).args(["-c", &import]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

/// The brokers that `ALLUVIUM_TEST_BROKERS` names, `host:port` separated by commas: nobody has to have any.
pub fn named_brokers() -> Option<String> {
    let named = env::var("ALLUVIUM_TEST_BROKERS").ok().filter(|named| !named.is_empty());
    if named.is_none() {
        eprintln!("skipped: ALLUVIUM_TEST_BROKERS names no brokers, and need not");
    }
    named
}

/// A program on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let found = env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.is_file());
    found.or_else(|| missing(&format!("{name} is not installed")))
}

/// Says what is missing; fails if nothing may be.
pub fn missing<T>(what: &str) -> Option<T> {
    assert!(env::var_os("ALLUVIUM_TEST_ALL_PARTS").is_none_or(|all| all != "1"), "a part is missing: {what}");
    eprintln!("skipped: {what}");
    None
}

/// The folder of PostgreSQL's own programs, which few systems have in the path.
pub fn postgres() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    let has_all = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file());
    folders.into_iter().find(has_all).or_else(|| missing("PostgreSQL is not installed (Debian: postgresql)"))
}
