//! `docs/guarantees.md` says what the tests show, and nothing else: its tables are made here, from the tests' sources.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use crate::support::proof::{CIRCUMSTANCES, LISTS, Promise};

const PAGE: &str = "docs/guarantees.md";
const BEGIN: &str = "<!-- made by the test `the_page_of_guarantees_is_what_the_tests_show`: begin -->\n";
const END: &str = "<!-- end -->\n";
/// With this set to 1 the page is brought up to date instead of being compared.
const WRITE: &str = "ALLUVIUM_WRITE_DOCS";

/// A test that shows something, as its source says.
#[derive(Debug)]
struct Shown {
    test: String,
    file: String,
    circumstance: String,
    promises: Vec<Promise>,
}

#[test]
fn the_page_of_guarantees_is_what_the_tests_show() {
    let shown = all_shown();
    assert!(!shown.is_empty(), "the tests' sources are read: {shown:?}");
    let page = fs::read_to_string(at(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for what is made");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let made = format!("{before}{BEGIN}{}{}{END}{after}", matrix(&shown), tests(&shown));
    if std::env::var_os(WRITE).is_some_and(|write| write == "1") {
        fs::write(at(PAGE), &made).unwrap();
    } else {
        assert!(made == page, "{PAGE} is out of date: run this test once with {WRITE}=1, and look at what changed");
    }
}

fn at(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn matrix(shown: &[Shown]) -> String {
    let mut cells: BTreeMap<(&str, Promise), usize> = BTreeMap::new();
    for proof in shown {
        for promise in &proof.promises {
            *cells.entry((proof.circumstance.as_str(), *promise)).or_default() += 1;
        }
    }
    let mut page = String::from("\n");
    for (_, name, meaning) in Promise::ALL {
        let _ = writeln!(page, "- **{name}**: {meaning}");
    }
    page.push_str("\n|");
    for (_, name, _) in Promise::ALL {
        let _ = write!(page, " {name} |");
    }
    page.push_str(" when… |\n|");
    page.push_str(&":-:|".repeat(Promise::ALL.len()));
    page.push_str("---|\n");
    for circumstance in CIRCUMSTANCES {
        page.push('|');
        for (promise, ..) in Promise::ALL {
            let cell = match cells.get(&(circumstance.name, promise)) {
                Some(_) => "✓",
                None if circumstance.bears_on.contains(&promise) => "missing",
                None => "·",
            };
            let _ = write!(page, " {cell} |");
        }
        let _ = writeln!(page, " {} |", circumstance.name);
    }
    let missing: usize = CIRCUMSTANCES
        .iter()
        .map(|row| row.bears_on.iter().filter(|promise| !cells.contains_key(&(row.name, **promise))).count())
        .sum();
    let _ = writeln!(page, "\n{} cells are shown, {missing} are missing.", cells.len());
    page
}

fn tests(shown: &[Shown]) -> String {
    let mut page = String::from("\n### The tests behind it\n\n");
    for circumstance in CIRCUMSTANCES {
        let behind: Vec<_> = shown.iter().filter(|proof| proof.circumstance == circumstance.name).collect();
        if behind.is_empty() {
            let _ = writeln!(page, "- {}: no test yet", circumstance.name);
        } else {
            let behind: Vec<_> = behind.iter().map(|proof| format!("`{}` in `{}`", proof.test, proof.file)).collect();
            let _ = writeln!(page, "- {}: {}", circumstance.name, behind.join(", "));
        }
    }
    page.push('\n');
    page
}

fn all_shown() -> Vec<Shown> {
    let mut files = vec![];
    rust_files(&at("tests/it"), &mut files);
    files.sort();
    let mut shown = vec![];
    for file in files {
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned();
        if name != "tests/it/guarantees.rs" && !name.ends_with("support/proof.rs") {
            shown.extend(proofs(&name, &fs::read_to_string(&file).unwrap()));
        }
    }
    shown
}

fn rust_files(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every `Proof::of("…", &[…])` of a source, with the function that it stands in.
fn proofs(file: &str, source: &str) -> Vec<Shown> {
    let mut shown = vec![];
    for (at, call) in source.match_indices("Proof::of(") {
        let function = source[..at].rsplit("fn ").next().and_then(|rest| rest.split(['(', '<']).next()).unwrap();
        let arguments = &source[at + call.len()..];
        let (_, rest) = arguments.split_once('"').unwrap_or_else(|| panic!("{file}: {function}: a literal is wanted"));
        let (circumstance, rest) = rest.split_once('"').unwrap();
        let list = rest.split(')').next().unwrap().trim_matches([',', ' ', '\n']);
        let promises = promises(list).unwrap_or_else(|| panic!("{file}: {function}: `{list}` lists no promises"));
        shown.push(Shown {
            test: function.trim().to_owned(),
            file: file.to_owned(),
            circumstance: circumstance.to_owned(),
            promises,
        });
    }
    shown
}

/// `&[Promise::L1, …]`, or the name of such a list.
fn promises(list: &str) -> Option<Vec<Promise>> {
    if let Some((_, named)) = LISTS.iter().find(|(name, _)| *name == list) {
        return Some(named.to_vec());
    }
    let names = list.strip_prefix("&[")?.trim_end().strip_suffix(']')?.split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(|name| promise(name.trim_start_matches("Promise::"))).collect()
}

fn promise(name: &str) -> Option<Promise> {
    Promise::ALL.iter().map(|(promise, ..)| *promise).find(|promise| format!("{promise:?}") == name)
}
