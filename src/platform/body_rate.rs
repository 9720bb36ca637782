//! The least rate at which a request's body must arrive.
//!
//! A body that comes one byte at a time is never silent for long, and holds a git for as long as it
//! likes. So waiting is paid from a budget: it runs down while the server waits for the client, and
//! each byte puts a little back. Time in which the server itself does not read costs nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Bytes that pay for a second of waiting.
const BYTES_PER_SECOND: f64 = 1024.0;

/// A body that fails with [`io::ErrorKind::TimedOut`] once its client is too slow.
pub struct PacedBody {
    body: Body,
    /// The most that the client may owe.
    patience: Duration,
    budget: Duration,
    /// Since when the server has been waiting for more, and until when it will.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
    on_wait: OnWait,
}

/// Told whether the server waits for the client, each time that changes.
pub type OnWait = Box<dyn Fn(bool) + Send + Sync>;

impl PacedBody {
    /// `patience` is the longest silence, and what a slow client may fall behind in all.
    pub fn new(body: Body, patience: Duration, on_wait: OnWait) -> Self {
        PacedBody {
            body,
            patience,
            budget: patience,
            wait: None,
            on_wait,
        }
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            if self.wait.is_none() {
                let now = Instant::now();
                let sleep = Box::pin(tokio::time::sleep_until(now + self.budget));
                self.wait = Some((now, sleep));
                (self.on_wait)(true);
            }
            let over =
                (self.wait.as_mut()).is_some_and(|(_, until)| until.as_mut().poll(cx).is_ready());
            return match over {
                true => {
                    let error =
                        io::Error::new(io::ErrorKind::TimedOut, "the body arrives too slowly");
                    Poll::Ready(Some(Err(axum::Error::new(error))))
                }
                false => Poll::Pending,
            };
        };
        if let Some((since, _)) = self.wait.take() {
            self.budget = self.budget.saturating_sub(since.elapsed());
            (self.on_wait)(false);
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let paid = Duration::from_secs_f64(data.len() as f64 / BYTES_PER_SECOND);
            self.budget = self.patience.min(self.budget + paid);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use tokio::io::AsyncWriteExt;
    use tokio_util::io::ReaderStream;

    use super::*;

    /// Sends a body in pieces with a pause before each; `true` where all of it arrives.
    async fn arrives(patience: Duration, piece: usize, pause: Duration, pieces: u32) -> bool {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            for _ in 0..pieces {
                tokio::time::sleep(pause).await;
                if client.write_all(&vec![0; piece]).await.is_err() {
                    return;
                }
            }
        });
        let body = Body::from_stream(ReaderStream::new(server));
        let mut body = PacedBody::new(body, patience, Box::new(|_| {}));
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                None => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
            }
        }
    }

    #[tokio::test]
    async fn a_slow_body_ends_although_it_is_never_silent_for_long() {
        let pause = Duration::from_millis(300);
        assert!(!arrives(Duration::from_secs(1), 1, pause, 10).await);
    }

    #[tokio::test]
    async fn what_arrives_at_the_least_rate_goes_on_for_as_long_as_it_needs() {
        let pause = Duration::from_millis(50);
        assert!(arrives(Duration::from_secs(2), 2048, pause, 50).await);
    }
}
