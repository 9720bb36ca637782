//! An account: its email, its password, where it is signed in, and its id.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use time::PrimitiveDateTime;

use super::error::PageError;
use super::fields::{Field, Said};
use super::form::Posted;
use super::layout::{self, copied, form_token};
use super::paths::ACCOUNT;
use super::session::{Visitor, no_session_cookie};
use super::tokens::when;
use crate::database::sessions::SignIn;
use crate::expiry::{UnixTime, ago, date};
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/account", get(async || Redirect::to(ACCOUNT)))
        .route(ACCOUNT, get(show).post(change))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    done: String,
}

async fn show(
    State(platform): State<Shared>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    let said = match asked.done.as_str() {
        "password" => Said::done("The password is changed, and all other sign-ins are ended."),
        "email" => Said::done("The email is changed."),
        "ended" => Said::done("That sign-in is ended."),
        "others" => Said::done("All other sign-ins are ended."),
        _ => Said::nothing(),
    };
    page(&platform, &visitor, &visitor.user.email, &said).await
}

async fn page(
    platform: &Shared,
    visitor: &Visitor,
    email: &str,
    said: &Said,
) -> Result<Markup, PageError> {
    platform.write_uses().await;
    let mut sign_ins = platform.database.sign_ins(&visitor.user.id).await?;
    // This one first; the others stay in their order.
    sign_ins.sort_by_key(|one| one.id != visitor.session.id);
    let content = html! {
        (email_form(visitor, email, said))
        (password_form(visitor, said))
        (signed_in(visitor, &sign_ins))
        (user_id(visitor))
    };
    Ok(layout::page(
        "Account",
        Some(&visitor.viewer),
        said.notice(),
        content,
    ))
}

fn email_form(visitor: &Visitor, email: &str, said: &Said) -> Markup {
    let field = Field {
        kind: "email",
        value: email,
        autocomplete: "email",
        ..Field::text("email", "Email", 254)
    };
    let password = Field {
        help: Some("Required, so that nobody can change this at an unlocked screen."),
        ..Field::password("email-current", "Your password", false)
    };
    html! {
        section aria-labelledby="profile" {
            h2 #profile { "Email" }
            form.card method="post" action=(ACCOUNT) {
                @if let Some(username) = &visitor.user.username {
                    p.facts { span { "Your username is " strong { (username) } " and can't be changed." } }
                }
                (field.render(said))
                (password.render(said))
                p.actions {
                    button type="submit" name="action" value="email" { "Change email" }
                }
                (form_token(&visitor.viewer))
            }
        }
    }
}

fn password_form(visitor: &Visitor, said: &Said) -> Markup {
    let current = Field::password("current", "Current password", false);
    let new = Field {
        help: Some("8 to 128 characters."),
        ..Field::password("password", "New password", true)
    };
    let repeated = Field::password("repeated", "Repeat the new password", true);
    html! {
        section.aside aria-labelledby="change-password" {
            h2 #change-password { "Password" }
            form.card method="post" action=(ACCOUNT) {
                p { "A new password ends all other sign-ins. Your tokens stay valid." }
                // For password managers.
                input type="text" name="username" value=(visitor.name()) autocomplete="username"
                    aria-label="Username"
                    readonly hidden;
                (current.render(said))
                (new.render(said))
                (repeated.render(said))
                p.actions {
                    button type="submit" name="action" value="password" { "Change password" }
                }
                (form_token(&visitor.viewer))
            }
        }
    }
}

fn signed_in(visitor: &Visitor, sign_ins: &[SignIn]) -> Markup {
    let now = UnixTime::now();
    html! {
        section.aside aria-labelledby="sign-ins" {
            h2 #sign-ins { "Where you are signed in" }
            ul.tokens {
                @for one in sign_ins { li.card { (sign_in(visitor, one, now)) } }
            }
            form.actions method="post" action=(ACCOUNT) {
                @if sign_ins.len() > 1 {
                    button type="submit" name="action" value="others" { "Sign out everywhere else" }
                }
                button.danger type="submit" name="action" value="all" { "Sign out everywhere" }
                (form_token(&visitor.viewer))
            }
            p.help { "Tokens are not signed in: revoke those that you no longer trust too." }
        }
    }
}

fn sign_in(visitor: &Visitor, one: &SignIn, now: UnixTime) -> Markup {
    let is_this = one.id == visitor.session.id;
    let name = one.client.as_deref().filter(|name| !name.is_empty());
    let name = name.unwrap_or("Unknown browser or program");
    let from = |address: &Option<String>| html! { @if let Some(at) = address { " from " (at) } };
    html! {
        div.head {
            h3 { bdi { (name) } }
            @if is_this { span.mark { "This sign-in" } }
        }
        p.facts {
            span {
                "Signed in " (when_utc(one.created_at, |at| ago(at, now))) (from(&one.address))
            }
            @if let Some(used) = one.last_used_at {
                span { "Last used " (when(used, |at| ago(at, now))) (from(&one.last_address)) }
            }
            span { "Ends " (when_utc(one.expires_at, date)) }
        }
        @if !is_this {
            form.actions method="post" action=(ACCOUNT) {
                input type="hidden" name="id" value=(one.id);
                button type="submit" name="action" value="end" {
                    "Sign out" span.unseen { " " (name) }
                }
                (form_token(&visitor.viewer))
            }
        }
    }
}

fn when_utc(at: PrimitiveDateTime, shown: impl FnOnce(UnixTime) -> String) -> Markup {
    when(at.assume_utc(), shown)
}

fn user_id(visitor: &Visitor) -> Markup {
    html! {
        section.aside aria-labelledby="user-id" {
            h2 #user-id { "Your user id" }
            p {
                "The operator of this server can also manage your tokens, with " code { "wit token" }
                " even while the server is down: on its database, with these two variables."
            }
            (copied("Your user id", html! {
                pre { code {
                    "export DATABASE_URL=" i { "the server's database" } "\n"
                    "export WIT_USER_ID=" span data-copied { (visitor.user.id) }
                } }
            }, "Copy the id"))
        }
    }
}

async fn change(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let from = from.ip();
    let (database, user) = (&platform.database, &visitor.user);
    let email = fields.text("email").trim();
    let done = match fields.text("action") {
        "email" => {
            let changed = async {
                platform
                    .confirm_password(user, fields.secret("email-current"), from)
                    .await
                    .map_err(|refusal| match refusal.field {
                        Some(_) => refusal.at("email-current"),
                        None => refusal,
                    })?;
                database.change_email(&user.id, email, from).await?;
                Ok("email")
            };
            changed.await
        }
        "password" if fields.secret("password") != fields.secret("repeated") => {
            let message = "the two new passwords differ";
            Err(Refusal::bad_request(message).at("repeated"))
        }
        "password" => {
            let (current, new) = (fields.secret("current"), fields.secret("password"));
            let changed = platform.change_password(&visitor.session, current, new, from);
            changed.await.map(|_| "password")
        }
        "end" => {
            let ended = database.end_session(&user.id, fields.text("id"), from);
            ended.await.map(|()| "ended").map_err(Refusal::from)
        }
        "others" => {
            let ended = database.end_sessions(&user.id, Some(&visitor.session.id), from);
            ended.await.map(|_| "others").map_err(Refusal::from)
        }
        "all" => {
            database.end_sessions(&user.id, None, from).await?;
            let cookie = AppendHeaders([(SET_COOKIE, no_session_cookie(&origin))]);
            return Ok((cookie, Redirect::to("/login?done=signed-out")).into_response());
        }
        _ => Err(Refusal::bad_request("the form can't be read")),
    };
    match done {
        Ok(done) => Ok(Redirect::to(&format!("{ACCOUNT}?done={done}")).into_response()),
        Err(refusal) if refusal.status.is_client_error() => {
            let typed = match email.is_empty() {
                true => &user.email,
                false => email,
            };
            let page = page(&platform, &visitor, typed, &Said::refused(&refusal)).await?;
            let mut response = (refusal.form_status(), page).into_response();
            refusal.add_wait(&mut response);
            Ok(response)
        }
        Err(refusal) => Err(refusal.into()),
    }
}
