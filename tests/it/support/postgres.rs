//! A PostgreSQL server of a test's own, in a folder that goes with it.
//!
//! It runs under a shell that ends it when the shell's input ends, hence when this process is gone in whatever way. It
//! refuses to be root, so where we are, it is the user that the package made for it.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::chown,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls};

use super::{parts, until};

const USER: &str = "alluvium";
pub const PASSWORD: &str = "s3cret";
const KEEPER: &str =
    r#""$@" >>"$LOG" 2>&1 </dev/null & echo $!; cat >/dev/null; kill -QUIT $! 2>/dev/null; wait $! 2>/dev/null"#;
const OPTIONS: [&str; 6] = ["-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB"];

#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Postgres {
    /// `None` where there is none, which is said.
    pub async fn start() -> Option<Self> {
        let programs = parts::postgres()?;
        let folder = tempfile::tempdir().unwrap();
        let mut this = Self { programs, folder, port: free_port().await, running: None };
        this.init();
        this.resume().await;
        Some(this)
    }

    fn init(&self) {
        let password = self.folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((uid, gid)) = keeper() {
            chown(self.folder.path(), Some(uid), Some(gid)).unwrap();
            chown(&password, Some(uid), Some(gid)).unwrap();
        }
        let data = self.data();
        let pwfile = format!("--pwfile={}", password.display());
        let mut init = self.command("initdb");
        init.args(["--no-sync", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "-U", USER, &pwfile, "-D"]);
        let made = init.arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Starts it again, where it was.
    pub async fn resume(&mut self) {
        let port = self.port.to_string();
        let mut keeper = self.command("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(self.programs.join("postgres")).arg("-D").arg(self.data());
        keeper.args(["-h", "127.0.0.1", "-p", &port, "-k"]).arg(self.folder.path()).args(OPTIONS);
        keeper.env("LOG", self.folder.path().join("log")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = keeper.spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.running = Some(child);
        until("PostgreSQL answers", async || self.connect().await.is_some()).await;
    }

    /// As a crash would: nothing is finished, and the next start recovers.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    async fn connect(&self) -> Option<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    pub async fn client(&self) -> Client {
        self.connect().await.expect("PostgreSQL answers")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, or the shell, as a user that it takes.
    fn command(&self, program: &str) -> Command {
        let program = if program == "sh" { "sh".into() } else { self.programs.join(program) };
        let mut command = match keeper() {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
                command.arg(program);
                command
            }
        };
        command.current_dir("/").env("LC_ALL", "C");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Whom it runs as, where this process is root.
fn keeper() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let told = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(told.stdout).ok()?.trim().parse::<u32>().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    Some((id(&["-u", "postgres"]).expect("the package made a user"), id(&["-g", "postgres"]).expect("and its group")))
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
