//! What was done with an account's tokens.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use maud::{Markup, html};

use super::error::PageError;
use super::layout;
use super::paths;
use super::session::Visitor;
use super::tokens::when;
use crate::database::audit::Event;
use crate::expiry::{UnixTime, ago};
use crate::platform::Shared;

pub fn routes() -> Router<Shared> {
    Router::new().route(paths::ACTIVITY, get(list))
}

async fn list(State(platform): State<Shared>, visitor: Visitor) -> Result<Markup, PageError> {
    let events = platform.database.events(&visitor.user.id).await?;
    let now = UnixTime::now();
    let content = html! {
        p.lead { "What was done with your tokens, newest first. Revoke anything you don't recognise." }
        @if events.is_empty() {
            div.empty { p { "Nothing was done with a token of yours yet." } }
        } @else {
            ol.card.events { @for event in &events { li { (line(event, now)) } } }
        }
    };
    Ok(layout::page(
        "Activity",
        Some(&visitor.viewer),
        None,
        content,
    ))
}

fn line(event: &Event, now: UnixTime) -> Markup {
    let done = match event.action.as_str() {
        "created" => "Created",
        "used" => "First used",
        "rotated" => "Rotated",
        "revoked" => "Revoked",
        "reused" => "Revoked on suspicion",
        other => other,
    };
    html! {
        p.head {
            span { strong { (done) } " " (event.token_name) }
            code.prefix { (event.token_prefix) "…" }
        }
        p.facts {
            (when(event.at, |at| ago(at, now)))
            @match &event.address {
                Some(address) => { span { "from " (address) } }
                None => { span { "on the database itself" } }
            }
        }
    }
}
