//! `wit up` behind Debian's HAProxy: whose address counts.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::io::{Read, Write};

use serde_json::Value;

use crate::support::Home;
use crate::support::haproxy::HaProxy;
use crate::support::platform::{Server, connect_from};

/// Where the proxy's own connections come from.
const PROXY: &str = "127.0.0.2";
/// A client, and what it pretends to be.
const CLIENT: [u8; 4] = [127, 0, 0, 7];
const FORGED: &str = "192.0.2.66";

fn request(address: &str, from: [u8; 4], head: &str, body: &str) -> (u16, String) {
    let mut stream = connect_from(from, address);
    let length = body.len();
    let request = format!(
        "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (status.unwrap_or(0), body.to_owned())
}

/// A request with a token, from a client that says that it is another.
fn create(session: &str, name: &str) -> (String, String) {
    let head = format!(
        "POST /api/tokens HTTP/1.1\r\nAuthorization: Bearer {session}\r\n\
         Content-Type: application/json\r\nX-Forwarded-For: {FORGED}"
    );
    let body = format!("{{\"name\":\"{name}\",\"scopes\":[\"repo:read\"],\"expiresInDays\":30}}");
    (head, body)
}

/// The address that the activity has of the creation of a token.
fn address_of(server: &Server, session: &str, name: &str) -> String {
    let events = server.bearing("GET", "/api/tokens/events", session).json();
    let events = events
        .as_array()
        .or(events["events"].as_array())
        .expect("a list")
        .clone();
    let of = |event: &&Value| event.to_string().contains(&format!("\"{name}\""));
    let event = events
        .iter()
        .find(of)
        .unwrap_or_else(|| panic!("{name}: {events:?}"));
    event["address"].as_str().expect("an address").to_owned()
}

#[test]
fn the_activity_has_the_clients_address_whatever_it_says_itself() {
    let server = Server::start_with(Home::new(), &["--proxy", PROXY]);
    let session = server.sign_up("alice");
    let proxy = HaProxy::start(&server.home, PROXY, &[&server.address]);
    let (head, body) = create(&session, "through");
    assert_eq!(request(&proxy.address, CLIENT, &head, &body).0, 201);
    assert_eq!(address_of(&server, &session, "through"), "127.0.0.7");
    // Past the proxy nobody is believed.
    let (head, body) = create(&session, "direct");
    assert_eq!(request(&server.address, CLIENT, &head, &body).0, 201);
    assert_eq!(address_of(&server, &session, "direct"), "127.0.0.7");
    // Where the proxy is not named, it is the client.
    drop(proxy);
    drop(server);
    let server = Server::start();
    let session = server.sign_up("alice");
    let proxy = HaProxy::start(&server.home, PROXY, &[&server.address]);
    let (head, body) = create(&session, "unnamed");
    assert_eq!(request(&proxy.address, CLIENT, &head, &body).0, 201);
    assert_eq!(address_of(&server, &session, "unnamed"), PROXY);
}

#[test]
fn tries_at_a_password_count_for_the_client_whatever_it_says_itself() {
    let server = Server::start_with(Home::new(), &["--proxy", PROXY]);
    server.sign_up("alice");
    let proxy = HaProxy::start(&server.home, PROXY, &[&server.address]);
    let body = r#"{"email":"alice@example.com","password":"wrong horse"}"#;
    let try_as = |from: [u8; 4], forged: usize| {
        let head = format!(
            "POST /api/auth/sign-in/email HTTP/1.1\r\nContent-Type: application/json\r\n\
             X-Forwarded-For: 192.0.2.{forged}"
        );
        request(&proxy.address, from, &head, body).0
    };
    let statuses: Vec<u16> = (0..12).map(|number| try_as(CLIENT, number)).collect();
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    assert_eq!(statuses[11], 429, "{statuses:?}");
    // Neither the proxy nor another client has used up its tries.
    assert_eq!(try_as([127, 0, 0, 8], 0), 401);
}
