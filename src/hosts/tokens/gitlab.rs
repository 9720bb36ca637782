//! GitLab's tokens: those of projects and groups, and what a personal one does with itself.
//!
//! The login is a personal token: an OAuth sign-in can't create tokens, and nobody but an
//! administrator creates personal ones. The id of a token of a project or group says where it
//! belongs, `42@ada/hello`: GitLab has a call for each place, and a journal or a stored
//! token has nothing but the id to revoke it by. The number comes first, so that the first
//! characters of an id name a token here as they do elsewhere.

use std::cell::Cell;
use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{LIST_TIMEOUT, Login, MAX_TOKENS, endless};
use crate::api::http::Auth;
use crate::api::promises::{Precision, Promises, SelfRotation};
use crate::api::{Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi};
use crate::expiry::Expiry;
use crate::hosts::gitlab::{Calls, SELF, WireToken, account_of};
use crate::hosts::place::{AccessLevel, Place};
use crate::hosts::scopes;
use crate::secret::Secret;
use crate::sign_in::{HostType, Upkeep};

const PERSONAL: &str = "/personal_access_tokens";
/// Most pages of a list that are read, of 100 tokens each.
const MAX_PAGES: usize = 50;

/// The token API of a sign-in at GitLab.
pub fn open(login: Login) -> Result<Box<dyn TokenApi>, ApiError> {
    Ok(Box::new(Gitlab {
        calls: Calls::new(&login.server, &login.reach)?,
        tells_descriptions: Cell::new(false),
        login,
    }))
}

struct Gitlab {
    calls: Calls,
    login: Login,
    /// True if the tokens listed last had a description, if only an empty one: older servers keep
    /// none.
    tells_descriptions: Cell<bool>,
}

impl Gitlab {
    fn is_oauth(&self) -> bool {
        matches!(self.login.sign_in.upkeep, Upkeep::Refresh(_))
    }

    fn may(&self, scopes: &[&str]) -> bool {
        let held = &self.login.sign_in.scopes;
        !self.is_oauth() && held.iter().any(|scope| scopes.contains(&scope.as_str()))
    }

    fn auth(&self) -> Auth<'_> {
        match self.is_oauth() {
            true => Auth::Bearer(&self.login.token),
            false => Auth::Header("private-token", &self.login.token),
        }
    }

    /// The URL of the tokens of a place, or of one of them.
    fn tokens_at(&self, place: &Place, number: Option<u64>) -> Result<Url, ApiError> {
        let (kind, path) = match place {
            Place::Project(path) => ("projects", path),
            Place::Group(path) => ("groups", path),
        };
        // GitLab takes a path for a number, as one word.
        let mut url = self.calls.url("/")?;
        let number = number.map(|number| number.to_string());
        (url.path_segments_mut())
            .map_err(|()| ApiError::NotFound)?
            .pop_if_empty()
            .extend([kind, path, "access_tokens"])
            .extend(number);
        Ok(url)
    }

    /// Every token of a list, page by page.
    fn pages(&self, url: &Url) -> Result<Vec<WireToken>, ApiError> {
        let end = Instant::now() + LIST_TIMEOUT;
        let mut all = Vec::new();
        let mut page = 1;
        for _ in 0..MAX_PAGES {
            let mut url = url.clone();
            url.query_pairs_mut()
                .append_pair("page", &page.to_string())
                .append_pair("per_page", "100");
            let answer = self.calls.send(Method::GET, url, self.auth(), None)?;
            let some: Vec<WireToken> = answer.json()?;
            all.extend(some);
            let Some(next) = answer.header("x-next-page").filter(|next| !next.is_empty()) else {
                return Ok(all);
            };
            match next.parse::<u32>() {
                Ok(next) if next > page => page = next,
                _ => break,
            }
            if all.len() > MAX_TOKENS || Instant::now() > end {
                break;
            }
        }
        Err(endless())
    }

    /// The tokens of the account itself: all of them where the login may read them, else its own.
    fn personal(&self) -> Result<Vec<WireToken>, ApiError> {
        if !self.may(&["api", "read_api"]) {
            return Ok(vec![self.calls.about(&self.login.token)?]);
        }
        let mut url = self.calls.url(PERSONAL)?;
        url.query_pairs_mut().append_pair("revoked", "false");
        self.pages(&url).map_err(|error| match error {
            ApiError::NotFound => self.calls.without("list of personal tokens"),
            other => other,
        })
    }

    fn at(&self, place: &Place) -> Result<Vec<WireToken>, ApiError> {
        let listed = self.pages(&self.tokens_at(place, None)?);
        listed.map_err(|error| self.place_error(place, error))
    }

    /// GitLab says that there is no such place where a login may not see it.
    fn place_error(&self, place: &Place, error: ApiError) -> ApiError {
        match error {
            ApiError::NotFound => ApiError::Forbidden {
                message: format!(
                    "{} has no {place}, or this sign-in may not see it",
                    self.login.server
                ),
            },
            // It says so too where the role is too low.
            ApiError::Unauthorized if self.calls.about(&self.login.token).is_ok() => {
                ApiError::Forbidden {
                    message: format!("this sign-in may not manage the tokens of {place}"),
                }
            }
            other => other,
        }
    }

    /// The role of a new token: as asked for, as that of the token that it replaces, or the least that
    /// does what its scopes are for.
    fn access_level(&self, new: &NewToken) -> Result<u8, ApiError> {
        if let Some(level) = self.login.access_level {
            return Ok(level.number());
        }
        if let Some((number, Some(place))) = new.replaces.as_deref().and_then(located) {
            let url = self.tokens_at(&place, Some(number))?;
            let answer = self.calls.send(Method::GET, url, self.auth(), None);
            match answer.and_then(|answer| answer.json::<WireToken>()) {
                Ok(WireToken {
                    access_level: Some(level),
                    ..
                }) => return Ok(level),
                // It has ended and was swept away.
                Ok(_) | Err(ApiError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let reads = |scope: &String| scope.starts_with("read_") || scope == "self_rotate";
        let least = match new.scopes.iter().all(reads) {
            true => AccessLevel::Reporter,
            false => AccessLevel::Developer,
        };
        Ok(least.number())
    }
}

/// The id of a token.
fn id_of(number: u64, place: Option<&Place>) -> String {
    match place {
        Some(place) => format!("{number}@{}", place.locator()),
        None => number.to_string(),
    }
}

/// The number of a token, and where it belongs.
fn located(id: &str) -> Option<(u64, Option<Place>)> {
    match id.split_once('@') {
        None => Some((id.parse().ok()?, None)),
        Some((number, place)) => Some((number.parse().ok()?, Some(Place::parse(place)?))),
    }
}

/// The place that an id names, if it does.
pub fn place_of(id: &str) -> Option<Place> {
    located(id)?.1
}

/// Description of a token, with the request that created it.
fn description(request: Uuid) -> String {
    format!("wit {request}")
}

fn request_of(description: &str) -> Option<Uuid> {
    Uuid::try_parse(description.strip_prefix("wit ")?).ok()
}

fn token_of(wire: WireToken, place: Option<&Place>) -> Result<Token, ApiError> {
    let id = id_of(wire.number(), place);
    let description = wire.description.as_ref().and_then(Option::as_deref);
    let request_id = description.and_then(request_of);
    Ok(Token {
        request_id,
        repositories: place.map(Place::locator).into_iter().collect(),
        ..wire.into_token(id)?
    })
}

impl TokenApi for Gitlab {
    fn form(&self) -> Form {
        Form::Host
    }

    fn promises(&self) -> Promises {
        let writes = self.may(&["api"]);
        Promises {
            create: writes,
            list: !self.is_oauth(),
            // A token that may read nothing else lists and revokes itself.
            revoke_others: !self.is_oauth(),
            // The one that is shown, whoever is signed in.
            revoke_itself: true,
            expiry: Precision::Date,
            requires_end: true,
            self_rotation: match self.may(&["api", "self_rotate"]) {
                true => SelfRotation::WithoutOverlap,
                false => SelfRotation::None,
            },
            describes_itself: !self.is_oauth(),
            request_ids: self.tells_descriptions.get(),
            repositories: writes,
            ..Promises::NOTHING
        }
    }

    fn refusal(&self, what: &'static str) -> ApiError {
        let (wanted, why) = match (what, self.is_oauth()) {
            ("rotate tokens" | "replace a token by itself", is_oauth) => (
                "api, or self_rotate for the token itself",
                match is_oauth {
                    true => "this sign-in is by OAuth",
                    false => "the token of this sign-in has neither",
                },
            ),
            (_, true) => ("api", "this sign-in is by OAuth"),
            (_, false) => ("api", "the token of this sign-in has not that scope"),
        };
        ApiError::Forbidden {
            message: format!(
                "to {what}, GitLab requires a personal token with the scope {wanted}; {why}"
            ),
        }
    }

    /// A token of the one project or group that is named.
    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let [place] = &new.repositories[..] else {
            let message = match new.repositories.is_empty() {
                true => {
                    "only an administrator of GitLab creates personal tokens; --project PATH or --group PATH creates one for a project or group"
                }
                false => "a token of GitLab's is for one project or one group",
            };
            return Err(ApiError::Refused {
                message: message.to_owned(),
            });
        };
        let place = Place::parse(place).ok_or(ApiError::NotFound)?;
        let mut body = json!({
            "name": new.name,
            "scopes": new.scopes,
            "access_level": self.access_level(new)?,
        });
        if let Some(days) = new.expires_in_days {
            body["expires_at"] = self.calls.date_in(days).into();
        }
        if let Some(request) = new.request_id {
            body["description"] = description(request).into();
        }
        let url = self.tokens_at(&place, None)?;
        let answer = (self.calls.send(Method::POST, url, self.auth(), Some(&body)))
            .map_err(|error| self.place_error(&place, error))?;
        let mut wire: WireToken = answer.json()?;
        let secret = wire.take_secret()?;
        Ok(CreatedToken {
            token: token_of(wire, Some(&place))?,
            secret,
        })
    }

    fn longest_lifetime(&self, asked: u32, refusal: &str) -> Option<u32> {
        self.calls.longest_lifetime(asked, refusal)
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        if self.is_oauth() {
            return Err(self.refusal("list tokens"));
        }
        let mut tokens = Vec::new();
        let mut tells = false;
        let mut add = |wires: Vec<WireToken>, place: Option<&Place>| {
            for wire in wires.into_iter().filter(|wire| !wire.revoked) {
                tells |= wire.description.is_some();
                tokens.push(token_of(wire, place)?);
            }
            Ok::<_, ApiError>(())
        };
        add(self.personal()?, None)?;
        for place in &self.login.places {
            add(self.at(place)?, Some(place))?;
        }
        for place in &self.login.known_places {
            if self.login.places.contains(place) || !self.may(&["api", "read_api"]) {
                continue;
            }
            match self.at(place) {
                Ok(wires) => add(wires, Some(place))?,
                // One that is gone does not keep the rest away.
                Err(ApiError::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.tells_descriptions.set(tells);
        tokens.sort_by_key(|token| std::cmp::Reverse((token.created, token.id.clone())));
        Ok(tokens)
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        let Some((number, place)) = located(id) else {
            return Err(ApiError::NotFound);
        };
        let Some(place) = place else {
            let about = self.calls.about(&self.login.token)?;
            let url = match about.number() == number {
                true => self.calls.url(SELF)?,
                false => self.calls.url(&format!("{PERSONAL}/{number}"))?,
            };
            return match self.calls.send(Method::DELETE, url, self.auth(), None) {
                // GitLab says no more of a token that there is not, to all but administrators.
                Err(ApiError::Unauthorized) => Err(ApiError::NotFound),
                other => other.map(drop),
            };
        };
        let url = self.tokens_at(&place, Some(number))?;
        match self.calls.send(Method::DELETE, url, self.auth(), None) {
            // Of a project that was moved away or hidden GitLab says the same as of a token that has
            // ended, which may live on there.
            Err(ApiError::NotFound) => self.at(&place).and(Err(ApiError::NotFound)),
            other => other.map(drop),
        }
    }

    fn revoke_by_secret(&self, _id: &str, secret: &Secret) -> Result<(), ApiError> {
        let auth = Auth::Header("private-token", secret);
        let url = self.calls.url(SELF)?;
        match self.calls.send(Method::DELETE, url, auth, None) {
            Err(ApiError::Unauthorized) => Err(ApiError::NotFound),
            other => other.map(drop),
        }
    }

    /// Any personal, project or group token may ask about itself. A bot is not the account that
    /// created it, so its own number is all that is told.
    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        let account = account_of(&self.calls.about(token)?)?;
        Ok(Account {
            // Each token of a place is another bot's.
            id: String::new(),
            username: self.login.account.clone(),
            ..account
        })
    }

    fn identify<'a>(
        &self,
        tokens: &'a [Token],
        secret: &Secret,
    ) -> Result<Option<&'a Token>, ApiError> {
        let number = self.calls.about(secret)?.number();
        let is_it = |token: &&Token| located(&token.id).is_some_and(|(known, _)| known == number);
        Ok(tokens.iter().find(is_it))
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        Ok(scopes::listed(scopes::all(HostType::Gitlab)))
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(ApiError::Unsupported {
            what: "bring a token's end forward",
        })
    }

    fn clock_skew(&self) -> Option<i64> {
        self.calls.clock_skew()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_where_its_token_belongs() {
        for id in ["42", "42@ada/hello", "42@group:acme/tools"] {
            let (number, place) = located(id).expect("an id");
            assert_eq!(id_of(number, place.as_ref()), id);
        }
        for bad in ["", "x", "42@", "42@ada", "x@ada/hello", "42@../x"] {
            assert_eq!(located(bad), None, "{bad}");
        }
    }
}
