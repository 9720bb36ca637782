//! Creating an account: for anybody, or by an invitation.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::fields::{Field, Said};
use super::form::Fields;
use super::layout;
use super::paths::{Next, SIGN_UP};
use super::session::session_cookie;
use crate::database::accounts::{NewUser, User};
use crate::database::sessions::Way;
use crate::platform::auth::{no_invitation, sign_up_disabled};
use crate::platform::client::client;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::platform::{Platform, Shared};
use crate::secret::Secret;

pub fn routes() -> Router<Shared> {
    Router::new().route(SIGN_UP, get(form).post(sign_up)).route(
        "/login/invitation/{code}",
        get(invitation).post(sign_up_invited),
    )
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
    let draft = Draft {
        action: SIGN_UP,
        next: &Next::of(&asked.next),
        username: "",
        email: "",
        is_email_fixed: false,
    };
    Ok(page(&draft, &Said::nothing()))
}

/// Fields as they were filled in, so that a refused form comes back as it was, but for the password.
struct Draft<'a> {
    /// Path that the form is sent to.
    action: &'a str,
    next: &'a Next,
    username: &'a str,
    email: &'a str,
    /// True if the operator has set the email.
    is_email_fixed: bool,
}

impl Draft<'_> {
    fn new_user(&self, fields: &Fields) -> NewUser {
        NewUser {
            name: self.username.to_owned(),
            email: self.email.to_owned(),
            username: self.username.to_owned(),
            password: fields.secret("password"),
        }
    }
}

async fn sign_up(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, PageError> {
    let draft = Draft {
        action: SIGN_UP,
        next: &Next::of(fields.text("next")),
        username: fields.text("username").trim(),
        email: fields.text("email").trim(),
        is_email_fixed: false,
    };
    let made = platform.sign_up(draft.new_user(&fields), from.ip()).await;
    if !platform.takes_accounts {
        return Err(sign_up_disabled().into());
    }
    signed_up(&platform, &origin, &headers, from, &draft, made).await
}

/// Signs the new account in, or shows the form again with what is wrong.
async fn signed_up(
    platform: &Platform,
    origin: &Origin,
    headers: &HeaderMap,
    from: SocketAddr,
    draft: &Draft<'_>,
    made: Result<User, Refusal>,
) -> Result<Response, PageError> {
    let user = match made {
        Ok(user) => user,
        Err(refusal) if refusal.status.is_client_error() => {
            let page = page(draft, &Said::refused(&refusal));
            let mut response = (refusal.form_status(), page).into_response();
            refusal.add_wait(&mut response);
            return Ok(response);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let client = client(headers, Way::Page, from.ip());
    let session = platform.database.open_session(&user.id, &client).await?;
    let cookie = AppendHeaders([(SET_COOKIE, session_cookie(origin, &session))]);
    Ok((cookie, Redirect::to(draft.next.path())).into_response())
}

fn invitation_path(code: &Secret) -> String {
    let code = code.expose_str().unwrap_or_default();
    format!("/login/invitation/{code}")
}

/// Parses the code of an invitation; the database is not asked about anything else.
fn code(typed: String) -> Result<Secret, Refusal> {
    let is_code = typed.len() <= 100 && typed.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_code {
        true => Ok(Secret::from(typed)),
        false => Err(no_invitation()),
    }
}

async fn invitation(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(typed): Path<String>,
) -> Result<Markup, PageError> {
    platform.limits.address(from.ip())?;
    let code = code(typed)?;
    let invitation = platform.database.invitation(&code).await?;
    let invitation = invitation.ok_or_else(no_invitation)?;
    let draft = Draft {
        action: &invitation_path(&code),
        next: &Next::of(""),
        username: "",
        email: invitation.email.as_deref().unwrap_or_default(),
        is_email_fixed: invitation.email.is_some(),
    };
    Ok(page(&draft, &Said::nothing()))
}

async fn sign_up_invited(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(typed): Path<String>,
    origin: Origin,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, PageError> {
    let code = code(typed)?;
    let invitation = platform.database.invitation(&code).await?;
    let invitation = invitation.ok_or_else(no_invitation)?;
    let draft = Draft {
        action: &invitation_path(&code),
        next: &Next::of(""),
        username: fields.text("username").trim(),
        email: (invitation.email.as_deref()).unwrap_or_else(|| fields.text("email").trim()),
        is_email_fixed: invitation.email.is_some(),
    };
    let new = draft.new_user(&fields);
    let made = platform.sign_up_invited(new, &code, from.ip()).await;
    match made {
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Err(refusal.into()),
        made => signed_up(&platform, &origin, &headers, from, &draft, made).await,
    }
}

fn page(draft: &Draft<'_>, said: &Said) -> Markup {
    let username = Field {
        value: draft.username,
        help: Some(
            "3 to 30 letters, digits, dots, dashes and underscores. Part of the address of your repositories.",
        ),
        min: Some(3),
        autocomplete: "username",
        is_first: true,
        ..Field::text("username", "Username", 30)
    };
    let email = Field {
        kind: "email",
        value: draft.email,
        autocomplete: "email",
        is_fixed: draft.is_email_fixed,
        ..Field::text("email", "Email", 254)
    };
    let password = Field {
        help: Some("8 to 128 characters."),
        ..Field::password("password", "Password", true)
    };
    let body = html! {
        form.card.narrow method="post" action=(draft.action) {
            input type="hidden" name="next" value=(draft.next.path());
            (username.render(said))
            (email.render(said))
            (password.render(said))
            button.primary.wide type="submit" { "Create account" }
        }
        section.narrow.aside { p { "Already have an account? " a href=(draft.next.sign_in()) { "Sign in" } } }
    };
    layout::page("Create an account", None, said.notice(), body)
}
