//! The documents say what the code does, and the code keeps the laws that the documents state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what can't be read fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use alluvium::{config, record::Reason, telemetry::metrics};

const TABLE_BEGINS: &str = "<!-- The table of keys: what `alluvium::config::markdown()` says. -->\n";
const TABLE_ENDS: &str = "<!-- The end of the table of keys. -->";

/// Who may use whom; `telemetry` counts and tells, and knows nothing of the rest.
const LAW: [(&str, &[&str]); 21] = [
    ("lib", &[]),
    ("main", &["cli", TELEMETRY]),
    (
        "cli",
        &[
            "config", "pipeline", "lane", "outlet", "broker", "decode", "infer", "model", "lake", "table", "record",
            "offset", "objects", SECRET, REGISTRY, SIMULATE, TELEMETRY,
        ],
    ),
    (
        "config",
        &["pipeline", "lane", "outlet", "broker", "decode", "model", "lake", "record", "offset", REGISTRY, TELEMETRY],
    ),
    ("pipeline", &["lane", "outlet", "broker", "decode", "model", "lake", "record", "offset", REGISTRY, TELEMETRY]),
    ("lane", &["broker", "decode", "model", "lake", "record", "offset", REGISTRY, TELEMETRY]),
    ("outlet", &["broker", "lake", "record", "offset", SECRET, TLS, REGISTRY]),
    ("broker", &["record", "offset", SECRET, TLS]),
    ("decode", &["record", "offset"]),
    ("model", &["table", "record", "offset", "objects"]),
    ("lake", &["record", "offset", "objects", TELEMETRY]),
    ("table", &["record", "objects"]),
    ("infer", &["decode", "record"]),
    ("record", &["offset"]),
    ("offset", &[]),
    ("objects", &[]),
    (SIMULATE, &["broker", "table", "record", "objects"]),
    (REGISTRY, &["record", SECRET]),
    (TELEMETRY, &[SECRET, TLS]),
    (SECRET, &[]),
    (TLS, &[]),
];
const SECRET: &str = "secret";
const TLS: &str = "tls";
const REGISTRY: &str = "registry";
const SIMULATE: &str = "simulate";
const TELEMETRY: &str = "telemetry";

#[test]
fn the_readme_has_the_table_of_every_key() {
    let readme = text("README.md");
    let shown = readme.split_once(TABLE_BEGINS).and_then(|(_, rest)| rest.split_once(TABLE_ENDS));
    let (shown, _) = shown.expect("the table stands between its two marks");
    let table = config::markdown();
    assert!(shown == table, "the table in the README is to be this:\n{table}");
}

#[test]
fn the_readme_explains_every_reason_of_a_reject() {
    let readme = text("README.md");
    for reason in Reason::ALL {
        assert!(readme.contains(&format!("| `{}` |", reason.code())), "`{reason}` has no row in the README");
    }
}

#[test]
fn the_pipeline_files_of_the_readme_are_sound() {
    let readme = text("README.md");
    let mut found = 0;
    for block in readme.split("```toml\n").skip(1) {
        let (block, _) = block.split_once("```").expect("the block ends");
        if block.contains("[source]") {
            config::parse(block, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{block}"));
            found += 1;
        }
    }
    assert!(found > 0, "the README shows a pipeline file");
}

#[test]
fn the_snippets_of_the_pages_are_sound() {
    let around = [
        ("[source]", "[source]\nbrokers = \"b:1\"\ntopic = \"t\"\n"),
        ("[[fields]]", "[[fields]]\nname = \"id\"\ntype = \"int64\"\n"),
        ("[model]", "[model]\npath = \"m\"\n"),
        ("[lake]", "[lake]\nurl = \"l\"\ndataset = \"d\"\n"),
    ];
    let pages = [text("docs/formats.md"), text("docs/security.md"), text("docs/page.md")];
    let blocks = pages.iter().flat_map(|page| page.split("```toml\n").skip(1));
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    for block in &blocks {
        let missing = around.iter().filter(|(table, _)| !block.contains(table)).map(|(_, text)| *text);
        let whole = missing.chain([*block]).collect::<String>();
        // What has its default there has it here.
        let variable = |name: &str| (!name.starts_with("ALLUVIUM_HTTP")).then(|| "x".into());
        config::parse(&whole, variable).unwrap_or_else(|faults| panic!("{faults:?}\n{whole}"));
    }
    assert!(blocks.len() > 5, "the pages show their formats");
}

#[test]
fn docs_formats_explains_every_reason() {
    let page = text("docs/formats.md");
    for reason in Reason::ALL {
        assert!(page.contains(&format!("`{reason}`")), "docs/formats.md does not know `{reason}`");
    }
}

#[test]
fn the_architecture_has_a_row_for_every_limit() {
    let architecture = text("ARCHITECTURE.md");
    let row_of =
        |name: &str| architecture.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
    for (path, code) in sources() {
        for name in limits_in(&code) {
            assert!(row_of(name), "{name} of {} has no row in ARCHITECTURE.md", path.display());
        }
    }
    for key in config::KEYS.iter().filter(|key| matches!(key.table, "lake" | "limits")) {
        assert!(row_of(key.name), "`{}` of [{}] has no row in ARCHITECTURE.md", key.name, key.table);
    }
}

#[test]
fn the_runbook_has_a_row_for_everything_that_stops_a_lane_and_every_fault_of_an_audit() {
    let runbook = text("docs/runbook.md");
    for file in ["src/lane.rs", "src/lake/error.rs", "src/lake/audit/fault.rs"] {
        let messages = messages_in(&text(file));
        assert!(messages.len() > 3, "{file} declares errors: {messages:?}");
        for message in messages {
            let words = first_words(&message);
            assert!(runbook.contains(words), "docs/runbook.md does not know `{words}` of {file}: {message}");
        }
    }
    for code in ["0", "1", "2", "3", "130"] {
        assert!(runbook.contains(&format!("\n| {code} | ")), "docs/runbook.md does not know exit code {code}");
    }
}

#[test]
fn the_runbook_has_every_counter() {
    let runbook = text("docs/runbook.md");
    // What only grows while all is well needs no row.
    let well = ["segments", "model_changes", "fetched_bytes", "written_bytes", "predictions"]
        .map(|name| format!("alluvium_{name}_total"));
    for name in metrics::TABLE.iter().filter(|metric| metric.kind == metrics::Kind::Counter).map(|metric| metric.name) {
        assert!(
            well.contains(&name.to_owned()) || runbook.contains(&format!("`{name}`")),
            "docs/runbook.md does not know {name}"
        );
    }
}

#[test]
fn what_the_architecture_names_is_there() {
    let files = rust_files("src").into_iter().chain(rust_files("tests"));
    let all: String = files.map(|path| fs::read_to_string(at(path)).unwrap()).collect();
    for name in in_backticks(&text("ARCHITECTURE.md")) {
        let (of, item) = name.rsplit_once("::").unwrap_or(("", name));
        if of.is_empty() && item.matches('_').count() < 4 {
            continue;
        }
        let declared = ["fn", "struct", "enum", "const", "trait"].map(|word| format!("{word} {item}"));
        let is_there = declared.iter().any(|declared| followed_by_no_word(&all, declared));
        assert!(is_there, "ARCHITECTURE.md names `{name}`, which is nowhere");
    }
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/runbook.md",
        "docs/formats.md",
        "docs/outlets.md",
        "docs/containers.md",
        "SECURITY.md",
        "docs/page.md",
        "docs/metrics.md",
        "docs/security.md",
        "docs/registry.md",
        "docs/rejects.md",
        "docs/scaling.md",
        "docs/streams.md",
        "docs/guarantees.md",
    ] {
        for link in text(document).split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let path = link.0.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://");
            let beside = Path::new(document).with_file_name(path);
            assert!(elsewhere || at(beside).exists(), "{document} links to {path}, which is not there");
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    for (path, code) in sources() {
        let module = module_of(&path);
        let Some((_, allowed)) = LAW.iter().find(|(name, _)| *name == module) else {
            panic!("{} is not in the law: say where it stands", path.display());
        };
        for used in modules_used(&code) {
            let lawful = used == module || allowed.contains(&used);
            assert!(lawful, "{} uses `{used}`, which a file of `{module}` may not", path.display());
        }
    }
}

#[test]
fn one_folder_names_the_broker_s_library_and_one_the_network_s() {
    for (path, code) in sources() {
        let names = |library: &str| code.contains(&format!("{library}::")) || code.contains(&format!("use {library}"));
        assert!(!names("rskafka") || path.starts_with("src/broker"), "{} names rskafka", path.display());
        assert!(!names("reqwest") || path.starts_with("src/registry"), "{} names reqwest", path.display());
        // Settings connect themselves, so that nobody leaves out how they are to be kept secret.
        let plain = code.contains("Broker::connect(") && !path.starts_with("src/broker");
        assert!(!plain, "{} connects without TLS and login: use SourceSettings::connect", path.display());
        assert!(!names("burn") || path.starts_with("src/model/network"), "{} names burn", path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        let code = fs::read_to_string(at(&path)).unwrap();
        assert!(code.starts_with("//! "), "{} does not begin with what it is for", path.display());
    }
}

fn at(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of the program, without comments and tests, by their paths from the repository's root.
pub fn sources() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| {
        let code = without_comments_and_tests(&fs::read_to_string(at(&path)).unwrap());
        (path, code)
    };
    rust_files("src").into_iter().filter(|path| !path.ends_with("tests.rs")).map(read).collect()
}

fn rust_files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(at(&folder)).unwrap() {
        let path = folder.as_ref().join(entry.unwrap().file_name());
        if at(&path).is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file's tests are its last module.
fn without_comments_and_tests(code: &str) -> String {
    let mut lines = code.lines().peekable();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        let tests_begin =
            line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod tests {"));
        if tests_begin {
            break;
        }
        if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// `lane` for `src/lane.rs` and `src/lane/memory.rs`.
fn module_of(path: &Path) -> String {
    let first = path.strip_prefix("src").unwrap().components().next().unwrap();
    let first = first.as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// The modules of this crate that some code uses, by `use` or by path.
fn modules_used(code: &str) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for rest in ["crate::", "alluvium::"].iter().flat_map(|root| code.split(root).skip(1)) {
        match rest.strip_prefix('{') {
            Some(group) => used.extend(firsts(group)),
            None => used.extend(word(rest)),
        }
    }
    used
}

/// `a` and `b` of `a::{c, d}, b::e};`
fn firsts(group: &str) -> BTreeSet<&str> {
    let (mut depth, mut from, mut firsts) = (0, 0, BTreeSet::new());
    for (place, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                firsts.extend(word(group.get(from..place).unwrap_or_default().trim_start()));
                from = place + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    firsts
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.get(..end).filter(|word| !word.is_empty())
}

/// `FIELDS_MAX` of `const FIELDS_MAX: usize = …`
fn limits_in(code: &str) -> impl Iterator<Item = &str> {
    code.split("const ").skip(1).filter_map(word).filter(|name| name.ends_with("_MAX"))
}

/// The texts of `#[error("…")]`, continued lines joined.
fn messages_in(code: &str) -> Vec<String> {
    let texts = code.split("#[error(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let texts = texts.filter_map(|rest| rest.split('"').next());
    texts.map(|text| text.split("\\\n").map(str::trim_start).collect::<String>()).collect()
}

/// What stands between two placeholders of a message, the first that tells it from others.
fn first_words(message: &str) -> &str {
    let pieces = message.split('{').map(|piece| piece.split_once('}').map_or(piece, |(_, words)| words));
    let pieces = pieces.map(|words| words.trim_matches(|c: char| " :;,.()`".contains(c)));
    let mut pieces: Vec<_> = pieces.filter(|words| !words.is_empty()).collect();
    let long = pieces.iter().position(|words| words.len() > 8).unwrap_or(0);
    if pieces.is_empty() { "" } else { pieces.swap_remove(long) }
}

/// What stands in backticks in a Markdown text and could be the name of something in the code.
fn in_backticks(markdown: &str) -> impl Iterator<Item = &str> {
    let spans = markdown.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter(|span| !span.is_empty() && span.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c)))
}

fn followed_by_no_word(code: &str, item: &str) -> bool {
    code.split(item).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}
