//! Calls of a token about itself, without a sign-in: `GET /api/tokens/self` and
//! `POST /api/tokens/self/rotate`, which `wit up` serves.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;

use super::checked;
use super::http::Client;
use super::promises::{Promises, SelfRotation};
use super::rest::{WireToken, verify};
use super::{Account, ApiError, CreatedToken, Form, NewToken, Reason, Scope, Token, TokenApi};
use crate::expiry::Expiry;
use crate::secret::Secret;

/// The token API as far as one token can speak it, for the rotation of that token.
pub struct SelfTokenApi {
    client: Rc<Client>,
    token: Secret,
    /// The token that is replaced; `token` itself, or what has replaced it already.
    old_id: String,
}

impl SelfTokenApi {
    /// For a token and its id, of which the secret is at hand.
    pub fn new(client: Rc<Client>, token: Secret, old_id: String) -> Self {
        SelfTokenApi {
            client,
            token,
            old_id,
        }
    }
}

/// A token as the server knows it, and whether it was replaced.
#[derive(Debug)]
pub struct SelfToken {
    /// The token itself.
    pub token: Token,
    /// Id of the token that has replaced it; `None` while it works.
    pub replaced_by: Option<String>,
}

/// Asks the server about `token`. [`ApiError::Unsupported`] where the server takes the token but
/// does not speak of it.
pub fn describe(client: &Client, token: &Secret) -> Result<SelfToken, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        #[serde(flatten)]
        token: WireToken,
        replaced_by: Option<String>,
    }
    let answer = client.get("/api/tokens/self", Some(token))?;
    match answer.json::<Wire>() {
        // It may have taken `self` for an id, and a token for no session.
        Err(ApiError::NotFound | ApiError::Unauthorized | ApiError::Malformed { .. }) => {
            verify(client, token)?;
            Err(ApiError::Unsupported {
                what: "replace a token by itself",
            })
        }
        other => {
            let wire = other?;
            Ok(SelfToken {
                token: wire.token.into_token()?,
                replaced_by: wire.replaced_by.map(checked::id).transpose()?,
            })
        }
    }
}

const UNSUPPORTED: ApiError = ApiError::Unsupported {
    what: "do that for a token alone",
};

impl TokenApi for SelfTokenApi {
    fn form(&self) -> Form {
        Form::SelfToken
    }

    fn promises(&self) -> Promises {
        Promises {
            create: false,
            revoke_others: false,
            self_rotation: SelfRotation::WithOverlap,
            describes_itself: true,
            ..Promises::PLATFORM
        }
    }

    /// Replaces the token; the new one is like it, whatever is asked for. Sent once, and not at all
    /// where it was replaced before: the server would take that for a theft.
    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let replaced =
            || Ok::<_, ApiError>(describe(&self.client, &self.token)?.replaced_by.is_some());
        if replaced()? {
            return Err(ApiError::Refused {
                message: "this token was already replaced, and its replacement is not stored here"
                    .into(),
            });
        }
        let path = "/api/tokens/self/rotate";
        let body = match new.request_id {
            Some(id) => json!({ "requestId": id }),
            None => json!({}),
        };
        let answer = self.client.post_json(path, Some(&self.token), &body);
        let created = answer.and_then(|answer| answer.json::<WireToken>()?.into_created());
        match created {
            Err(error) if replaced().unwrap_or(false) => Err(ApiError::Lost {
                server: self.client.server().to_string(),
                reason: Reason::from(format!(
                    "the token was replaced, but the response with the new one was lost ({error})"
                ))
                .caused_by(error),
            }),
            other => other,
        }
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        Ok(vec![describe(&self.client, &self.token)?.token])
    }

    /// The token that was replaced ends by itself, a short time later.
    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        match id == self.old_id {
            true => Ok(()),
            false => Err(UNSUPPORTED),
        }
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        verify(&self.client, token)
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        Err(UNSUPPORTED)
    }

    fn shorten(&self, _id: &str, _at: Expiry) -> Result<(), ApiError> {
        Err(UNSUPPORTED)
    }

    fn clock_skew(&self) -> Option<i64> {
        self.client.clock_skew()
    }
}
