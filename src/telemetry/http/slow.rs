//! A connection whose other side must take what it is sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Fails once what was written has waited for longer than `limit` to be taken as a whole: a client that takes a byte now
/// and then is no better than one that takes none.
#[derive(Debug)]
pub(super) struct Prompt<S> {
    io: S,
    limit: Duration,
    due: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    pub(super) fn new(io: S, limit: Duration) -> Self {
        Self { io, limit, due: None }
    }

    fn overdue<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let due = self.due.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(due.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "what was sent was not taken in time")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(context, bytes) {
            Poll::Pending => self.overdue(context),
            written @ Poll::Ready(_) => written,
        }
    }

    /// All that was written has been taken.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Pending => self.overdue(context),
            flushed @ Poll::Ready(_) => {
                self.due = None;
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Pending => self.overdue(context),
            shut @ Poll::Ready(_) => shut,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off() {
        let (ours, _theirs) = duplex(8);
        let mut ours = Prompt::new(ours, LIMIT);
        let error = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_byte_now_and_then_is_cut_off_too() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Prompt::new(ours, LIMIT);
        let dripping = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(LIMIT / 10).await;
            }
        });
        let error = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(ours);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_everything_may_take_for_ever() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Prompt::new(ours, LIMIT);
        let taking = tokio::spawn(async move {
            let mut taken = vec![];
            theirs.read_to_end(&mut taken).await.unwrap();
            taken.len()
        });
        for _ in 0..10 {
            ours.write_all(&[0; 64]).await.unwrap();
            ours.flush().await.unwrap();
            sleep(LIMIT).await;
        }
        drop(ours);
        assert_eq!(taking.await.unwrap(), 640);
    }
}
