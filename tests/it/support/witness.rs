//! Readers that look at a lake again and again while things go wrong: one in this process, and DuckDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path as FilePath,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use alluvium::lake::{Claim, FileKind, names};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    LIMIT,
    lake::{places, read},
    parts,
    proof::{Promise, Proof},
};

/// Looks for as long as it is let; what it sees wrong fails the test at [`Witness::agree`].
#[derive(Debug)]
pub struct Witness {
    stop: CancellationToken,
    looking: JoinHandle<Seen>,
}

/// All that was ever seen.
#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    /// Data files, by name; each with its size.
    files: BTreeMap<Path, u64>,
    /// Claims and geneses, byte for byte.
    ledger: BTreeMap<Path, Bytes>,
    /// The final names that claims gave.
    named: BTreeSet<String>,
    /// Generation, partition and offset of each row.
    rows: BTreeSet<(u32, i32, i64)>,
}

impl Witness {
    /// `objects` must be a way to the lake that the test does not break.
    pub fn of(objects: &Arc<dyn ObjectStore>, dataset: &str) -> Self {
        let stop = CancellationToken::new();
        let (stopped, objects, dataset) = (stop.clone(), objects.clone(), dataset.to_owned());
        let looking = tokio::spawn(async move {
            let mut seen = Seen::default();
            while !stopped.is_cancelled() {
                seen.look(&objects, &dataset).await;
                tokio::task::yield_now().await;
            }
            seen.look(&objects, &dataset).await;
            seen.assert_ledger_unchanged(&objects).await;
            seen
        });
        Self { stop, looking }
    }

    /// Ends the looking, and fails if anything was wrong at any time.
    pub async fn agree(self, proof: &Proof) {
        self.stop.cancel();
        let seen =
            tokio::time::timeout(LIMIT, self.looking).await.expect("a look ends").expect("all that was seen is right");
        assert!(seen.looks > 1 && !seen.rows.is_empty(), "there was something to see: {} looks", seen.looks);
        proof.shown(&[Promise::L4, Promise::L5, Promise::NoneEarly, Promise::NoneDoubled]);
    }
}

impl Seen {
    /// Files first and claims after: a file that is there now has its claim already.
    async fn look(&mut self, objects: &Arc<dyn ObjectStore>, dataset: &str) {
        let mut files = vec![];
        for kind in [FileKind::Scored, FileKind::Rejected] {
            files.extend(listed(objects, &names::data(kind, dataset)).await);
        }
        self.read_ledger(objects, &Path::from_iter(["_ledger", dataset])).await;
        for file in &files {
            assert!(self.named.contains(file.location.as_ref()), "{} is visible before its claim", file.location);
        }
        let now: BTreeMap<_, _> = files.into_iter().map(|file| (file.location, file.size)).collect();
        for (file, size) in &self.files {
            assert_eq!(now.get(file), Some(size), "{file} was visible, and is gone or another");
        }
        for file in now.keys().filter(|file| !self.files.contains_key(file)) {
            for rows in read(objects, file).await.unwrap_or_else(|| panic!("{file} was listed, and is gone")) {
                let (generation, ..) = names::data_file_claim(file).expect("a name of the contract");
                for (partition, offset) in places(&rows) {
                    assert!(self.rows.insert((generation, partition, offset)), "{partition}/{offset} is visible twice");
                }
            }
        }
        self.files = now;
        self.looks += 1;
    }

    async fn read_ledger(&mut self, objects: &Arc<dyn ObjectStore>, folder: &Path) {
        let listed = listed(objects, folder).await;
        let there: BTreeSet<_> = listed.iter().map(|object| &object.location).collect();
        let gone = self.ledger.keys().find(|known| !there.contains(known));
        assert_eq!(gone, None, "it stood in the ledger, and is gone");
        for object in &listed {
            let path = &object.location;
            let is_claim = names::claim_start(path).is_some();
            if self.ledger.contains_key(path) || !(is_claim || path.filename() == Some("genesis.json")) {
                continue;
            }
            let bytes = objects.get(path).await.unwrap().bytes().await.unwrap();
            if is_claim {
                let claim: Claim = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
                self.named.extend(claim.files.into_iter().map(|file| file.path));
            }
            self.ledger.insert(path.clone(), bytes);
        }
    }

    async fn assert_ledger_unchanged(&self, objects: &Arc<dyn ObjectStore>) {
        for (path, first) in &self.ledger {
            let now = objects.get(path).await.unwrap().bytes().await.unwrap();
            assert!(now == *first, "{path} has changed");
        }
    }
}

async fn listed(objects: &Arc<dyn ObjectStore>, folder: &Path) -> Vec<ObjectMeta> {
    objects.list(Some(folder)).try_collect().await.unwrap()
}

/// Globs the scored rows until its input ends; the last line is what it saw.
const LOOKS: &str = r#"
import duckdb, glob, json, select, sys
lake = sys.argv[1].replace("'", "''")
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
db.execute("CREATE TABLE seen (g INTEGER, p INTEGER, o BIGINT)")
looks, wrong, rows = 0, [], 0
def look():
    global rows
    if not glob.glob(sys.argv[1] + "/scored/**/*.parquet", recursive=True):
        return
    files = "read_parquet('" + lake + "/scored/**/*.parquet', union_by_name = true)"
    db.execute("CREATE OR REPLACE TABLE now AS SELECT _generation g, _partition p, _offset o FROM " + files)
    twice = db.execute("SELECT g, p, o FROM now GROUP BY ALL HAVING count(*) > 1 LIMIT 5").fetchall()
    gone = db.execute("SELECT * FROM seen ANTI JOIN now USING (g, p, o) LIMIT 5").fetchall()
    db.execute("CREATE OR REPLACE TABLE seen AS FROM now")
    rows = db.execute("SELECT count(*) FROM seen").fetchone()[0]
    if twice: wrong.append(["twice", twice])
    if gone: wrong.append(["gone", gone])
last = False
while not last:
    last = bool(select.select([sys.stdin], [], [], 0)[0])
    try:
        look()
    except Exception as error:
        wrong.append(["error", str(error)])
    looks += 1
print(json.dumps({"looks": looks, "wrong": wrong[:5], "rows": rows}))
"#;

/// DuckDB, globbing `scored/**/*.parquet` for as long as it is let.
#[derive(Debug)]
pub struct DuckDb(Child);

impl DuckDb {
    /// `None` where DuckDB is not installed, which is said.
    pub fn over(lake: &FilePath) -> Option<Self> {
        let python = parts::python_with("duckdb")?;
        let mut reader = Command::new(python);
        reader.args(["-c", LOOKS]).arg(lake).stdin(Stdio::piped()).stdout(Stdio::piped());
        Some(Self(reader.spawn().unwrap()))
    }

    /// Ends the looking; how many rows the last look saw. Fails if any look saw something wrong.
    pub async fn agree(mut self, proof: &Proof) -> u64 {
        drop(self.0.stdin.take().map(|mut input| input.write_all(b"\n")));
        let looked = tokio::task::spawn_blocking(move || self.0.wait_with_output());
        let looked = tokio::time::timeout(LIMIT, looked).await.expect("a look ends").unwrap().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&looked.stdout).expect("the reader tells what it saw");
        assert_eq!(told["wrong"], serde_json::json!([]), "{told}");
        assert!(told["looks"].as_u64() > Some(1), "{told}");
        proof.shown(&[Promise::L5, Promise::NoneDoubled]);
        told["rows"].as_u64().unwrap()
    }
}
