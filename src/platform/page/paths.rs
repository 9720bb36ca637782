//! Addresses of the pages.

use uuid::Uuid;

use crate::database::repositories::is_name;

/// The list of tokens: below a name that no account can have.
pub const TOKENS: &str = "/settings/tokens";
/// The form for a new token.
pub const NEW_TOKEN: &str = "/settings/tokens/new";
/// The form for a new account: below a name that no account can have.
pub const SIGN_UP: &str = "/login/sign-up";
/// An account with its sign-ins.
pub const ACCOUNT: &str = "/settings/account";
/// Activity of the account.
pub const ACTIVITY: &str = "/settings/activity";
/// Activity of one token.
pub fn activity_of(token: Uuid) -> String {
    format!("{ACTIVITY}?token={token}")
}
/// The list of an account's repositories.
pub const REPOSITORIES: &str = "/settings/repositories";
/// The address that people type to let a device in (RFC 8628, section 3.3).
pub const DEVICE: &str = "/device";

/// The page that a visitor wanted before signing in: one of the server's own, and never a URL that
/// somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next(String);

impl Next {
    /// The page at a path; the list of tokens where it is none of those that need a sign-in.
    pub fn of(path: &str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte);
        let is_own = path == DEVICE || path.starts_with("/settings/");
        // Its forms have addresses below it that show nothing.
        if path.starts_with("/device/") {
            return Next(DEVICE.to_owned());
        }
        if is_repository(path) {
            return Next(path.to_owned());
        }
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let is_query = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=&+%:".contains(&byte);
        let is_readable = bare.bytes().all(is_plain) && query.bytes().all(is_query);
        match is_own && path.len() <= 200 && !bare.contains("//") && is_readable {
            true => Next(path.to_owned()),
            false => Next(TOKENS.to_owned()),
        }
    }

    /// As the value of a parameter.
    fn written(&self) -> String {
        match self.0.contains('?') {
            true => url::form_urlencoded::byte_serialize(self.0.as_bytes()).collect(),
            false => self.0.clone(),
        }
    }

    pub fn path(&self) -> &str {
        &self.0
    }

    /// The new account that leads there.
    pub fn sign_up(&self) -> String {
        match self.0 == TOKENS {
            true => SIGN_UP.to_owned(),
            false => format!("{SIGN_UP}?next={}", self.written()),
        }
    }

    /// The sign-in that leads there.
    pub fn sign_in(&self) -> String {
        match self.0 == TOKENS {
            true => "/login".to_owned(),
            false => format!("/login?next={}", self.written()),
        }
    }
}

/// Returns whether a path is that of a repository's page, existing or not.
fn is_repository(path: &str) -> bool {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts.is_some_and(|(owner, name)| {
        is_name(owner) && is_name(name.strip_suffix(".git").unwrap_or(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_are_gone_on_to() {
        for own in [
            DEVICE,
            ACTIVITY,
            "/settings/tokens/0b1c/rotate",
            "/ada/hello.git",
            "/settings/activity?kind=tokens&token=0b1c",
        ] {
            assert_eq!(Next::of(own).path(), own);
        }
        assert_eq!(Next::of("/device/answer").path(), DEVICE);
        for other in [
            "",
            "/",
            "//evil.example/settings/",
            "https://evil.example/settings/",
            "/settings//evil.example",
            "/settings/../logout",
            "/settings/x?y=//evil.example",
            "/settings/x?y?z",
            "/ada/hello?x",
            "/settings/\\evil.example",
            "/devices",
            "/ada/hello/x",
            "/../hello",
            "/ada/..",
            "//hello",
            "/ada/x%2f",
        ] {
            assert_eq!(Next::of(other).path(), TOKENS, "{other}");
        }
    }
}
