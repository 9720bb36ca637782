//! A proxy that takes every request to one server, whatever it names, and records what it can read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct HttpProxy {
    pub url: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl HttpProxy {
    /// Listens on a free port until the test's process ends.
    pub fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, address) = (Arc::clone(&seen), address.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (record, address) = (Arc::clone(&record), address.clone());
                // One that the client gives up on is no failure of the test.
                std::thread::spawn(move || pass(client, &address, &record));
            }
        });
        HttpProxy { url, seen }
    }

    /// All that came from clients so far.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("no panic in the proxy")).into_owned()
    }
}

fn pass(client: TcpStream, address: &str, record: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut server = TcpStream::connect(address)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let saw = |bytes: &[u8]| {
        let mut seen = record.lock().expect("no panic in the proxy");
        seen.extend_from_slice(bytes);
    };
    saw(head.as_bytes());
    if head.starts_with("CONNECT ") {
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        server.write_all(head.as_bytes())?;
    }
    let (mut answers, mut back) = (server.try_clone()?, client);
    std::thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        back.shutdown(std::net::Shutdown::Both)
    });
    let mut bytes = [0; 4096];
    loop {
        let length = reader.read(&mut bytes)?;
        if length == 0 {
            return server.shutdown(std::net::Shutdown::Write);
        }
        saw(&bytes[..length]);
        server.write_all(&bytes[..length])?;
    }
}
