//! An account, its password and its sign-ins as JSON, for who is signed in.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use time::PrimitiveDateTime;

use super::Shared;
use super::api::{Account, Input, time_json};
use super::auth::Signed;
use super::refusal::Refusal;
use crate::database::sessions::SignIn;
use crate::secret::Secret;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/account", get(show))
        .route("/api/account/password", post(change_password))
        .route("/api/account/email", post(change_email))
        .route("/api/account/sign-ins", get(list).delete(end_several))
        .route("/api/account/sign-ins/{id}", delete(end))
        .route("/api/account/events", get(events))
}

async fn show(signed: Signed) -> Json<Value> {
    Json(json!(Account::of(signed.user())))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangePassword {
    current_password: Secret,
    new_password: Secret,
}

/// Sets a new password, and ends the other sessions.
async fn change_password(
    State(platform): State<Shared>,
    signed: Signed,
    Input(input): Input<ChangePassword>,
) -> Result<Json<Value>, Refusal> {
    let ended = platform
        .change_password(
            &signed.session,
            input.current_password,
            input.new_password,
            signed.from,
        )
        .await?;
    Ok(Json(json!({ "success": true, "endedSignIns": ended })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeEmail {
    email: String,
    current_password: Secret,
}

async fn change_email(
    State(platform): State<Shared>,
    signed: Signed,
    Input(input): Input<ChangeEmail>,
) -> Result<Json<Value>, Refusal> {
    let user = signed.user();
    platform
        .confirm_password(user, input.current_password, signed.from)
        .await?;
    let database = &platform.database;
    database
        .change_email(&user.id, &input.email, signed.from)
        .await?;
    let user = database.user(&user.id).await?;
    let user = user.ok_or_else(Refusal::not_authenticated)?;
    Ok(Json(json!(Account::of(&user))))
}

fn utc(time: PrimitiveDateTime) -> Value {
    time_json(Some(time.assume_utc()))
}

fn sign_in_json(sign_in: &SignIn, current: &str) -> Value {
    json!({
        "id": sign_in.id,
        "name": sign_in.client,
        "address": sign_in.address,
        "createdAt": utc(sign_in.created_at),
        "expiresAt": utc(sign_in.expires_at),
        "lastUsedAt": time_json(sign_in.last_used_at),
        "lastAddress": sign_in.last_address,
        "current": sign_in.id == current,
    })
}

async fn list(State(platform): State<Shared>, signed: Signed) -> Result<Json<Value>, Refusal> {
    platform.write_uses().await;
    let all = platform.database.sign_ins(&signed.user().id).await?;
    let all = all.iter().map(|one| sign_in_json(one, &signed.session.id));
    Ok(Json(all.collect()))
}

async fn end(
    State(platform): State<Shared>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    platform
        .database
        .end_session(&signed.user().id, &id, signed.from)
        .await?;
    Ok(Json(json!({ "success": true })))
}

#[derive(Deserialize)]
struct EndSeveral {
    /// The one that goes on, if one does.
    #[serde(default)]
    keep: Option<Keep>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Keep {
    Current,
}

async fn end_several(
    State(platform): State<Shared>,
    signed: Signed,
    query: Result<Query<EndSeveral>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Ok(Query(query)) = query else {
        let message = "keep can only be current";
        return Err(Refusal::bad_request(message));
    };
    let keep = match query.keep {
        Some(Keep::Current) => Some(signed.session.id.as_str()),
        None => None,
    };
    let ended = platform
        .database
        .end_sessions(&signed.user().id, keep, signed.from)
        .await?;
    Ok(Json(json!({ "success": true, "ended": ended })))
}

/// The newest of what happened to the account itself.
async fn events(State(platform): State<Shared>, signed: Signed) -> Result<Json<Value>, Refusal> {
    let events = platform.database.account_events(&signed.user().id).await?;
    let all = events.iter().map(|event| {
        json!({
            "at": time_json(Some(event.at)),
            "action": event.action,
            "detail": event.detail,
            "address": event.address,
        })
    });
    Ok(Json(all.collect()))
}
