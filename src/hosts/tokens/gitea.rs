//! Tokens of Gitea and Forgejo, which both keep below `/api/v1/users/NAME/tokens` and give out to
//! Basic authentication only. Gitea takes a token with `write:user` as the password; Forgejo takes
//! the password itself, with a one-time code where the account has a second factor.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::Instant;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::{LIST_TIMEOUT, Login, MAX_TOKENS, endless};
use crate::api::http::{Answer, Auth, Client, time};
use crate::api::promises::{Precision, Promises};
use crate::api::{
    Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi, checked,
};
use crate::expiry::{Expiry, UnixTime};
use crate::hosts::{api, password, scopes};
use crate::secret::Secret;
use crate::sign_in::HostType;

/// Tokens of a page. A server may give fewer (`MAX_RESPONSE_ITEMS`).
const PAGE: usize = 50;
/// Most pages that are read.
const MAX_PAGES: usize = 100;

/// The tokens of one account.
pub struct Gitea {
    login: Login,
    username: String,
    client: Client,
    /// True if the sign-in's token may be worth trying as the password.
    by_token: Cell<bool>,
    password: RefCell<Option<Secret>>,
    /// The last one-time code. A server that accepts a code once only refuses it the next time.
    code: RefCell<Option<Secret>>,
}

/// A token as the hosts write it; `sha1` is the secret, when it is created.
#[derive(Deserialize)]
struct WireToken {
    id: u64,
    name: String,
    #[serde(default)]
    sha1: Option<Secret>,
    #[serde(default)]
    token_last_eight: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    last_used_at: Option<String>,
    #[serde(default)]
    repositories: Option<Vec<WireRepository>>,
}

#[derive(Deserialize)]
struct WireRepository {
    owner: String,
    name: String,
}

impl WireToken {
    fn into_token(self) -> Result<Token, ApiError> {
        let at = |text: Option<String>| -> Result<Option<UnixTime>, ApiError> {
            let at = text.as_deref().map(time).transpose()?;
            // The zero time of Go is of the year 1.
            Ok(at.filter(|at| at.0 > 0))
        };
        let created = at(self.created_at)?;
        let used = at(self.last_used_at)?;
        let repositories = self.repositories.unwrap_or_default();
        checked::listed(Token {
            id: self.id.to_string(),
            name: self.name,
            prefix: String::new(),
            suffix: self.token_last_eight,
            scopes: self.scopes,
            repositories: (repositories.into_iter())
                .map(|one| format!("{}/{}", one.owner, one.name))
                .collect(),
            created,
            // A token that was never used has its creation there.
            last_used: used.filter(|used| Some(*used) != created),
            expiry: None,
            request_id: None,
            replaced_by: None,
        })
    }
}

/// Returns whether a token with these scopes creates others, where the host lets tokens do so (Gitea).
pub fn may_create(scopes: &[String]) -> bool {
    scopes
        .iter()
        .any(|scope| scope == "write:user" || scope == "all")
}

impl Gitea {
    /// Opens the API, at Gitea and at Forgejo. The server is asked for its version.
    pub fn open(login: Login) -> Result<Self, ApiError> {
        let client = Client::trusting(&login.server, false, login.reach.ca_file.as_deref())?;
        let client = match login.reach.limit {
            Some(limit) => client.within(limit),
            None => client,
        };
        let held = &login.sign_in.scopes;
        // Of a pasted token the host does not say what it may do.
        let may = held.is_empty() || may_create(held);
        Ok(Gitea {
            username: login
                .account
                .clone()
                .unwrap_or_else(|| login.sign_in.git_username.clone()),
            by_token: Cell::new(may && login.host == HostType::Gitea),
            client,
            login,
            password: RefCell::default(),
            code: RefCell::default(),
        })
    }

    fn server(&self) -> String {
        self.login.server.to_string()
    }

    fn url(&self, rest: &[&str]) -> Result<Url, ApiError> {
        if self.login.account.is_none() {
            let server = &self.login.server;
            return Err(ApiError::Refused {
                message: format!(
                    "it is not known whose account it is; log in again: wit login {server} --username NAME"
                ),
            });
        }
        let url = password::tokens(self.login.host, &self.login.server, &self.username);
        let url = url.and_then(|mut url| {
            url.path_segments_mut().ok()?.extend(rest);
            Some(url)
        });
        url.ok_or_else(|| self.refusal("be asked for tokens"))
    }

    fn send(
        &self,
        method: &Method,
        url: &Url,
        auth: Auth,
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        if *method == Method::GET && !matches!(auth, Auth::OneTimeCode(..)) {
            return self.client.get_by(url.clone(), auth);
        }
        let body = body.map(|body| {
            let body = Zeroizing::new(body.to_string().into_bytes());
            ("application/json", body)
        });
        self.client.request(method.clone(), url.clone(), auth, body)
    }

    /// One call, by the sign-in's token or the password. What is sent a second time, because it was
    /// refused as not allowed, was not carried out.
    fn call(&self, method: Method, url: &Url, body: Option<&Value>) -> Result<Answer, ApiError> {
        if self.by_token.get() {
            let auth = Auth::Basic(&self.username, &self.login.token);
            let answer = self.send(&method, url, auth, body)?;
            if !matches!(answer.status, 401 | 403) {
                return Ok(answer);
            }
            self.by_token.set(false);
        }
        let password = self.password()?;
        let answer = self.by_password(&method, url, body, &password)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        // The host does not say whether it is the password, or a code that is missing or was used.
        let asked = (self.login.person).one_time_code(&self.server(), &self.username);
        let code = asked.map_err(|_| self.wrong_password())?;
        self.code.replace(Some(code));
        let answer = self.by_password(&method, url, body, &password)?;
        match answer.status {
            401 => Err(self.wrong_password()),
            _ => Ok(answer),
        }
    }

    fn by_password(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
        password: &Secret,
    ) -> Result<Answer, ApiError> {
        let code = self.code.borrow();
        let login = password::Login {
            username: &self.username,
            password,
            code: code.as_ref(),
        };
        self.send(method, url, password::auth(self.login.host, &login), body)
    }

    fn password(&self) -> Result<Secret, ApiError> {
        if let Some(known) = &*self.password.borrow() {
            return Ok(known.clone());
        }
        let asked = (self.login.person).password(&self.server(), &self.username);
        let password = asked.map_err(|reason| ApiError::PasswordNeeded {
            server: self.server(),
            reason,
        })?;
        self.password.replace(Some(password.clone()));
        Ok(password)
    }

    fn wrong_password(&self) -> ApiError {
        ApiError::WrongPassword {
            server: self.server(),
        }
    }

    /// The time by the server's clock, as its answers show it.
    fn now(&self) -> UnixTime {
        UnixTime::now().plus(self.client.clock_skew().unwrap_or(0))
    }

    /// A token that was just created, as the list has it, or as far as it is known without: when it
    /// was created an answer does not say.
    fn listed(&self, token: Token) -> Token {
        let is_cheap = self.code.borrow().is_none();
        let found = is_cheap.then(|| self.page(1).ok()).flatten();
        let found = found.and_then(|(mut tokens, _)| {
            let at = tokens.iter().position(|one| one.id == token.id)?;
            Some(tokens.swap_remove(at))
        });
        let created = found.as_ref().and_then(|found| found.created);
        Token {
            created: token.created.or(created).or_else(|| Some(self.now())),
            last_used: None,
            ..token
        }
    }

    /// A page of the list, and how many tokens there are in all, where the host says it.
    fn page(&self, number: usize) -> Result<(Vec<Token>, Option<usize>), ApiError> {
        let mut url = self.url(&[])?;
        url.query_pairs_mut()
            .append_pair("page", &number.to_string())
            .append_pair("limit", &PAGE.to_string());
        let answer = self.call(Method::GET, &url, None)?;
        let total = answer.header("x-total-count").and_then(|n| n.parse().ok());
        let wire: Vec<WireToken> = answer.json().map_err(|error| match error {
            ApiError::NotFound => ApiError::Refused {
                message: format!("{} lists no tokens of {}", self.server(), self.username),
            },
            other => other,
        })?;
        let tokens = wire.into_iter().map(WireToken::into_token);
        Ok((tokens.collect::<Result<_, _>>()?, total))
    }
}

/// A scope less those that another one implies: the hosts list `write:x` for `read:x, write:x`, and
/// `all` for any with it.
fn normalized(scopes: &[String]) -> Vec<String> {
    let has = |word: &str| scopes.iter().any(|scope| scope == word);
    let mut kept: Vec<String> = Vec::new();
    for scope in scopes {
        let implied = match scope.strip_prefix("read:") {
            Some(rest) => has("all") || has(&format!("write:{rest}")),
            None => has("all") && scope.starts_with("write:"),
        };
        if !implied && !kept.contains(scope) {
            kept.push(scope.clone());
        }
    }
    kept
}

impl TokenApi for Gitea {
    fn form(&self) -> Form {
        Form::Host
    }

    fn promises(&self) -> Promises {
        Promises {
            create: true,
            list: true,
            revoke_others: true,
            expiry: Precision::None,
            unique_names: true,
            repositories: self.login.host == HostType::Forgejo,
            asks_password: !self.by_token.get(),
            ..Promises::NOTHING
        }
    }

    fn refusal(&self, what: &'static str) -> ApiError {
        super::refusal(self.login.host, &self.login.server, what)
    }

    fn normalized_scopes(&self, scopes: &[String]) -> Vec<String> {
        normalized(scopes)
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let mut body = json!({ "name": new.name, "scopes": normalized(&new.scopes) });
        if !new.repositories.is_empty() {
            let target = |text: &String| {
                let (owner, name) = text.split_once('/').unwrap_or(("", text));
                json!({ "owner": owner, "name": name })
            };
            let targets: Vec<Value> = new.repositories.iter().map(target).collect();
            body["repositories"] = targets.into();
        }
        let answer = self.call(Method::POST, &self.url(&[])?, Some(&body))?;
        let mut wire: WireToken = answer.json()?;
        let secret = wire.sha1.take().ok_or_else(|| ApiError::Malformed {
            what: "a new token without its secret".into(),
        })?;
        let secret = checked::secret(secret)?;
        let token = wire.into_token()?;
        // An older server ignores what it does not know, and gives a token for everything.
        if !new.repositories.is_empty() && !is_same(&token.repositories, &new.repositories) {
            self.revoke(&token.id)?;
            return Err(ApiError::Refused {
                message: format!(
                    "{} binds no tokens to repositories; the new token was revoked",
                    self.server()
                ),
            });
        }
        Ok(CreatedToken {
            token: self.listed(token),
            secret,
        })
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        let end = Instant::now() + LIST_TIMEOUT;
        let mut all: Vec<Token> = Vec::new();
        let mut ids = HashSet::new();
        for number in 1..=MAX_PAGES {
            let (page, total) = self.page(number)?;
            let is_last = page.is_empty() || total.is_none() && page.len() < PAGE;
            let before = all.len();
            // One that was created meanwhile moves another to the next page.
            all.extend(
                page.into_iter()
                    .filter(|token| ids.insert(token.id.clone())),
            );
            // A server that knows no pages gives all of them each time.
            let is_again = all.len() == before && total.is_none();
            if is_last || is_again || total.is_some_and(|total| all.len() >= total) {
                return Ok(all);
            }
            if all.len() == before || all.len() > MAX_TOKENS || Instant::now() > end {
                break;
            }
        }
        Err(endless())
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        // A name would be taken for one, too.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ApiError::NotFound);
        }
        self.call(Method::DELETE, &self.url(&[id])?, None)?.done()
    }

    /// A token that may not read the account gets 403, and lives.
    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        #[derive(Deserialize)]
        struct User {
            id: u64,
            login: String,
        }
        let url = api(self.login.host, &self.login.server, "/user");
        let url = url.ok_or_else(|| self.refusal("be asked about a token"))?;
        let answer = self.client.get_by(url, Auth::Bearer(token))?;
        if answer.status == 403 {
            return Ok(Account {
                id: String::new(),
                username: Some(self.username.clone()),
                email: String::new(),
            });
        }
        let user: User = answer.json()?;
        checked::account(Account {
            id: user.id.to_string(),
            username: Some(user.login),
            email: String::new(),
        })
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        Ok(scopes::listed(scopes::all(self.login.host)))
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(self.refusal("bring a token's end forward"))
    }

    fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }
}

/// Names of repositories differ by more than their letters' case.
fn is_same(given: &[String], asked: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    };
    sorted(given) == sorted(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn scopes_are_compared_as_the_hosts_list_them() {
        for (asked, given) in [
            (
                &["read:repository", "write:repository"][..],
                &["write:repository"][..],
            ),
            (
                &["read:user", "write:repository"],
                &["read:user", "write:repository"],
            ),
            (
                &["all", "write:user", "public-only"],
                &["all", "public-only"],
            ),
        ] {
            assert_eq!(normalized(&scopes(asked)), given);
        }
    }

    #[test]
    fn zero_times_and_the_creation_are_no_use() {
        let token = |created: &str, used: &str| {
            let text = format!(
                r#"{{"id":7,"name":"x","sha1":"","token_last_eight":"cf7c2c80","scopes":[],
                    "created_at":"{created}","last_used_at":"{used}"}}"#
            );
            let wire: WireToken = serde_json::from_str(&text).expect("JSON");
            wire.into_token().expect("a token")
        };
        let (zero, one) = ("0001-01-01T00:00:00Z", "2026-11-25T19:00:00Z");
        let two = "2026-11-26T19:00:00Z";
        assert_eq!(token(zero, zero).created, None);
        assert_eq!(token(zero, zero).last_used, None);
        assert!(token(one, one).created.is_some());
        assert_eq!(token(one, one).last_used, None);
        assert!(token(one, two).last_used.is_some());
    }
}
