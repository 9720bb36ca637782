//! A sign-in at a git host: what a stored entry says of the host, of how its token is renewed, and
//! of what ends it there. Data only; [`crate::hosts`] knows the hosts, [`crate::oauth`] the protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::expiry::{Expiry, UnixTime};
use crate::secret::Secret;

/// The kinds of server that can be signed in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostType {
    /// `wit up` and the platform that it is modelled on.
    Wit,
    /// github.com, GitHub with data residency, and Enterprise Server.
    Github,
    /// gitlab.com and GitLab Self-Managed.
    Gitlab,
    /// gitea.com and others with Gitea.
    Gitea,
    /// codeberg.org and others with Forgejo.
    Forgejo,
    /// bitbucket.org. A Data Center is signed in to as any OAuth 2 server.
    Bitbucket,
    /// dev.azure.com and visualstudio.com.
    #[serde(rename = "azure-devops")]
    Azure,
    /// Any other server with OAuth 2.
    Oauth,
}

impl HostType {
    /// All of them, in the order in which help lists them.
    pub const ALL: [HostType; 8] = [
        HostType::Wit,
        HostType::Github,
        HostType::Gitlab,
        HostType::Gitea,
        HostType::Forgejo,
        HostType::Bitbucket,
        HostType::Azure,
        HostType::Oauth,
    ];

    /// The word that options, the configuration and stored items have for it.
    pub fn name(self) -> &'static str {
        match self {
            HostType::Wit => "wit",
            HostType::Github => "github",
            HostType::Gitlab => "gitlab",
            HostType::Gitea => "gitea",
            HostType::Forgejo => "forgejo",
            HostType::Bitbucket => "bitbucket",
            HostType::Azure => "azure-devops",
            HostType::Oauth => "oauth",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|host| host.name() == name)
    }

    /// The name that people know it by, with its article.
    pub fn title(self) -> &'static str {
        match self {
            HostType::Wit => "a wit server",
            HostType::Github => "GitHub",
            HostType::Gitlab => "GitLab",
            HostType::Gitea => "Gitea",
            HostType::Forgejo => "Forgejo",
            HostType::Bitbucket => "Bitbucket",
            HostType::Azure => "Azure DevOps",
            HostType::Oauth => "an OAuth 2 server",
        }
    }
}

impl fmt::Display for HostType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Origin and upkeep of a sign-in's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// URL that was signed in to, as `wit login` takes it.
    pub server: String,
    /// Type of the server.
    pub host: HostType,
    /// The account, where the host says whose the token is. Then it is the entry's username too.
    pub account: Option<String>,
    /// The username that git has to send with the token.
    pub git_username: String,
    /// True if git may send the token as `Authorization: Bearer`.
    pub bearer: bool,
    /// As the server granted them, else as they were asked for.
    pub scopes: Vec<String>,
    /// When the access token was issued, by this machine's clock.
    pub issued: UnixTime,
    /// When the refresh token expires, where the server says it: until then nobody has to sign in.
    pub refresh_expiry: Option<Expiry>,
    /// True if the server has refused to renew it: only a new sign-in helps.
    pub ended: bool,
    /// The way in which the token is renewed.
    pub upkeep: Upkeep,
}

/// Way in which the token of a sign-in is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// By the entry's OAuth refresh token, at this client's token endpoint.
    Refresh(OAuthClient),
    /// The token can replace itself by one call (GitLab, scope `self_rotate`).
    RotateItself,
    /// It was created by the host's API with a password, and can be replaced in the same way.
    Replace {
        /// Number of the token.
        id: String,
        /// Name of the token, unique at its host.
        name: String,
    },
    /// A GitHub App's key signs for a token of an hour.
    Mint(InstalledApp),
    /// By nobody: it was created elsewhere and pasted.
    Watch,
}

impl Upkeep {
    /// The word for it in stored items and JSON output.
    pub fn name(&self) -> &'static str {
        match self {
            Upkeep::Refresh(_) => "refresh",
            Upkeep::RotateItself => "rotate_itself",
            Upkeep::Replace { .. } => "replace",
            Upkeep::Mint(_) => "mint",
            Upkeep::Watch => "watch",
        }
    }
}

/// A GitHub App where it is installed, and what its tokens are narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledApp {
    /// Its ID or client ID, as GitHub takes it for `iss`: letters, digits and dots.
    pub id: String,
    /// Its name in URLs.
    pub slug: String,
    /// Its private key: DER (PKCS #1 or PKCS #8) in base64.
    pub key: Secret,
    /// ID of the installation.
    pub installation: u64,
    /// The user or organization that it is installed at.
    pub owner: String,
    /// The only repositories that its tokens are for, by name; empty for all of the installation.
    pub repositories: Vec<String>,
    /// The permissions that its tokens are asked for with, such as `contents:write`.
    pub permissions: Vec<String>,
}

/// An OAuth 2 client and the endpoints that it needs after the sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// Token endpoint (RFC 6749, section 3.2).
    pub token_endpoint: String,
    /// RFC 7009; `None` where the server has none.
    pub revocation_endpoint: Option<String>,
    /// `client_id` (RFC 6749, section 2.2).
    pub client_id: String,
    /// Of a confidential client.
    pub client_secret: Option<Secret>,
    /// The way in which the secret travels.
    pub client_auth: ClientAuth,
}

/// Authentication of a client with a secret (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `client_id` and `client_secret` in the form.
    #[default]
    Body,
    /// HTTP Basic.
    Basic,
}

impl SignIn {
    /// Returns whether that name means it. One whose account is not known is meant by the username
    /// that its host wants, which its token has for an account too.
    pub fn is_of(&self, account: &str) -> bool {
        self.account.as_deref().unwrap_or(&self.git_username) == account
    }

    /// The words after `wit login` that sign in again in the same way. None of them needs quoting in a
    /// shell but the server's URL, which comes first.
    pub fn login_words(&self) -> Vec<String> {
        let mut words = vec![self.server.clone()];
        if let Upkeep::Mint(app) = &self.upkeep {
            let installation = app.installation.to_string();
            let options = ["--app-id", &app.id, "--installation", &installation];
            words.extend(options.map(str::to_owned));
        }
        words
    }
}

/// Message about a token that has replaced itself, and whose successor nobody has, without a hint;
/// `name` as it may be shown.
pub fn lost(server: &str, name: &str) -> String {
    format!(
        "{server} has replaced the token '{name}', but its answer with the new one was lost; the old \
         one has ended, and nobody has the new one"
    )
}

/// The next steps after [`lost`].
pub fn after_lost(server: &str, name: &str) -> String {
    format!(
        "revoke '{name}' at {server}/-/user_settings/personal_access_tokens, then: wit login {server} \
         --paste-token"
    )
}

/// Message about a sign-in that the server has ended, without a hint.
pub fn ended(server: &str, account: Option<&str>) -> String {
    match account {
        Some(account) => format!("the sign-in to {server} as {account} has ended"),
        None => format!("the sign-in to {server} has ended"),
    }
}
