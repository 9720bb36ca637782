//! Calls of a token about itself, and bringing its expiry forward.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, patch, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Shared;
use super::api::{Input, Reason, Unknown, time_json, token_json, token_not_found};
use super::auth::{Presented, Signed, counted, presented};
use super::refusal::Refusal;
use crate::database::DatabaseError;
use crate::database::family::Succession;
use crate::database::tokens::{Grant, TokenChange};

pub fn routes(platform: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/tokens/self", get(this_token))
        .route("/api/tokens/self/rotate", post(rotate))
        .route_layer(from_fn_with_state(platform.clone(), counted))
        .route("/api/tokens/{id}", patch(change))
}

fn not_a_token() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        "Requires authentication",
    )
}

/// The token that the request carries, and what replaced it.
async fn this_token(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
) -> Result<Json<Value>, Refusal> {
    let Extension(grant) = grant.ok_or_else(not_a_token)?;
    let database = &platform.database;
    let token = database.token(&grant.user.id, grant.token_id).await?;
    let mut body = token_json(&token.ok_or_else(not_a_token)?);
    body["replacedBy"] = serde_json::json!(database.successor(grant.token_id).await?);
    Ok(Json(body))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rotate {
    /// The id that the client wants the new token to have.
    request_id: Option<Uuid>,
    #[serde(flatten)]
    unknown: Unknown,
}

fn not_the_json() -> Refusal {
    Refusal::bad_request("the request body is not the JSON that this call expects")
}

/// Replaces the token that the request carries, once.
async fn rotate(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let Some(Presented::Bearer(token)) = presented(&headers) else {
        return Err(not_a_token());
    };
    // It may be left out whole.
    let input: Rotate = match body.is_empty() {
        true => Rotate::default(),
        false => serde_json::from_slice(&body).map_err(|_| not_the_json())?,
    };
    input.unknown.refuse_expiry()?;
    match (platform.database)
        .succeed_token(&token, input.request_id, Some(from.ip()))
        .await?
    {
        Succession::Replaced {
            new,
            secret,
            old_ends,
        } => {
            let mut body = token_json(&new);
            body["token"] = secret.expose_str().into();
            body["oldExpiresAt"] = time_json(Some(old_ends));
            Ok((StatusCode::CREATED, Json(body)))
        }
        Succession::Reused { user_id, family } => {
            tracing::warn!(
                user = user_id,
                %family,
                "a token that had been replaced was to be replaced again: its family is revoked"
            );
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "TOKEN_REUSED",
                "This token was already replaced. All tokens that it was replaced by were revoked.",
            ))
        }
        Succession::Final => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "TOKEN_END_SET",
            "This token's owner has set its end, so it can't be replaced by another.",
        )),
        Succession::Unknown => Err(not_a_token()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeToken {
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    /// The reason for another end.
    #[serde(default)]
    reason: Option<Reason>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Changes a token's name or description, or ends it sooner. One that ends sooner anyway keeps its
/// end.
async fn change(
    State(platform): State<Shared>,
    signed: Signed,
    Path(id): Path<String>,
    Input(input): Input<ChangeToken>,
) -> Result<Json<Value>, Refusal> {
    input.unknown.refuse_expiry()?;
    let user = signed.user();
    let id = Uuid::try_parse(&id).map_err(|_| token_not_found())?;
    let database = &platform.database;
    let change = TokenChange {
        name: input.name,
        description: input.description,
    };
    if change == TokenChange::default() && input.expires_at.is_none() {
        return Err(not_the_json());
    }
    let changed = async {
        if change != TokenChange::default() {
            database.change_token(&user.id, id, &change).await?;
        }
        if let Some(at) = input.expires_at {
            database.shorten_token(&user.id, id, at).await?;
            if let Some(Reason::Rotated) = input.reason {
                database
                    .note_rotation(&user.id, id, Some(signed.from))
                    .await?;
            }
        }
        Ok(())
    };
    match changed.await {
        Err(DatabaseError::NotFound) => return Err(token_not_found()),
        other => other?,
    }
    let token = database.token(&user.id, id).await?;
    Ok(Json(token_json(&token.ok_or_else(token_not_found)?)))
}
