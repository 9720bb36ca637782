//! The open connections: how many there may be, and which of them has to make room.
//!
//! Each takes a file descriptor, which gits and the database need too. Where there is no room for
//! one more, the connection that has been silent the longest is closed, and never one whose request
//! the server is still working on.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::body_rate::PacedBody;
use super::limits::network;
use super::lock::lock;

/// Most connections, however many descriptors there are.
const MAX_CONNECTIONS: usize = 4096;
/// The part of all descriptors that connections may take: the rest is for gits, the database and
/// the log.
const PART_OF_DESCRIPTORS: usize = 4;

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    network: IpAddr,
    /// Milliseconds from the server's start to the last byte either way.
    active: AtomicU64,
    /// A request has arrived as far as the server wants it, and is not answered yet.
    waits_for_server: AtomicBool,
    closed: CancellationToken,
}

impl Connection {
    fn set_waits_for_server(&self, waits: bool) {
        self.waits_for_server.store(waits, Ordering::Relaxed);
    }
}

/// All open connections of a server.
#[derive(Debug)]
pub struct Connections {
    begin: Instant,
    patience: Duration,
    max: usize,
    /// Proxies hold connections for many.
    proxies: Arc<[IpAddr]>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_peer: HashMap<SocketAddr, Arc<Connection>>,
    by_network: HashMap<IpAddr, usize>,
}

impl Connections {
    /// For so many descriptors, and clients that may be silent for so long within a request.
    pub fn new(descriptors: usize, patience: Duration, proxies: Arc<[IpAddr]>) -> Self {
        Connections {
            begin: Instant::now(),
            patience,
            proxies,
            max: (descriptors / PART_OF_DESCRIPTORS).clamp(2, MAX_CONNECTIONS),
            open: Mutex::default(),
        }
    }

    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes a connection into the count, and closes another where that is needed for it. `None`
    /// where the server is at work for all that could make room.
    fn admit(&self, peer: SocketAddr) -> Option<Arc<Connection>> {
        let network = network(peer.ip());
        let mut open = lock(&self.open);
        let own = open.by_network.get(&network).copied().unwrap_or_default();
        // One network leaves half of all to the others.
        let is_proxy = self.proxies.contains(&peer.ip().to_canonical());
        if own >= self.max / 2 && !is_proxy {
            open.close_one(Some(network))?;
        } else if open.by_peer.len() >= self.max {
            let largest = open.by_network.iter().max_by_key(|(_, count)| **count);
            let largest = largest.map(|(network, _)| *network);
            open.close_one(largest).or_else(|| open.close_one(None))?;
        }
        let connection = Arc::new(Connection {
            network,
            active: AtomicU64::new(self.now()),
            waits_for_server: AtomicBool::new(false),
            closed: CancellationToken::new(),
        });
        open.by_peer.insert(peer, connection.clone());
        *open.by_network.entry(network).or_default() += 1;
        Some(connection)
    }

    fn forget(&self, peer: SocketAddr, connection: &Arc<Connection>) {
        let mut open = lock(&self.open);
        // One that had to make room is forgotten already, and its port may be another's by now.
        if (open.by_peer.get(&peer)).is_some_and(|found| Arc::ptr_eq(found, connection)) {
            open.remove(peer);
        }
    }

    fn find(&self, peer: SocketAddr) -> Option<Arc<Connection>> {
        let open = lock(&self.open);
        open.by_peer.get(&peer).cloned()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Open {
    /// Closes the connection that has been silent the longest, of a network or of all.
    fn close_one(&mut self, network: Option<IpAddr>) -> Option<()> {
        let candidates = self.by_peer.iter().filter(|(_, connection)| {
            network.is_none_or(|network| connection.network == network)
                && !connection.waits_for_server.load(Ordering::Relaxed)
        });
        let longest = candidates.min_by_key(|(_, one)| one.active.load(Ordering::Relaxed));
        let (peer, connection) = longest?;
        connection.closed.cancel();
        let peer = *peer;
        self.remove(peer);
        Some(())
    }

    fn remove(&mut self, peer: SocketAddr) {
        let Some(connection) = self.by_peer.remove(&peer) else {
            return;
        };
        if let Some(count) = self.by_network.get_mut(&connection.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&connection.network);
            }
        }
    }
}

/// Watches the body of a request, and that its connection is not closed while the server works on
/// its answer.
pub async fn each_request(
    State(connections): State<Arc<Connections>>,
    request: Request,
    next: Next,
) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let connection = from.and_then(|ConnectInfo(from)| connections.find(*from));
    if let Some(connection) = &connection {
        connection.set_waits_for_server(true);
    }
    let request = match request.body().is_end_stream() {
        true => request,
        false => request.map(|body| {
            let connection = connection.clone();
            let on_wait = move |waits_for_client: bool| {
                if let Some(connection) = &connection {
                    connection.set_waits_for_server(!waits_for_client);
                }
            };
            Body::new(PacedBody::new(
                body,
                connections.patience,
                Box::new(on_wait),
            ))
        }),
    };
    let response = next.run(request).await;
    if let Some(connection) = &connection {
        connection.set_waits_for_server(false);
    }
    response
}

/// Takes connections within their bounds, and ends those whose client does not read its answer.
///
/// A client that does not send is noticed by hyper (the head) and by [`PacedBody`].
#[derive(Clone, Debug)]
pub struct Bounded(pub Arc<Connections>);

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = Watched;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.take(stream).map(|watched| (watched, service)))
    }
}

impl Bounded {
    fn take(&self, stream: TcpStream) -> io::Result<Watched> {
        // git's small packets would otherwise wait for the acknowledgement of those before.
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let connections = self.0.clone();
        let connection = connections
            .admit(peer)
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(connections.patience));
        Ok(Watched {
            stream: Box::pin(stream),
            closed: Box::pin(connection.closed.clone().cancelled_owned()),
            peer,
            connection,
            connections,
        })
    }
}

/// A connection's stream, which fails once it has to make room.
pub struct Watched {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    peer: SocketAddr,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Watched {
    fn note(&self) {
        let now = self.connections.now();
        self.connection.active.store(now, Ordering::Relaxed);
    }

    /// Result of a read or write: an error if the connection has been closed meanwhile.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => (self.closed.as_mut().poll(cx))
                .map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.connections.forget(self.peer, &self.connection);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.stream.as_mut().poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.note();
        }
        self.watch(cx, polled)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream.as_mut().poll_write(cx, bytes);
        if polled.is_ready() {
            self.note();
        }
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = self.stream.as_mut().poll_write_vectored(cx, parts);
        if polled.is_ready() {
            self.note();
        }
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(network: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, network], port))
    }

    fn admit(connections: &Connections, peer: SocketAddr, active: u64) -> Arc<Connection> {
        let connection = connections.admit(peer).expect("room");
        connection.active.store(active, Ordering::Relaxed);
        connection
    }

    #[test]
    fn a_network_at_its_bound_loses_its_longest_silent_connection() {
        let connections = Connections::new(32, Duration::from_secs(60), Arc::new([]));
        let other = admit(&connections, peer(2, 1), 0);
        let own: Vec<_> = (1..=4)
            .map(|port| admit(&connections, peer(1, port), u64::from(10 - port)))
            .collect();
        own[3].set_waits_for_server(true);
        let new = admit(&connections, peer(1, 5), 20);
        let closed: Vec<bool> = own.iter().map(|one| one.closed.is_cancelled()).collect();
        assert_eq!(closed, [false, false, true, false]);
        assert!(!other.closed.is_cancelled() && !new.closed.is_cancelled());
    }

    #[test]
    fn where_all_are_taken_the_largest_network_makes_room() {
        let connections = Connections::new(32, Duration::from_secs(60), Arc::new([]));
        let few = admit(&connections, peer(1, 1), 0);
        for port in 1..=3 {
            admit(&connections, peer(2, port), 50);
        }
        let many: Vec<_> = (1..=4)
            .map(|port| admit(&connections, peer(3, port), 100))
            .collect();
        admit(&connections, peer(4, 1), 200);
        assert!(!few.closed.is_cancelled());
        assert_eq!(
            many.iter().filter(|one| one.closed.is_cancelled()).count(),
            1
        );
    }

    #[test]
    fn while_the_server_works_for_all_of_a_network_it_gets_no_more() {
        let connections = Connections::new(32, Duration::from_secs(60), Arc::new([]));
        let own: Vec<_> = (1..=4)
            .map(|port| admit(&connections, peer(1, port), 1))
            .collect();
        for one in &own {
            one.set_waits_for_server(true);
        }
        assert!(connections.admit(peer(1, 9)).is_none());
        assert!(connections.admit(peer(2, 9)).is_some());
        connections.forget(peer(1, 1), &own[0]);
        assert!(connections.admit(peer(1, 9)).is_some());
    }
}
