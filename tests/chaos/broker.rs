//! The broker of a campaign: the program's own, as a process that can be killed and stopped, behind a proxy; or one
//! that somebody named, which is left alone.
//!
//! Owns: the broker's life. Does not own: what it is asked ([`super::load`], the workers).

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use alluvium::broker::{Broker, BrokerLimits};
use anyhow::{Context, bail};
use tokio::{net::TcpListener, process::Child, time::Instant};

use super::{
    plan::BrokerFault,
    process::{self, Program, Signal},
    proxy::{Proxy, Way},
};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// While nothing is broken yet, a machine that is busy is waited for.
pub const PATIENT: Duration = Duration::from_secs(30);
/// An answer that takes longer is lost.
pub const IMPATIENT: Duration = Duration::from_secs(2);
const ASKED_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub enum TestBroker {
    Own(Box<OwnBroker>),
    Named(String),
}

#[derive(Debug)]
pub struct OwnBroker {
    program: Program,
    folder: PathBuf,
    keeps: bool,
    listen: SocketAddr,
    proxy: Proxy,
    child: Child,
}

impl TestBroker {
    /// Starts a broker; if it is to outlive a kill, it keeps its records in `folder`.
    pub async fn start(program: &Program, folder: &Path, keeps: bool) -> anyhow::Result<Self> {
        // Whoever takes the port in between makes the start fail, and that is told.
        let listen = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let proxy = Proxy::start(listen).await?;
        let (program, folder) = (program.clone(), folder.to_owned());
        let child = started(&program, &folder, keeps, listen, proxy.address)?;
        let own = OwnBroker { program, folder, keeps, listen, proxy, child };
        own.ready().await?;
        Ok(Self::Own(Box::new(own)))
    }

    /// Where workers find it.
    pub fn address(&self) -> String {
        match self {
            Self::Own(own) => own.proxy.address.to_string(),
            Self::Named(address) => address.clone(),
        }
    }

    /// Our own connection to it, which knows the same faults.
    pub async fn connect(&self, request_timeout: Duration) -> anyhow::Result<Broker> {
        let limits = BrokerLimits {
            connect_timeout: START_TIMEOUT,
            request_timeout,
            fetch_bytes_max: 1 << 20,
            fetch_wait_max: Duration::from_millis(10),
        };
        let brokers: Vec<_> = self.address().split(',').map(str::to_owned).collect();
        Ok(Broker::connect(&brokers, limits).await?)
    }

    /// A named broker can't be broken.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    pub async fn fail(&mut self, fault: BrokerFault) -> anyhow::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        match fault {
            BrokerFault::Killed => process::kill(&mut own.child).await.map(drop)?,
            BrokerFault::Stopped => process::signal(&own.child, Signal::Stop).await?,
            BrokerFault::CutAfter(bytes) => own.proxy.set(Way::CutAfter(bytes)),
            BrokerFault::Swallowed => own.proxy.set(Way::Swallows),
        }
        Ok(())
    }

    pub async fn mend(&mut self, fault: BrokerFault) -> anyhow::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        match fault {
            BrokerFault::Killed => {
                own.child = started(&own.program, &own.folder, own.keeps, own.listen, own.proxy.address)?;
                own.ready().await?;
            }
            BrokerFault::Stopped => process::signal(&own.child, Signal::Continue).await?,
            BrokerFault::CutAfter(_) | BrokerFault::Swallowed => own.proxy.set(Way::Clear),
        }
        Ok(())
    }
}

impl OwnBroker {
    /// Waits until it listens.
    async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while tokio::net::TcpStream::connect(self.listen).await.is_err() {
            if Instant::now() > deadline {
                bail!("the broker does not listen at {}; see {}", self.listen, log(&self.folder).display());
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
        Ok(())
    }
}

fn started(
    program: &Program,
    folder: &Path,
    keeps: bool,
    listen: SocketAddr,
    advertised: SocketAddr,
) -> anyhow::Result<Child> {
    let (listen, advertised) = (listen.to_string(), advertised.to_string());
    let file = folder.join("broker.db");
    let mut arguments = vec!["broker", "--listen", &listen, "--advertise", &advertised];
    if keeps {
        arguments.extend(["--file", file.to_str().context("the folder's name is text")?]);
    }
    program.start(&arguments, &log(folder))
}

fn log(folder: &Path) -> PathBuf {
    folder.join("broker.log")
}
