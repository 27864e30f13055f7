//! A connection to a broker, made step by step: TCP, TLS, the versions spoken, the login.

use rskafka::messenger::{Messenger, SyncVersionsError};
use tokio::{io::BufStream, net::TcpStream};

use super::{
    super::{
        cause::Cause,
        link::{CLIENT, FRAME_BYTES_MAX},
    },
    Security, Stream, diagnose, refusal,
    stream::Tls,
};

/// What is spoken over.
pub(in crate::broker) type Line = Messenger<BufStream<Stream>>;

pub(in crate::broker) async fn connect(address: &str, security: &Security) -> Result<Line, Cause> {
    let line = greeted(address, security).await?;
    if let Some(sasl) = &security.sasl {
        sasl.log_in(address, &line, security).await?;
    }
    Ok(line)
}

/// All but the login.
pub(super) async fn greeted(address: &str, security: &Security) -> Result<Line, Cause> {
    let stream = tcp(address).await?;
    if let Some(tls) = &security.tls {
        return greeted_by_tls(address, stream, tls).await;
    }
    match greet(Stream::Plain(stream)).await.map_err(Cause::from) {
        Err(cause) if cause.connection_lost => Err(diagnose::wants_tls(address).await.unwrap_or(cause)),
        outcome => outcome,
    }
}

async fn greeted_by_tls(address: &str, stream: TcpStream, tls: &Tls) -> Result<Line, Cause> {
    let (asked, shaken) = tls.shake_hands(address, stream).await;
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => {
            let told = refusal::of_handshake(&error, &asked, address);
            return Err(match told {
                Some(cause) => cause,
                None => ended(address, &error).await,
            });
        }
    };
    // Whether a broker takes our certificate is told after the handshake.
    greet(stream).await.map_err(|error| refusal::of_first_answer(error, &asked, address))
}

/// A handshake that ended without a word.
async fn ended(address: &str, error: &std::io::Error) -> Cause {
    let told = Cause::connection(format!("in the TLS handshake: {error}")).of_broker(address);
    diagnose::wants_no_tls(address).await.unwrap_or(told)
}

pub(super) async fn tcp(address: &str) -> Result<TcpStream, Cause> {
    let refused = |error: std::io::Error| Cause::connection(error.to_string()).of_broker(address);
    let stream = TcpStream::connect(address).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    Ok(stream)
}

/// Asks which versions are spoken.
pub(super) async fn greet(stream: Stream) -> Result<Line, SyncVersionsError> {
    let mut messenger = Messenger::new(BufStream::new(stream), FRAME_BYTES_MAX, CLIENT.into());
    messenger.sync_versions().await?;
    Ok(messenger)
}
