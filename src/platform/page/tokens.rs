//! The tokens of an account.

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;

use super::error::PageError;
use super::layout::{self, Notice};
use super::paths;
use super::session::Visitor;
use crate::database::tokens::TokenRecord;
use crate::expiry::{DAY, SOON, UnixTime, ago, date, rfc3339, span};
use crate::platform::Shared;

/// Tokens that are taken in without a filter.
const FEW: usize = 5;

/// Seconds by which a lifetime may differ from whole days: the database sets the one end and
/// the server the other.
const SLACK: i64 = 60;

/// Landing page of a visitor who has revoked one.
pub const REVOKED: &str = "/settings/tokens?done=revoked";
/// Landing page of a visitor who has changed one.
pub const CHANGED: &str = "/settings/tokens?done=changed";
/// Landing page of a visitor who wants to see a new token a second time.
pub const SHOWN_BEFORE: &str = "/settings/tokens?done=shown-before";
/// Landing page of a visitor who has sent the form of a new token a second time.
pub const MADE_BEFORE: &str = "/settings/tokens?done=made-before";

pub fn routes() -> Router<Shared> {
    Router::new().route(paths::TOKENS, get(list))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    done: String,
    /// Part of a name, a prefix, an id or a scope.
    #[serde(default)]
    filter: String,
}

async fn list(
    State(platform): State<Shared>,
    Query(asked): Query<Asked>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    platform.write_uses().await;
    let tokens = platform.database.tokens(&visitor.user.id).await?;
    let notice = match asked.done.as_str() {
        "revoked" => Some("The token was revoked and no longer works."),
        "changed" => Some("The token is changed."),
        "shown-before" => Some(
            "The token was shown before, and is not shown again. If you have no copy, rotate it.",
        ),
        "made-before" => Some(
            "The token was created before, and is not shown again. If you have no copy, rotate it.",
        ),
        _ => None,
    };
    let now = UnixTime::now();
    let shown: Vec<&TokenRecord> = (tokens.iter())
        .filter(|token| matches(token, &asked.filter))
        .collect();
    let content = html! {
        div.bar {
            p.lead { "What git and scripts sign in with. Give each machine a token of its own, with as little as it needs." }
            a.button.primary href=(paths::NEW_TOKEN) { "New token" }
        }
        @if tokens.is_empty() {
            div.empty {
                p { "You have no tokens yet." }
            }
        } @else {
            @if tokens.len() > FEW { (filter_form(&asked.filter)) }
            @if shown.is_empty() {
                div.empty { p { "No token matches." } }
            } @else {
                ul.tokens { @for token in shown { li.card { (row(token, &tokens, now)) } } }
            }
        }
    };
    let notice = notice.map(|text| Notice::Done(text.to_owned()));
    Ok(layout::page(
        "Tokens",
        Some(&visitor.viewer),
        notice,
        content,
    ))
}

fn filter_form(filter: &str) -> Markup {
    html! {
        form.filter method="get" role="search" {
            label for="filter" { "Filter" }
            input #filter name="filter" type="search" value=(filter) maxlength="100"
                autocomplete="off" spellcheck="false";
            button type="submit" { "Filter" }
        }
    }
}

/// A token that has every word of a filter in one of its parts.
fn matches(token: &TokenRecord, filter: &str) -> bool {
    let name = token.name.to_lowercase();
    let id = token.id.to_string();
    filter.to_lowercase().split_whitespace().all(|word| {
        let is_scope = token.scopes.iter().any(|scope| scope == word);
        let description = token
            .description
            .as_deref()
            .unwrap_or_default()
            .to_lowercase();
        name.contains(word)
            || description.contains(word)
            || token.prefix.contains(word)
            || id == word
            || is_scope
    })
}

fn row(token: &TokenRecord, tokens: &[TokenRecord], now: UnixTime) -> Markup {
    let successor = token.replaced_by;
    let successor = successor.and_then(|id| tokens.iter().find(|other| other.id == id));
    html! {
        (name(token))
        @if let Some(description) = &token.description { p.description { (description) } }
        (scopes(token))
        p.facts {
            span {
                "Created " (when(token.created, |at| ago(at, now)))
                @if let Some(device) = &token.device { " by " bdi { (device) } }
                @if let Some(address) = &token.address { " from " (address) }
            }
            span {
                @match token.last_used {
                    Some(used) => {
                        "Last used " (when(used, |at| ago(at, now)))
                        @if let Some(address) = &token.last_address { " from " (address) }
                    }
                    None => { "Never used" }
                }
            }
            @match grace(token, tokens, now) {
                Some(ends) => { span.warn {
                    "Rotated"
                    @if let Some(new) = successor { " into " code { (new.prefix) "…" } }
                    ", ends in " (when(ends, |at| span(at.since(now))))
                } }
                None => { (end(token, now)) }
            }
        }
        p.facts { span { "Id " code { (token.id) } } }
        p.actions {
            a.button href={ (paths::TOKENS) "/" (token.id) "/rotate" } {
                "Rotate" span.unseen { " " (token.name) }
            }
            a.button href={ (paths::TOKENS) "/" (token.id) "/edit" } {
                "Edit" span.unseen { " " (token.name) }
            }
            a.button.danger href={ (paths::TOKENS) "/" (token.id) "/revoke" } {
                "Revoke" span.unseen { " " (token.name) }
            }
            a href=(paths::activity_of(token.id)) { "Activity" span.unseen { " of " (token.name) } }
        }
    }
}

/// A token's name, and what one sees of the token itself.
pub fn name(token: &TokenRecord) -> Markup {
    html! {
        div.head {
            h2 { (token.name) }
            code.prefix { (token.prefix) "…" }
        }
    }
}

/// Scopes of a token.
pub fn scopes(token: &TokenRecord) -> Markup {
    html! {
        ul.scopes aria-label="Scopes" { @for scope in &token.scopes { li { code { (scope) } } } }
    }
}

/// The end of a token that still works although another has taken its place. A token that rotates
/// itself is known; for any other its end was brought forward, as a rotation with a grace period
/// does, and there is a younger token of its name.
fn grace(token: &TokenRecord, tokens: &[TokenRecord], now: UnixTime) -> Option<OffsetDateTime> {
    let expires = token.expires.filter(|expires| unix(*expires) > now)?;
    if token.replaced_by.is_some() {
        return Some(expires);
    }
    // A token is created with whole days.
    let beyond = (expires - token.created).whole_seconds().rem_euclid(DAY);
    let is_shortened = (SLACK..DAY - SLACK).contains(&beyond);
    let is_followed =
        (tokens.iter()).any(|other| other.name == token.name && other.created > token.created);
    (is_shortened && is_followed).then_some(expires)
}

/// When a token ends.
pub fn end(token: &TokenRecord, now: UnixTime) -> Markup {
    let Some(expires) = token.expires else {
        return html! { span.warn { "Expires: Never" } };
    };
    let left = unix(expires).since(now);
    html! {
        @if left <= 0 {
            span.warn { "Expired " (when(expires, date)) }
        } @else if left <= SOON {
            span.warn { "Expires in " (when(expires, |_| span(left))) }
        } @else {
            span { "Expires " (when(expires, date)) }
        }
    }
}

/// A time as people read it, with the exact one for those who look closer.
pub fn when(at: OffsetDateTime, shown: impl FnOnce(UnixTime) -> String) -> Markup {
    let at = unix(at);
    html! { time datetime=(rfc3339(at)) title=(rfc3339(at)) { (shown(at)) } }
}

fn unix(at: OffsetDateTime) -> UnixTime {
    UnixTime(at.unix_timestamp())
}
