//! Creating a token.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::error::PageError;
use super::fields::{Field, Said, described_by, error};
use super::form::Posted;
use super::layout::{self, form_token};
use super::paths;
use super::session::Visitor;
use super::shown;
use super::tokens;
use crate::database::DatabaseError;
use crate::database::tokens::TokenRecord;
use crate::names::offered_scopes;
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;

/// The lives that a token may be given, in days.
const LIVES: [i64; 6] = [7, 30, 60, 90, 180, 365];
const USUAL_LIFE: &str = "30";
const NEVER: &str = "never";
const USUAL_SCOPES: [&str; 2] = ["repo:read", "repo:write"];

pub fn routes() -> Router<Shared> {
    Router::new().route(paths::NEW_TOKEN, get(new).post(create))
}

/// Fields as they were filled in, so that a refused form comes back as it was.
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
    form(&visitor, &draft, &Said::nothing())
}

fn form(visitor: &Visitor, draft: &Draft<'_>, said: &Said) -> Markup {
    let name = Field {
        value: draft.name,
        help: Some("What the token is for, such as “laptop” or “nightly build”."),
        is_first: true,
        ..Field::text("name", "Name", 100)
    };
    let is_wrong = said.of("scope").is_some();
    let offered = offered_scopes();
    let content = html! {
        form.card method="post" action=(paths::NEW_TOKEN) {
            (name.render(said))
            fieldset.field aria-describedby=[described_by(said, "scope", true)] {
                legend { "Scopes" }
                p.help #scope-help { "What the token may do. None of them includes another." }
                (error(said, "scope"))
                @for (place, (scope, description)) in offered.enumerate() {
                    label.choice {
                        input type="checkbox" name="scope" value=(scope)
                            checked[draft.scopes.contains(&scope)]
                            aria-invalid=[is_wrong.then_some("true")]
                            autofocus[is_wrong && place == 0];
                        span { code { (scope) } " " span.help { (description) } }
                    }
                }
            }
            (life(draft.life, draft.until, said))
            p.actions {
                button.primary type="submit" { "Create token" }
                a.button href=(paths::TOKENS) { "Cancel" }
            }
            input type="hidden" name="id" value=(draft.id);
            (form_token(&visitor.viewer))
        }
    };
    layout::page("New token", Some(&visitor.viewer), said.notice(), content)
}

/// The choice of an expiry.
pub fn life(chosen: &str, until: &str, said: &Said) -> Markup {
    let is_wrong = said.of("expires").is_some();
    // A date goes before the choice, and so is what is wrong.
    let is_date = !until.is_empty();
    let described = described_by(said, "expires", false);
    html! {
        div.field {
            label for="expires" { "Expires" }
            (error(said, "expires"))
            select #expires name="expires" aria-describedby=[&described]
                aria-invalid=[(is_wrong && !is_date).then_some("true")]
                autofocus[is_wrong && !is_date] {
                @for days in LIVES.map(|days| days.to_string()) {
                    option value=(days) selected[days == chosen] { "in " (days) " days" }
                }
                option value=(NEVER) selected[chosen == NEVER] { "Never" }
            }
            label for="until" { "Or on a date" }
            input #until name="until" type="date" value=(until) aria-describedby=[&described]
                aria-invalid=[(is_wrong && is_date).then_some("true")]
                autofocus[is_wrong && is_date];
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
            visitor.asked_from(),
        )
        .await;
    match made {
        Ok((token, secret)) => {
            shown::lead(&platform, &visitor, &origin, token.id, &secret, false).await
        }
        Err(error @ (DatabaseError::Invalid(_) | DatabaseError::InvalidField(..))) => {
            let said = Said::refused(&Refusal::from(error));
            let page = form(&visitor, &draft, &said);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(DatabaseError::Taken { .. }) => Ok(Redirect::to(tokens::MADE_BEFORE).into_response()),
        Err(error) => Err(error.into()),
    }
}
