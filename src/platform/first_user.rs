//! The account that `wit up --user` asks for, made without anybody at a keyboard.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::database::accounts::{NewUser, User};
use crate::database::{Database, DatabaseError, random_name};
use crate::secret::Secret;

/// An account that there has to be.
#[derive(Debug)]
pub struct Wanted {
    pub username: String,
    pub email: String,
    /// `None` has one made, and written into the data directory.
    pub password: Option<Secret>,
}

/// The account that there is now.
#[derive(Debug)]
pub struct Ensured {
    pub user: User,
    /// True if it was there before, and stays as it is.
    pub is_old: bool,
    /// The file that its password was written to, if one was.
    pub password_file: Option<PathBuf>,
}

impl Ensured {
    fn old(user: User) -> Self {
        Ensured {
            user,
            is_old: true,
            password_file: None,
        }
    }
}

/// Makes the account unless there is one of that username.
pub async fn ensure(
    wanted: &Wanted,
    database: &Database,
    data_dir: &Path,
) -> anyhow::Result<Ensured> {
    if let Some(user) = database.user_named(&wanted.username).await? {
        return Ok(Ensured::old(user));
    }
    let (password, file) = match &wanted.password {
        Some(password) => (password.clone(), None),
        None => {
            let password = Secret::from(random_name(24));
            // Before the account, so that there is never one without a password that is known.
            let file = data_dir.join("first-password");
            let line = [password.expose(), b"\n"].concat();
            crate::config::write_private(&file, &zeroize::Zeroizing::new(line))
                .with_context(|| format!("can't write {}", file.display()))?;
            (password, Some(file))
        }
    };
    let made = database
        .sign_up(NewUser {
            name: wanted.username.clone(),
            email: wanted.email.clone(),
            username: wanted.username.clone(),
            password,
        })
        .await;
    if let (Err(_), Some(file)) = (&made, &file) {
        // A password of no account.
        let _ = std::fs::remove_file(file);
    }
    if let Err(DatabaseError::Taken { .. }) = &made
        && let Some(user) = database.user_named(&wanted.username).await?
    {
        // Another server on the same database was first.
        return Ok(Ensured::old(user));
    }
    let user = made.with_context(|| format!("can't make the account {}", wanted.username))?;
    Ok(Ensured {
        user,
        is_old: false,
        password_file: file,
    })
}
