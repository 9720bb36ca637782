//! Ending at a host what a sign-in holds there: by RFC 7009 where there is an endpoint, else by the
//! host's own call.

use reqwest::Method;
use serde_json::json;
use zeroize::Zeroizing;

use super::github_app::end_token;
use super::{api, is_github_com};
use crate::api::ApiError;
use crate::api::http::Auth;
use crate::api::server::ServerUrl;
use crate::credential::Credential;
use crate::oauth::revoke::revoke;
use crate::oauth::{OAuthError, Reach, client};
use crate::secret::{Secret, SecretBuffer};
use crate::sign_in::{HostType, OAuthClient, SignIn, Upkeep};

/// Outcome of an attempt to end a token.
#[derive(Debug)]
pub enum End {
    /// It is ended, or was already.
    Revoked,
    /// The host has no call for it: a person can, on its page.
    Impossible,
    /// The host refused, or could not be reached: it may still work.
    Failed(OAuthError),
}

/// Ends the access token and the refresh token of an entry, or the token that was pasted or created.
pub fn end(entry: &Credential, sign_in: &SignIn, server: &ServerUrl, reach: &Reach) -> End {
    let token = entry.auth.secret();
    let refresh = entry.refresh_token.as_ref();
    let ended = match (&sign_in.upkeep, sign_in.host) {
        (Upkeep::Refresh(client), HostType::Github) => {
            end_at_github(server, Some(client), token, refresh, reach)
        }
        (Upkeep::Mint(_), _) => end_token(server, token, reach),
        (Upkeep::Watch, HostType::Github) => end_at_github(server, None, token, None, reach),
        (Upkeep::Refresh(client), _) if client.revocation_endpoint.is_some() => {
            end_by_rfc_7009(client, token, refresh, reach)
        }
        (Upkeep::Watch | Upkeep::RotateItself, HostType::Gitlab) => {
            end_at_gitlab(server, token, reach)
        }
        _ => return End::Impossible,
    };
    match ended {
        Ok(()) => End::Revoked,
        Err(OAuthError::Unsupported { .. }) => End::Impossible,
        Err(error) => End::Failed(error),
    }
}

/// The refresh token first: with it gone nothing new comes into being. Many servers end the access
/// token along with it, and say nothing of one that they do not know.
fn end_by_rfc_7009(
    client: &OAuthClient,
    access: &Secret,
    refresh: Option<&Secret>,
    reach: &Reach,
) -> Result<(), OAuthError> {
    if let Some(refresh) = refresh {
        revoke(client, refresh, "refresh_token", reach)?;
    }
    match revoke(client, access, "access_token", reach) {
        // An access token that lives by its signature alone can't be revoked anywhere.
        Err(OAuthError::Refused { code, .. }) if code == "unsupported_token_type" => Ok(()),
        other => other,
    }
}

fn end_at_gitlab(server: &ServerUrl, token: &Secret, reach: &Reach) -> Result<(), OAuthError> {
    let Some(url) = api(HostType::Gitlab, server, "/personal_access_tokens/self") else {
        return Ok(());
    };
    let auth = Auth::Header("private-token", token);
    let answer = client(&url, reach)?.request(Method::DELETE, url, auth, None)?;
    match answer.done() {
        // It is dead already.
        Err(ApiError::Unauthorized) => Ok(()),
        Err(ApiError::NotFound) => Err(OAuthError::Unsupported {
            what: "call to revoke a token by itself",
        }),
        other => Ok(other?),
    }
}

/// Ends a token of github.com or ghe.com, whoever has it.
pub fn end_shown(server: &ServerUrl, token: &Secret, reach: &Reach) -> Result<(), OAuthError> {
    end_at_github(server, None, token, None, reach)
}

/// `POST /credentials/revoke` takes tokens without asking who brings them, and is not on an
/// Enterprise Server. There the client can end its user's token, if it has a secret.
fn end_at_github(
    server: &ServerUrl,
    app: Option<&OAuthClient>,
    token: &Secret,
    refresh: Option<&Secret>,
    reach: &Reach,
) -> Result<(), OAuthError> {
    let unsupported = OAuthError::Unsupported {
        what: "call to revoke a token",
    };
    let send = |method, path: &str, auth: Auth, body: SecretBuffer| {
        let Some(url) = api(HostType::Github, server, path) else {
            return Ok(());
        };
        let body = Zeroizing::new(body.expose().to_vec());
        let body = Some(("application/json", body));
        let answer = client(&url, reach)?.request(method, url, auth, body)?;
        match answer.done() {
            // 422: it is of no kind that can be revoked so.
            Err(ApiError::NotFound) => Err(OAuthError::Unsupported {
                what: "call to revoke a token",
            }),
            other => Ok(other?),
        }
    };
    if is_github_com(server) {
        let tokens: Vec<&str> = [Some(token), refresh]
            .into_iter()
            .flatten()
            .filter_map(Secret::expose_str)
            .collect();
        let body = document("credentials", &json!(tokens));
        return send(Method::POST, "/credentials/revoke", Auth::Nobody, body);
    }
    let Some(OAuthClient {
        client_id,
        client_secret: Some(secret),
        ..
    }) = app
    else {
        return Err(unsupported);
    };
    let path = format!("/applications/{client_id}/token");
    let body = document("access_token", &json!(token.expose_str()));
    send(Method::DELETE, &path, Auth::Basic(client_id, secret), body)
}

fn document(name: &str, value: &serde_json::Value) -> SecretBuffer {
    let mut body = SecretBuffer::default();
    // Writing into memory can't fail.
    let _ = serde_json::to_writer(&mut body, &json!({ name: value }));
    body
}
