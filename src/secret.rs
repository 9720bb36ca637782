//! The one type that holds a secret, from the first byte to the last.

use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password, a token or a stored item: any bytes that must not be seen.
///
/// Wiped when dropped, compared in constant time, redacted in `Debug`, and without `Display` or
/// `Serialize`. [`Secret::expose`] and [`Secret::expose_str`] are the only ways out, so that a
/// search for `expose` finds each place where a secret leaves.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; no copy is made.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes themselves. The caller must not let them reach argv, a log, an error or a URL.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same as text; `None` where the bytes are not UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for no bytes at all. An empty password is a value, not an absence.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text.into_bytes())
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Secret(bytes)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A secret in the making: it grows, and wipes each place that it grows out of.
#[derive(Default)]
pub struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    /// The least that is allocated, in bytes: what git asks and is told mostly fits.
    const LEAST: usize = 1024;

    /// One that need not grow before there are so many bytes in it.
    pub fn with_room(bytes: usize) -> Self {
        SecretBuffer(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    /// The bytes so far, under the same rule as [`Secret::expose`].
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Adds what `input` gives at once, up to `most` bytes in all. Returns how much that was: 0 at
    /// its end.
    pub fn read(&mut self, input: &mut impl Read, most: usize) -> io::Result<usize> {
        let before = self.0.len();
        if before >= most {
            return Ok(0);
        }
        self.make_room_for(1);
        let room = self.0.capacity().min(most);
        self.0.resize(room, 0);
        let read = loop {
            match input.read(&mut self.0[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.0.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Adds bytes at the end.
    pub fn add(&mut self, bytes: &[u8]) {
        self.make_room_for(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn make_room_for(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let capacity = needed.max(2 * self.0.capacity()).max(Self::LEAST);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
    }
}

impl Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<SecretBuffer> for Secret {
    fn from(buffer: SecretBuffer) -> Self {
        Secret(buffer.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_bytes_nor_their_number() {
        let shown = format!("{:?}", Secret::from("wit_a1b2".to_owned()));
        assert_eq!(shown, "Secret(redacted)");
    }

    #[test]
    fn a_buffer_takes_all_up_to_its_bound() {
        let bytes: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        for most in [0, 1, 1024, 1025, 9_999, 10_000, 20_000] {
            let mut buffer = SecretBuffer::default();
            let mut input = &*bytes;
            while buffer.read(&mut input, most).unwrap() > 0 {}
            assert_eq!(buffer.expose(), &bytes[..most.min(bytes.len())]);
        }
    }

    #[test]
    fn equality_is_of_the_bytes() {
        assert_eq!(Secret::new(vec![1, 2]), Secret::new(vec![1, 2]));
        assert_ne!(Secret::new(vec![1, 2]), Secret::new(vec![1, 3]));
        assert_ne!(Secret::new(vec![1, 2]), Secret::new(vec![1]));
    }
}
