//! An account's repositories: listed, created and changed.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::error::PageError;
use super::fields::{Field, Said};
use super::form::Posted;
use super::layout::{self, form_token};
use super::paths::REPOSITORIES;
use super::repository::{clone_address, kind};
use super::session::Visitor;
use super::tokens::when;
use crate::database::collaborators::Role;
use crate::database::repositories::{Repository, is_name};
use crate::expiry::{UnixTime, ago};
use crate::platform::Shared;
use crate::platform::git::{ObjectFormat, Requester};
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::platform::repositories::{NewRepository, RepositoryChange};
use crate::quote::size;

const NEW: &str = "/settings/repositories/new";

pub fn routes() -> Router<Shared> {
    Router::new()
        .route(REPOSITORIES, get(list))
        .route(NEW, get(new).post(create))
        // A repository may be called `new`.
        .route("/settings/repositories/{name}", get(edit).post(change))
        .route("/settings/repository/{name}", get(edit).post(change))
}

/// The path of a repository's settings.
fn settings(name: &str) -> String {
    match name {
        "new" => "/settings/repository/new".to_owned(),
        name => format!("{}/{name}", REPOSITORIES),
    }
}

async fn list(
    State(platform): State<Shared>,
    origin: Origin,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    let own = platform.database.repositories(&visitor.user.id).await?;
    let shared = platform.database.shared_with(&visitor.user.id).await?;
    let pushes = platform.database.pushes(&visitor.user.id).await?;
    let all = (own.iter()).chain(shared.iter().map(|(_, repository, _)| repository));
    let sizes = platform.disk_uses(all.map(|repository| repository.id));
    let sizes = sizes.await?;
    let now = UnixTime::now();
    let owner = owner(&visitor);
    let row = |owner: &str, repository: &Repository, role: Option<Role>| {
        let path = format!("/{owner}/{}", repository.name);
        let address = format!("{}{path}.git", origin.url());
        html! {
            li.card {
                div.head {
                    h2 { a href=(path) { @if role.is_some() { (owner) "/" } (repository.name) } }
                    span.facts { (kind(repository)) }
                }
                p.facts {
                    span { "Size " (size(sizes.get(&repository.id).copied().unwrap_or_default())) }
                    @match pushes.get(&repository.id) {
                        Some(at) => { span { "Last push " (when(*at, |at| ago(at, now))) } }
                        None => { span { "No pushes yet" } }
                    }
                }
                (clone_address(&address))
                @if !pushes.contains_key(&repository.id) && role != Some(Role::Read) {
                    (what_to_push(&address))
                }
                @match role {
                    Some(Role::Read) => { p.facts { span { "You may fetch from it" } } }
                    Some(Role::Write) => { p.facts { span { "You may push to it" } } }
                    None => {
                        p.actions {
                            a.button href=(settings(&repository.name)) {
                                "Settings" span.unseen { " of " (repository.name) }
                            }
                        }
                    }
                }
            }
        }
    };
    let content = html! {
        div.bar {
            p.lead { "What you host here. Push with a token that has the scope repo:write." }
            a.button.primary href=(NEW) { "New repository" }
        }
        @if own.is_empty() {
            div.empty { p { "You have no repositories yet." } }
        } @else {
            ul.tokens { @for repository in &own { (row(owner, repository, None)) } }
        }
        @if !shared.is_empty() {
            section.aside aria-labelledby="shared" {
                h2 #shared { "Shared with you" }
                ul.tokens {
                    @for (owner, repository, role) in &shared { (row(owner, repository, Some(*role))) }
                }
            }
        }
    };
    Ok(layout::page(
        "Repositories",
        Some(&visitor.viewer),
        None,
        content,
    ))
}

/// Commands for a repository to which nothing was pushed.
fn what_to_push(address: &str) -> Markup {
    html! {
        details {
            summary { "Commands for a first push" }
            pre { code { "git remote add origin " (address) "\ngit push -u origin HEAD" } }
        }
    }
}

/// First part of the path of an account's repositories.
fn owner(visitor: &Visitor) -> &str {
    visitor.user.username.as_deref().unwrap_or(&visitor.user.id)
}

async fn new(visitor: Visitor) -> Markup {
    new_form(&visitor, "", true, false, &Said::nothing())
}

fn new_form(visitor: &Visitor, name: &str, private: bool, is_sha256: bool, said: &Said) -> Markup {
    let field = Field {
        value: name,
        help: Some("Letters, digits, “.”, “_” and “-”."),
        is_first: true,
        ..Field::text("name", "Name", 100)
    };
    let content = html! {
        form.card method="post" action=(NEW) {
            (field.render(said))
            (visibility(private))
            div.field {
                label for="format" { "Object format" }
                p.help #format-help { "It must be that of the history to be pushed." }
                select #format name="format" aria-describedby="format-help" {
                    option value="sha1" selected[!is_sha256] { "SHA-1 (usual)" }
                    option value="sha256" selected[is_sha256] { "SHA-256" }
                }
            }
            p.actions {
                button.primary type="submit" { "Create repository" }
                a.button href=(REPOSITORIES) { "Cancel" }
            }
            (form_token(&visitor.viewer))
        }
    };
    layout::page(
        "New repository",
        Some(&visitor.viewer),
        said.notice(),
        content,
    )
}

fn visibility(private: bool) -> Markup {
    let choice = |value: &str, is_chosen: bool, name: &str, help: &str| {
        html! {
            label.choice {
                input type="radio" name="visibility" value=(value) checked[is_chosen];
                span { (name) " " span.help { (help) } }
            }
        }
    };
    html! {
        fieldset.field {
            legend { "Visibility" }
            (choice("private", private, "Private", "Only you, and those you share it with, can see it."))
            (choice("public", !private, "Public", "Anyone who can reach the server can read it."))
        }
    }
}

async fn create(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let private = fields.text("visibility") != "public";
    let is_sha256 = fields.text("format") == "sha256";
    let name = fields.text("name").trim();
    let name = name.strip_suffix(".git").unwrap_or(name);
    let new = NewRepository {
        name,
        private,
        object_format: match is_sha256 {
            true => ObjectFormat::Sha256,
            false => ObjectFormat::Sha1,
        },
    };
    let created = platform
        .create_repository(&visitor.user.id, new, from.ip())
        .await;
    Ok(match created {
        Ok(repository) => {
            let path = format!("/{}/{}", owner(&visitor), repository.name);
            Redirect::to(&path).into_response()
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let said = Said::refused(&refusal);
            let form = new_form(&visitor, name, private, is_sha256, &said);
            (refusal.status, form).into_response()
        }
        Err(refusal) => return Err(refusal.into()),
    })
}

async fn edit(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    visitor: Visitor,
) -> Result<Markup, PageError> {
    edit_page(&platform, from, &visitor, &name, &Said::nothing()).await
}

async fn edit_page(
    platform: &Shared,
    from: SocketAddr,
    visitor: &Visitor,
    name: &str,
    said: &Said,
) -> Result<Markup, PageError> {
    let repository = own(platform, visitor, name).await?;
    let requester = Requester::new(from.ip(), Some(&visitor.user.id));
    let branches = platform
        .git
        .contents(repository.id, requester)
        .await?
        .branches;
    let default = platform.git.default_branch(repository.id).await;
    let default = default.unwrap_or_default();
    let collaborators = platform.database.collaborators(repository.id).await?;
    let path = settings(&repository.name);
    let name = Field {
        value: &repository.name,
        help: Some("Clones need the new address."),
        ..Field::text("name", "Name", 100)
    };
    let username = Field::text("username", "Username", 100);
    let confirmation = Field::text("confirm", "Type its name to confirm", 100);
    let content = html! {
        form.card method="post" action=(path) {
            (name.render(said))
            @if !branches.names.is_empty() {
                div.field {
                    label for="branch" { "Default branch" }
                    select #branch name="branch" {
                        @if !branches.names.contains(&default) {
                            option value=(default) selected { (default) }
                        }
                        @for branch in &branches.names {
                            option value=(branch) selected[*branch == default] { (branch) }
                        }
                    }
                }
            }
            (visibility(repository.private))
            p.actions {
                button.primary type="submit" name="action" value="save" { "Save" }
                a.button href={ "/" (owner(visitor)) "/" (repository.name) } { "Open the repository" }
            }
            (form_token(&visitor.viewer))
        }
        section.aside aria-labelledby="shared" {
            h2 #shared { "Shared with" }
            @for one in &collaborators {
                form.card method="post" action=(path) {
                    div.head {
                        span { (one.username) }
                        span.facts {
                            @match one.role { Role::Read => "May fetch", Role::Write => "May push" }
                        }
                    }
                    input type="hidden" name="username" value=(one.username);
                    p.actions {
                        button type="submit" name="action" value="unshare" {
                            "Remove" span.unseen { " " (one.username) }
                        }
                    }
                    (form_token(&visitor.viewer))
                }
            }
            form.card method="post" action=(path) {
                (username.render(said))
                div.field {
                    label for="role" { "Role" }
                    select #role name="role" {
                        option value="read" { "May fetch" }
                        option value="write" { "May fetch and push" }
                    }
                }
                p.actions { button type="submit" name="action" value="share" { "Share" } }
                (form_token(&visitor.viewer))
            }
        }
        section.aside aria-labelledby="delete" {
            h2 #delete { "Delete this repository" }
            form.card method="post" action=(path) {
                p { "All that was pushed to it is deleted too. This can't be undone." }
                (confirmation.render(said))
                p.actions {
                    button.danger.filled type="submit" name="action" value="delete" {
                        "Delete repository"
                    }
                }
                (form_token(&visitor.viewer))
            }
        }
    };
    let title = format!("Settings of {}", repository.name);
    Ok(layout::page(
        &title,
        Some(&visitor.viewer),
        said.notice(),
        content,
    ))
}

async fn own(platform: &Shared, visitor: &Visitor, name: &str) -> Result<Repository, Refusal> {
    match is_name(name) {
        true => Ok(platform
            .database
            .own_repository(&visitor.user.id, name)
            .await?),
        false => Err(Refusal::not_found()),
    }
}

async fn change(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    Posted { visitor, fields }: Posted,
) -> Result<Response, PageError> {
    let repository = own(&platform, &visitor, &name).await?;
    let user_id = &visitor.user.id;
    let username = fields.text("username").trim();
    let done = match fields.text("action") {
        "save" => {
            let branch = Some(fields.text("branch")).filter(|branch| !branch.is_empty());
            let change = RepositoryChange {
                name: Some(fields.text("name").trim()),
                private: Some(fields.text("visibility") != "public"),
                default_branch: branch,
            };
            let changed = platform.change_repository(user_id, &name, change).await;
            changed.map(|repository| settings(&repository.name))
        }
        "share" => {
            let role = match fields.text("role") {
                "write" => Role::Write,
                _ => Role::Read,
            };
            let database = &platform.database;
            let shared = database.share_repository(&repository, username, role).await;
            shared.map(|()| settings(&name)).map_err(Refusal::from)
        }
        "unshare" => {
            let database = &platform.database;
            let removed = database.unshare_repository(repository.id, username).await;
            removed.map(|()| settings(&name)).map_err(Refusal::from)
        }
        "delete" if fields.text("confirm").trim() == name => {
            let deleted = platform.delete_repository(user_id, &name).await;
            deleted.map(|()| REPOSITORIES.to_owned())
        }
        "delete" => Err(Refusal::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "NOT_CONFIRMED",
            "that is not the name of this repository; nothing was deleted",
        )
        .at("confirm")),
        _ => Err(Refusal::bad_request("the form can't be read")),
    };
    match done {
        // After a redirect, a reload does nothing again.
        Ok(path) => Ok(Redirect::to(&path).into_response()),
        Err(refusal) if refusal.status.is_client_error() => {
            let page =
                edit_page(&platform, from, &visitor, &name, &Said::refused(&refusal)).await?;
            Ok((refusal.status, page).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}
