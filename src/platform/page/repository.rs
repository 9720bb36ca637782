//! The page at a repository's clone address, for who may read it.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::error::PageError;
use super::error_pages::wants_page;
use super::layout::{self, copied};
use super::markdown;
use super::paths::{Next, REPOSITORIES};
use super::session::Visitor;
use crate::database::repositories::Repository;
use crate::expiry::{UnixTime, date, rfc3339};
use crate::platform::Shared;
use crate::platform::git::{Contents, Refs, Requester};
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::quote::escaped;

pub fn routes() -> Router<Shared> {
    Router::new().route("/{owner}/{repository}", get(show))
}

async fn show(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path((owner, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    if !wants_page(request.headers()) {
        return Refusal::not_found().into_response();
    }
    let (mut parts, _) = request.into_parts();
    let shown = async {
        let origin = Origin::from_request_parts(&mut parts, &platform).await?;
        let visitor = Visitor::find(&parts, &platform, &origin).await?;
        let user_id = visitor.as_ref().map(|visitor| visitor.user.id.as_str());
        let name = name.strip_suffix(".git").unwrap_or(&name);
        let found = platform.database.repository(&owner, name).await?;
        let may_read = match &found {
            Some(repository) => platform.rights(repository, user_id).await?.0,
            None => false,
        };
        let Some(repository) = found.filter(|_| may_read) else {
            // A stranger does not learn which repositories there are.
            return Err(match visitor {
                Some(_) => PageError::Refused(Refusal::not_found()),
                None => PageError::SignIn(Next::of(parts.uri.path())),
            });
        };
        let owner = owner.to_lowercase();
        let is_own = user_id == Some(repository.owner_id.as_str());
        let requester = Requester::new(from.ip(), user_id);
        let contents = platform.git.contents(repository.id, requester).await?;
        let branch = platform.git.default_branch(repository.id).await;
        let address = format!("{}/{owner}/{}.git", origin.url(), repository.name);
        let content = html! {
            (summary(&repository, branch.as_deref(), is_own))
            (clone_address(&address))
            @if contents.branches.names.is_empty() {
                (empty(&address))
            } @else {
                (content(&contents))
            }
        };
        let title = format!("{owner}/{}", repository.name);
        Ok(layout::page(
            &title,
            visitor.as_ref().map(|visitor| &visitor.viewer),
            None,
            content,
        ))
    };
    shown.await.into_response()
}

fn summary(repository: &Repository, branch: Option<&str>, is_own: bool) -> Markup {
    html! {
        div.bar {
            p.facts {
                span { (kind(repository)) }
                @if let Some(branch) = branch {
                    span { "Default branch " code { (escaped(branch)) } }
                }
            }
            @if is_own {
                a.button href={ (REPOSITORIES) "/" (repository.name) } { "Settings" }
            }
        }
    }
}

/// Visibility of a repository, in a word.
pub fn kind(repository: &Repository) -> &'static str {
    match repository.private {
        true => "Private",
        false => "Public",
    }
}

/// Clone address of a repository.
pub fn clone_address(address: &str) -> Markup {
    copied(
        "Clone address",
        html! { pre { code data-copied { (address) } } },
        "Copy the address",
    )
}

/// Commands that fill an empty repository.
pub fn empty(address: &str) -> Markup {
    html! {
        section.aside aria-labelledby="empty" {
            h2 #empty { "This repository is empty" }
            p { "Push a history that you have:" }
            pre { code { "git remote add origin " (address) "\ngit push -u origin HEAD" } }
        }
    }
}

fn content(contents: &Contents) -> Markup {
    html! {
        @if let Some(readme) = &contents.readme {
            section.aside aria-labelledby="readme" {
                h2 #readme { (escaped(&readme.name)) }
                div.card.readme {
                    @match readme.name.to_lowercase().contains(".m") {
                        true => { (markdown::rendered(&readme.text)) }
                        false => { pre { (readme.text) } }
                    }
                }
            }
        }
        section.aside aria-labelledby="commits" {
            h2 #commits { "Newest commits" }
            ul.card.events {
                @for commit in &contents.commits {
                    li {
                        div.head {
                            span { (escaped(&commit.subject)) }
                            code.prefix { (commit.id.get(..10).unwrap_or(&commit.id)) }
                        }
                        p.facts {
                            span { (escaped(&commit.author)) }
                            (when(UnixTime(commit.at)))
                        }
                    }
                }
            }
        }
        (refs("branches", "Branches", &contents.branches))
        @if !contents.tags.names.is_empty() { (refs("tags", "Tags", &contents.tags)) }
    }
}

fn when(at: UnixTime) -> Markup {
    html! { time datetime=(rfc3339(at)) { (date(at)) } }
}

fn refs(id: &str, title: &str, refs: &Refs) -> Markup {
    html! {
        section.aside aria-labelledby=(id) {
            h2 id=(id) { (title) }
            ul.scopes { @for name in &refs.names { li { code { (escaped(name)) } } } }
            @if refs.has_more { p.help { "And more." } }
        }
    }
}
