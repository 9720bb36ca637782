//! The token APIs of git hosts, one file a host, opened by the entry of a sign-in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tokens_page;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, TokenApi};
use crate::credential::Credential;
use crate::hosts::place::{AccessLevel, Place};
use crate::oauth::Reach;
use crate::secret::Secret;
use crate::sign_in::{HostType, SignIn};

pub mod gitea;
pub mod github;
pub mod gitlab;
pub mod nothing;

/// Asks the user for what a host requires beside a token. Neither is kept after the command. An
/// error says in a few words why there is no answer.
pub trait AskPassword: Send + Sync {
    /// The password of an account, by its username.
    fn password(&self, server: &str, username: &str) -> Result<Secret, String>;

    /// A one-time code; each is accepted once.
    fn one_time_code(&self, server: &str, username: &str) -> Result<Secret, String>;
}

/// The user, where there is one to be asked.
#[derive(Clone, Default)]
pub struct Person(Option<Arc<dyn AskPassword>>);

impl Person {
    /// One that `asks` stands for.
    pub fn new(asks: Arc<dyn AskPassword>) -> Self {
        Person(Some(asks))
    }

    fn ask(&self) -> Result<&dyn AskPassword, String> {
        self.0.as_deref().ok_or("nobody can be asked".to_owned())
    }

    pub(crate) fn password(&self, server: &str, username: &str) -> Result<Secret, String> {
        self.ask()?.password(server, username)
    }

    pub(crate) fn one_time_code(&self, server: &str, username: &str) -> Result<Secret, String> {
        self.ask()?.one_time_code(server, username)
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Person" } else { "nobody" })
    }
}

/// A sign-in at a git host, as its token API is opened by it.
#[derive(Clone, Debug)]
pub struct Login {
    /// Type of the server.
    pub host: HostType,
    /// Base URL of the server.
    pub server: ServerUrl,
    /// The account's name, where it is known.
    pub account: Option<String>,
    /// The token of the sign-in: an access token, or one that was pasted or created.
    pub token: Secret,
    /// The sign-in as the item has it.
    pub sign_in: SignIn,
    /// Ways in which the server is reached.
    pub reach: Reach,
    /// The user, for what the host requires beside a token.
    pub person: Person,
    /// The projects and groups whose tokens are asked for too, and those of which tokens are known
    /// (GitLab).
    pub places: Vec<Place>,
    /// Those of which tokens are known.
    pub known_places: Vec<Place>,
    /// The role of new tokens there.
    pub access_level: Option<AccessLevel>,
}

impl Login {
    /// The login that a stored entry is. `None` for an entry that is no sign-in.
    pub fn new(
        server: &ServerUrl,
        entry: &Credential,
        reach: &Reach,
        person: &Person,
    ) -> Option<Self> {
        let sign_in = entry.sign_in.clone()?;
        Some(Login {
            host: sign_in.host,
            server: server.clone(),
            account: sign_in.account.clone(),
            token: entry.auth.secret().clone(),
            sign_in,
            reach: reach.clone(),
            person: person.clone(),
            places: Vec::new(),
            known_places: Vec::new(),
            access_level: None,
        })
    }
}

/// The host's token API. Nothing is sent.
pub fn open(login: Login) -> Result<Box<dyn TokenApi>, ApiError> {
    Ok(match login.host {
        HostType::Gitea | HostType::Forgejo => Box::new(gitea::Gitea::open(login)?),
        HostType::Gitlab => gitlab::open(login)?,
        HostType::Github => github::open(login)?,
        HostType::Wit | HostType::Bitbucket | HostType::Azure | HostType::Oauth => {
            Box::new(nothing::Nothing::new(login))
        }
    })
}

/// Longest time that the pages of a list are read.
const LIST_TIMEOUT: Duration = Duration::from_secs(120);
/// Most tokens of a list; hosts allow a few hundred.
const MAX_TOKENS: usize = 10_000;

/// The error for a list whose pages come again, or come to no end.
fn endless() -> ApiError {
    ApiError::Malformed {
        what: "a list of tokens without an end".into(),
    }
}

/// The error for a call that the host does not have for a sign-in.
pub fn refusal(host: HostType, server: &ServerUrl, what: &'static str) -> ApiError {
    ApiError::Impossible {
        host: host.title(),
        what,
        page: tokens_page(host, server).map(String::from),
    }
}
