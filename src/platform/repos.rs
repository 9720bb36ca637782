//! Repositories, as an account's session or token may work on them.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, patch};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Input, time_json};
use super::auth::{Caller, counted};
use super::git::ObjectFormat;
use super::refusal::Refusal;
use super::repositories::{NewRepository, RepositoryChange};
use super::{Platform, Shared};
use crate::database::accounts::User;
use crate::database::collaborators::Role;
use crate::database::repositories::{Repository, is_name};

pub fn routes(platform: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/repos", get(list_repositories).post(create_repository))
        .route(
            "/api/repos/{name}",
            patch(change_repository).delete(delete_repository),
        )
        .route("/api/repos/{name}/{repository}", get(show_repository))
        .route(
            "/api/repos/{name}/collaborators",
            get(list_collaborators).post(share_repository),
        )
        .route(
            "/api/repos/{name}/collaborators/{username}",
            delete(unshare_repository),
        )
        .route_layer(from_fn_with_state(platform.clone(), counted))
}

impl Platform {
    async fn repository_json(&self, owner: &User, repository: &Repository) -> Value {
        let owner = owner.username.as_deref().unwrap_or(&owner.id);
        self.repository_json_of(owner, repository).await
    }

    async fn repository_json_of(&self, owner: &str, repository: &Repository) -> Value {
        json!({
            "id": repository.id,
            "owner": owner,
            "name": repository.name,
            "private": repository.private,
            "path": format!("/{owner}/{}.git", repository.name),
            "defaultBranch": self.git.default_branch(repository.id).await,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateRepository {
    name: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    object_format: ObjectFormat,
}

async fn create_repository(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    caller: Caller,
    Input(input): Input<CreateRepository>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let user = platform.acting(caller, "repo:admin").await?;
    let new = NewRepository {
        name: &input.name,
        private: input.private,
        object_format: input.object_format,
    };
    let repository = platform.create_repository(&user.id, new, from.ip()).await?;
    let body = platform.repository_json(&user, &repository).await;
    Ok((StatusCode::CREATED, Json(body)))
}

/// Selection of repositories.
#[derive(Deserialize)]
struct ListRepositories {
    /// Roles of the account, in a list with commas: `owner`, which is the default, and `collaborator`.
    #[serde(default)]
    affiliation: String,
}

async fn list_repositories(
    State(platform): State<Shared>,
    caller: Caller,
    Query(asked): Query<ListRepositories>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "repo:admin").await?;
    let has = |role: &str| asked.affiliation.split(',').any(|asked| asked == role);
    let own = match asked.affiliation.is_empty() || has("owner") {
        true => platform.database.repositories(&user.id).await?,
        false => Vec::new(),
    };
    let shared = match has("collaborator") {
        true => platform.database.shared_with(&user.id).await?,
        false => Vec::new(),
    };
    let name = user.username.as_deref().unwrap_or(&user.id);
    let own = own.iter().map(|one| (name, one, "owner"));
    let shared = shared.iter();
    let shared = shared.map(|(owner, one, role)| (owner.as_str(), one, role.as_str()));
    let listed: Vec<_> = own.chain(shared).collect();
    let pushes = platform.database.pushes(&user.id).await?;
    let sizes = platform.disk_uses(listed.iter().map(|(_, one, _)| one.id));
    let sizes = sizes.await?;
    let mut all = Vec::with_capacity(listed.len());
    for (owner, repository, role) in listed {
        let mut body = platform.repository_json_of(owner, repository).await;
        body["role"] = role.into();
        body["size"] = json!(sizes.get(&repository.id));
        body["pushedAt"] = time_json(pushes.get(&repository.id).copied());
        all.push(body);
    }
    Ok(Json(all.into()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeRepository {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    default_branch: Option<String>,
}

async fn change_repository(
    State(platform): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Input(input): Input<ChangeRepository>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "repo:admin").await?;
    if !is_name(&name) {
        return Err(Refusal::not_found());
    }
    let change = RepositoryChange {
        name: input.name.as_deref(),
        private: input.private,
        default_branch: input.default_branch.as_deref(),
    };
    let repository = platform.change_repository(&user.id, &name, change).await?;
    Ok(Json(platform.repository_json(&user, &repository).await))
}

/// A repository by its owner and name, for who may read it.
async fn show_repository(
    State(platform): State<Shared>,
    caller: Caller,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "repo:read").await?;
    let found = platform.database.repository(&owner, &name).await?;
    let repository = found.ok_or_else(Refusal::not_found)?;
    let (may_read, may_push) = platform.rights(&repository, Some(&user.id)).await?;
    if !may_read {
        return Err(Refusal::not_found());
    }
    let owner = owner.to_lowercase();
    let mut body = platform.repository_json_of(&owner, &repository).await;
    body["permissions"] = json!({
        "read": may_read,
        "write": may_push,
        "admin": repository.owner_id == user.id,
    });
    Ok(Json(body))
}

impl Platform {
    /// A repository that the request may administer.
    async fn administered(&self, caller: Caller, name: &str) -> Result<Repository, Refusal> {
        let user = self.acting(caller, "repo:admin").await?;
        match is_name(name) {
            true => Ok(self.database.own_repository(&user.id, name).await?),
            false => Err(Refusal::not_found()),
        }
    }
}

async fn list_collaborators(
    State(platform): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(caller, &name).await?;
    let all = platform.database.collaborators(repository.id).await?;
    Ok(Json(json!(all)))
}

#[derive(Deserialize)]
struct Share {
    username: String,
    role: Role,
}

async fn share_repository(
    State(platform): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Input(share): Input<Share>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(caller, &name).await?;
    if !is_name(&share.username) {
        return Err(Refusal::not_found());
    }
    (platform.database)
        .share_repository(&repository, &share.username, share.role)
        .await?;
    Ok(Json(json!({ "success": true })))
}

async fn unshare_repository(
    State(platform): State<Shared>,
    caller: Caller,
    Path((name, username)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(caller, &name).await?;
    if !is_name(&username) {
        return Err(Refusal::not_found());
    }
    (platform.database)
        .unshare_repository(repository.id, &username)
        .await?;
    Ok(Json(json!({ "success": true })))
}

async fn delete_repository(
    State(platform): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(caller, "repo:admin").await?;
    if !is_name(&name) {
        return Err(Refusal::not_found());
    }
    platform.delete_repository(&user.id, &name).await?;
    Ok(Json(json!({ "success": true })))
}
