//! The address of a client whose request a proxy passes on.
//!
//! Limits count by address. Behind a proxy all requests come from the proxy's, so that one client
//! would use up the limits of all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Puts the client's address in the place of the proxy's, where the proxy is one of `proxies`.
pub async fn each_request(
    State(proxies): State<Arc<[IpAddr]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if let Some(ConnectInfo(peer)) = peer.copied()
        && let Some(client) = client(&proxies, peer.ip(), request.headers())
    {
        // Its port is not known, and nobody asks for it.
        let client = SocketAddr::new(client, 0);
        request.extensions_mut().insert(ConnectInfo(client));
    }
    next.run(request).await
}

/// Each proxy appends the address that it was asked from. What stands before the last entry that a
/// known proxy wrote may be anybody's invention.
fn client(proxies: &[IpAddr], peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let is_known = |address: &IpAddr| proxies.contains(&address.to_canonical());
    if !is_known(&peer) {
        return None;
    }
    let lines = headers.get_all(FORWARDED_FOR).into_iter();
    let entries: Vec<&str> = lines
        .map(|line| line.to_str().unwrap_or_default())
        .flat_map(|line| line.split(','))
        .collect();
    let mut client = None;
    for entry in entries.into_iter().rev() {
        let Some(address) = address(entry.trim()) else {
            break;
        };
        client = Some(address);
        if !is_known(&address) {
            break;
        }
    }
    client
}

fn address(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip()).ok();
    (entry.parse().ok()).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&str]) -> Option<String> {
        let proxies = ["127.0.0.1", "10.0.0.1"].map(|one| one.parse().expect("an address"));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().expect("a value"));
        }
        let peer = peer.parse().expect("an address");
        client(&proxies, peer, &headers).map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_that_no_known_proxy_has_is_the_clients() {
        let client = Some("192.0.2.7".to_owned());
        assert_eq!(found("127.0.0.1", &["192.0.2.7"]), client);
        assert_eq!(found("::ffff:127.0.0.1", &["192.0.2.7:4000"]), client);
        assert_eq!(found("127.0.0.1", &["8.8.8.8, 192.0.2.7"]), client);
        assert_eq!(
            found("127.0.0.1", &["8.8.8.8", "192.0.2.7, 10.0.0.1"]),
            client
        );
        assert_eq!(
            found("127.0.0.1", &["[2001:db8::1]:80"]),
            Some("2001:db8::1".to_owned())
        );
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(found("192.0.2.1", &["192.0.2.7"]), None);
        assert_eq!(found("127.0.0.1", &[]), None);
        assert_eq!(found("127.0.0.1", &["unknown"]), None);
        assert_eq!(found("127.0.0.1", &["192.0.2.7, unknown"]), None);
    }
}
