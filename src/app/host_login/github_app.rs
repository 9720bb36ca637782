//! Signing in as a GitHub App, by its private key.

use super::{Host, HostLoginError, Kept};
use crate::api::ApiError;
use crate::hosts::github_app::{self, AppApi, Installation};
use crate::oauth::OAuthError;
use crate::quote::escaped;
use crate::secret::Secret;
use crate::sign_in::{HostType, InstalledApp, Upkeep};
use crate::store;
use url::Url;

/// A sign-in as a GitHub App.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppRequest {
    /// The app's ID or client ID.
    pub id: String,
    /// Its private key, as [`github_app::read_key`] returns it; `None` for the one that it signed in
    /// with before.
    pub key: Option<Secret>,
    /// The number of the installation.
    pub installation: Option<u64>,
    /// The user or organization that it is installed at, where no number is given. Without either it
    /// is the only one, or the user is asked.
    pub owner: Option<String>,
    /// Names of the only repositories that git can use, with or without their owner; empty for all of
    /// the installation.
    pub repositories: Vec<String>,
    /// Permissions of git's tokens, such as `contents:write`; empty for the least that clones and
    /// pushes.
    pub permissions: Vec<String>,
}

impl Host<'_> {
    /// Proves the key by a first token.
    pub fn by_app(&self, request: &AppRequest) -> Result<Kept, HostLoginError> {
        let id = request.id.as_str();
        if self.kind != HostType::Github {
            return Err(HostLoginError::NoApps(self.place()));
        }
        if !github_app::is_id(id) {
            return Err(HostLoginError::BadAppId);
        }
        let words = request.permissions.iter().map(|word| word.trim());
        let permissions = github_app::permissions(words).map_err(HostLoginError::BadPermission)?;
        let permissions = match permissions.is_empty() {
            true => github_app::PERMISSIONS
                .iter()
                .map(|&word| word.to_owned())
                .collect(),
            false => permissions,
        };
        let key = match &request.key {
            Some(key) => key.clone(),
            None => self.stored_key(id)?,
        };
        let api = AppApi::new(&self.server, id, &key, &self.reach)?;
        let slug = api.slug().map_err(|error| self.refused(error, id))?;
        let installation = self.installation(request, &api, &slug)?;
        let Installation { owner, .. } = &installation;
        if installation.is_suspended {
            return Err(HostLoginError::Suspended {
                app: slug,
                pages: self.installations_pages(owner),
                owner: owner.clone(),
            });
        }
        let app = InstalledApp {
            repositories: repositories(&request.repositories, owner)?,
            id: id.to_owned(),
            key: key.clone(),
            installation: installation.id,
            owner: owner.clone(),
            slug,
            permissions,
        };
        let tokens = api.token(&app).map_err(|error| match error {
            OAuthError::Api(ApiError::Refused { message }) => HostLoginError::AppTokenRefused {
                message,
                pages: self.installations_pages(owner),
            },
            other => self.refused(other, id),
        })?;
        Ok(Kept {
            secret: tokens.access.clone(),
            account: Some(self.request.username.as_ref().unwrap_or(owner).clone()),
            scopes: tokens.scopes.clone().unwrap_or_default(),
            expiry: tokens.expiry,
            tokens: Some(tokens),
            upkeep: Upkeep::Mint(app),
            described: None,
            password: None,
        })
    }

    fn refused(&self, error: OAuthError, id: &str) -> HostLoginError {
        match error {
            OAuthError::Ended { why } => HostLoginError::AppRefused {
                server: self.url(),
                id: id.to_owned(),
                why,
            },
            other => other.into(),
        }
    }

    /// The key that the app signed in with before.
    fn stored_key(&self, id: &str) -> Result<Secret, HostLoginError> {
        let store = store::select::open(self.paths, None)?;
        let item = store::load(store.as_ref(), &self.site)?;
        let server = self.server.to_string();
        let stored = item.credentials.0.iter().find_map(|entry| {
            let sign_in = entry.sign_in.as_ref()?;
            match &sign_in.upkeep {
                Upkeep::Mint(app) if sign_in.server == server && app.id == id => {
                    Some(app.key.clone())
                }
                _ => None,
            }
        });
        stored.ok_or_else(|| HostLoginError::NoKey(self.url(), id.to_owned()))
    }

    fn installation(
        &self,
        request: &AppRequest,
        api: &AppApi,
        slug: &str,
    ) -> Result<Installation, HostLoginError> {
        let id = request.id.as_str();
        let absent = |place: String| HostLoginError::NotInstalled {
            server: self.url(),
            id: id.to_owned(),
            app: slug.to_owned(),
            place,
            page: self.install_page(slug).to_string(),
            is_key_stored: request.key.is_none(),
        };
        let found = match (request.installation, &request.owner) {
            (Some(number), _) => (api.installation(number), format!("as number {number}")),
            (None, Some(owner)) => (api.installation_at(owner), format!("at {}", escaped(owner))),
            (None, None) => {
                let mut all = api
                    .installations()
                    .map_err(|error| self.refused(error, id))?;
                return match all.len() {
                    0 => Err(absent("anywhere".to_owned())),
                    1 => Ok(all.remove(0)),
                    _ => self.choose_installation(all, request, slug),
                };
            }
        };
        match found {
            (Ok(found), _) => Ok(found),
            (Err(OAuthError::Api(ApiError::NotFound)), place) => Err(absent(place)),
            (Err(error), _) => Err(self.refused(error, id)),
        }
    }

    fn choose_installation(
        &self,
        mut all: Vec<Installation>,
        request: &AppRequest,
        slug: &str,
    ) -> Result<Installation, HostLoginError> {
        let chosen = self.ask.installation(slug, &all)?;
        match chosen.filter(|number| *number < all.len()) {
            Some(number) => Ok(all.swap_remove(number)),
            None => Err(HostLoginError::SeveralInstallations {
                server: self.url(),
                id: request.id.clone(),
                app: slug.to_owned(),
                is_key_stored: request.key.is_none(),
                owners: all.into_iter().map(|one| one.owner).collect(),
            }),
        }
    }

    fn install_page(&self, slug: &str) -> Url {
        let path = match crate::hosts::is_github_com(&self.server) {
            true => format!("/apps/{slug}"),
            false => format!("/github-apps/{slug}"),
        };
        self.server.at(&path)
    }

    fn installations_pages(&self, owner: &str) -> String {
        let page = self.server.at("/settings/installations");
        let of = self
            .server
            .at(&format!("/organizations/{owner}/settings/installations"));
        format!("{page} or {of}")
    }
}

/// Names of repositories as GitHub takes them: without the owner, who is the installation's.
fn repositories(given: &[String], owner: &str) -> Result<Vec<String>, HostLoginError> {
    let name = |given: &String| match github_app::repository(given.trim(), owner) {
        Some(name) => Ok(name.to_owned()),
        None => Err(HostLoginError::BadRepository {
            name: given.clone(),
            owner: owner.to_owned(),
        }),
    };
    given.iter().map(name).collect()
}
