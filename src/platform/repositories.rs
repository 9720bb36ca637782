//! Operations on repositories, for the API and the pages alike.

use std::net::IpAddr;

use uuid::Uuid;

use super::Platform;
use super::git::{ObjectFormat, Requester};
use super::refusal::Refusal;
use crate::database::DatabaseError;
use crate::database::collaborators::Role;
use crate::database::repositories::{Repository, check_name};

/// A repository to be created.
#[derive(Debug)]
pub struct NewRepository<'a> {
    pub name: &'a str,
    pub private: bool,
    pub object_format: ObjectFormat,
}

/// Changes to a repository. What is `None` stays.
#[derive(Debug, Default)]
pub struct RepositoryChange<'a> {
    pub name: Option<&'a str>,
    pub private: Option<bool>,
    pub default_branch: Option<&'a str>,
}

impl Platform {
    /// Returns whether an account, or somebody without one, may read a repository, and push to it.
    pub async fn rights(
        &self,
        repository: &Repository,
        user_id: Option<&str>,
    ) -> Result<(bool, bool), DatabaseError> {
        let Some(user_id) = user_id else {
            return Ok((!repository.private, false));
        };
        if repository.owner_id == user_id {
            return Ok((true, true));
        }
        let role = self.database.role(repository.id, user_id).await?;
        let may_read = !repository.private || role.is_some();
        Ok((may_read, role == Some(Role::Write)))
    }

    pub async fn create_repository(
        &self,
        user_id: &str,
        new: NewRepository<'_>,
        from: IpAddr,
    ) -> Result<Repository, Refusal> {
        check_name(new.name)?;
        self.check_room_for_repository(user_id).await?;
        let id = Uuid::new_v4();
        // On disk first: a row without a repository would be a broken one, but a directory without
        // a row is only space.
        let requester = Requester::new(from, Some(user_id));
        self.git.create(id, new.object_format, requester).await?;
        let added = (self.database)
            .add_repository(id, user_id, new.name, new.private)
            .await;
        let repository = match added {
            Ok(repository) => repository,
            Err(error) => {
                self.git.remove(id).await;
                return Err(error.into());
            }
        };
        self.count_disk_anew(user_id);
        if let Err(refusal) = self.check_repository_count(user_id).await {
            self.delete_repository(user_id, new.name).await?;
            return Err(refusal);
        }
        Ok(repository)
    }

    /// Changes a repository of an account's.
    pub async fn change_repository(
        &self,
        user_id: &str,
        name: &str,
        change: RepositoryChange<'_>,
    ) -> Result<Repository, Refusal> {
        let owned = self.database.own_repository(user_id, name).await?;
        if let Some(branch) = change.default_branch {
            // Before anything is changed.
            self.git.require_branch(owned.id, branch).await?;
        }
        let repository = (self.database)
            .change_repository(user_id, name, change.name, change.private)
            .await?;
        if let Some(branch) = change.default_branch {
            self.git.set_default_branch(owned.id, branch).await?;
        }
        Ok(repository)
    }

    pub async fn delete_repository(&self, user_id: &str, name: &str) -> Result<(), Refusal> {
        // The row first: without it nobody can reach what is being removed.
        let gone = self.database.remove_repository(user_id, name).await?;
        self.git.remove(gone.id).await;
        self.count_disk_anew(user_id);
        Ok(())
    }
}
