//! The frame that every page has around its content.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::paths;
use crate::platform::refusal::Refusal;

/// The signed-in account, as pages show it.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub name: String,
    /// Token that each of its forms carries.
    pub form_token: String,
}

/// Message at the top of a page about what was just asked for.
#[derive(Clone, Debug)]
pub enum Notice {
    Done(String),
    Failed(String),
}

/// A whole page. Its title is its first heading too.
pub fn page(
    title: &str,
    viewer: Option<&Viewer>,
    notice: Option<Notice>,
    content: Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · wit" }
                link rel="stylesheet" href=(assets::STYLE.path());
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path());
                script src=(assets::SCRIPT.path()) defer {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header.top { div.column {
                    a.brand href=(paths::TOKENS) { "wit" }
                    @if let Some(viewer) = viewer { (navigation(viewer, title)) }
                } }
                main.column #content tabindex="-1" {
                    h1 { (title) }
                    @if let Some(notice) = notice { (said(&notice)) }
                    (content)
                }
            }
        }
    }
}

fn navigation(viewer: &Viewer, title: &str) -> Markup {
    let places = [
        (paths::TOKENS, "Tokens"),
        (paths::REPOSITORIES, "Repositories"),
        (paths::ACTIVITY, "Activity"),
        (paths::ACCOUNT, "Account"),
        (paths::DEVICE, "Connect a device"),
    ];
    html! {
        nav aria-label="Main" {
            ul {
                @for (path, name) in places {
                    li { a href=(path) aria-current=[(name == title).then_some("page")] { (name) } }
                }
            }
        }
        form.account method="post" action="/logout" {
            (form_token(viewer))
            span.name { (viewer.name) }
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// It takes the focus, so that it is read out and in sight without any script.
fn said(notice: &Notice) -> Markup {
    let (class, role, text) = match notice {
        Notice::Done(text) => ("done", "status", text),
        Notice::Failed(text) => ("failed", "alert", text),
    };
    html! { p.notice.(class) role=(role) tabindex="-1" autofocus { (text) } }
}

/// The field without which no form of a visitor's is accepted.
pub fn form_token(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="form" value=(viewer.form_token); }
}

/// A refusal as a page of its own.
pub fn refusal(refusal: &Refusal) -> Response {
    let title = match refusal.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "The server failed",
        _ => "That did not work",
    };
    let message = match refusal.code {
        "NOT_FOUND" if refusal.message == "Not found" => {
            "There is nothing at this address, or nothing that you may see.".to_owned()
        }
        _ => sentence(&refusal.message),
    };
    let content = html! {
        p.lead { (message) }
        p { a href=(paths::TOKENS) { "Back to your tokens" } }
    };
    let mut response = (refusal.status, page(title, None, None, content)).into_response();
    refusal.add_wait(&mut response);
    response
}

/// The API's lower-case message as a sentence.
pub fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    let end = if message.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.unwrap_or_default(), letters.as_str())
}

/// Something with a button that copies it, where scripts run.
pub fn copied(what: &str, shown: Markup, button: &str) -> Markup {
    html! {
        div.copy data-copy role="group" aria-label=(what) {
            (shown)
            p.actions {
                button type="button" hidden { (button) }
                span role="status" {}
            }
        }
    }
}
