//! The D-Bus wire format, as far as the Secret Service needs it. Section names are of the D-Bus
//! specification.
//!
//! Reading checks every length and type: the other end may be any program on the session bus.

/// Section "Message Format": the kinds of messages that are looked at.
pub const METHOD_RETURN: u8 = 2;
/// The largest message that is read, in bytes. Items are far smaller.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// The fixed part of a header, with the length of its fields.
pub const FIXED: usize = 16;

/// Bytes that are no message, or not the one that was expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Values one after another, little-endian, each aligned as its type wants it.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// `u`, and what else has that form.
    pub fn uint32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// `b`.
    pub fn boolean(&mut self, value: bool) {
        self.uint32(value.into());
    }

    /// `s` or `o`.
    pub fn string(&mut self, text: &str) {
        self.uint32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// `ay`.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.uint32(length(bytes.len()));
        self.0.extend(bytes);
    }

    /// `g`; also what begins a variant, before its value.
    pub fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// Begins a struct or an entry of a dictionary.
    pub fn structure(&mut self) {
        self.align(8);
    }

    /// An array whose elements are aligned to that many bytes.
    pub fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.uint32(0);
        let at = self.0.len();
        self.align(alignment);
        let begin = self.0.len();
        fill(self);
        let bytes = length(self.0.len() - begin).to_le_bytes();
        self.0[at - 4..at].copy_from_slice(&bytes);
    }
}

/// A message that is longer than a `u32` says is refused by the bus, as every one above 128 MiB is.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A method call.
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    /// Of the body; empty where there is none.
    pub signature: &'static str,
    pub body: Writer,
}

impl Call<'_> {
    /// Adds the whole message to `bytes`.
    pub fn encode(&self, serial: u32, bytes: &mut Vec<u8>) {
        // Little-endian, a method call, no flags, version 1.
        let mut header = Writer(vec![b'l', 1, 0, 1]);
        header.uint32(length(self.body.0.len()));
        header.uint32(serial);
        let fields = [
            (1, "o", self.path),
            (2, "s", self.interface),
            (3, "s", self.member),
            (6, "s", self.destination),
        ];
        header.array(8, |header| {
            for (code, signature, value) in fields {
                header.structure();
                header.0.push(code);
                header.signature(signature);
                header.string(value);
            }
            if !self.signature.is_empty() {
                header.structure();
                header.0.push(8);
                header.signature("g");
                header.signature(self.signature);
            }
        });
        header.align(8);
        bytes.append(&mut header.0);
        bytes.extend_from_slice(&self.body.0);
    }
}

/// A message that came in.
#[derive(Debug)]
pub struct Message {
    pub kind: u8,
    pub path: Option<String>,
    pub member: Option<String>,
    pub error_name: Option<String>,
    pub reply_serial: Option<u32>,
    signature: String,
    body: Vec<u8>,
    is_big_endian: bool,
}

impl Message {
    /// The length of the message that begins with these [`FIXED`] bytes.
    pub fn length(fixed: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(fixed, is_big_endian(fixed)?);
        reader.at = 4;
        let body = reader.uint32()? as usize;
        reader.uint32()?;
        let fields = reader.uint32()? as usize;
        match body <= MAX_MESSAGE && fields <= MAX_MESSAGE {
            true => Ok((FIXED + fields).next_multiple_of(8) + body),
            false => Err(Malformed),
        }
    }

    /// A whole message, of [`Message::length`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let is_big_endian = is_big_endian(bytes)?;
        let mut message = Message {
            kind: *bytes.get(1).ok_or(Malformed)?,
            path: None,
            member: None,
            error_name: None,
            reply_serial: None,
            signature: String::new(),
            body: Vec::new(),
            is_big_endian,
        };
        let mut reader = Reader::new(bytes, is_big_endian);
        reader.at = FIXED - 4;
        reader.array(8, |reader| {
            reader.align(8)?;
            let code = reader.byte()?;
            match (reader.signature()?, code) {
                ("s" | "o", code) => {
                    let value = reader.string()?.to_owned();
                    match code {
                        1 => message.path = Some(value),
                        3 => message.member = Some(value),
                        4 => message.error_name = Some(value),
                        _ => {}
                    }
                }
                ("g", 8) => message.signature = reader.signature()?.to_owned(),
                ("u", 5) => message.reply_serial = Some(reader.uint32()?),
                // UNIX_FDS; there is no other.
                ("u", _) => _ = reader.uint32()?,
                _ => return Err(Malformed),
            }
            Ok(())
        })?;
        reader.align(8)?;
        message.body = reader.bytes[reader.at..].to_vec();
        Ok(message)
    }

    /// The body, which must be of this signature.
    pub fn body(&self, signature: &str) -> Result<Reader<'_>, Malformed> {
        match self.signature == signature {
            true => Ok(Reader::new(&self.body, self.is_big_endian)),
            false => Err(Malformed),
        }
    }
}

fn is_big_endian(bytes: &[u8]) -> Result<bool, Malformed> {
    match bytes.first() {
        Some(b'l') => Ok(false),
        Some(b'B') => Ok(true),
        _ => Err(Malformed),
    }
}

/// Takes values one after another.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_big_endian: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], is_big_endian: bool) -> Self {
        Reader {
            bytes,
            at: 0,
            is_big_endian,
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// `u`.
    pub fn uint32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(match self.is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    /// `t`.
    pub fn uint64(&mut self) -> Result<u64, Malformed> {
        self.align(8)?;
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(match self.is_big_endian {
            true => u64::from_be_bytes(bytes),
            false => u64::from_le_bytes(bytes),
        })
    }

    /// `b`.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.uint32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    /// `s` or `o`.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.uint32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = self.byte()?.into();
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = self.take(length)?;
        match self.byte()? {
            0 => std::str::from_utf8(text).map_err(|_| Malformed),
            _ => Err(Malformed),
        }
    }

    /// `ay`.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.uint32()? as usize;
        self.take(length)
    }

    /// Begins a variant that must hold a value of this signature, which comes next.
    pub fn variant(&mut self, signature: &str) -> Result<(), Malformed> {
        match self.signature()? == signature {
            true => Ok(()),
            false => Err(Malformed),
        }
    }

    /// Begins a struct or an entry of a dictionary.
    pub fn structure(&mut self) -> Result<(), Malformed> {
        self.align(8)
    }

    /// An array whose elements are aligned to that many bytes; `element` takes one.
    pub fn array(
        &mut self,
        alignment: usize,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let length = self.uint32()? as usize;
        self.align(alignment)?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let all = self.bytes;
        // No element goes beyond the array.
        self.bytes = all.get(..end).ok_or(Malformed)?;
        while self.at < end {
            element(self)?;
        }
        self.bytes = all;
        Ok(())
    }

    /// `ao` or `as`.
    pub fn strings(&mut self) -> Result<Vec<String>, Malformed> {
        let mut strings = Vec::new();
        self.array(4, |reader| {
            strings.push(reader.string()?.to_owned());
            Ok(())
        })?;
        Ok(strings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustbus::message_builder::MessageBuilder;
    use rustbus::wire::ObjectPath;
    use rustbus::wire::{marshal, unmarshal};

    use super::*;

    /// The same call as another implementation writes and reads it.
    #[test]
    fn another_implementation_reads_what_is_written_and_is_read() {
        for word in ["", "a", "seven77", "eight888"] {
            let mut call = Call {
                destination: "org.example",
                path: "/org/example",
                interface: "org.example.Interface",
                member: "Member",
                signature: "sa{sv}(oayu)bao",
                body: Writer::default(),
            };
            let body = &mut call.body;
            body.string(word);
            body.array(8, |body| {
                body.structure();
                body.string("key");
                body.signature("s");
                body.string(word);
            });
            body.structure();
            body.string("/path");
            body.bytes(word.as_bytes());
            body.uint32(7);
            body.boolean(true);
            body.array(4, |body| body.string("/path"));
            let mut ours = Vec::new();
            call.encode(3, &mut ours);

            assert_eq!(Message::length(&ours[..FIXED]), Ok(ours.len()));
            let (used, header) = unmarshal::unmarshal_header(&ours, 0).unwrap();
            let (more, fields) = unmarshal::unmarshal_dynamic_header(&header, &ours, used).unwrap();
            let (_, theirs) =
                unmarshal::unmarshal_next_message(&header, fields, &ours, used + more).unwrap();
            assert_eq!(theirs.dynheader.member.as_deref(), Some("Member"));
            assert_eq!(theirs.dynheader.destination.as_deref(), Some("org.example"));
            let mut parser = theirs.body.parser();
            assert_eq!(parser.get::<&str>().unwrap(), word);
            use rustbus::wire::unmarshal::traits::Variant;
            let map: std::collections::HashMap<String, Variant> = parser.get().unwrap();
            assert_eq!(map["key"].get::<&str>().unwrap(), word);
            let (path, bytes, number): (ObjectPath<&str>, &[u8], u32) = parser.get().unwrap();
            assert_eq!(
                (path.as_ref(), bytes, number),
                ("/path", word.as_bytes(), 7)
            );
            assert!(parser.get::<bool>().unwrap());

            let mut again = MessageBuilder::new()
                .call("Member")
                .on("/org/example")
                .with_interface("org.example.Interface")
                .at("org.example")
                .build();
            again.body.push_param(word).unwrap();
            again.body.push_variant(word.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            marshal::marshal(&again, 9, &mut bytes).unwrap();
            bytes.extend_from_slice(again.get_buf());
            let message = Message::decode(&bytes).unwrap();
            assert_eq!(message.path.as_deref(), Some("/org/example"));
            assert_eq!(message.body("sa").unwrap_err(), Malformed);
            let mut body = message.body("sv").unwrap();
            assert_eq!(body.string(), Ok(word));
            assert_eq!(body.variant("ay"), Ok(()));
            assert_eq!(body.bytes(), Ok(word.as_bytes()));
            assert_eq!(body.byte(), Err(Malformed), "that was all");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            first in prop_oneof![Just(b'l'), Just(b'B'), any::<u8>()],
            rest in prop::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..200),
        ) {
            let bytes = [&[first], &rest[..]].concat();
            if bytes.len() >= FIXED {
                let _ = Message::length(&bytes[..FIXED]);
            }
            if let Ok(message) = Message::decode(&bytes) {
                let signature = message.signature.clone();
                let mut reader = message.body(&signature).expect("its own");
                let _ = reader.strings();
                let _ = reader.variant("t").and_then(|()| reader.uint64());
                let _ = reader.array(8, |reader| reader.structure().and(reader.boolean().map(drop)));
            }
        }
    }
}
