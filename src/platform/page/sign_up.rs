//! Creating an account.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::form::Fields;
use super::layout::{self, Notice, sentence};
use super::paths::{Next, SIGN_UP};
use super::session::session_cookie;
use crate::database::accounts::NewUser;
use crate::platform::Shared;
use crate::platform::auth::sign_up_disabled;
use crate::platform::origin::Origin;

pub fn routes() -> Router<Shared> {
    Router::new().route(SIGN_UP, get(form).post(sign_up))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
}

async fn form(
    State(platform): State<Shared>,
    Query(asked): Query<Asked>,
) -> Result<Markup, PageError> {
    if !platform.takes_accounts {
        return Err(sign_up_disabled().into());
    }
    Ok(page(&Next::of(&asked.next), "", "", None))
}

async fn sign_up(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    fields: Fields,
) -> Result<Response, PageError> {
    let next = Next::of(fields.text("next"));
    let (username, email) = (fields.text("username").trim(), fields.text("email").trim());
    let new = NewUser {
        name: username.to_owned(),
        email: email.to_owned(),
        username: username.to_owned(),
        password: fields.secret("password"),
    };
    let user = match platform.sign_up(new, from.ip()).await {
        Ok(user) => user,
        Err(refusal) if refusal.status.is_client_error() && platform.takes_accounts => {
            let notice = Some(Notice::Failed(sentence(&refusal.message)));
            let status = match refusal.status {
                StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
                other => other,
            };
            let mut response = (status, page(&next, username, email, notice)).into_response();
            refusal.add_wait(&mut response);
            return Ok(response);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let session = platform.database.open_session(&user.id).await?;
    let cookie = AppendHeaders([(SET_COOKIE, session_cookie(&origin, &session))]);
    Ok((cookie, Redirect::to(next.path())).into_response())
}

/// The form, with what was typed before but the password.
fn page(next: &Next, username: &str, email: &str, notice: Option<Notice>) -> Markup {
    let is_first = notice.is_none();
    let body = html! {
        form.card.narrow method="post" action=(SIGN_UP) {
            input type="hidden" name="next" value=(next.path());
            div.field {
                label for="username" { "Username" }
                p.help #username-help { "3 to 30 letters, digits, dots, dashes and underscores. Part of the address of your repositories." }
                input #username name="username" type="text" value=(username) required
                    minlength="3" maxlength="30" aria-describedby="username-help"
                    autocomplete="username" autocapitalize="none" spellcheck="false"
                    autofocus[is_first];
            }
            div.field {
                label for="email" { "Email" }
                input #email name="email" type="email" value=(email) required maxlength="254"
                    autocomplete="email";
            }
            div.field {
                label for="password" { "Password" }
                p.help #password-help { "8 to 128 characters." }
                input #password name="password" type="password" required minlength="8"
                    maxlength="128" aria-describedby="password-help" autocomplete="new-password";
            }
            button.primary.wide type="submit" { "Create account" }
        }
        section.narrow.aside { p { "Already have an account? " a href=(next.sign_in()) { "Sign in" } } }
    };
    layout::page("Create an account", None, notice, body)
}
