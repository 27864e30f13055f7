//! Every command of ours that a document, a help or a manifest shows is one that the program takes.

use std::{fs, mem, path::PathBuf};

use alluvium::cli::Cli;
use clap::{Command, CommandFactory, Parser};

const DOCUMENTS: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "sink/README.md", "benches/README.md"];

fn text(path: impl Into<PathBuf>) -> String {
    let path = path.into();
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn within(folder: &str) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// Lines of code in a Markdown file.
fn code(markdown: &str) -> String {
    let mut fenced = false;
    let mut is_code = |line: &&str| {
        fenced ^= line.trim_start().starts_with("```");
        fenced || line.starts_with("    ")
    };
    markdown.lines().filter(|line| is_code(line)).collect::<Vec<_>>().join("\n")
}

/// The commands of some lines, each as its words.
fn commands(lines: &str) -> Vec<Vec<String>> {
    lines.replace("\\\n", " ").lines().flat_map(commands_of_a_line).collect()
}

/// As a shell would part them. What is redirected to counts as one more.
fn commands_of_a_line(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (vec![], vec![], String::new());
    let (mut quote, mut depth) = (None, 0);
    for c in line.chars().chain(['\n']) {
        let ends = quote.is_none() && depth == 0 && (c.is_whitespace() || "|&;<>".contains(c));
        match c {
            '#' if word.is_empty() && quote.is_none() => return all.into_iter().chain([words]).collect(),
            _ if ends => {
                words.extend(Some(mem::take(&mut word)).filter(|word| !word.is_empty()));
                if !matches!(c, ' ' | '\t') {
                    all.extend(Some(mem::take(&mut words)).filter(|words| !words.is_empty()));
                }
            }
            '"' | '\'' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ => {
                depth += i32::from(c == '(') - i32::from(c == ')');
                word.push(c);
            }
        }
    }
    all
}

/// Without the variables that are set for it: the words of a command of ours.
fn ours(words: Vec<String>) -> Option<Vec<String>> {
    let mut words: Vec<_> = words.into_iter().skip_while(|word| word.contains('=')).collect();
    if words.starts_with(&["cargo".into(), "run".into()]) {
        let begins = words.iter().position(|word| word == "--")?;
        words.splice(..=begins, ["alluvium".into()]);
    }
    let is_command = |word: &String| word.starts_with(|c: char| c.is_ascii_lowercase() || c == '-');
    (words.first()? == "alluvium" && words.get(1).is_some_and(is_command)).then_some(words)
}

#[track_caller]
fn assert_taken(words: &[String], at: &str) {
    if let Err(error) = Cli::try_parse_from(words)
        && error.use_stderr()
    {
        panic!("{at} shows `{}`: {error}", words.join(" "));
    }
}

#[test]
fn a_shell_s_words_are_found() {
    let lines = "A=1 alluvium top --x \"b c\" # no\nalluvium check a && alluvium batch 'd' > f\nT=$(cat t | x) alluvium \\\n  go\n";
    let found: Vec<_> = commands(lines).into_iter().filter_map(ours).map(|words| words[1..].join("·")).collect();
    assert_eq!(found, ["top·--x·b c", "check·a", "batch·d", "go"]);
    assert_eq!(ours(commands("cargo run --release -- demo").remove(0)).unwrap(), ["alluvium", "demo"]);
    assert_eq!(code("text\n    alluvium a\n```\nalluvium b\n```\nalluvium c"), "    alluvium a\n```\nalluvium b");
}

#[test]
fn every_command_of_the_documents_is_taken() {
    let models = within("models").map(|folder| folder.join("README.md")).filter(|page| page.exists());
    let pages = within("docs").filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let mut found = 0;
    for path in DOCUMENTS.map(PathBuf::from).into_iter().chain(pages).chain(models) {
        for words in commands(&code(&text(&path))).into_iter().filter_map(ours) {
            assert_taken(&words, &path.display().to_string());
            found += 1;
        }
    }
    assert!(found > 60, "the documents show commands: {found}");
}

#[test]
fn every_example_of_a_help_is_taken() {
    fn examples(command: &Command, found: &mut usize) {
        let helps = [command.get_after_help(), command.get_after_long_help()];
        for help in helps.into_iter().flatten().map(ToString::to_string) {
            for words in commands(&help).into_iter().filter_map(ours) {
                assert_taken(&words, &format!("the help of {}", command.get_name()));
                *found += 1;
            }
        }
        command.get_subcommands().for_each(|command| examples(command, found));
    }
    let mut found = 0;
    examples(&Cli::command(), &mut found);
    assert!(found > 20, "the helps show examples: {found}");
}

/// Options that a row of the README leaves to the page that it links to.
const ELSEWHERE: [&str; 7] = ["tls-ca", "tls-cert", "tls-key", "user", "token-file", "registry-user", "registry-ca"];

#[test]
fn the_readme_s_table_of_commands_has_every_option() {
    let readme = text("README.md");
    for command in Cli::command().get_subcommands().filter(|command| !["help", "train"].contains(&command.get_name())) {
        let named = [" ", "`"].map(|end| format!("| `alluvium {}{end}", command.get_name()));
        let rows: Vec<_> = readme.lines().filter(|line| named.iter().any(|named| line.starts_with(named))).collect();
        assert!(!rows.is_empty(), "the README's table has no {}", command.get_name());
        let own = command.get_arguments().filter(|option| !option.is_global_set());
        for option in own.filter_map(|option| option.get_long()).filter(|option| !ELSEWHERE.contains(option)) {
            let is_told =
                rows.iter().any(|row| row.contains(&format!("`--{option}")) || row.contains(&format!(" --{option} ")));
            assert!(is_told, "the README's row of {} has no --{option}", command.get_name());
        }
    }
}

/// `[stream, /etc/alluvium/iris.toml]` and `["CMD", "/usr/bin/alluvium", "health"]`, as words.
fn listed(line: &str) -> Option<Vec<String>> {
    let (_, list) = line.split_once('[')?;
    let (list, _) = list.split_once(']')?;
    Some(list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect())
}

#[test]
fn every_command_of_an_image_is_taken() {
    let known: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let files = within("deploy/kubernetes").chain([PathBuf::from("compose.yaml"), PathBuf::from("Dockerfile")]);
    let mut found = 0;
    for path in files {
        let text = text(&path);
        let lines = text.lines().filter(|line| ["command:", "args:", "CMD ["].iter().any(|key| line.contains(key)));
        let blocks = text.split("command:\n").skip(1).map(|block| {
            let words = block.lines().map_while(|line| line.trim().strip_prefix("- "));
            words.map(|word| word.replace("${PRODUCE_RATE:?is in .env}", "200~2000/10m")).collect()
        });
        for mut words in lines.filter_map(listed).chain(blocks) {
            match words[0].as_str() {
                "/usr/bin/alluvium" => words[0] = "alluvium".into(),
                first if known.iter().any(|known| known == first) => words.insert(0, "alluvium".into()),
                _ => continue,
            }
            assert_taken(&words, &path.display().to_string());
            found += 1;
        }
    }
    assert!(found >= 10, "the manifests start the program: {found}");
}
