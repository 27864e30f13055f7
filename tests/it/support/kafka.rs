//! Apache Kafka, from the jars in the folder that `ALLUVIUM_TEST_KAFKA` names (`.ci/kafka` fetches them): one broker, or
//! several as a cluster.
//!
//! Each runs under a shell that kills it when the shell's input ends, hence when this process is gone in whatever way.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::OnceCell};

use super::{
    admin::{Admin, Leadership},
    parts, until,
};

/// Below those that outgoing connections get, so that a broker finds its port again when it is restarted.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";
/// Small, and quick to start rather than quick for long.
const JAVA: [&str; 5] = ["java", "-Xms64m", "-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
const KEEPER: &str =
    r#""$@" >>"$LOG" 2>&1 </dev/null & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; rm -rf "$FOLDER""#;

/// What the brokers of the tests have in common.
const COMMON: &str = "
process.roles=broker,controller
controller.listener.names=CONTROLLER
auto.create.topics.enable=true
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
message.max.bytes=20971520
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=200
log.initial.task.delay.ms=200
log.retention.ms=-1
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1500
replica.lag.time.max.ms=4000
";

static SHARED: OnceCell<Option<Kafka>> = OnceCell::const_new();

#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    folder: TempDir,
}

#[derive(Debug)]
struct Node {
    port: u16,
    settings: PathBuf,
    keeper: Option<Keeper>,
}

/// The shell, and the broker that it keeps.
#[derive(Debug)]
struct Keeper {
    shell: Child,
    broker: u32,
}

/// How a cluster is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub brokers: u16,
    /// Where clients are sent; to the broker itself if it is 0.
    pub advertised_port: u16,
}

/// What a broker has beyond the usual.
#[derive(Debug, Default)]
pub struct Further {
    pub listeners: Vec<(String, u16)>,
    /// Lines of its file.
    pub settings: String,
    /// As the storage tool takes them for SCRAM.
    pub users: Vec<String>,
}

impl Kafka {
    /// One broker for all tests that do it no harm.
    pub async fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(|| Self::start(Setup { brokers: 1, advertised_port: 0 })).await.as_ref()
    }

    /// Brokers of one's own; `None` where there is no Kafka, which is said.
    pub async fn start(setup: Setup) -> Option<Self> {
        Self::started(setup, |_| Further::default()).await
    }

    /// The same with further settings, which are made for the folder that goes when the brokers do.
    pub async fn started(setup: Setup, further: impl FnOnce(&Path) -> Further) -> Option<Self> {
        let jars = jars()?;
        let folder = tempfile::tempdir().unwrap();
        let further = further(folder.path());
        let ports: Vec<(u16, u16)> = (0..setup.brokers).map(|_| (free_port(), free_port())).collect();
        let settings: Vec<PathBuf> = (0..setup.brokers)
            .map(|node| written_settings(folder.path(), usize::from(node), &ports, setup, &further))
            .collect();
        let formats: Vec<Child> = settings.iter().map(|settings| format(&jars, settings, &further.users)).collect();
        for mut format in formats {
            assert!(format.wait().unwrap().success(), "the storage can be formatted");
        }
        let nodes =
            ports.iter().zip(settings).map(|((port, _), settings)| Node { port: *port, settings, keeper: None });
        let mut this = Self { nodes: nodes.collect(), folder };
        (0..this.nodes.len()).for_each(|node| this.restart(node));
        // Boxed, as the futures of what it asks are nested so deep that the compiler refuses to lay out what holds them.
        Box::pin(this.wait_until_ready()).await;
        Some(this)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `host:port` of each broker, separated by commas.
    pub fn brokers(&self) -> String {
        self.nodes.iter().map(Node::address).collect::<Vec<_>>().join(",")
    }

    pub fn address(&self, node: usize) -> String {
        self.nodes[node].address()
    }

    /// `kill -9`.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].keeper = None;
    }

    /// Starts a broker that was killed, on its old port, with what it had on its disk.
    pub fn restart(&mut self, node: usize) {
        let folder = self.folder.path();
        let node = &mut self.nodes[node];
        node.keeper = Some(Keeper::start(&jars().unwrap(), &node.settings, folder));
    }

    /// Returns when none of its threads runs any more: the signal alone only asks them to stop.
    pub async fn freeze(&self, node: usize) {
        let keeper = self.nodes[node].keeper.as_ref().expect("it runs");
        keeper.signal("STOP");
        until("every thread of the broker stands still", async || keeper.stands_still()).await;
    }

    pub fn thaw(&self, node: usize) {
        self.nodes[node].keeper.as_ref().expect("it runs").signal("CONT");
    }

    /// Until every broker knows the topic, and each of its replicas is in sync.
    pub async fn wait_until_all_know(&self, topic: &str) {
        for node in 0..self.nodes.len() {
            until("the broker knows the topic", async || {
                let Ok(admin) = Admin::connect(&self.address(node)).await else { return false };
                admin.leadership(topic).await.is_some_and(|led| led.in_sync == self.nodes.len())
            })
            .await;
        }
    }

    /// What the cluster says of a topic's first partition once it is as wanted, whichever of its brokers answers.
    pub async fn leadership(&self, topic: &str, wanted: impl Fn(&Leadership) -> bool) -> Leadership {
        let mut led = None;
        until("the partition is led", async || {
            for address in self.brokers().split(',') {
                if let Ok(admin) = Admin::connect(address).await {
                    led = admin.leadership(topic).await.filter(&wanted);
                    return led.is_some();
                }
            }
            false
        })
        .await;
        led.unwrap()
    }

    /// Until all brokers are there.
    pub async fn wait_until_ready(&self) {
        let replicas = i16::try_from(self.nodes.len()).unwrap();
        let topic = format!("ready-{}", uuid::Uuid::new_v4().simple());
        until("Kafka is up", async || {
            let Ok(admin) = Admin::connect(&self.address(0)).await else { return false };
            admin.create(&topic, 1, replicas, &[]).await.is_ok()
        })
        .await;
    }
}

impl Node {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Keeper {
    fn start(jars: &Path, settings: &Path, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "sh"]).args(java(jars)).arg("kafka.Kafka").arg(settings);
        shell.env("LOG", settings.with_extension("log")).env("FOLDER", folder);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { shell, broker: line.trim().parse().expect("the broker's process id") }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.broker.to_string()]).status();
        assert!(sent.unwrap().success(), "the broker gets its signal");
    }

    fn stands_still(&self) -> bool {
        let threads = Command::new("ps").args(["-L", "-o", "state=", "-p", &self.broker.to_string()]).output().unwrap();
        String::from_utf8_lossy(&threads.stdout).split_whitespace().all(|state| state == "T")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal("KILL");
        // Before the shell learns of it, and puts the folder away.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn jars() -> Option<PathBuf> {
    let found = env::var_os("ALLUVIUM_TEST_KAFKA").map(PathBuf::from).filter(|jars| jars.is_dir());
    let java = || Command::new("java").arg("-version").stderr(Stdio::null()).status().is_ok_and(|ran| ran.success());
    found
        .filter(|_| java())
        .or_else(|| parts::missing("Apache Kafka (ALLUVIUM_TEST_KAFKA names no folder of its jars)"))
}

fn java(jars: &Path) -> Vec<String> {
    let class_path = jars.join("*").to_str().unwrap().to_owned();
    JAVA.map(str::to_owned).into_iter().chain(["-cp".into(), class_path]).collect()
}

fn format(jars: &Path, settings: &Path, users: &[String]) -> Child {
    let java = java(jars);
    let mut format = Command::new(&java[0]);
    format.args(&java[1..]).args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
    format.arg(settings).args(users.iter().flat_map(|user| ["--add-scram", user])).env("LC_ALL", "C.UTF-8");
    format.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn written_settings(folder: &Path, node: usize, ports: &[(u16, u16)], setup: Setup, further: &Further) -> PathBuf {
    let [bound, named] = ["127.0.0.1", "localhost"].map(|host| {
        let further: Vec<_> = further.listeners.iter().map(|(name, port)| format!(",{name}://{host}:{port}")).collect();
        further.concat()
    });
    let voters: Vec<_> =
        ports.iter().enumerate().map(|(id, (_, port))| format!("{}@127.0.0.1:{port}", id + 1)).collect();
    let (port, controller) = ports[node];
    let advertised = if setup.advertised_port == 0 { port } else { setup.advertised_port };
    let (replicas, in_sync) = (setup.brokers, setup.brokers.div_ceil(2));
    let text = format!(
        "{COMMON}
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{bound}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}{named}
log.dirs={data}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
share.coordinator.state.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
{more}
",
        more = further.settings,
        id = node + 1,
        voters = voters.join(","),
        data = folder.join(format!("data{node}")).display(),
    );
    let settings = folder.join(format!("broker{node}.properties"));
    fs::write(&settings, text).unwrap();
    settings
}

pub fn free_port() -> u16 {
    let length = u128::from(PORTS.end - PORTS.start);
    loop {
        let port = PORTS.start + u16::try_from(uuid::Uuid::new_v4().as_u128() % length).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Bound before the broker is started, which must know where its clients are sent.
pub async fn any_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
