//! Profile of an account.

use serde::Deserialize;

use super::accounts::check_name;
use super::row::from_row;
use super::{Database, DatabaseError, now, read, transaction, without_zone};

/// Profile of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub bio: Option<String>,
    pub location: Option<String>,
    pub website: Option<String>,
}
from_row!(Profile {
    name,
    bio,
    location,
    website
});

/// Changes to a profile; the rest stays as it is. An empty text removes a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileChange {
    /// 1 to 100 characters.
    pub name: Option<String>,
    /// At most 500 characters, in lines.
    pub bio: Option<String>,
    /// At most 100 characters.
    pub location: Option<String>,
    /// At most 200 characters; `https://` or `http://`, for a browser will follow it.
    pub website: Option<String>,
}

impl ProfileChange {
    fn check(&self) -> Result<(), DatabaseError> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        let fits = |text: &Option<String>, most: usize, also: &[char]| {
            text.as_ref().is_none_or(|text| {
                text.chars().count() <= most
                    && !text.contains(|c: char| c.is_control() && !also.contains(&c))
            })
        };
        let is_web = |text: &String| {
            text.is_empty() || text.starts_with("https://") || text.starts_with("http://")
        };
        let wrong = if !fits(&self.bio, 500, &['\n']) {
            "a bio is at most 500 characters, none of them a control character"
        } else if !fits(&self.location, 100, &[]) {
            "a location is at most 100 characters, none of them a control character"
        } else if !fits(&self.website, 200, &[]) || !self.website.as_ref().is_none_or(is_web) {
            "a website is an http or https URL of at most 200 characters"
        } else {
            return Ok(());
        };
        Err(DatabaseError::Invalid(wrong.to_owned()))
    }
}

impl Database {
    /// The profile of an account; [`DatabaseError::NotFound`] where there is none.
    pub async fn profile(&self, user_id: &str) -> Result<Profile, DatabaseError> {
        let profile: Option<Profile> = read!(self, connection => {
            sqlx::query_as(r#"SELECT name, bio, location, website FROM "user" WHERE id = $1"#)
                .bind(user_id)
                .fetch_optional(&mut *connection)
                .await?
        });
        profile.ok_or(DatabaseError::NotFound)
    }

    /// Changes the profile of an account. [`DatabaseError::Invalid`] outside the limits.
    pub async fn change_profile(
        &self,
        user_id: &str,
        change: &ProfileChange,
    ) -> Result<(), DatabaseError> {
        change.check()?;
        transaction!(self, connection => {
            sqlx::query(
                r#"UPDATE "user" SET
                       name = coalesce($2, name),
                       bio = nullif(coalesce($3, bio), ''),
                       location = nullif(coalesce($4, location), ''),
                       website = nullif(coalesce($5, website), ''),
                       updated_at = $6
                   WHERE id = $1"#,
            )
            .bind(user_id)
            .bind(&change.name)
            .bind(&change.bio)
            .bind(&change.location)
            .bind(&change.website)
            .bind(without_zone(now()))
            .execute(connection)
            .await?;
            Ok(())
        })
    }
}
