//! The token API in its documented form, which `wit up` serves.

use std::cell::Cell;
use std::rc::Rc;

use serde::{Deserialize, Deserializer};
use serde_json::json;
use uuid::Uuid;

use super::checked;
use super::http::{Client, time};
use super::promises::{Promises, SelfRotation};
use super::{
    Account, AlsoRevoked, ApiError, Change, CreatedToken, Event, Form, NO_EVENTS, NewToken, Scope,
    Token, TokenApi,
};
use crate::expiry::{Expiry, rfc3339};
use crate::secret::Secret;

/// A signed-in user's tokens by REST.
pub struct Rest {
    client: Rc<Client>,
    session: Secret,
    /// True if the tokens listed last had a `requestId`, if only a null one.
    keeps_request_ids: Cell<bool>,
}

impl Rest {
    /// For an account, by its session.
    pub fn new(client: Rc<Client>, session: Secret) -> Self {
        Rest {
            client,
            session,
            keeps_request_ids: Cell::new(false),
        }
    }

    /// Revokes a token, and says which ended with it.
    fn end(&self, id: &str, query: &[(&str, &str)]) -> Result<Vec<AlsoRevoked>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Done {
            also_revoked: Vec<AlsoRevoked>,
        }
        if !plain(id) {
            return Err(ApiError::NotFound);
        }
        let path = format!("/api/tokens/{id}");
        let answer = (self.client).delete_with(&path, query, Some(&self.session))?;
        answer.done()?;
        // Other servers answer something else, or nothing.
        let done: Done = serde_json::from_slice(answer.body()).unwrap_or_default();
        let mut also = Vec::new();
        for token in done.also_revoked {
            also.push(AlsoRevoked {
                id: checked::id(token.id)?,
                token_prefix: checked::id(token.token_prefix)?,
                ..token
            });
        }
        Ok(also)
    }
}

/// A token as both forms of the API write it; `token` is there at its creation only.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireToken {
    id: String,
    name: String,
    token_prefix: String,
    scopes: Vec<String>,
    created_at: String,
    #[serde(default)]
    last_used_at: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
    /// `None` where the server does not speak of it at all.
    #[serde(default, deserialize_with = "present")]
    request_id: Option<Option<String>>,
    #[serde(default)]
    replaced_by: Option<String>,
    #[serde(default)]
    token: Option<Secret>,
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl WireToken {
    pub(super) fn into_token(self) -> Result<Token, ApiError> {
        checked::token(Token {
            id: self.id,
            name: self.name,
            prefix: self.token_prefix,
            suffix: String::new(),
            scopes: self.scopes,
            repositories: Vec::new(),
            created: Some(time(&self.created_at)?),
            last_used: self.last_used_at.as_deref().map(time).transpose()?,
            expiry: self
                .expires_at
                .as_deref()
                .map(time)
                .transpose()?
                .map(Expiry),
            // What is no UUID was not chosen by a client of ours.
            request_id: self
                .request_id
                .flatten()
                .and_then(|id| Uuid::try_parse(&id).ok()),
            replaced_by: self.replaced_by.map(checked::id).transpose()?,
        })
    }

    pub(super) fn into_created(mut self) -> Result<CreatedToken, ApiError> {
        let secret = self.token.take().ok_or_else(|| ApiError::Malformed {
            what: "a new token without its secret".into(),
        })?;
        Ok(CreatedToken {
            token: self.into_token()?,
            secret: checked::secret(secret)?,
        })
    }
}

/// Sorts as [`TokenApi::list`] promises.
pub(super) fn newest_first(tokens: Vec<WireToken>) -> Result<Vec<Token>, ApiError> {
    let mut tokens = tokens
        .into_iter()
        .map(WireToken::into_token)
        .collect::<Result<Vec<_>, _>>()?;
    tokens.sort_by_key(|token| std::cmp::Reverse(token.created));
    Ok(tokens)
}

/// Asks `GET /api/v1/user`, which is the same in both forms.
pub fn verify(client: &Client, token: &Secret) -> Result<Account, ApiError> {
    #[derive(Deserialize)]
    struct User {
        id: String,
        #[serde(default)]
        username: Option<String>,
        #[serde(default)]
        login: Option<String>,
        #[serde(default)]
        email: Option<String>,
    }
    let user: User = client.get("/api/v1/user", Some(token))?.json()?;
    checked::account(Account {
        id: user.id,
        username: user.username.or(user.login),
        email: user.email.unwrap_or_default(),
    })
}

#[derive(Deserialize)]
pub(super) struct WireScope {
    name: String,
    #[serde(default)]
    description: String,
}

impl WireScope {
    pub(super) fn into_scope(self) -> Result<Scope, ApiError> {
        checked::scope(Scope {
            name: self.name,
            description: self.description,
        })
    }
}

/// Returns whether an id can stand in a path as it is; the platform's are UUIDs.
fn plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A list, bare or below `tokens` or `scopes`: the documentation leaves it open.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed<T> {
    Bare(Vec<T>),
    Tokens { tokens: Vec<T> },
    Scopes { scopes: Vec<T> },
}

impl<T> Listed<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Listed::Bare(all) => all,
            Listed::Tokens { tokens } => tokens,
            Listed::Scopes { scopes } => scopes,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEvent {
    at: String,
    action: String,
    token_id: String,
    token_name: String,
    token_prefix: String,
    address: Option<String>,
}

impl WireEvent {
    fn into_event(self) -> Result<Event, ApiError> {
        Ok(Event {
            at: time(&self.at)?,
            action: self.action,
            token_id: checked::id(self.token_id)?,
            token_name: self.token_name,
            token_prefix: self.token_prefix,
            address: self.address,
        })
    }
}

impl TokenApi for Rest {
    fn form(&self) -> Form {
        Form::Rest
    }

    fn promises(&self) -> Promises {
        Promises {
            request_ids: self.keeps_request_ids.get(),
            self_rotation: SelfRotation::WithOverlap,
            describes_itself: true,
            shorten: true,
            change: true,
            ..Promises::PLATFORM
        }
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let mut body = json!({"name": new.name, "scopes": new.scopes});
        if let Some(days) = new.expires_in_days {
            body["expiresInDays"] = days.into();
        }
        if let Some(id) = new.request_id {
            body["requestId"] = id.to_string().into();
        }
        let answer = self
            .client
            .post_json("/api/tokens", Some(&self.session), &body)?;
        answer.json::<WireToken>()?.into_created()
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        let answer = self.client.get("/api/tokens", Some(&self.session))?;
        let tokens = answer.json::<Listed<WireToken>>()?.into_vec();
        let keeps = tokens.iter().any(|token| token.request_id.is_some());
        self.keeps_request_ids.set(keeps);
        newest_first(tokens)
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        if !plain(id) {
            return Err(ApiError::NotFound);
        }
        self.client
            .delete(&format!("/api/tokens/{id}"), Some(&self.session))?
            .done()
    }

    fn retire(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        // A server that does not know the word revokes it all the same.
        self.end(id, &[("reason", "rotated")])
    }

    fn change(&self, id: &str, change: &Change) -> Result<(), ApiError> {
        if !plain(id) {
            return Err(ApiError::NotFound);
        }
        let mut body = serde_json::Map::new();
        if let Some(name) = &change.name {
            body.insert("name".to_owned(), name.as_str().into());
        }
        if let Some(description) = &change.description {
            body.insert("description".to_owned(), description.as_str().into());
        }
        let path = format!("/api/tokens/{id}");
        (self
            .client
            .patch_json(&path, Some(&self.session), &body.into())?)
        .done()
    }

    fn revoke_all(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        self.end(id, &[])
    }

    fn revoke_alone(&self, id: &str) -> Result<(), ApiError> {
        if !plain(id) {
            return Err(ApiError::NotFound);
        }
        let path = format!("/api/tokens/{id}");
        let query = [("successors", "keep")];
        (self
            .client
            .delete_with(&path, &query, Some(&self.session))?)
        .done()
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        verify(&self.client, token)
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        let answer = self.client.get("/api/tokens/scopes", Some(&self.session))?;
        let scopes: Listed<WireScope> = answer.json()?;
        scopes
            .into_vec()
            .into_iter()
            .map(WireScope::into_scope)
            .collect()
    }

    fn events(&self) -> Result<Vec<Event>, ApiError> {
        let answer = self.client.get("/api/tokens/events", Some(&self.session))?;
        if answer.status == 404 {
            return Err(NO_EVENTS);
        }
        let events: Vec<WireEvent> = answer.json()?;
        events.into_iter().map(WireEvent::into_event).collect()
    }

    fn shorten(&self, id: &str, at: Expiry) -> Result<(), ApiError> {
        if !plain(id) {
            return Err(ApiError::NotFound);
        }
        self.client
            .patch_json(
                &format!("/api/tokens/{id}"),
                Some(&self.session),
                &json!({ "expiresAt": rfc3339(at.0), "reason": "rotated" }),
            )?
            .done()
    }

    fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }
}
