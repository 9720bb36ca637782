//! Account and properties of a token, as its host tells them.

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::api;
use crate::api::ApiError;
use crate::api::http::{self, Answer, Auth};
use crate::api::server::ServerUrl;
use crate::expiry::{Expiry, UnixTime};
use crate::oauth::discovery::{discover, get};
use crate::oauth::{OAuthError, Reach, client, split_scopes};
use crate::quote::is_plain;
use crate::secret::Secret;
use crate::sign_in::HostType;

/// Longest name of an account, in characters; a longer one is not remembered.
const MAX_NAME: usize = 255;

/// Facts that a host tells about a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Name of the account.
    pub account: Option<String>,
    /// Scopes, where the host tells them.
    pub scopes: Option<Vec<String>>,
    /// End of the token, where the host tells it.
    pub expiry: Option<Expiry>,
    /// Its number, name and time of creation, where the host describes it.
    pub described: Option<Described>,
    /// True if it was accepted at all: `false` says that the host could not be asked, not more.
    pub is_accepted: bool,
}

/// A token as its host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Number of the token.
    pub id: String,
    /// Name of the token.
    pub name: String,
    /// Time of its creation.
    pub created: UnixTime,
}

/// Asks whose an OAuth access token is: the userinfo endpoint first, which needs no scope of the
/// API, then the API. A host that does not say it is no failure.
pub fn of_access_token(
    host: HostType,
    server: &ServerUrl,
    userinfo: Option<&Url>,
    token: &Secret,
    reach: &Reach,
) -> Option<String> {
    let ask = |url: &Url| {
        let answer = get(url, Auth::Bearer(token), reach).ok()??;
        user(&answer)
    };
    let by_api = || ask(&api(host, server, "/user")?);
    userinfo.and_then(ask).or_else(by_api)
}

/// The account's name in an answer about it. GitLab's userinfo has it as `nickname`, OpenID's as
/// `preferred_username`, an API as `login` or `username`.
fn user(answer: &Answer) -> Option<String> {
    if answer.status != 200 {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
    let names = ["login", "username", "preferred_username", "nickname"];
    let named = names.iter().find_map(|name| body.get(name)?.as_str());
    let fits = |name: &&str| !name.is_empty() && is_plain(name) && name.chars().count() <= MAX_NAME;
    named.filter(fits).map(str::to_owned)
}

/// What the API of GitHub, Gitea and Forgejo always tells about an account.
#[derive(Deserialize)]
struct Login {
    #[serde(rename = "login")]
    _name: String,
}

/// Asks a host about a token that was pasted. [`ApiError::Unauthorized`] where it is refused, another
/// error where the host could not say. Only a server without a call for it leaves a token unchecked.
pub fn of_pasted(
    host: HostType,
    server: &ServerUrl,
    userinfo: Option<&Url>,
    token: &Secret,
    reach: &Reach,
) -> Result<About, OAuthError> {
    match host {
        HostType::Gitlab => of_gitlab(server, token, reach),
        HostType::Github | HostType::Gitea | HostType::Forgejo => {
            let Some(url) = api(host, server, "/user") else {
                return Ok(About::default());
            };
            let answer = ask(&url, Auth::Bearer(token), reach)?;
            check(&answer)?;
            if answer.status == 200 {
                // Any JSON is not the answer of such a host.
                answer.json::<Login>()?;
            }
            let scopes = answer.header("x-oauth-scopes").filter(|s| !s.is_empty());
            let expiry = answer.header("github-authentication-token-expiration");
            Ok(About {
                account: user(&answer),
                scopes: scopes.map(split_scopes),
                expiry: expiry.and_then(github_time),
                described: None,
                is_accepted: true,
            })
        }
        HostType::Wit | HostType::Bitbucket | HostType::Azure | HostType::Oauth => {
            let Some(url) = userinfo else {
                return Ok(About::default());
            };
            let answer = ask(url, Auth::Bearer(token), reach)?;
            // It may be no token for OpenID, of which nobody tells anything.
            if !matches!(answer.status, 403 | 404) {
                check(&answer)?;
            }
            Ok(About {
                account: user(&answer),
                is_accepted: answer.status == 200,
                ..About::default()
            })
        }
    }
}

/// Returns whether a host accepts a token; `None` where it does not say. A pasted token is one that no OAuth
/// client was granted.
pub fn accepts(
    host: HostType,
    server: &ServerUrl,
    token: &Secret,
    is_pasted: bool,
    reach: &Reach,
) -> Result<Option<bool>, OAuthError> {
    let (url, auth) = match (host, is_pasted) {
        (HostType::Gitlab, true) => {
            let url = api(host, server, "/personal_access_tokens/self");
            (url, Auth::Header("private-token", token))
        }
        (HostType::Oauth, _) => {
            let described = discover(server, reach)?;
            (
                described.and_then(|found| found.userinfo),
                Auth::Bearer(token),
            )
        }
        _ => (api(host, server, "/user"), Auth::Bearer(token)),
    };
    let answer = match url {
        Some(url) => get(&url, auth, reach)?,
        None => None,
    };
    Ok(answer.and_then(|answer| match answer.status {
        // 403 is a token that lives and may not ask this.
        200 | 403 => Some(true),
        401 => Some(false),
        _ => None,
    }))
}

/// GET, sent once. Unlike [`get`] it tells an answer that did not come from one that says nothing.
fn ask(url: &Url, auth: Auth, reach: &Reach) -> Result<Answer, OAuthError> {
    Ok(client(url, reach)?.request(Method::GET, url.clone(), auth, None)?)
}

/// An error unless the answer shows that the host accepts the token. A proxy and a rate limiter
/// answer with 403 too.
fn check(answer: &Answer) -> Result<(), OAuthError> {
    if may_not_ask(answer) {
        return Ok(());
    }
    answer.done()?;
    answer.json::<serde::de::IgnoredAny>()?;
    Ok(())
}

/// Returns whether the host knows the token, which lives and may not ask this.
fn may_not_ask(answer: &Answer) -> bool {
    let says = |sentence: String| sentence.contains("scope") || sentence.contains("not accessible");
    answer.status == 403 && answer.sentence().is_some_and(says)
}

fn of_gitlab(server: &ServerUrl, token: &Secret, reach: &Reach) -> Result<About, OAuthError> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        scopes: Vec<String>,
        expires_at: Option<String>,
        id: Option<u64>,
        name: Option<String>,
        created_at: Option<String>,
    }
    let auth = Auth::Header("private-token", token);
    let ask = |path| match api(HostType::Gitlab, server, path) {
        Some(url) => ask(&url, auth, reach),
        None => Err(ApiError::NotFound.into()),
    };
    let mut about = About::default();
    // Every personal, project and group token may ask about itself, whatever its scopes. An old
    // GitLab has no such call.
    let answer = ask("/personal_access_tokens/self")?;
    if answer.status != 404 {
        check(&answer)?;
        about.is_accepted = true;
        if answer.status == 200 {
            let wire: Wire = answer.json()?;
            about.expiry = wire.expires_at.as_deref().map(end_of_date).transpose()?;
            about.scopes = Some(wire.scopes);
            let created = wire.created_at.as_deref();
            let created = created.and_then(|text| http::time(text).ok());
            about.described = wire.id.zip(wire.name).map(|(id, name)| Described {
                id: id.to_string(),
                name,
                created: created.unwrap_or_else(UnixTime::now),
            });
        }
    }
    let answer = ask("/user")?;
    check(&answer)?;
    about.is_accepted = true;
    about.account = user(&answer);
    Ok(about)
}

/// GitLab's tokens end when their date begins, in UTC. Its document of the API has a time there. A
/// token whose end can't be read is not one without an end.
pub(super) fn end_of_date(text: &str) -> Result<Expiry, ApiError> {
    use time::macros::format_description;
    if let Ok(at) = http::time(text) {
        return Ok(Expiry(at));
    }
    let date = time::Date::parse(text, format_description!("[year]-[month]-[day]"));
    let date = date.map_err(|_| ApiError::Malformed {
        what: "the expiry of a token is no date".into(),
    })?;
    Ok(Expiry(UnixTime(
        date.midnight().assume_utc().unix_timestamp(),
    )))
}

/// `2027-10-12 09:00:00 UTC`, also with an offset in digits.
fn github_time(text: &str) -> Option<Expiry> {
    use time::macros::format_description;
    let text = text.replace("UTC", "+0000");
    let format = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    let at = time::OffsetDateTime::parse(text.trim(), format).ok()?;
    Some(Expiry(UnixTime(at.unix_timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_that_hosts_tell_are_read() {
        let ten = Some(Expiry(UnixTime(1_823_331_600)));
        assert_eq!(github_time("2027-10-12 09:00:00 UTC"), ten);
        assert_eq!(github_time("2027-10-12 11:00:00 +0200"), ten);
        assert_eq!(github_time("soon"), None);
        let begins = Expiry(UnixTime(1_713_139_200));
        for text in ["2024-04-15T00:00:00Z", "2024-04-15"] {
            assert_eq!(end_of_date(text).expect("an end"), begins);
        }
        for text in ["", "never", "99999-01-01", "-1-01-01"] {
            assert!(end_of_date(text).is_err(), "{text}");
        }
    }
}
