//! The account that a token belongs to, and its profile.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::Shared;
use super::api::{Account, Input};
use super::auth::{Caller, counted};
use super::refusal::Refusal;
use crate::database::profile::ProfileChange;
use crate::database::tokens::Grant;

pub fn routes(platform: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/v1/user", get(whoami))
        .route("/api/v1/profile", get(show_profile).patch(change_profile))
        .route_layer(from_fn_with_state(platform.clone(), counted))
}

#[derive(Serialize)]
struct Whoami<'a> {
    #[serde(flatten)]
    account: Account<'a>,
    login: Option<&'a str>,
}

/// The account of a token. Any token may ask about itself: this is how one is tried out.
async fn whoami(grant: Option<Extension<Arc<Grant>>>) -> Result<Response, Refusal> {
    let Some(Extension(grant)) = grant else {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "Requires authentication",
        ));
    };
    let account = Account::of(&grant.user);
    let login = account.username;
    Ok(Json(Whoami { account, login }).into_response())
}

async fn show_profile(
    State(platform): State<Shared>,
    caller: Caller,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "user:read").await?;
    let profile = platform.database.profile(&user.id).await?;
    Ok(Json(json!({
        "username": user.username,
        "email": user.email,
        "name": profile.name,
        "bio": profile.bio,
        "location": profile.location,
        "website": profile.website,
    })))
}

/// Says only that it was done: the right to write a profile is not the right to read it.
async fn change_profile(
    State(platform): State<Shared>,
    caller: Caller,
    Input(change): Input<ProfileChange>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "user:write").await?;
    platform.database.change_profile(&user.id, &change).await?;
    Ok(Json(json!({ "success": true })))
}
