//! What a token may ask of the API: counted, and each thing by its scope.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Account, Input};
use super::git::{ObjectFormat, Requester};
use super::limits::Left;
use super::refusal::Refusal;
use super::{Platform, Shared};
use crate::database::accounts::User;
use crate::database::collaborators::Role;
use crate::database::profile::ProfileChange;
use crate::database::repositories::{Repository, check_name, is_name};
use crate::database::tokens::Grant;

pub fn routes(platform: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/v1/user", get(whoami))
        .route("/api/v1/profile", get(show_profile).patch(change_profile))
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

/// Checks the token of a request, if it has one, and counts the request as the token's.
pub async fn counted(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let grant = match platform.token(request.headers(), from.ip()).await {
        Ok(Some(grant)) => grant,
        // A session, or nobody.
        Ok(None) => return next.run(request).await,
        Err(refusal) => return refusal.into_response(),
    };
    let (mut response, left) = match platform.limits.api(grant.token_id) {
        Ok(left) => {
            request.extensions_mut().insert(grant);
            (next.run(request).await, left)
        }
        Err(refusal) => (refusal.into_response(), Left::NOTHING),
    };
    left.write(response.headers_mut());
    response
}

impl Platform {
    /// The account that a request acts for: by its session, or by a token with the scope.
    async fn acting(
        &self,
        grant: Option<Extension<Arc<Grant>>>,
        headers: &HeaderMap,
        scope: &str,
    ) -> Result<User, Refusal> {
        match grant {
            Some(Extension(grant)) if grant.allows(scope) => Ok(grant.user.clone()),
            Some(_) => Err(Refusal::needs_scope(scope)),
            None => self.session(headers).await,
        }
    }
}

#[derive(Serialize)]
struct Whoami<'a> {
    #[serde(flatten)]
    account: Account<'a>,
    login: Option<&'a str>,
}

/// Whom a token acts for. Any token may ask about itself: this is how one is tried out.
async fn whoami(grant: Option<Extension<Arc<Grant>>>) -> Result<Response, Refusal> {
    let Some(Extension(grant)) = grant else {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "Requires authentication",
        ));
    };
    let account = Account::of(&grant.user);
    let login = account.username;
    Ok(Json(Whoami { account, login }).into_response())
}

async fn show_profile(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "user:read").await?;
    let profile = platform.database.profile(&user.id).await?;
    Ok(Json(json!({
        "username": user.username,
        "email": user.email,
        "name": profile.name,
        "bio": profile.bio,
        "location": profile.location,
        "website": profile.website,
    })))
}

/// Says only that it was done: who may write a profile may not read it for that.
async fn change_profile(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Input(change): Input<ProfileChange>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "user:write").await?;
    platform.database.change_profile(&user.id, &change).await?;
    Ok(Json(json!({ "success": true })))
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
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Input(input): Input<CreateRepository>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let user = platform.acting(grant, &headers, "repo:admin").await?;
    check_name(&input.name)?;
    platform.check_room_for_repository(&user.id).await?;
    let id = Uuid::new_v4();
    // On disk first: a row without a repository would be a broken one, but a directory without
    // a row is only space.
    let requester = Requester::new(from.ip(), Some(&user.id));
    (platform.git)
        .create(id, input.object_format, requester)
        .await?;
    let added = platform
        .database
        .add_repository(id, &user.id, &input.name, input.private)
        .await;
    match added {
        Ok(repository) => {
            if let Err(refusal) = platform.check_repository_count(&user.id).await {
                platform
                    .database
                    .remove_repository(&user.id, &input.name)
                    .await?;
                platform.git.remove(id).await;
                return Err(refusal);
            }
            let body = platform.repository_json(&user, &repository).await;
            Ok((StatusCode::CREATED, Json(body)))
        }
        Err(error) => {
            platform.git.remove(id).await;
            Err(error.into())
        }
    }
}

async fn list_repositories(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "repo:admin").await?;
    let repositories = platform.database.repositories(&user.id).await?;
    let mut all = Vec::with_capacity(repositories.len());
    for repository in &repositories {
        all.push(platform.repository_json(&user, repository).await);
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
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Input(input): Input<ChangeRepository>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "repo:admin").await?;
    if !is_name(&name) {
        return Err(Refusal::not_found());
    }
    let owned = platform.database.own_repository(&user.id, &name).await?;
    if let Some(branch) = &input.default_branch {
        // Before anything is changed.
        platform.git.require_branch(owned.id, branch).await?;
    }
    let repository = platform
        .database
        .change_repository(&user.id, &name, input.name.as_deref(), input.private)
        .await?;
    if let Some(branch) = &input.default_branch {
        platform.git.set_default_branch(owned.id, branch).await?;
    }
    Ok(Json(platform.repository_json(&user, &repository).await))
}

/// A repository by its owner and name, for who may read it.
async fn show_repository(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "repo:read").await?;
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
    async fn administered(
        &self,
        grant: Option<Extension<Arc<Grant>>>,
        headers: &HeaderMap,
        name: &str,
    ) -> Result<Repository, Refusal> {
        let user = self.acting(grant, headers, "repo:admin").await?;
        match is_name(name) {
            true => Ok(self.database.own_repository(&user.id, name).await?),
            false => Err(Refusal::not_found()),
        }
    }
}

async fn list_collaborators(
    State(platform): State<Shared>,
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(grant, &headers, &name).await?;
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
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Input(share): Input<Share>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(grant, &headers, &name).await?;
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
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path((name, username)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let repository = platform.administered(grant, &headers, &name).await?;
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
    grant: Option<Extension<Arc<Grant>>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let user = platform.acting(grant, &headers, "repo:admin").await?;
    if !is_name(&name) {
        return Err(Refusal::not_found());
    }
    // The row first: without it nobody can reach what is being removed.
    let gone = platform.database.remove_repository(&user.id, &name).await?;
    platform.git.remove(gone.id).await;
    Ok(Json(json!({ "success": true })))
}
