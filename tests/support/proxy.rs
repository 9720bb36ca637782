//! A way to a server on which things go wrong just where a test says so.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Duration, OffsetDateTime};

use super::server::{answer, read, with_header};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered.
    Forwarded,
    /// It is answered with this status and not carried out.
    Refused(u16),
    /// It is answered with a page for people and not carried out.
    Page,
    /// It is carried out, and the connection closed without an answer.
    CutAfter,
    /// It is not carried out, and the connection closed without an answer.
    CutBefore,
    /// It is carried out, and no answer comes for as long as the client waits.
    Silence,
}

pub struct Proxy {
    pub url: String,
    fate: Arc<Mutex<Box<Decide>>>,
    /// How far the server's clock seems to be ahead, in seconds.
    ahead: Arc<AtomicI64>,
    seen: Arc<Mutex<Vec<String>>>,
}

type Decide = dyn FnMut(&str) -> Fate + Send;

impl Proxy {
    /// Forwards to `upstream`, an address, until the test's process ends.
    pub fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Proxy {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            fate: Arc::new(Mutex::new(Box::new(|_| Fate::Forwarded))),
            ahead: Arc::default(),
            seen: Arc::default(),
        };
        let upstream = upstream.to_owned();
        let (fate, seen) = (Arc::clone(&proxy.fate), Arc::clone(&proxy.seen));
        let ahead = Arc::clone(&proxy.ahead);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (upstream, fate, seen) = (upstream.clone(), fate.clone(), seen.clone());
                let ahead = ahead.load(Ordering::Relaxed);
                std::thread::spawn(move || {
                    // One that the client gives up on is no failure of the test.
                    let _ = pass(&stream, &upstream, ahead, |first| {
                        seen.lock().expect("no panic").push(first.to_owned());
                        (fate.lock().expect("no panic"))(first)
                    });
                });
            }
        });
        proxy
    }

    /// From now on `decide` is asked about each request, given as its first line.
    pub fn set(&self, decide: impl FnMut(&str) -> Fate + Send + 'static) {
        *self.fate.lock().expect("no panic") = Box::new(decide);
    }

    /// The request of that number from now on, counted from 0, has that fate; all others are
    /// forwarded.
    pub fn spoil(&self, number: usize, fate: Fate) {
        let mut count = 0;
        self.set(move |_| {
            count += 1;
            match count == number + 1 {
                true => fate,
                false => Fate::Forwarded,
            }
        });
    }

    /// From now on the server's clock seems to be so far ahead: in its `Date`, and in every time that
    /// it tells or is told in JSON.
    pub fn seem_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// The first lines of the requests since the last call.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

fn pass(
    mut stream: &TcpStream,
    upstream: &str,
    ahead: i64,
    fate: impl FnOnce(&str) -> Fate,
) -> std::io::Result<()> {
    let Some((head, body)) = read(stream)? else {
        return Ok(());
    };
    let fate = fate(head.lines().next().unwrap_or_default());
    match fate {
        Fate::Refused(status) => {
            let answer = answer(status, r#"{"message":"told to refuse"}"#).unwrap_or_default();
            return stream.write_all(answer.as_bytes());
        }
        Fate::Page => {
            let page = "<!DOCTYPE html><title>Sign in</title>";
            let answer = with_header(200, "Content-Type: text/html", page).unwrap_or_default();
            return stream.write_all(answer.as_bytes());
        }
        Fate::CutBefore => return Ok(()),
        Fate::Forwarded | Fate::CutAfter | Fate::Silence => {}
    }
    let (head, body) = shifted(&head, body.as_bytes(), -ahead).unwrap_or((head, body));
    let (first, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{first}\r\nConnection: close\r\n{headers}{body}").as_bytes())?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n");
    if let Some(end) = end.map(|at| at + 4)
        && let Some((head, body)) = shifted(
            &String::from_utf8_lossy(&reply[..end]),
            &reply[end..],
            ahead,
        )
    {
        reply = [head, body].concat().into_bytes();
    }
    match fate {
        Fate::Forwarded => stream.write_all(&reply)?,
        // Until the client goes away.
        Fate::Silence => drop(stream.read(&mut [0])?),
        _ => {}
    }
    stream.shutdown(Shutdown::Both)
}

/// A message with every time in it moved by so many seconds; `None` where there is nothing to move.
fn shifted(head: &str, body: &[u8], seconds: i64) -> Option<(String, String)> {
    let by = Duration::seconds(seconds);
    if by.is_zero() {
        return None;
    }
    let mut body = String::from_utf8(body.to_vec()).ok()?;
    if let Ok(mut value) = serde_json::from_str::<Value>(&body) {
        shift(&mut value, by);
        body = value.to_string();
    }
    let mut moved = String::new();
    for line in head.split_inclusive("\r\n") {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let date = OffsetDateTime::parse(value.trim(), &Rfc2822);
        match (name.to_ascii_lowercase().as_str(), date) {
            ("date", Ok(date)) => {
                let date = (date + by).format(&Rfc2822).ok()?;
                moved += &format!("Date: {}\r\n", date.replace("+0000", "GMT"));
            }
            ("content-length", _) => moved += &format!("Content-Length: {}\r\n", body.len()),
            _ => moved += line,
        }
    }
    Some((moved, body))
}

fn shift(value: &mut Value, by: Duration) {
    match value {
        Value::String(text) => {
            if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
                *text = (time + by).format(&Rfc3339).expect("a time");
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| shift(one, by)),
        Value::Object(all) => all.values_mut().for_each(|one| shift(one, by)),
        _ => {}
    }
}
