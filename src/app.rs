//! The work of `wit`, for a program without a terminal too: it takes plain values, prints nothing, asks
//! a person only through [`Ask`], and returns outcomes and errors of its own types.
//!
//! A program that creates a token by the session that `wit login` stored:
//!
//! ```no_run
//! use wit::api::NewToken;
//! use wit::app::session::{self, Selection};
//! use wit::config::Paths;
//!
//! let paths = Paths::from_environment().expect("a home directory");
//! let meant = Selection { server: Some("https://wit.example.com".into()), ..Selection::default() };
//! let session = session::open(&paths, &meant)?;
//! let new = NewToken {
//!     name: "nightly".into(),
//!     scopes: vec!["repo:read".into()],
//!     repositories: Vec::new(),
//!     expires_in_days: Some(30),
//!     request_id: None,
//!     replaces: None,
//! };
//! let created = session.api.create(&new)?;
//! println!("{} is for {}", created.token.id, session.account);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::api::device;
use crate::api::login::Login;
use crate::secret::Secret;

pub mod diagnose;
pub mod exec;
pub mod git_config;
pub mod git_trust;
pub mod host_login;
pub mod import;
pub mod issue;
pub mod known;
pub mod login;
pub mod logout;
pub mod rotations;
pub mod schedule;
#[cfg(all(feature = "platform", unix))]
pub mod service;
pub mod session;
pub mod setup_record;
pub mod status;
pub mod stored;
pub mod upkeep;

/// Why a person was not asked, or gave no usable answer.
pub type AskError = Box<dyn std::error::Error + Send + Sync>;

/// Questions to a person, and notices, in the middle of a task.
pub trait Ask {
    /// The username or email to sign in with; `remembered` is that of the last time.
    fn login(&self, remembered: Option<&str>) -> Result<Login, AskError>;

    /// The password of an account, by its username or email; of a new account, a new one.
    fn password(&self, account: &str, is_new: bool) -> Result<Secret, AskError>;

    /// Shows the code of a sign-in and where it is entered, while it is waited for.
    fn show_code(&self, code: &device::Asked);

    /// Returns where the person agrees.
    fn confirm(&self, question: &str) -> Result<(), AskError>;
}
