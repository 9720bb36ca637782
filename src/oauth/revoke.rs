//! RFC 7009: telling the server that a token is done with.

use super::{App, Form, OAuthError, Reach, parse_endpoint, post};
use crate::api::ApiError;
use crate::secret::Secret;
use crate::sign_in::OAuthClient;

/// Revokes a token, once; `hint` is `refresh_token` or `access_token`. A token that the server does
/// not know is a success (RFC 7009, section 2.2). [`OAuthError::Unsupported`] where there is no
/// endpoint.
pub fn revoke(
    client: &OAuthClient,
    token: &Secret,
    hint: &str,
    reach: &Reach,
) -> Result<(), OAuthError> {
    let Some(endpoint) = &client.revocation_endpoint else {
        return Err(OAuthError::Unsupported {
            what: "revocation endpoint",
        });
    };
    let endpoint = parse_endpoint(endpoint)?;
    let mut form = Form::new();
    form.add_secret("token", token);
    form.add("token_type_hint", hint);
    let answer = post(&endpoint, &App::from(client), form, reach)?;
    match super::ErrorWire::of(&answer) {
        // Whatever the status: some hosts send their errors with 200.
        Some(error) => Err(error.into()),
        None => match answer.done() {
            Err(ApiError::NotFound) => Err(OAuthError::Unsupported {
                what: "revocation endpoint",
            }),
            other => Ok(other?),
        },
    }
}
