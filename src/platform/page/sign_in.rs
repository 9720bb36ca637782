//! Signing in and out.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::form::{Fields, Posted};
use super::layout::{self, Notice, sentence};
use super::paths::Next;
use super::session::{Visitor, no_session_cookie, session_cookie};
use crate::database::accounts::Login;
use crate::database::sessions::Way;
use crate::platform::client::client;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::platform::{Platform, Shared};

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/login", get(form).post(sign_in))
        .route("/logout", post(sign_out))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
    #[serde(default)]
    done: String,
}

async fn form(
    State(platform): State<Shared>,
    origin: Origin,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, PageError> {
    let (parts, _) = request.into_parts();
    let next = Next::of(&asked.next);
    if Visitor::find(&parts, &platform, &origin).await?.is_some() {
        return Ok(Redirect::to(next.path()).into_response());
    }
    let notice =
        (asked.done == "signed-out").then(|| Notice::Done("You are signed out.".to_owned()));
    Ok(page(&platform, &next, "", notice).into_response())
}

async fn sign_in(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, PageError> {
    let next = Next::of(fields.text("next"));
    let name = fields.text("name").trim();
    let login = match name.contains('@') {
        true => Login::Email(name.to_owned()),
        false => Login::Username(name.to_owned()),
    };
    let client = client(&headers, Way::Page, from.ip());
    let user = match platform
        .sign_in(login, fields.secret("password"), &client)
        .await
    {
        Ok(user) => user,
        Err(refusal) => return Ok(refused(&platform, &next, name, refusal)),
    };
    let session = platform.database.open_session(&user.id, &client).await?;
    let cookie = AppendHeaders([(SET_COOKIE, session_cookie(&origin, &session))]);
    Ok((cookie, Redirect::to(next.path())).into_response())
}

/// The form again, with what was typed but the password.
fn refused(platform: &Platform, next: &Next, name: &str, refusal: Refusal) -> Response {
    let status = match refusal.status {
        // A 401 would have to name a scheme, and with one a browser asks by a window of its own.
        StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        other => other,
    };
    let message = match refusal.retry_after {
        Some(seconds) => format!("Too many sign-ins. Try again in {seconds} seconds."),
        None => sentence(&refusal.message),
    };
    let mut response = (
        status,
        page(platform, next, name, Some(Notice::Failed(message))),
    )
        .into_response();
    refusal.add_wait(&mut response);
    response
}

async fn sign_out(
    State(platform): State<Shared>,
    origin: Origin,
    Posted { visitor, .. }: Posted,
) -> Result<Response, PageError> {
    let closing = (platform.database).close_session(&visitor.secret, visitor.from);
    closing.await?;
    let cookie = AppendHeaders([(SET_COOKIE, no_session_cookie(&origin))]);
    Ok((cookie, Redirect::to("/login?done=signed-out")).into_response())
}

fn page(platform: &Platform, next: &Next, name: &str, notice: Option<Notice>) -> Markup {
    let is_first = notice.is_none();
    let body = html! {
        form.card.narrow method="post" action="/login" {
            input type="hidden" name="next" value=(next.path());
            div.field {
                label for="name" { "Username or email" }
                input #name name="name" type="text" value=(name) required maxlength="254"
                    autocomplete="username" autocapitalize="none" spellcheck="false"
                    autofocus[is_first];
            }
            div.field {
                label for="password" { "Password" }
                input #password name="password" type="password" required maxlength="128"
                    autocomplete="current-password";
            }
            button.primary.wide type="submit" { "Sign in" }
        }
        section.narrow.aside aria-labelledby="no-account" {
            h2 #no-account { "No account yet?" }
            @if platform.takes_accounts {
                p { a href=(next.sign_up()) { "Create an account" } }
            } @else {
                p { "Sign-up is disabled on this server: ask its operator." }
            }
        }
    };
    layout::page("Sign in", None, notice, body)
}
