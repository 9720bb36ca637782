//! Events of an account and of its tokens.

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::PageError;
use super::layout;
use super::paths::{ACCOUNT, ACTIVITY, activity_of};
use super::session::Visitor;
use super::tokens::when;
use crate::database::audit::{AccountEvent, Event};
use crate::expiry::{UnixTime, ago};
use crate::platform::Shared;

pub fn routes() -> Router<Shared> {
    Router::new().route(ACTIVITY, get(list))
}

/// Events that are shown at once.
const MAX_SHOWN: usize = 200;

const TOKENS: &str = "tokens";
const SIGN_INS: &str = "account";

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    kind: String,
    /// The id of a token, whose events alone are shown.
    #[serde(default)]
    token: String,
}

async fn list(
    State(platform): State<Shared>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    platform.write_uses().await;
    let database = &platform.database;
    let user_id = &visitor.user.id;
    // Another's token has no events among one's own.
    let token = Uuid::try_parse(&asked.token).ok();
    let now = UnixTime::now();
    let mut lines: Vec<(OffsetDateTime, Markup)> = Vec::new();
    if asked.kind != SIGN_INS {
        let events = database.token_events(user_id, token).await?;
        lines.extend(
            events
                .iter()
                .map(|event| (event.at, of_a_token(event, now))),
        );
    }
    if asked.kind != TOKENS && token.is_none() {
        let events = database.account_events(user_id).await?;
        lines.extend(
            events
                .iter()
                .map(|event| (event.at, of_account(event, now))),
        );
    }
    // Those of one moment stay in their order.
    lines.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    lines.truncate(MAX_SHOWN);
    let content = html! {
        p.lead {
            "Sign-ins, and what was done with your tokens, newest first. Revoke anything you don't recognise, and end such sign-ins in "
            a href=(ACCOUNT) { "your account" } "."
        }
        @match token {
            Some(_) => {
                p.filter { span { "Only one token is shown. " a href=(ACTIVITY) { "Show everything" } } }
            }
            None => { (filter_form(&asked.kind)) }
        }
        @if lines.is_empty() {
            div.empty { p { "Nothing of that kind has happened yet." } }
        } @else {
            ol.card.events { @for (_, line) in &lines { li { (line) } } }
        }
        @if lines.len() == MAX_SHOWN { p.help { "Older events are not shown." } }
    };
    Ok(layout::page(
        "Activity",
        Some(&visitor.viewer),
        None,
        content,
    ))
}

fn filter_form(kind: &str) -> Markup {
    let kinds = [
        ("", "Everything"),
        (TOKENS, "Tokens"),
        (SIGN_INS, "Sign-ins and account"),
    ];
    html! {
        form.filter method="get" role="search" {
            label for="kind" { "Show" }
            select #kind name="kind" {
                @for (value, name) in kinds { option value=(value) selected[value == kind] { (name) } }
            }
            button type="submit" { "Filter" }
        }
    }
}

fn facts(at: OffsetDateTime, now: UnixTime, place: Markup) -> Markup {
    html! { p.facts { (when(at, |at| ago(at, now))) span { (place) } } }
}

fn of_a_token(event: &Event, now: UnixTime) -> Markup {
    let done = match event.action.as_str() {
        "created" => "Created",
        "used" => "First used",
        "rotated" => "Rotated",
        "revoked" => "Revoked",
        "reused" => "Revoked on suspicion",
        other => other,
    };
    html! {
        div.head {
            span {
                strong { (done) } " "
                a href=(activity_of(event.token_id)) { (event.token_name) }
            }
            code.prefix { (event.token_prefix) "…" }
        }
        (facts(event.at, now, html! {
            @match &event.address {
                Some(address) => { "from " (address) }
                None => { "on the database itself" }
            }
        }))
    }
}

fn of_account(event: &AccountEvent, now: UnixTime) -> Markup {
    let (done, is_notable) = match event.action.as_str() {
        "signed-in" => ("Signed in", false),
        "sign-in-failed" => ("Wrong password", true),
        "signed-out" => ("Signed out", false),
        "password-changed" => ("Password changed", false),
        "password-reset" => ("Password reset", true),
        "email-changed" => ("Email changed", false),
        "suspended" => ("Suspended", true),
        "restored" => ("Restored", false),
        other => (other, false),
    };
    html! {
        div.head {
            span {
                strong.warn[is_notable] { (done) }
                @if let Some(detail) = &event.detail { " " bdi { (detail) } }
            }
        }
        (facts(event.at, now, html! {
            @match &event.address {
                Some(address) => { "from " (address) }
                None => { "by the server's operator" }
            }
        }))
    }
}
