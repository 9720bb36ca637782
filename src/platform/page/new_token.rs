//! Creating a token, and the one page that shows it.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::error::PageError;
use super::form::Posted;
use super::layout::{self, Notice, copied, form_token, sentence};
use super::paths;
use super::session::Visitor;
use super::tokens;
use crate::database::DatabaseError;
use crate::database::tokens::TokenRecord;
use crate::expiry::UnixTime;
use crate::names::SCOPES;
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::secret::Secret;

/// The lives that a token may be given, in days.
const LIVES: [i64; 6] = [7, 30, 60, 90, 180, 365];
const USUAL_LIFE: &str = "30";
const NEVER: &str = "never";
const USUAL_SCOPES: [&str; 2] = ["repo:read", "repo:write"];

pub fn routes() -> Router<Shared> {
    Router::new().route(paths::NEW_TOKEN, get(new).post(create))
}

/// What was filled in, so that a refused form comes back as it was.
struct Draft<'a> {
    /// Of the token that will be made: a form that is sent again, by a reload, makes no other.
    id: Uuid,
    name: &'a str,
    scopes: Vec<&'a str>,
    life: &'a str,
    /// A date, which goes before `life` where it is not empty.
    until: &'a str,
}

async fn new(visitor: Visitor) -> Markup {
    let draft = Draft {
        id: Uuid::new_v4(),
        name: "",
        scopes: USUAL_SCOPES.to_vec(),
        life: USUAL_LIFE,
        until: "",
    };
    form(&visitor, &draft, None)
}

fn form(visitor: &Visitor, draft: &Draft<'_>, notice: Option<Notice>) -> Markup {
    let is_first = notice.is_none();
    let content = html! {
        form.card method="post" action=(paths::NEW_TOKEN) {
            div.field {
                label for="name" { "Name" }
                p.help #name-help { "What the token is for, such as “laptop” or “nightly build”." }
                input #name name="name" type="text" value=(draft.name) required maxlength="100"
                    aria-describedby="name-help" autocomplete="off" autofocus[is_first];
            }
            fieldset.field {
                legend { "Scopes" }
                p.help { "What the token may do. None of them includes another." }
                @for (scope, description) in SCOPES.into_iter().filter(|(scope, _)| is_used(scope)) {
                    label.choice {
                        input type="checkbox" name="scope" value=(scope)
                            checked[draft.scopes.contains(&scope)];
                        span { code { (scope) } " " span.help { (description) } }
                    }
                }
            }
            (life(draft.life, draft.until))
            p.actions {
                button.primary type="submit" { "Create token" }
                a.button href=(paths::TOKENS) { "Cancel" }
            }
            input type="hidden" name="id" value=(draft.id);
            (form_token(&visitor.viewer))
        }
    };
    layout::page("New token", Some(&visitor.viewer), notice, content)
}

/// Scopes of the platform's that nothing here asks for are not offered.
fn is_used(scope: &str) -> bool {
    !scope.starts_with("packages:")
}

/// The choice of an expiry.
pub fn life(chosen: &str, until: &str) -> Markup {
    html! {
        div.field {
            label for="expires" { "Expires" }
            select #expires name="expires" {
                @for days in LIVES.map(|days| days.to_string()) {
                    option value=(days) selected[days == chosen] { "in " (days) " days" }
                }
                option value=(NEVER) selected[chosen == NEVER] { "Never" }
            }
            label for="until" { "Or on a date" }
            input #until name="until" type="date" value=(until);
        }
    }
}

/// The choice that lasts as long as a token did when it was made.
pub fn life_of(token: &TokenRecord) -> String {
    let Some(expires) = token.expires else {
        return NEVER.to_owned();
    };
    let days = (expires - token.created).whole_days();
    let offered = LIVES.into_iter().find(|life| *life >= days);
    offered.map_or_else(|| USUAL_LIFE.to_owned(), |life| life.to_string())
}

/// The days of a choice, or until a date has come. What was not offered is refused by the limits of
/// every token.
pub fn days(chosen: &str, until: &str) -> Option<i64> {
    if !until.is_empty() {
        let until = Date::parse(until, format_description!("[year]-[month]-[day]"));
        let today = OffsetDateTime::now_utc().date();
        return Some(until.map_or(0, |until| (until - today).whole_days()));
    }
    match chosen {
        NEVER => None,
        days => Some(days.parse().unwrap_or_default()),
    }
}

async fn create(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    origin: Origin,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let draft = Draft {
        id: fields.text("id").parse().unwrap_or_else(|_| Uuid::new_v4()),
        name: fields.text("name").trim(),
        scopes: fields.texts("scope").collect(),
        life: fields.text("expires"),
        until: fields.text("until").trim(),
    };
    let scopes: Vec<String> = draft
        .scopes
        .iter()
        .map(|scope| (*scope).to_owned())
        .collect();
    let made = platform
        .database
        .create_token(
            &visitor.user.id,
            draft.id,
            draft.name,
            &scopes,
            days(draft.life, draft.until),
            Some(from.ip()),
        )
        .await;
    match made {
        Ok((token, secret)) => {
            let page = shown_once("Token created", &visitor, &origin, &token, &secret);
            Ok((StatusCode::CREATED, page).into_response())
        }
        Err(DatabaseError::Invalid(why)) => {
            let notice = Some(Notice::Failed(sentence(&why)));
            let page = form(&visitor, &draft, notice);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(DatabaseError::Taken { .. }) => Ok(Redirect::to(tokens::MADE_BEFORE).into_response()),
        Err(error) => Err(error.into()),
    }
}

/// The only page that ever holds a token. It answers the form itself: an address to go on to would
/// have to keep the secret somewhere.
pub fn shown_once(
    title: &str,
    visitor: &Visitor,
    origin: &Origin,
    token: &TokenRecord,
    secret: &Secret,
) -> Markup {
    let notice = Notice::Done("Copy the token now: it is not shown again.".to_owned());
    let content = html! {
        section.card {
            (tokens::name(token))
            (copied("The token", html! {
                textarea.secret data-copied readonly rows="2" aria-label="Token"
                    autocomplete="off" spellcheck="false" {
                    (secret.expose_str().unwrap_or_default())
                }
            }, "Copy token"))
            (tokens::scopes(token))
            p.facts { (tokens::end(token, UnixTime::now())) }
            p.actions { a.button href=(paths::TOKENS) { "Back to your tokens" } }
        }
        section.aside aria-labelledby="use" {
            h2 #use { "How to use it" }
            p { "Git asks for a username and a password: give " code { (visitor.name()) } " and the token." }
            pre { code { "git clone " (origin.url()) "/" (visitor.name()) "/" i { "repository" } ".git" } }
            p { "In CI, set " code { "WIT_TOKEN" } " to the token and " code { "WIT_URL" } " to " code { (origin.url()) } "." }
        }
    };
    layout::page(title, Some(&visitor.viewer), Some(notice), content)
}
