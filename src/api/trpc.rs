//! The token API in the form that the running platform speaks: tRPC with superjson.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{Answer, Client};
use super::promises::Promises;
use super::rest::{WireScope, WireToken, newest_first, verify};
use super::user::User;
use super::{Account, ApiError, CreatedToken, Form, NewToken, Scope, Token, TokenApi};
use crate::expiry::Expiry;
use crate::quote::sentence;
use crate::secret::Secret;

/// A signed-in user's tokens by tRPC.
pub struct Trpc {
    client: Rc<Client>,
    session: Secret,
}

impl Trpc {
    /// For an account, by its session.
    pub fn new(client: Rc<Client>, session: Secret) -> Self {
        Trpc { client, session }
    }

    fn query<T: DeserializeOwned>(&self, procedure: &str) -> Result<T, ApiError> {
        let path = format!("/trpc/{procedure}");
        unwrapped(self.client.get(&path, Some(&self.session))?)
    }

    fn mutate<T: DeserializeOwned>(&self, procedure: &str, input: Value) -> Result<T, ApiError> {
        let path = format!("/trpc/{procedure}");
        let body = json!({ "json": input });
        unwrapped(self.client.post_json(&path, Some(&self.session), &body)?)
    }
}

/// User of a session, by `auth.me`: the user, alone or below `user`; null if nobody is signed
/// in.
pub(super) fn me(client: &Client, session: &Secret) -> Result<User, ApiError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Me {
        Bare(User),
        Below { user: Option<User> },
    }
    let answer = client.get("/trpc/auth.me", Some(session))?;
    match unwrapped::<Option<Me>>(answer)? {
        Some(Me::Bare(user) | Me::Below { user: Some(user) }) => Ok(user),
        Some(Me::Below { user: None }) | None => Err(ApiError::Unauthorized),
    }
}

/// The value below `result.data.json`; superjson's `meta` says nothing that the types do not.
fn unwrapped<T: DeserializeOwned>(answer: Answer) -> Result<T, ApiError> {
    #[derive(Deserialize)]
    struct Wrapped<T> {
        result: Data<T>,
    }
    #[derive(Deserialize)]
    struct Data<T> {
        data: Json<T>,
    }
    #[derive(Deserialize)]
    struct Json<T> {
        json: T,
    }
    match answer.json::<Wrapped<T>>() {
        Ok(wrapped) => Ok(wrapped.result.data.json),
        Err(ApiError::Refused { message }) => Err(ApiError::Refused {
            message: refusal(answer.body()).unwrap_or(message),
        }),
        Err(ApiError::Forbidden { message }) => Err(ApiError::Forbidden {
            message: refusal(answer.body()).unwrap_or(message),
        }),
        Err(error) => Err(error),
    }
}

/// The message of an error, which is plain text or a JSON array, as text, of `{code,message,path}`.
fn refusal(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = body.pointer("/error/json/message")?.as_str()?;
    let listed = serde_json::from_str::<Vec<Value>>(text).ok().map(|all| {
        let messages: Vec<&str> = all
            .iter()
            .filter_map(|one| one["message"].as_str())
            .collect();
        messages.join("; ")
    });
    let text = listed.filter(|all| !all.is_empty()).unwrap_or(text.into());
    Some(sentence(&text))
}

impl TokenApi for Trpc {
    fn form(&self) -> Form {
        Form::Trpc
    }

    fn promises(&self) -> Promises {
        Promises::PLATFORM
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let mut input = json!({"name": new.name, "scopes": new.scopes});
        if let Some(days) = new.expires_in_days {
            input["expiresInDays"] = days.into();
        }
        self.mutate::<WireToken>("tokens.create", input)?
            .into_created()
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        newest_first(self.query("tokens.list")?)
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        #[derive(Deserialize)]
        struct Deleted {
            success: bool,
        }
        let deleted: Deleted = self.mutate("tokens.delete", json!({ "id": id }))?;
        if !deleted.success {
            return Err(ApiError::Malformed {
                what: "a deletion that is neither done nor refused".into(),
            });
        }
        Ok(())
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        verify(&self.client, token)
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        let scopes: Vec<WireScope> = self.query("tokens.scopes")?;
        scopes.into_iter().map(WireScope::into_scope).collect()
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(ApiError::Unsupported {
            what: "end a token early",
        })
    }

    fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_refusal_are_read() {
        let plain = br#"{"error":{"json":{"message":"Maximum of 50 tokens allowed per user"}}}"#;
        assert_eq!(
            refusal(plain).unwrap(),
            "Maximum of 50 tokens allowed per user"
        );
        let listed = br#"{"error":{"json":{"message":"[{\"code\":\"too_small\",\"message\":\"At least one\",\"path\":[\"scopes\"]}]"}}}"#;
        assert_eq!(refusal(listed).unwrap(), "At least one");
    }
}
