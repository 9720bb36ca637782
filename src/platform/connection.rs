//! How connections are taken: who is silent for too long loses his.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// Takes a connection, and ends it where the client does not read its answer for so long.
///
/// What a client does not send is watched by hyper (the head) and by a layer (the body).
#[derive(Clone, Debug)]
pub struct Patient(pub Duration);

impl<S> Accept<TcpStream, S> for Patient {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // git's small packets would otherwise wait for the acknowledgement of those before.
        let prepared = stream.set_nodelay(true).map(|()| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(self.0));
            (Box::pin(stream), service)
        });
        ready(prepared)
    }
}
