//! Rotating and revoking a token, each after a question.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::PageError;
use super::fields::Said;
use super::form::Posted;
use super::layout::{self, form_token};
use super::new_token::{days, life, life_of};
use super::paths;
use super::session::Visitor;
use super::shown;
use super::tokens;
use crate::database::DatabaseError;
use crate::database::audit::Action;
use crate::database::tokens::TokenRecord;
use crate::expiry::UnixTime;
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/settings/tokens/{id}/rotate", get(ask_rotate).post(rotate))
        .route("/settings/tokens/{id}/revoke", get(ask_revoke).post(revoke))
}

/// Times that the old token of a rotation may still work for, in seconds.
const GRACES: [(i64, &str); 4] = [
    (0, "at once"),
    (3_600, "in 1 hour"),
    (86_400, "in 1 day"),
    (7 * 86_400, "in 7 days"),
];

/// One answer for another's token and for none.
pub fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "you have no such token")
}

/// A token of the visitor's.
pub async fn token(platform: &Shared, visitor: &Visitor, id: &str) -> Result<TokenRecord, Refusal> {
    let id = Uuid::try_parse(id).map_err(|_| unknown())?;
    let token = platform.database.token(&visitor.user.id, id).await?;
    token.ok_or_else(unknown)
}

/// A question about a token, with the button that says yes to it.
fn ask(
    title: &str,
    visitor: &Visitor,
    token: &TokenRecord,
    said: &Said,
    consequence: Markup,
    more: Markup,
    yes: Markup,
) -> Markup {
    let content = html! {
        form.card method="post" {
            (tokens::name(token))
            (tokens::scopes(token))
            p.facts { (tokens::end(token, UnixTime::now())) }
            p { (consequence) }
            (more)
            p.actions {
                (yes)
                a.button href=(paths::TOKENS) { "Keep it" }
            }
            (form_token(&visitor.viewer))
        }
    };
    layout::page(title, Some(&visitor.viewer), said.notice(), content)
}

/// The tokens that came of one, and end with it.
fn ending_too(successors: &[TokenRecord]) -> Markup {
    html! {
        @if !successors.is_empty() {
            p {
                "It replaced itself. Its replacements are revoked too: "
                @for (place, token) in successors.iter().enumerate() {
                    @if place > 0 { ", " }
                    code { (token.prefix) "…" }
                }
            }
        }
    }
}

/// The choice of when the old token ends.
fn grace() -> Markup {
    html! {
        div.field {
            label for="grace" { "The old token ends" }
            select #grace name="grace" {
                @for (seconds, name) in GRACES { option value=(seconds) { (name) } }
            }
        }
    }
}

async fn ask_rotate(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    rotate_form(&platform, &visitor, &id, &Said::nothing()).await
}

async fn rotate_form(
    platform: &Shared,
    visitor: &Visitor,
    id: &str,
    said: &Said,
) -> Result<Markup, PageError> {
    let token = token(platform, visitor, id).await?;
    let successors = (platform.database)
        .successors(&visitor.user.id, token.id)
        .await?;
    Ok(ask(
        "Rotate this token?",
        visitor,
        &token,
        said,
        html! { "You get a new token with the same name and scopes, to put wherever this one is used." },
        html! {
            (ending_too(&successors))
            (grace())
            (life(&life_of(&token), "", said))
            input type="hidden" name="id" value=(Uuid::new_v4());
        },
        html! { button.primary type="submit" { "Rotate token" } },
    ))
}

async fn rotate(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    origin: Origin,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let old = token(&platform, &visitor, &id).await?;
    let days = days(fields.text("expires"), fields.text("until").trim());
    let grace: i64 = fields.text("grace").parse().unwrap_or_default();
    let (user_id, from) = (&visitor.user.id, visitor.asked_from());
    let database = &platform.database;
    let rotated = match grace {
        0 => database.rotate_token(user_id, old.id, days, from).await,
        // The new one first: without it the old one must not end.
        _ => {
            let id = fields.text("id").parse().unwrap_or_else(|_| Uuid::new_v4());
            let (name, scopes) = (&old.name, &old.scopes);
            database
                .create_token(user_id, id, name, scopes, days, from)
                .await
        }
    };
    let (token, secret) = match rotated {
        Ok(rotated) => rotated,
        Err(DatabaseError::NotFound) => return Err(unknown().into()),
        Err(DatabaseError::Taken { .. }) => {
            return Ok(Redirect::to(tokens::MADE_BEFORE).into_response());
        }
        Err(error @ (DatabaseError::Invalid(_) | DatabaseError::InvalidField(..))) => {
            let said = Said::refused(&Refusal::from(error));
            let page = rotate_form(&platform, &visitor, &id, &said).await?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    if grace != 0 {
        let longest = GRACES.map(|(seconds, _)| seconds).into_iter().max();
        let grace = grace.clamp(0, longest.unwrap_or_default());
        let ends = OffsetDateTime::now_utc() + time::Duration::seconds(grace);
        database.shorten_token(user_id, old.id, ends).await?;
        database
            .note_rotation(user_id, old.id, from.address)
            .await?;
    }
    shown::lead(&platform, &visitor, &origin, token.id, &secret, true).await
}

async fn ask_revoke(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    let token = token(&platform, &visitor, &id).await?;
    let successors = (platform.database)
        .successors(&visitor.user.id, token.id)
        .await?;
    Ok(ask(
        "Revoke this token?",
        &visitor,
        &token,
        &Said::nothing(),
        html! {
            "Whatever still uses it is refused from the next request on. This can't be undone."
        },
        ending_too(&successors),
        html! { button.danger.filled type="submit" { "Revoke token" } },
    ))
}

async fn revoke(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    Posted { visitor, .. }: Posted,
) -> Result<Response, PageError> {
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let gone = platform
        .database
        .revoke_token(&visitor.user.id, id, Action::Revoked, Some(from.ip()))
        .await;
    gone.map_err(|error| match error {
        DatabaseError::NotFound => unknown(),
        other => other.into(),
    })?;
    Ok(Redirect::to(tokens::REVOKED).into_response())
}
