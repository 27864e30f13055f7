//! What runs in containers: that the files fit each other and the program. `.ci/containers` holds them against the schema
//! of their kind, and `.ci/manifests` those of Kubernetes.

use std::{collections::BTreeMap, fs, process::Command};

use alluvium::config;

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `.env`, as `docker compose` reads it.
fn settings() -> BTreeMap<String, String> {
    let text = text(".env");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').map(|(key, value)| (key.into(), value.into())).unwrap()).collect()
}

/// `${NAME:?why}`, filled in.
fn filled(value: &str) -> String {
    let settings = settings();
    let Some((before, rest)) = value.split_once("${") else { return value.trim_matches('"').to_owned() };
    let (inside, after) = rest.split_once('}').unwrap();
    let name = inside.split(':').next().unwrap();
    format!("{before}{}{}", settings[name], filled(after)).trim_matches('"').to_owned()
}

/// What compose.yaml sets for a service of ours: what they have in common, and its own.
fn environment(service: &str) -> BTreeMap<String, String> {
    let compose = text("compose.yaml");
    let block = |from: &str, indent: &str| -> BTreeMap<String, String> {
        let (_, block) = compose.split_once(from).unwrap_or_else(|| panic!("{from} is not in compose.yaml"));
        let (_, variables) = block.split_once("environment:").unwrap();
        let lines = variables.lines().skip(1).take_while(|line| line.starts_with(indent));
        let pairs =
            lines.filter_map(|line| line.trim().split_once(": ")).filter(|(key, _)| !key.starts_with(['<', '#']));
        pairs.map(|(key, value)| (key.to_owned(), filled(value))).collect()
    };
    let mut all = block("\nx-alluvium:", "    ");
    all.extend(block(&format!("\n  {service}:\n"), "      "));
    all
}

#[test]
fn the_pipeline_of_compose_is_sound_with_what_compose_sets() {
    let file = text("deploy/compose/iris.toml");
    for (service, dataset, listen) in [("alluvium", "iris", "0.0.0.0:9184"), ("batch", "iris-batch", "127.0.0.1:9184")]
    {
        let environment = environment(service);
        let settings = config::parse(&file, |name| environment.get(name).cloned());
        let settings = settings.unwrap_or_else(|faults| panic!("{service}: {faults:?}"));
        assert_eq!(
            (settings.lake.url.as_str(), settings.source.brokers.join(",").as_str()),
            ("s3://lake", "redpanda:9092")
        );
        assert_eq!(settings.flows.named()[0].dataset.as_ref(), dataset);
        assert!(format!("{:?}", settings.http).contains(listen), "{service}: {:?}", settings.http);
    }
}

#[test]
fn the_pipelines_of_kubernetes_are_sound() {
    let mut found = 0;
    for entry in fs::read_dir("deploy/kubernetes").unwrap() {
        let path = entry.unwrap().path();
        let manifest = text(path.to_str().unwrap());
        for block in manifest.split(".toml: |\n").skip(1) {
            let lines = block.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
            let pipeline: Vec<_> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
            let parsed = config::parse(&pipeline.join("\n"), |_| Some("a-token-of-the-cluster".into()));
            parsed.unwrap_or_else(|faults| panic!("{}: {faults:?}", path.display()));
            found += 1;
        }
    }
    assert!(found >= 2, "each manifest has a pipeline in it");
}

#[test]
fn an_image_is_pinned_and_has_one_version_everywhere() {
    let version = concat!("alluvium:", env!("CARGO_PKG_VERSION"));
    let manifests =
        fs::read_dir("deploy/kubernetes").unwrap().map(|entry| text(entry.unwrap().path().to_str().unwrap()));
    let files: Vec<_> = manifests.chain([text("compose.yaml")]).collect();
    let images = files.iter().flat_map(|file| file.lines()).filter_map(|line| line.trim().strip_prefix("image: "));
    let images: Vec<_> = images.collect();
    assert!(images.len() > 8, "{images:?}");
    for image in images {
        let (name, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no version"));
        assert!(!tag.contains('/') && tag.contains(|c: char| c.is_ascii_digit()), "{image} is not pinned");
        assert!(name != "alluvium" || image == version, "{image} is another version than {version}");
    }
    for line in text("Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM ")) {
        assert!(line == "scratch" || line.contains(|c: char| c.is_ascii_digit()), "{line} is not pinned");
    }
}

/// What the Dockerfile does before it builds the libraries, with the manifest alone.
#[test]
fn the_image_is_built_with_stubs_for_every_program() {
    let (dockerfile, folder) = (text("Dockerfile"), tempfile::tempdir().unwrap());
    assert!(text("Cargo.toml").contains("[profile.image]") && dockerfile.contains("--profile image"));
    let (_, stubs) = dockerfile.split_once("RUN programs=").unwrap();
    let (stubs, _) = stubs.split_once("&& cargo build").unwrap();
    let stubs = format!("programs={}", stubs.replace("\\\n", "").trim());
    fs::copy("Cargo.toml", folder.path().join("Cargo.toml")).unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let programs = || {
        let mut reading = Command::new(&cargo);
        reading.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(folder.path());
        let told = reading.output().unwrap();
        told.status.success().then(|| String::from_utf8(told.stdout).unwrap())
    };
    assert!(programs().is_none(), "without stubs cargo reads no manifest");
    let made = Command::new("sh").args(["-euc", &stubs]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{stubs}: {made:?}");
    let programs = programs().unwrap_or_else(|| panic!("a program has no stub: {stubs}"));
    assert!(programs.contains("benches/decode.rs") && programs.contains("tests/chaos/main.rs"), "{programs}");
}

/// `.dockerignore` keeps everything from the image's build but what it lets through.
#[test]
fn the_build_of_the_image_has_every_file_that_the_program_is_made_of() {
    let ignored = text(".dockerignore");
    assert!(ignored.lines().any(|line| line == "*"));
    let let_through: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut found = 0;
    for (path, code) in crate::docs::sources() {
        let included =
            ["include_str!(\"", "include_bytes!(\""].map(|call| code.split(call).skip(1)).into_iter().flatten();
        for included in included.map(|rest| rest.split('"').next().unwrap()) {
            let file = fs::canonicalize(path.with_file_name(included)).unwrap();
            let file = file.strip_prefix(fs::canonicalize(".").unwrap()).unwrap();
            let is_there = let_through.iter().any(|allowed| file.starts_with(allowed));
            assert!(is_there, "{} needs {}, which .dockerignore keeps back", path.display(), file.display());
            found += 1;
        }
    }
    assert!(found > 5, "the program includes files: {found}");
    assert!(["src", "Cargo.toml", "Cargo.lock"].iter().all(|needed| let_through.contains(needed)), "{let_through:?}");
}
