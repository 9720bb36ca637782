//! git's key=value form, on bytes: git-credential(1), section INPUT/OUTPUT FORMAT.

use std::io::{self, Read, Write};

use percent_encoding::percent_decode;

use crate::credential::Description;
use crate::expiry::Expiry;
use crate::secret::{Secret, SecretBuffer};

/// The longest line, with its LF, that git itself reads.
const LONGEST_LINE: usize = 65_535;
/// The longest value that git reads, whatever its key: the longest is `password_expiry_utc`.
pub const LONGEST_VALUE: usize = LONGEST_LINE - "password_expiry_utc=\n".len();
/// The longest message that is looked at: a bound on memory, far above what git sends.
const LONGEST_MESSAGE: usize = 1 << 20;

/// Bytes that are read at once: enough for what git says, and since it is no smaller than std's own
/// buffer of stdin is not left behind in that.
const AT_ONCE: usize = 8 * 1024;

/// Why a message was not understood. It names a line by its number, never by its content, which
/// may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The input failed.
    #[error("can't read the request: {0}")]
    Read(#[source] io::Error),
    /// It is longer than is looked at.
    #[error("the request is longer than {LONGEST_MESSAGE} bytes")]
    TooLong,
    /// A line, counted from 1, is no key and value, or holds what its key can't have.
    #[error("line {line} of the request is malformed")]
    Malformed {
        /// Its number.
        line: usize,
    },
}

/// Reads a message up to its blank line or the end of the input.
pub fn read(mut input: impl Read) -> Result<Description, WireError> {
    let mut message = SecretBuffer::with_room(AT_ONCE);
    let mut seen = 0;
    while message
        .read(&mut input, LONGEST_MESSAGE + 1)
        .map_err(WireError::Read)?
        > 0
    {
        // Who has said all may leave the other end open.
        let new = &message.expose()[seen..];
        if new.windows(2).any(|two| two == b"\n\n") || message.expose().starts_with(b"\n") {
            break;
        }
        seen = message.expose().len() - 1;
    }
    if message.expose().len() > LONGEST_MESSAGE {
        return Err(WireError::TooLong);
    }
    parse(message.expose())
}

/// Parses a message. Unknown keys are dropped.
pub fn parse(message: &[u8]) -> Result<Description, WireError> {
    let mut description = Description::default();
    // LF alone ends a line: a bare CR is data (CVE-2024-52006).
    for (index, line) in message.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() {
            break;
        }
        let malformed = WireError::Malformed { line: index + 1 };
        if line.len() >= LONGEST_LINE || line.contains(&0) {
            return Err(malformed);
        }
        let Some((key, value)) = cut(line, b'=') else {
            return Err(malformed);
        };
        if key.is_empty() || !take(&mut description, key, value) {
            return Err(malformed);
        }
    }
    Ok(description.at_its_host())
}

/// False where the value can't be what its key says.
fn take(description: &mut Description, key: &[u8], value: &[u8]) -> bool {
    // Not before it is known to be no secret.
    let text = || Some(value.to_vec());
    let secret = || Some(Secret::new(value.to_vec()));
    match key {
        b"protocol" => description.protocol = text(),
        b"host" => description.host = text(),
        b"path" => description.path = text(),
        b"username" => description.username = text(),
        b"password" => description.password = secret(),
        b"authtype" => description.authtype = text(),
        b"credential" => description.credential = secret(),
        b"ephemeral" => description.ephemeral = matches!(value, b"1" | b"true"),
        b"password_expiry_utc" => description.expiry = Expiry::parse(value),
        b"oauth_refresh_token" => description.refresh_token = secret(),
        b"url" => return take_url(description, value).is_some(),
        // An empty value resets a list.
        b"capability[]" if value.is_empty() => {
            description.takes_authtype = false;
            description.takes_state = false;
        }
        b"capability[]" => {
            description.takes_authtype |= value == b"authtype";
            description.takes_state |= value == b"state";
        }
        b"wwwauth[]" if value.is_empty() => {
            description.offers_basic = false;
            description.offers_bearer = false;
        }
        b"wwwauth[]" => {
            let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            description.offers_basic |= scheme.eq_ignore_ascii_case(b"basic");
            description.offers_bearer |= scheme.eq_ignore_ascii_case(b"bearer");
        }
        b"state[]" if value.is_empty() => description.state.clear(),
        b"state[]" => description.state.push(value.to_vec()),
        _ => {}
    }
    true
}

/// `url=` counts as if its parts had been given one by one; a part that it lacks is unset. It is
/// taken apart as git does it (credential_from_url in credential.c).
fn take_url(description: &mut Description, url: &[u8]) -> Option<()> {
    let at = url.windows(3).position(|three| three == b"://")?;
    let (protocol, rest) = (&url[..at], &url[at + 3..]);
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = match cut(authority, b'@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (username, password) = match user.map(|user| cut(user, b':').ok_or(user)) {
        None => (None, None),
        Some(Ok((username, password))) => (Some(username), Some(password)),
        Some(Err(username)) => (Some(username), None),
    };
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    let path = &path[slashes..];
    description.protocol = Some(protocol.to_vec());
    description.host = Some(decode(host)?);
    description.path = match path {
        b"" => None,
        path => {
            let mut path = decode(path)?;
            while path.len() > 1 && path.ends_with(b"/") {
                path.pop();
            }
            Some(path)
        }
    };
    description.username = match username {
        None => None,
        Some(username) => Some(decode(username)?),
    };
    description.password = match password {
        None => None,
        Some(password) => Some(Secret::new(decode(password)?)),
    };
    Some(())
}

/// Refuses by percent-encoding what a line could not have held (CVE-2024-53263).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = percent_decode(text).collect();
    (!bytes.iter().any(forbidden)).then_some(bytes)
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn forbidden(byte: &u8) -> bool {
    matches!(byte, b'\n' | 0)
}

/// An answer in the making: written at once or, where a value is not allowed on the wire, not at
/// all (CVE-2020-5260).
#[derive(Default)]
pub struct Answer {
    bytes: SecretBuffer,
    refused: bool,
}

impl Answer {
    /// Adds a line.
    pub fn line(&mut self, key: &str, value: &[u8]) {
        self.refused |= value.iter().any(forbidden) || key.len() + value.len() + 2 > LONGEST_LINE;
        for part in [key.as_bytes(), b"=", value, b"\n"] {
            self.bytes.add(part);
        }
    }

    /// Returns whether one of the lines is not allowed, so that none will be written.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Writes all lines, or none where one of them is refused.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        if self.refused {
            return Ok(());
        }
        output.write_all(self.bytes.expose())?;
        // There a renewal that goes on inherits our stdout, and git would wait for its end.
        if cfg!(windows) && !self.bytes.expose().is_empty() {
            output.write_all(b"\n")?;
        }
        output.flush()
    }
}
