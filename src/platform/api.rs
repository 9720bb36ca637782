//! Accounts and tokens as JSON, for who is signed in.

use std::collections::HashMap;
use std::net::SocketAddr;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;

use super::auth::Signed;
use super::client::client;
use super::refusal::Refusal;
use super::{Platform, Shared};
use crate::database::DatabaseError;
use crate::database::accounts::{Login, NewUser, User};
use crate::database::audit::Action;
use crate::database::sessions::{Client, Way};
use crate::database::tokens::{TokenRecord, scopes};
use crate::secret::Secret;

/// As JavaScript's `Date` writes it, which is what the platform answers.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/auth/sign-up/email", post(sign_up))
        .route("/api/auth/sign-in/email", post(sign_in))
        .route("/api/auth/sign-in/username", post(sign_in))
        .route("/api/auth/sign-out", post(sign_out))
        .route("/api/tokens", get(list_tokens).post(create_token))
        .route("/api/tokens/scopes", get(list_scopes))
        .route("/api/tokens/events", get(list_events))
        .route("/api/tokens/{id}", delete(delete_token).get(get_token))
}

/// A JSON body, refused without repeating any of it: it may hold a password.
pub struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Refusal> {
        let body: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        body.map(|Json(value)| Input(value)).map_err(|rejection| {
            let status = match rejection.status() {
                StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
                other => other,
            };
            Refusal::new(
                status,
                "BAD_REQUEST",
                "the request body is not the JSON that this call expects",
            )
        })
    }
}

#[derive(Deserialize)]
struct SignUp {
    email: String,
    password: Secret,
    name: String,
    username: String,
    /// The code of an invitation, which a server without sign-up asks for.
    #[serde(default)]
    invitation: Option<Secret>,
}

async fn sign_up(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Input(input): Input<SignUp>,
) -> Result<Json<Value>, Refusal> {
    let new = NewUser {
        name: input.name,
        email: input.email,
        username: input.username,
        password: input.password,
    };
    let client = client(&headers, Way::Api, from.ip());
    let user = match &input.invitation {
        Some(invitation) => platform.sign_up_invited(new, invitation, from.ip()).await?,
        None => platform.sign_up(new, from.ip()).await?,
    };
    signed_in(&platform, user, &client).await
}

#[derive(Deserialize)]
struct SignIn {
    email: Option<String>,
    username: Option<String>,
    password: Secret,
}

async fn sign_in(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Input(input): Input<SignIn>,
) -> Result<Json<Value>, Refusal> {
    let login = match (input.email, input.username) {
        (Some(email), None) => Login::Email(email),
        (None, Some(username)) => Login::Username(username),
        _ => {
            return Err(Refusal::bad_request(
                "sign in with either an email or a username",
            ));
        }
    };
    let client = client(&headers, Way::Api, from.ip());
    let user = platform.sign_in(login, input.password, &client).await?;
    signed_in(&platform, user, &client).await
}

async fn signed_in(
    platform: &Platform,
    user: User,
    client: &Client,
) -> Result<Json<Value>, Refusal> {
    let session = platform.database.open_session(&user.id, client).await?;
    Ok(Json(json!({
        "token": session.expose_str(),
        "user": Account::of(&user),
    })))
}

async fn sign_out(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    if let Some(super::auth::Presented::Bearer(session)) = super::auth::presented(&headers) {
        platform.database.close_session(&session, from.ip()).await?;
    }
    Ok(Json(json!({ "success": true })))
}

/// An account as its owner sees it.
#[derive(Serialize)]
pub struct Account<'a> {
    id: &'a str,
    email: &'a str,
    name: &'a str,
    pub username: Option<&'a str>,
}

impl<'a> Account<'a> {
    pub fn of(user: &'a User) -> Self {
        Account {
            id: &user.id,
            email: &user.email,
            name: &user.name,
            username: user.username.as_deref(),
        }
    }
}

pub(super) fn time_json(time: Option<OffsetDateTime>) -> Value {
    time.and_then(|time| time.checked_to_offset(time::UtcOffset::UTC))
        .and_then(|time| time.format(TIME).ok())
        .into()
}

pub(super) fn token_json(token: &TokenRecord) -> Value {
    json!({
        "id": token.id,
        // That it is there tells a client that its ids are known here.
        "requestId": token.id,
        "name": token.name,
        "tokenPrefix": token.prefix,
        "scopes": token.scopes,
        "lastUsedAt": time_json(token.last_used),
        "expiresAt": time_json(token.expires),
        "createdAt": time_json(Some(token.created)),
        "replacedBy": token.replaced_by,
        "description": token.description,
        "createdBy": token.device,
        "createdFrom": token.address,
        "lastUsedFrom": token.last_address,
    })
}

/// Fields of a request that are not known. The platform's own clients may send some, which are
/// ignored; but a token must not outlive an end that was asked for in words that are not understood.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Unknown(HashMap<String, Value>);

impl Unknown {
    /// Refuses fields that can only be about an expiry. `null` asks for nothing.
    pub fn refuse_expiry(&self) -> Result<(), Refusal> {
        let is_expiry = |name: &str| {
            let name = name.replace(['_', '-'], "").to_lowercase();
            name.contains("expir") || ["ttl", "lifetime", "maxage", "validuntil"].contains(&&*name)
        };
        match self
            .0
            .iter()
            .any(|(name, value)| is_expiry(name) && !value.is_null())
        {
            false => Ok(()),
            true => Err(Refusal::bad_request(
                "a field about the expiry is not known here; POST takes expiresInDays, PATCH expiresAt",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateToken {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_in_days: Option<i64>,
    /// The id that the client wants the token to have.
    #[serde(default)]
    request_id: Option<Uuid>,
    #[serde(flatten)]
    unknown: Unknown,
}

async fn create_token(
    State(platform): State<Shared>,
    signed: Signed,
    Input(input): Input<CreateToken>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    input.unknown.refuse_expiry()?;
    let (token, secret) = platform
        .database
        .create_token(
            &signed.user().id,
            input.request_id.unwrap_or_else(Uuid::new_v4),
            &input.name,
            &input.scopes,
            input.expires_in_days,
            signed.asked_from(),
        )
        .await?;
    let mut body = token_json(&token);
    body["token"] = secret.expose_str().into();
    body["warning"] = "Make sure to copy your token now. You will not see it again.".into();
    Ok((StatusCode::CREATED, Json(body)))
}

async fn list_tokens(
    State(platform): State<Shared>,
    signed: Signed,
) -> Result<Json<Value>, Refusal> {
    let user = signed.user();
    platform.write_uses().await;
    let tokens = platform.database.tokens(&user.id).await?;
    Ok(Json(tokens.iter().map(token_json).collect()))
}

pub(super) fn token_not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Token not found")
}

async fn get_token(
    State(platform): State<Shared>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let user = signed.user();
    let id = Uuid::try_parse(&id).map_err(|_| token_not_found())?;
    platform.write_uses().await;
    let token = platform.database.token(&user.id, id).await?;
    let token = token.ok_or_else(token_not_found)?;
    Ok(Json(token_json(&token)))
}

#[derive(Deserialize)]
struct DeleteToken {
    #[serde(default)]
    successors: Successors,
    #[serde(default)]
    reason: Option<Reason>,
}

/// The reason why a token ends, where it is not just no longer wanted.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reason {
    /// Another has replaced it.
    Rotated,
}

/// Fate of the tokens that came of a token by replacing itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Successors {
    #[default]
    Revoke,
    Keep,
}

async fn delete_token(
    State(platform): State<Shared>,
    signed: Signed,
    Path(id): Path<String>,
    query: Result<Query<DeleteToken>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let user = signed.user();
    let id = Uuid::try_parse(&id).map_err(|_| token_not_found())?;
    let Ok(Query(query)) = query else {
        let message = "successors is either revoke or keep, and reason can be rotated";
        return Err(Refusal::bad_request(message));
    };
    let (database, from) = (&platform.database, Some(signed.from));
    let action = match query.reason {
        Some(Reason::Rotated) => Action::Rotated,
        None => Action::Revoked,
    };
    let revoked = match query.successors {
        Successors::Revoke => database.revoke_token(&user.id, id, action, from).await,
        Successors::Keep => (database.delete_token(&user.id, id, from).await).map(|()| Vec::new()),
    };
    let also = match revoked {
        Ok(also) => also,
        Err(DatabaseError::NotFound) => return Err(token_not_found()),
        Err(error) => return Err(error.into()),
    };
    let also: Vec<Value> = also
        .iter()
        .map(|token| json!({ "id": token.id, "name": token.name, "tokenPrefix": token.prefix }))
        .collect();
    Ok(Json(json!({ "success": true, "alsoRevoked": also })))
}

/// The newest of what was done with the account's tokens.
async fn list_events(
    State(platform): State<Shared>,
    signed: Signed,
) -> Result<Json<Value>, Refusal> {
    let user = signed.user();
    platform.write_uses().await;
    let events = platform.database.events(&user.id).await?;
    let all = events.iter().map(|event| {
        json!({
            "at": time_json(Some(event.at)),
            "action": event.action,
            "tokenId": event.token_id,
            "tokenName": event.token_name,
            "tokenPrefix": event.token_prefix,
            "address": event.address,
        })
    });
    Ok(Json(all.collect()))
}

async fn list_scopes() -> Json<Value> {
    Json(json!(scopes().collect::<Vec<_>>()))
}
