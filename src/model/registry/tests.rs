//! Versions on every store, alone and with others at work; and all that can be wrong with them.

use std::sync::OnceLock;

use arrow::array::RecordBatch;
use futures::future::join_all;
use object_store::ObjectStoreExt;
use std::ops::ControlFlow;

use tempfile::TempDir;

use super::{champion::CHAMPIONS_MAX, golden::GOLDEN_ROWS_MAX, *};
use crate::model::{Backend, Columns, Labelled, Model, Plan, TrainSettings, Trained, train};

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris/data/iris.csv");

/// A network that knows little, and the rows that it was trained on.
fn trained() -> &'static (Trained, RecordBatch) {
    static TRAINED: OnceLock<(Trained, RecordBatch)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let columns = Columns { label: "species".to_owned(), ..Columns::default() };
        let table = Labelled::open(&[IRIS.to_owned()], &columns).unwrap();
        let rows = table.batches().unwrap().next().unwrap().unwrap();
        let settings = TrainSettings { epochs_max: 2, ..TrainSettings::default() };
        let plan = Plan { settings, ..Plan::default() };
        (train(&table, &plan, &mut |_, _| ControlFlow::Continue(())).unwrap(), rows)
    })
}

/// One in memory stands for S3, which has no folders and no renames either.
struct Places {
    registries: [Registry; 2],
    _folder: TempDir,
}

fn places() -> Places {
    let folder = tempfile::tempdir().unwrap();
    let local = Registry::create(folder.path().join("deep/iris").to_str().unwrap()).unwrap();
    let memory = Registry::over(Objects::open("memory:///models/iris").unwrap()).unwrap();
    Places { registries: [local, memory], _folder: folder }
}

async fn save(registry: &Registry, promote: bool) -> Saved {
    let (trained, rows) = trained();
    let report = |model: &ModelRef| {
        let json = format!(r#"{{"model": {{"date": "2026-11-21T12:00:00Z", "of": "{model}"}}}}"#).into_bytes();
        Ok(Pages { html: format!("<p>{model}</p>"), json })
    };
    registry.save(trained, Papers { golden: Some(rows), report: Some(&report) }, promote).await.unwrap()
}

async fn put(registry: &Registry, path: &str, bytes: impl Into<Bytes>) {
    registry.files.store().put(&Path::from(path), bytes.into().into()).await.unwrap();
}

async fn get(registry: &Registry, path: &str) -> Bytes {
    registry.files.store().get(&Path::from(path)).await.unwrap().bytes().await.unwrap()
}

async fn delete(registry: &Registry, path: &str) {
    registry.files.store().delete(&Path::from(path)).await.unwrap();
}

fn numbers(champions: &[Champion]) -> Vec<u32> {
    champions.iter().map(|champion| champion.version).collect()
}

#[tokio::test]
async fn a_version_is_saved_listed_read_and_verified_on_every_store() {
    for registry in places().registries {
        let saved = save(&registry, true).await;
        assert_eq!((saved.reference.to_string().as_str(), registry.name()), ("iris@1", "iris"));
        assert_eq!(saved.place, format!("{}/1", registry.files.url()));
        assert_eq!(registry.read(1).await.unwrap().reference, saved.reference);
        let about = registry.about(1).await.unwrap();
        let files = ["SHA256SUMS", "golden.json", "manifest.json", "report.html", "report.json", "weights.safetensors"];
        assert_eq!((about.files, about.date.as_str()), (files.map(String::from).to_vec(), "2026-11-21T12:00:00Z"));
        let verified = registry.verify(1).await.unwrap();
        assert_eq!((verified.files.len(), verified.golden), (5, GoldenVerdict::Exact { rows: GOLDEN_ROWS_MAX }));
    }
}

#[tokio::test]
async fn the_same_training_is_the_same_bytes_under_another_number_but_for_the_number() {
    for registry in places().registries {
        let (one, two) = (save(&registry, true).await, save(&registry, false).await);
        assert_eq!((one.reference.version, two.reference.version), (1, 2));
        assert_eq!(get(&registry, "1/weights.safetensors").await, get(&registry, "2/weights.safetensors").await);
        assert_eq!(get(&registry, "1/golden.json").await, get(&registry, "2/golden.json").await);
        let manifest = String::from_utf8(get(&registry, "2/manifest.json").await.to_vec()).unwrap();
        assert_eq!(
            manifest.replace(r#""version": 2"#, r#""version": 1"#).as_bytes(),
            get(&registry, "1/manifest.json").await
        );
        assert_eq!(registry.champion().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn champions_are_named_and_remembered_and_rolled_back_step_by_step() {
    for registry in places().registries {
        for promote in [true, false, false] {
            save(&registry, promote).await;
        }
        assert!(registry.name_champion(2).await.unwrap());
        assert!(registry.name_champion(3).await.unwrap());
        assert!(!registry.name_champion(3).await.unwrap(), "it is already");
        let champions = registry.champions().await.unwrap();
        assert_eq!(numbers(&champions), [3, 2, 1]);
        assert!(champions.iter().all(|champion| champion.since.as_ref().is_some_and(|since| since.ends_with('Z'))));
        assert!(!registry.unname_champion(2).await.unwrap(), "it is no longer champion");
        assert!(registry.unname_champion(3).await.unwrap() && registry.unname_champion(2).await.unwrap());
        assert!(!registry.unname_champion(1).await.unwrap(), "there was none before");
        assert_eq!(numbers(&registry.champions().await.unwrap()), [1]);
    }
}

#[tokio::test]
async fn a_champion_may_be_written_by_hand() {
    for registry in places().registries {
        save(&registry, false).await;
        assert_eq!(registry.champions().await.unwrap(), []);
        let error = registry.champion().await.unwrap_err().to_string();
        assert!(error.contains("no champion is named; it has 1; name a version, or promote one"), "{error}");
        for (text, want) in [("1", 1), ("\n 1\t\n", 1), ("2 yesterday\nrubbish\n1\n", 2)] {
            put(&registry, "champion", text).await;
            assert_eq!(registry.champion().await.unwrap(), want);
        }
        assert_eq!(numbers(&registry.champions().await.unwrap()), [2, 1]);
        put(&registry, "champion", "the best").await;
        let error = registry.champion().await.unwrap_err().to_string();
        assert!(error.contains("champion: it holds `the best`, which is no version number"), "{error}");
        assert!(registry.name_champion(1).await.unwrap(), "a promotion mends it");
        assert_eq!(registry.champion().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn only_so_many_champions_are_remembered() {
    let [_, registry] = places().registries;
    for version in 1..=u32::try_from(CHAMPIONS_MAX).unwrap() + 5 {
        registry.name_champion(version).await.unwrap();
    }
    let champions = registry.champions().await.unwrap();
    assert_eq!((champions.len(), champions[0].version), (CHAMPIONS_MAX, 105));
}

#[tokio::test]
async fn of_savers_at_once_each_gets_a_number_and_a_whole_version() {
    for registry in places().registries {
        let mut saved = join_all((0..5).map(|_| save(&registry, false))).await;
        saved.sort_by_key(|saved| saved.reference.version);
        assert_eq!(saved.iter().map(|saved| saved.reference.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(registry.versions().await.unwrap(), [1, 2, 3, 4, 5]);
        for Saved { reference, .. } in saved {
            assert_eq!(registry.verify(reference.version).await.unwrap().model, reference);
        }
    }
}

#[tokio::test]
async fn of_promoters_at_once_none_is_forgotten_where_the_store_can_tell() {
    let [_, registry] = places().registries;
    let named = join_all((1..=4).map(|version| registry.name_champion(version))).await;
    assert!(named.into_iter().all(Result::unwrap));
    let mut champions = numbers(&registry.champions().await.unwrap());
    champions.sort_unstable();
    assert_eq!(champions, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_an_interrupted_save_left_is_no_version_and_its_number_is_not_used_again() {
    for registry in places().registries {
        put(&registry, "1/weights.safetensors", "half").await;
        assert_eq!(registry.versions().await.unwrap(), Vec::<u32>::new());
        assert_eq!(save(&registry, true).await.reference.version, 2);
        assert_eq!(registry.versions().await.unwrap(), [2]);
        assert_eq!(get(&registry, "1/weights.safetensors").await, "half");
    }
}

#[tokio::test]
async fn only_plain_numbers_are_versions() {
    for registry in places().registries {
        save(&registry, true).await;
        for stranger in ["data/iris.csv", "07/manifest.json", "-1/manifest.json", "99999999999/manifest.json", "5"] {
            put(&registry, stranger, "x").await;
        }
        assert_eq!(registry.versions().await.unwrap(), [1]);
    }
}

#[tokio::test]
async fn a_version_without_digests_or_sample_is_read_and_verified_as_far_as_it_goes() {
    for registry in places().registries {
        save(&registry, true).await;
        for file in ["SHA256SUMS", "golden.json", "report.json", "report.html"] {
            delete(&registry, &format!("1/{file}")).await;
        }
        let verified = registry.verify(1).await.unwrap();
        assert_eq!((verified.files.len(), verified.golden), (0, GoldenVerdict::Absent));
        assert!(registry.about(1).await.unwrap().date.ends_with('Z'), "the manifest's own");
    }
}

#[tokio::test]
async fn each_damage_is_one_clear_error_that_names_the_file() {
    let cases: [(&str, Option<&str>, &str); 11] = [
        ("manifest.json", Some("{}"), "1/manifest.json: the file was changed or damaged: its SHA-256 begins with"),
        ("manifest.json", None, "1/manifest.json: the file is not there"),
        ("weights.safetensors", Some("short"), "1/weights.safetensors: the file was changed or damaged"),
        ("weights.safetensors", None, "1/weights.safetensors: the file is not there"),
        ("golden.json", Some("{}"), "1/golden.json: the file was changed or damaged"),
        ("golden.json", None, "1/golden.json: the file is not there"),
        ("report.html", Some(""), "1/report.html: the file was changed or damaged"),
        ("report.json", None, "1/report.json: the file is not there"),
        ("SHA256SUMS", Some("one two"), "1/SHA256SUMS: line 1 is not a digest and the name of a file beside it"),
        ("SHA256SUMS", Some(""), "1/manifest.json: SHA256SUMS does not tell of it"),
        ("SHA256SUMS", Some("\n"), "1/manifest.json: SHA256SUMS does not tell of it"),
    ];
    for (file, bytes, want) in cases {
        for registry in places().registries {
            save(&registry, true).await;
            let path = format!("1/{file}");
            match bytes {
                Some(bytes) => put(&registry, &path, bytes).await,
                None => delete(&registry, &path).await,
            }
            let error = registry.verify(1).await.unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("iris"), "{file}: {error}");
        }
    }
}

#[tokio::test]
async fn a_version_that_is_not_there_is_told_with_those_that_are() {
    for registry in places().registries {
        let error = registry.read(1).await.unwrap_err().to_string();
        assert!(error.ends_with("there is no version 1; it has no versions"), "{error}");
        for _ in 0..3 {
            save(&registry, false).await;
        }
        let error = registry.about(9).await.unwrap_err().to_string();
        assert!(error.ends_with("there is no version 9; it has 1, 2, 3"), "{error}");
    }
}

#[tokio::test]
async fn answers_that_differ_by_rounding_pass_with_a_note_and_others_do_not() {
    let [_, registry] = places().registries;
    save(&registry, true).await;
    delete(&registry, "1/SHA256SUMS").await;
    let sample = Golden::parse(&get(&registry, "1/golden.json").await).unwrap();
    let mut verdicts = vec![];
    for off in [1e-6, 1e-3] {
        let mut other = sample.clone();
        other.rows[3].probabilities[1] += off;
        put(&registry, "1/golden.json", other.to_json()).await;
        verdicts.push(registry.verify(1).await.map(|verified| verified.golden));
    }
    let rounding = verdicts.remove(0).unwrap();
    assert!(matches!(rounding, GoldenVerdict::Rounding { rows: 32, difference } if difference > 0.0), "{rounding:?}");
    let error = verdicts.remove(0).unwrap_err().to_string();
    assert!(
        error.contains("1/golden.json: the network's answers are off by up to") && error.contains("1e-5"),
        "{error}"
    );
}

#[tokio::test]
async fn a_sample_that_does_not_fit_the_network_is_an_error() {
    let [_, registry] = places().registries;
    save(&registry, true).await;
    delete(&registry, "1/SHA256SUMS").await;
    let cases = [
        ("{}", "missing field `rows`"),
        (r#"{"rows": []}"#, "it has no rows"),
        (r#"{"rows": [{"values": {}, "probabilities": [1, 0, 0]}]}"#, "`sepal_length`"),
        (
            r#"{"rows": [{"values": {"sepal_length": "long"}, "probabilities": []}]}"#,
            "`sepal_length` is \"long\", which",
        ),
        (
            r#"{"rows": [{"values": {"sepal_length": 1, "sepal_width": 1, "petal_length": 1, "petal_width": 1},
                "probabilities": [1]}]}"#,
            "a row has 1 probabilities for 3 classes",
        ),
    ];
    for (json, want) in cases {
        put(&registry, "1/golden.json", json).await;
        let error = registry.verify(1).await.unwrap_err().to_string();
        assert!(error.contains("1/golden.json") && error.contains(want), "{error}");
    }
    let many = format!(r#"{{"rows": [{}]}}"#, vec![r#"{"values": {}, "probabilities": []}"#; 33].join(","));
    assert_eq!(Golden::parse(many.as_bytes()).unwrap_err(), "it has 33 rows, and the limit is 32");
}

#[tokio::test]
async fn a_sample_survives_its_file_to_the_last_bit() {
    let [_, registry] = places().registries;
    save(&registry, true).await;
    let model = Model::of(registry.read(1).await.unwrap(), Backend::NdArray).unwrap();
    let golden = Golden::of(&model, &trained().1).unwrap();
    let read = Golden::parse(&golden.to_json()).unwrap();
    let bits = |golden: &Golden| -> Vec<u32> {
        golden.rows.iter().flat_map(|row| row.probabilities.iter().map(|float| float.to_bits())).collect()
    };
    assert_eq!((bits(&read), &read), (bits(&golden), &golden));
}

#[tokio::test]
async fn a_file_over_its_limit_is_not_read() {
    for registry in places().registries {
        save(&registry, true).await;
        put(&registry, "champion", vec![b'1'; 1 + usize::try_from(CHAMPION_BYTES_MAX).unwrap()]).await;
        let error = registry.champion().await.unwrap_err().to_string();
        assert!(error.contains("champion: it is larger than the limit of 65536 bytes"), "{error}");
    }
}

#[test]
fn a_place_without_a_name_is_refused() {
    let nameless = Registry::over(Objects::open("/").unwrap()).unwrap_err().to_string();
    assert!(nameless.contains("no name that could be the model's"), "{nameless}");
    let error = Registry::open("ftp://host/iris").unwrap_err().to_string();
    assert!(error.contains("`ftp://` is not a store"), "{error}");
}
