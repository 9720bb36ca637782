//! The session bus over one blocking socket, with a deadline on every read and write. Calls can be
//! sent together and their replies taken in any order, so that a round trip is paid once.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::wire::{Call, FIXED, METHOD_RETURN, Malformed, Message, Writer};
use crate::config;

/// Why the bus did not bring a reply.
#[derive(Debug)]
pub enum BusError {
    /// No bus, or it went away or made no sense.
    Gone(String),
    TimedOut,
    /// The reply was an error, of this D-Bus name.
    Refused(String),
}

impl From<io::Error> for BusError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BusError::TimedOut,
            _ => BusError::Gone(format!("the session bus: {error}")),
        }
    }
}

impl From<rustix::io::Errno> for BusError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl From<Malformed> for BusError {
    fn from(_: Malformed) -> Self {
        nonsense()
    }
}

pub fn nonsense() -> BusError {
    BusError::Gone("invalid message on the session bus".to_owned())
}

pub struct Bus {
    stream: UnixStream,
    /// End of the caller's time limit.
    deadline: Instant,
    serial: u32,
    /// Sent with the next flush.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Came before it was asked for.
    early: Vec<Message>,
    greeted: bool,
}

impl Bus {
    /// Connects, and sends nothing yet.
    pub fn connect(deadline: Instant) -> Result<Self, BusError> {
        let stream = addresses()?
            .iter()
            .map(|address| connect(address, deadline))
            .reduce(|first, next| first.or(next))
            .unwrap_or_else(|| {
                Err(BusError::Gone(
                    "the session bus is at no Unix socket".to_owned(),
                ))
            })?;
        let mut bus = Bus {
            stream,
            deadline,
            serial: 0,
            outgoing: Vec::with_capacity(2048),
            incoming: Vec::with_capacity(4096),
            early: Vec::new(),
            greeted: false,
        };
        // D-Bus specification, "Authentication Protocol": EXTERNAL with the user id as hex of its
        // decimal digits. What follows BEGIN need not wait for the server's OK.
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.outgoing
            .extend_from_slice(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes());
        let daemon = "org.freedesktop.DBus";
        bus.send(&call(daemon, "/org/freedesktop/DBus", daemon, "Hello", ""));
        Ok(bus)
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Queues a call and returns the serial by which its reply is known.
    pub fn send(&mut self, call: &Call) -> u32 {
        self.serial += 1;
        call.encode(self.serial, &mut self.outgoing);
        self.serial
    }

    /// Sends what is queued and waits for the reply to `serial`.
    pub fn reply(&mut self, serial: u32) -> Result<Message, BusError> {
        let message = self.wait(|message| message.reply_serial == Some(serial))?;
        match message.kind {
            METHOD_RETURN => Ok(message),
            _ => Err(BusError::Refused(message.error_name.unwrap_or_default())),
        }
    }

    /// The same for a single call.
    pub fn call(&mut self, call: &Call) -> Result<Message, BusError> {
        let serial = self.send(call);
        self.reply(serial)
    }

    /// Sends what is queued and waits for a message that `wanted` accepts.
    pub fn wait(&mut self, wanted: impl Fn(&Message) -> bool) -> Result<Message, BusError> {
        self.flush()?;
        if let Some(at) = self.early.iter().position(&wanted) {
            return Ok(self.early.swap_remove(at));
        }
        loop {
            let message = self.receive()?;
            if wanted(&message) {
                return Ok(message);
            }
            self.early.push(message);
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> Result<(), BusError> {
        if !self.outgoing.is_empty() {
            self.stream.set_write_timeout(Some(left(self.deadline)?))?;
            self.stream.write_all(&self.outgoing)?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// The next message, in whole.
    fn receive(&mut self) -> Result<Message, BusError> {
        if !self.greeted {
            let end = loop {
                if let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
                    break end + 1;
                }
                self.fill()?;
            };
            if !self.incoming.starts_with(b"OK") {
                return Err(BusError::Gone("the session bus refuses us".to_owned()));
            }
            self.incoming.drain(..end);
            self.greeted = true;
        }
        while self.incoming.len() < FIXED {
            self.fill()?;
        }
        let whole = Message::length(&self.incoming[..FIXED])?;
        while self.incoming.len() < whole {
            self.fill()?;
        }
        let rest: Vec<u8> = self.incoming.split_off(whole);
        let bytes = std::mem::replace(&mut self.incoming, rest);
        Ok(Message::decode(&bytes)?)
    }

    fn fill(&mut self) -> Result<(), BusError> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(BusError::Gone("the session bus hung up".to_owned())),
            Ok(length) => {
                self.incoming.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A call of `member` with arguments of that signature, which are still to be written.
pub fn call<'a>(
    destination: &'a str,
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    signature: &'static str,
) -> Call<'a> {
    Call {
        destination,
        path,
        interface,
        member,
        signature,
        body: Writer::default(),
    }
}

fn left(deadline: Instant) -> Result<Duration, BusError> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(BusError::TimedOut),
        left => Ok(left),
    }
}

/// A Unix socket refuses connect(2) no longer than its send timeout when its queue is full.
fn connect(address: &SocketAddrUnix, deadline: Instant) -> Result<UnixStream, BusError> {
    let socket = net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left(deadline)?))?;
    net::connect(&socket, address)?;
    Ok(UnixStream::from(socket))
}

/// Addresses of the session bus, after the D-Bus specification, "Server Addresses".
fn addresses() -> Result<Vec<SocketAddrUnix>, BusError> {
    if let Some(text) = config::variable("DBUS_SESSION_BUS_ADDRESS") {
        return Ok(text.split(';').filter_map(address).collect());
    }
    let path = config::variable("XDG_RUNTIME_DIR")
        .map(|dir| std::path::Path::new(&dir).join("bus"))
        .filter(|path| path.exists())
        .ok_or_else(|| BusError::Gone("there is no session bus".to_owned()))?;
    Ok(vec![SocketAddrUnix::new(path)?])
}

fn address(text: &str) -> Option<SocketAddrUnix> {
    text.strip_prefix("unix:")?.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescape(value)?;
        match key {
            "path" => SocketAddrUnix::new(value).ok(),
            "abstract" => SocketAddrUnix::new_abstract_name(&value).ok(),
            _ => None,
        }
    })
}

/// Undoes the `%` escapes of an address.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}
