//! The reason why a request got no answer: its kind, for what is done about it, and its words.

use std::error::Error;
use std::fmt;

/// Kinds of reasons that lead to something else than another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// DNS knows no host of that name.
    NoSuchHost,
    /// An https server was asked for, and what answers speaks no TLS.
    NotTls,
    /// A plain http server was asked for, and what answers speaks something else, TLS perhaps.
    NotHttp,
    /// The server's certificate is not trusted, or the file of trusted ones can't be used.
    Certificate,
    /// It is the database of direct mode that does not answer.
    Database,
    /// Anything else.
    Other,
}

/// The reason why a request got no answer.
#[derive(Debug)]
pub struct Reason {
    kind: ReasonKind,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Reason {
    /// A reason in words, which hold no secret and can be shown.
    pub fn new(kind: ReasonKind, text: impl Into<String>) -> Self {
        Reason {
            kind,
            text: text.into(),
            source: None,
        }
    }

    /// Keeps the error that it comes from. Its text must hold no secret.
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind, by which a caller decides.
    pub fn kind(&self) -> ReasonKind {
        self.kind
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Reason::new(ReasonKind::Other, text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
