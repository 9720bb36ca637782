//! The options of `wit login` for a GitHub App.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::app::host_login::AppRequest;
use crate::cli::{Exit, Failure};
use crate::hosts::github_app::{self, ID_PAGE, MAX_KEY};
use crate::secret::{Secret, SecretBuffer};

/// The word of `--private-key` for stdin.
const STDIN: &str = "-";

#[derive(Debug, Default, clap::Args)]
pub struct AppArgs {
    /// Sign in as the GitHub App of that ID or client ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["device", "browser", "token_stdin", "paste_token", "password", "client_id"])]
    app_id: Option<String>,
    /// The app's private key (PEM), which is kept in the store; - reads stdin
    #[arg(long, value_name = "FILE", requires = "app_id")]
    private_key: Option<PathBuf>,
    /// Installation of the app [default: the only one]
    #[arg(long, value_name = "ID", requires = "app_id", conflicts_with = "owner")]
    installation: Option<u64>,
    /// User or organization that the app is installed at
    #[arg(long, value_name = "NAME", requires = "app_id")]
    owner: Option<String>,
    /// The only repositories that git can use [default: all of the installation]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "app_id")]
    repositories: Vec<String>,
    /// Permissions of git's tokens [default: contents:write]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "app_id")]
    permissions: Vec<String>,
}

impl AppArgs {
    /// The sign-in that the options ask for, with the key read.
    pub fn request(&self) -> anyhow::Result<Option<AppRequest>> {
        let Some(id) = &self.app_id else {
            return Ok(None);
        };
        if !github_app::is_id(id) {
            let why = "--app-id takes an app's ID or client ID";
            return Err(Failure::new(Exit::Usage, why).hint(ID_PAGE).into());
        }
        Ok(Some(AppRequest {
            id: id.clone(),
            key: self.private_key.as_deref().map(key).transpose()?,
            installation: self.installation,
            owner: self.owner.clone(),
            repositories: self.repositories.clone(),
            permissions: self.permissions.clone(),
        }))
    }

    /// Returns whether an app is named.
    pub fn is_given(&self) -> bool {
        self.app_id.is_some()
    }

    /// Returns whether the key is read from stdin, where nobody can then answer.
    pub fn reads_stdin(&self) -> bool {
        self.private_key.as_deref() == Some(Path::new(STDIN))
    }
}

fn key(file: &Path) -> anyhow::Result<Secret> {
    if file.as_os_str() == STDIN && io::stdin().is_terminal() {
        let why = "--private-key - reads a file from stdin, which is a terminal";
        return Err(Failure::new(Exit::Usage, why)
            .hint("--private-key FILE")
            .into());
    }
    let (pem, place) = match file.as_os_str() == STDIN {
        true => (read(io::stdin().lock()), "stdin".to_owned()),
        false => (File::open(file).and_then(read), file.display().to_string()),
    };
    let pem = pem.with_context(|| format!("can't read the private key from {place}"))?;
    github_app::read_key(&pem).map_err(|error| {
        Failure::new(Exit::Usage, format!("{place}: {error}"))
            .hint("it is the file that the app's page gave when the key was created")
            .into()
    })
}

fn read(mut input: impl Read) -> io::Result<Secret> {
    let mut bytes = SecretBuffer::default();
    while bytes.read(&mut input, MAX_KEY)? > 0 {}
    Ok(Secret::from(bytes))
}
