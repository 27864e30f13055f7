//! A lake in a local folder: on a full disk, read-only, moved away, and on a path that asks for care.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tokio::process::Child;

use crate::{
    matrix::{send_mixed, visible_in},
    support::{
        LIMIT, parts,
        program::{command, written},
        proof::{OF_TROUBLE, Promise, Proof, Sent},
        stage::{DATASET, Stage, assert_clean, batch, objects},
        until,
        witness::Witness,
    },
};

const SMALL_SEGMENTS: &str = "roll_rows = 25\nroll_age = \"100ms\"\n";
const LIMITS: &str = "[limits]\nfetch_wait = \"10ms\"\n";

/// A small disk of the test's own, for as long as it lasts.
struct Disk(PathBuf);

impl Disk {
    const BYTES: u64 = 4 << 20;

    /// `None` where nobody may mount one, which is said.
    fn mounted_at(folder: PathBuf) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let owner = fs::metadata(&folder).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).unwrap();
        let options = format!("size={},uid={owner}", Self::BYTES);
        let mounted = as_root(&["mount", "-t", "tmpfs", "-o", &options, "none", folder.to_str().unwrap()]);
        if mounted { Some(Self(folder)) } else { parts::missing("a small disk can't be mounted here (root, or sudo)") }
    }

    fn remount(&self, how: &str) {
        assert!(as_root(&["mount", "-o", &format!("remount,{how}"), self.0.to_str().unwrap()]));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "-l", self.0.to_str().unwrap()]);
    }
}

fn as_root(command: &[&str]) -> bool {
    let run = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    run(command[0], &command[1..]) || run("sudo", &[&["-n"], command].concat())
}

/// The real program, streaming into a folder.
struct Streaming {
    stage: Stage,
    sent: Sent,
    folder: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Streaming {
    async fn into(stage: Stage, folder: PathBuf) -> Self {
        let text = stage.pipeline(folder.to_str().unwrap(), LIMITS) + SMALL_SEGMENTS;
        let (file, log) = (written(&stage, &text), stage.folder.path().join("log"));
        let mut stream = command(["stream", file.to_str().unwrap()]);
        let child = stream.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut streaming = Self { stage, sent: Sent::default(), folder, log, child };
        streaming.send(100).await;
        streaming.all_visible().await;
        streaming
    }

    async fn send(&mut self, count: usize) {
        send_mixed(&self.stage, &mut self.sent, 1, count).await;
    }

    fn settings(&self) -> alluvium::pipeline::Settings {
        let text = self.stage.pipeline(self.folder.to_str().unwrap(), LIMITS) + SMALL_SEGMENTS;
        alluvium::config::parse(&text, |_| None).unwrap()
    }

    async fn all_visible(&self) {
        let objects = objects(&self.settings());
        until("all that was sent is visible", async || visible_in(&objects).await == self.sent.len()).await;
    }

    async fn says(&self, words: &str) {
        let said = async || tokio::fs::read_to_string(&self.log).await.is_ok_and(|log| log.contains(words));
        until(&format!("it says: {words}"), said).await;
    }

    /// The stream has gone on by itself; so does the next start, and the lake is whole.
    async fn ends_well(mut self, proof: &Proof) {
        self.send(50).await;
        self.all_visible().await;
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(&self.log).unwrap());
        self.send(50).await;
        let settings = self.settings();
        assert_eq!(batch(settings.clone()).await.failures, Vec::<String>::new());
        proof.shown(&[Promise::Resumes]);
        proof.lake(&objects(&settings), &self.sent).await;
    }

    fn witness(&self) -> Witness {
        Witness::of(&objects(&self.settings()), DATASET)
    }
}

/// Writes until there is no room.
fn fill(file: &Path) {
    let full = fs::write(file, vec![0; usize::try_from(Disk::BYTES).unwrap()]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_room_on_a_full_disk() {
    let proof = Proof::of("the disk is full", OF_TROUBLE);
    let stage = Stage::new(1).await;
    let Some(disk) = Disk::mounted_at(stage.lake_folder("disk")) else { return proof.left_out() };
    let mut streaming = Streaming::into(stage, disk.0.join("lake")).await;
    let witness = streaming.witness();
    for _ in 0..2 {
        let filler = disk.0.join("filler");
        fill(&filler);
        streaming.send(200).await;
        streaming.says("No space left on device").await;
        fs::remove_file(&filler).unwrap();
        streaming.all_visible().await;
    }
    witness.agree(&proof).await;
    streaming.ends_well(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_a_folder_that_has_become_read_only() {
    let proof = Proof::of("the folder is read-only", OF_TROUBLE);
    let stage = Stage::new(1).await;
    let Some(disk) = Disk::mounted_at(stage.lake_folder("disk")) else { return proof.left_out() };
    let mut streaming = Streaming::into(stage, disk.0.join("lake")).await;
    let witness = streaming.witness();
    // A file that is open for writing forbids it for a moment.
    until("the disk is read-only", async || as_root(&["mount", "-o", "remount,ro", disk.0.to_str().unwrap()])).await;
    streaming.send(100).await;
    streaming.says("Read-only file system").await;
    disk.remount("rw");
    streaming.all_visible().await;
    witness.agree(&proof).await;
    streaming.ends_well(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_moved_away_is_not_made_anew_and_is_gone_on_with_when_it_is_back() {
    let proof = Proof::of("the folder is moved away, and put back", OF_TROUBLE);
    let stage = Stage::new(1).await;
    let (lake, away) = (stage.lake_folder("lake"), stage.lake_folder("away"));
    let mut streaming = Streaming::into(stage, lake.clone()).await;
    fs::rename(&lake, &away).unwrap();
    streaming.send(100).await;
    streaming.says("is no longer the folder that it was at the start").await;
    assert!(!lake.exists(), "nothing is made in its place");
    // As if its disk were unmounted: an empty folder stands where it was.
    fs::create_dir(&lake).unwrap();
    streaming.send(100).await;
    let tried_again = fs::metadata(&streaming.log).unwrap().len();
    until("it tries again", async || fs::metadata(&streaming.log).unwrap().len() > tried_again + 200).await;
    assert_eq!(fs::read_dir(&lake).unwrap().count(), 0, "an empty folder is no lake");
    fs::remove_dir(&lake).unwrap();
    fs::rename(&away, &lake).unwrap();
    let witness = streaming.witness();
    streaming.all_visible().await;
    witness.agree(&proof).await;
    streaming.ends_well(&proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_spaces_letters_of_all_kinds_and_a_link_is_a_path() {
    let proof = Proof::of(
        "the folder's path has spaces, letters of all kinds and a link in it",
        &[
            Promise::L1,
            Promise::L2,
            Promise::NoneLost,
            Promise::NoneDoubled,
            Promise::RejectsExact,
            Promise::BatchIsStream,
            Promise::Resumes,
        ],
    );
    let stage = Stage::new(1).await;
    let real = stage.lake_folder("the real one, für 湖 & 50%20");
    fs::create_dir(&real).unwrap();
    let link = stage.lake_folder("a link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let streaming = Streaming::into(stage, link.join("mein See #1")).await;
    let (behind, by_stream) = (real.join("mein See #1"), objects(&streaming.settings()));
    assert!(behind.join("_ledger").is_dir(), "it is where the link leads");
    let text = streaming.stage.pipeline(streaming.stage.lake_folder("plain").to_str().unwrap(), LIMITS);
    let plain = alluvium::config::parse(&text, |_| None).unwrap();
    batch(plain.clone()).await;
    proof.same_rows(&by_stream, &objects(&plain)).await;
    assert_clean(&streaming.settings()).await;
    streaming.ends_well(&proof).await;
}
