//! `wit login --app-id`: signing in as a GitHub App, by its private key.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Host, Kept};
use crate::api::ApiError;
use crate::cli::output::escaped;
use crate::cli::{Context, Exit, Failure};
use crate::hosts::github_app::{self, AppApi, Installation, MAX_KEY};
use crate::oauth::OAuthError;
use crate::quote::{Hint, Suggestion};
use crate::secret::{Secret, SecretBuffer};
use crate::sign_in::{HostType, InstalledApp, Upkeep};
use crate::store;

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
    pub fn is_given(&self) -> bool {
        self.app_id.is_some()
    }
}

impl Host<'_> {
    /// Proves the key by a first token.
    pub fn by_app(&self, context: &Context) -> anyhow::Result<Kept> {
        let args = &self.given.host.app;
        let id = args.app_id.as_deref().unwrap_or_default();
        if self.kind != HostType::Github {
            let why = format!(
                "{} is {}, which has no GitHub Apps",
                self.server,
                self.kind.title()
            );
            return Err(Failure::new(Exit::Usage, why)
                .hint(Suggestion::new("wit login").arg(self.server.to_string()))
                .into());
        }
        if !github_app::is_id(id) {
            return Err(
                Failure::new(Exit::Usage, "--app-id takes an app's ID or client ID")
                    .hint(
                        "it is on the app's page, below Settings, Developer settings, GitHub Apps",
                    )
                    .into(),
            );
        }
        let words = args.permissions.iter().map(|word| word.trim());
        let permissions = github_app::permissions(words).map_err(|word| {
            let why = format!("{} is not a permission", escaped(&word));
            Failure::new(Exit::Usage, why).hint("--permissions contents:write,workflows:write")
        })?;
        let permissions = match permissions.is_empty() {
            true => github_app::PERMISSIONS
                .iter()
                .map(|&word| word.to_owned())
                .collect(),
            false => permissions,
        };
        let key = self.key(id, context)?;
        let api = AppApi::new(&self.server, id, &key, &self.reach)?;
        let slug = api.slug().map_err(|error| self.refused(error, id))?;
        let installation = self.installation(&api, id, &slug)?;
        let Installation { owner, .. } = &installation;
        if installation.is_suspended {
            let why = format!(
                "the installation of the app {} at {} is suspended",
                escaped(&slug),
                escaped(owner)
            );
            return Err(Failure::new(Exit::NotLoggedIn, why)
                .hint(format!("see {}", self.installations_page(owner)))
                .into());
        }
        let app = InstalledApp {
            repositories: repositories(&args.repositories, owner)?,
            id: id.to_owned(),
            key: key.clone(),
            installation: installation.id,
            owner: owner.clone(),
            slug,
            permissions,
        };
        let tokens = api.token(&app).map_err(|error| match &error {
            OAuthError::Api(ApiError::Refused { message }) => {
                Failure::new(Exit::Failed, message.clone())
                    .hint(format!(
                        "choose others with --repositories and --permissions, or see {}",
                        self.installations_page(owner)
                    ))
                    .into()
            }
            _ => self.refused(error, id),
        })?;
        Ok(Kept {
            secret: tokens.access.clone(),
            account: Some(
                self.given
                    .username
                    .map_or_else(|| owner.clone(), str::to_owned),
            ),
            scopes: tokens.scopes.clone().unwrap_or_default(),
            expiry: tokens.expiry,
            tokens: Some(tokens),
            upkeep: Upkeep::Mint(app),
            described: None,
            password: None,
        })
    }

    fn refused(&self, error: OAuthError, id: &str) -> anyhow::Error {
        match error {
            OAuthError::Ended { why } => {
                let again = Suggestion::new("wit login").arg(self.server.to_string());
                let again = again.option("--app-id", id).option("--private-key", "FILE");
                Failure::new(Exit::NotLoggedIn, why)
                    .hint(
                        Hint::from("the app's page lists its keys and creates one: ")
                            .command(&again),
                    )
                    .into()
            }
            other => other.into(),
        }
    }

    /// The key in the file, or the one that the app signed in with before.
    fn key(&self, id: &str, context: &Context) -> anyhow::Result<Secret> {
        let Some(file) = &self.given.host.app.private_key else {
            let store = store::choice::open(&context.paths, None)?;
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
            return stored.ok_or_else(|| {
                let again = Suggestion::new("wit login").arg(server);
                let again = again.option("--app-id", id).option("--private-key", "FILE");
                Failure::new(Exit::Usage, format!("no key of the app {id} is stored"))
                    .hint(again)
                    .into()
            });
        };
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

    fn installation(&self, api: &AppApi, id: &str, slug: &str) -> anyhow::Result<Installation> {
        let args = &self.given.host.app;
        let absent = |place: String| {
            let why = format!("the app {} is not installed {place}", escaped(slug));
            let again = Suggestion::new("wit login")
                .arg(self.server.to_string())
                .option("--app-id", id);
            Failure::new(Exit::NotLoggedIn, why).hint(
                Hint::from(format!("install it at {}, then: ", self.install_page(slug)))
                    .command(&again),
            )
        };
        let found = match (args.installation, &args.owner) {
            (Some(number), _) => (api.installation(number), format!("as number {number}")),
            (None, Some(owner)) => (api.installation_at(owner), format!("at {}", escaped(owner))),
            (None, None) => {
                let mut all = api
                    .installations()
                    .map_err(|error| self.refused(error, id))?;
                return match all.len() {
                    0 => Err(absent("anywhere".to_owned()).into()),
                    1 => Ok(all.remove(0)),
                    _ => self.choose_installation(all, id, slug),
                };
            }
        };
        match found {
            (Ok(found), _) => Ok(found),
            (Err(OAuthError::Api(ApiError::NotFound)), place) => Err(absent(place).into()),
            (Err(error), _) => Err(self.refused(error, id)),
        }
    }

    /// Asks at a terminal; elsewhere the answer is an option.
    fn choose_installation(
        &self,
        mut all: Vec<Installation>,
        id: &str,
        slug: &str,
    ) -> anyhow::Result<Installation> {
        let slug = escaped(slug);
        let is_asked = io::stdin().is_terminal() && !self.reads_stdin();
        if !is_asked {
            let names: Vec<String> = all.iter().map(|one| escaped(&one.owner)).collect();
            let why = format!("the app {slug} is installed at {}", names.join(", "));
            let again = Suggestion::new("wit login").arg(self.server.to_string());
            let again = again
                .option("--app-id", id)
                .option("--owner", &all[0].owner);
            return Err(Failure::new(Exit::Usage, why).hint(again).into());
        }
        eprintln!("The app {slug} is installed at:");
        for (number, one) in all.iter().enumerate() {
            eprintln!("  {}  {}", number + 1, escaped(&one.owner));
        }
        eprint!("Which? ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let number = line
            .trim()
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        match number.filter(|number| *number < all.len()) {
            Some(number) => Ok(all.swap_remove(number)),
            None => Err(Failure::new(Exit::Usage, "no installation was chosen")
                .hint("--owner NAME says it, too")
                .into()),
        }
    }

    fn reads_stdin(&self) -> bool {
        let file = self.given.host.app.private_key.as_deref();
        file == Some(Path::new(STDIN))
    }

    /// Says how git is told which of several sign-ins to use.
    pub fn tell_of_others(
        &self,
        app: &InstalledApp,
        account: Option<&str>,
        store: &dyn store::Store,
    ) -> anyhow::Result<()> {
        let item = store::load(store, &self.site)?;
        let sign_ins = item
            .credentials
            .0
            .iter()
            .filter(|entry| entry.sign_in.is_some());
        if sign_ins.count() < 2 || self.given.host.path.is_some() {
            return Ok(());
        }
        let key = format!("credential.{}/{}.username", self.server, app.owner);
        let config = Suggestion::new("git config --global").arg(key);
        let config = config.arg(account.unwrap_or(&app.owner));
        eprintln!(
            "hint: git uses this sign-in first; for {} alone: {config}",
            escaped(&app.owner)
        );
        Ok(())
    }

    fn install_page(&self, slug: &str) -> String {
        let path = match crate::hosts::is_github_com(&self.server) {
            true => format!("/apps/{slug}"),
            false => format!("/github-apps/{slug}"),
        };
        self.server.at(&path).to_string()
    }

    fn installations_page(&self, owner: &str) -> String {
        let page = self.server.at("/settings/installations");
        let of = self
            .server
            .at(&format!("/organizations/{owner}/settings/installations"));
        format!("{page} or {of}")
    }
}

/// Names of repositories as GitHub takes them: without the owner, who is the installation's.
fn repositories(given: &[String], owner: &str) -> anyhow::Result<Vec<String>> {
    let name = |given: &String| match github_app::repository(given.trim(), owner) {
        Some(name) => Ok(name.to_owned()),
        None => {
            let why = format!(
                "{} is not a repository of {}",
                escaped(given),
                escaped(owner)
            );
            Err(Failure::new(Exit::Usage, why).hint("--repositories hello,world"))
        }
    };
    Ok(given.iter().map(name).collect::<Result<_, _>>()?)
}

fn read(mut input: impl Read) -> io::Result<Secret> {
    let mut bytes = SecretBuffer::default();
    while bytes.read(&mut input, MAX_KEY)? > 0 {}
    Ok(Secret::from(bytes))
}
