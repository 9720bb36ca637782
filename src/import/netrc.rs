//! A netrc(5) file, with the quotes of curl's and the `port` and `protocol` of git's netrc helper.

use zeroize::Zeroizing;

use super::{Findings, Skipped};
use crate::credential::Description;
use crate::secret::Secret;

/// Reads the file's content. A machine without a protocol is taken for https.
pub fn read(name: &str, text: &[u8], findings: &mut Findings) {
    let mut words = Words {
        text,
        at: 0,
        line: 1,
    };
    let mut entry: Option<Entry> = None;
    while let Some((line, word)) = words.next() {
        let place = |line: usize| format!("{name}, line {line}");
        match word.as_slice() {
            b"machine" | b"default" => {
                if let Some(done) = entry.take() {
                    findings.add(place(done.line), &done.description());
                }
                if word.as_slice() == b"machine" {
                    let host = words.next().map(|(_, host)| host.to_vec());
                    entry = host.map(|host| Entry::new(line, host));
                } else {
                    findings.skipped.push(Skipped {
                        place: place(line),
                        why: "a default for every host there is",
                    });
                }
            }
            b"macdef" => words.skip_macro(),
            key => {
                let Some((_, value)) = words.next() else {
                    break;
                };
                // Without a machine it belongs to what was skipped.
                if let Some(entry) = &mut entry {
                    entry.set(key, &value);
                }
            }
        }
    }
    if let Some(last) = entry {
        findings.add(format!("{name}, line {}", last.line), &last.description());
    }
}

struct Entry {
    line: usize,
    host: Vec<u8>,
    port: Option<Vec<u8>>,
    said: Description,
}

impl Entry {
    fn new(line: usize, host: Vec<u8>) -> Self {
        Entry {
            line,
            host,
            port: None,
            said: Description {
                protocol: Some(b"https".to_vec()),
                ..Description::default()
            },
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"login" | b"username" | b"user" => self.said.username = Some(value.to_vec()),
            b"password" => self.said.password = Some(Secret::new(value.to_vec())),
            b"protocol" => self.said.protocol = Some(value.to_vec()),
            b"port" => self.port = Some(value.to_vec()),
            _ => {}
        }
    }

    fn description(mut self) -> Description {
        if let Some(port) = self.port {
            self.host.push(b':');
            self.host.extend(port);
        }
        self.said.host = Some(self.host);
        self.said
    }
}

/// Words between white space, each with the line that it stands on.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Words<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<(usize, Zeroizing<Vec<u8>>)> {
        loop {
            match self.peek()? {
                byte if byte.is_ascii_whitespace() => {
                    self.byte();
                }
                b'#' => while self.byte().is_some_and(|byte| byte != b'\n') {},
                _ => break,
            }
        }
        let line = self.line;
        let mut word = Zeroizing::new(Vec::with_capacity(256));
        if self.peek() == Some(b'"') {
            self.byte();
            while let Some(byte) = self.byte().filter(|byte| *byte != b'"') {
                let escaped = (byte == b'\\').then(|| self.byte()).flatten();
                word.push(match escaped {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(other) => other,
                    None => byte,
                });
            }
        } else {
            while let Some(byte) = self.peek().filter(|byte| !byte.is_ascii_whitespace()) {
                word.push(byte);
                self.byte();
            }
        }
        Some((line, word))
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        let mut before = None;
        while let Some(byte) = self.byte() {
            if byte == b'\n' && before == Some(b'\n') {
                return;
            }
            before = Some(byte);
        }
    }
}
