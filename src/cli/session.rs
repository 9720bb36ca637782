//! The options that name a server and an account, and what a person is told of where a command works.

use std::path::PathBuf;
use std::sync::Arc;

use super::ask::Account;
use super::output::escaped;
use super::{AtHost, Context};
use crate::api::ApiError;
use crate::api::database;
use crate::api::http::Client;
use crate::api::server::ServerUrl;
use crate::app::session::{self, Selection};
pub use crate::app::session::{
    ApiSession, GitSite, Login, SessionError, SignedIn, account, direct, form, git_site,
    half_direct, is_direct, known, naming, parse_url, server, site_of, suggest, suggest_create,
};
use crate::config::Config;
use crate::hosts::place::{AccessLevel, Place};
use crate::hosts::tokens::{self, Person};
use crate::item::Session;
use crate::sign_in::HostType;

/// The heading of options that say which server is meant and how it is reached.
pub const CONNECTION: &str = "Connection options";

/// Server, and the ways in which it may be reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = CONNECTION)]
pub struct ServerArgs {
    /// The server's URL, where more than one is known
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The account, where there is more than one on the server
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Speak plain http to another machine, where anybody on the way can read the secret
    #[arg(long)]
    pub allow_http: bool,
    /// Trust the certificates in FILE (PEM) too [default: those given to wit login]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Whether a password that a host asks for is read from stdin.
    #[arg(skip)]
    pub password_stdin: bool,
    /// Whether nobody is to be asked anything.
    #[arg(skip)]
    pub unattended: bool,
    /// Projects and groups whose tokens are meant too.
    #[arg(skip)]
    pub places: Vec<Place>,
    /// The role of a new token there.
    #[arg(skip)]
    pub access_level: Option<AccessLevel>,
}

/// The projects and groups of GitLab whose tokens a command is about.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PlaceArgs {
    /// The tokens of this project too (GitLab); may be repeated
    #[arg(long, value_name = "PATH", value_parser = project)]
    project: Vec<Place>,
    /// The tokens of this group too (GitLab); may be repeated
    #[arg(long, value_name = "PATH", value_parser = group)]
    group: Vec<Place>,
}

/// The path of a project.
pub fn project(text: &str) -> Result<Place, String> {
    match Place::parse(text) {
        Some(place @ Place::Project(_)) => Ok(place),
        _ => Err(format!("not a project's path: {}", escaped(text))),
    }
}

/// The path of a group.
pub fn group(text: &str) -> Result<Place, String> {
    let place = Place::parse(&format!("group:{text}"));
    place.ok_or_else(|| format!("not a group's path: {}", escaped(text)))
}

impl ServerArgs {
    /// The same with the tokens of those places, and of those that ids of tokens name.
    pub fn at<'a>(&self, places: &PlaceArgs, ids: impl IntoIterator<Item = &'a String>) -> Self {
        let named = ids
            .into_iter()
            .filter_map(|id| tokens::gitlab::place_of(id));
        let mut all: Vec<Place> = places
            .project
            .iter()
            .chain(&places.group)
            .cloned()
            .collect();
        all.extend(named);
        ServerArgs {
            places: all,
            ..self.clone()
        }
    }

    /// The same with `--password-stdin`.
    pub fn with_password(&self, password_stdin: bool) -> Self {
        ServerArgs {
            password_stdin,
            ..self.clone()
        }
    }
}

impl From<&ServerArgs> for Selection {
    fn from(args: &ServerArgs) -> Self {
        Selection {
            server: args.server.clone(),
            account: args.account.clone(),
            allow_http: args.allow_http,
            ca_file: args.ca_file.clone(),
            person: match args.unattended {
                true => Person::default(),
                false => Person::new(Arc::new(Account {
                    by_stdin: args.password_stdin,
                })),
            },
            places: args.places.clone(),
            access_level: args.access_level,
        }
    }
}

/// [`session::open`], and says where it works in direct mode.
pub fn api_session(context: &Context, args: &ServerArgs) -> Result<ApiSession, SessionError> {
    if let Some(half) = half_direct()
        && !context.json
    {
        eprintln!("warning: {half}");
    }
    let meant = Selection::from(args);
    if let Some((server, host)) = session::git_host_meant(&context.paths, &meant) {
        context.asks_host(AtHost::login(&server, host));
    }
    let api_session = session::open(&context.paths, &meant)?;
    if api_session.host != HostType::Wit {
        let lists = api_session.api.promises().list;
        context.asks_host(AtHost {
            server: api_session.name.clone(),
            host: api_session.host,
            login: api_session.login.clone(),
            list: lists.then(|| api_session.suggest("wit token list")),
        });
    } else if !api_session.is_direct() {
        context.asks(&api_session.name);
    } else if !context.json {
        let account = escaped(&api_session.account);
        eprintln!("Working on {}, as {account}.", database::SERVER);
    }
    Ok(api_session)
}

/// [`api_session`] where stored tokens are replaced or ended.
pub fn signed_in(context: &Context, args: &ServerArgs) -> Result<SignedIn, SessionError> {
    api_session(context, args)?.for_git()
}

/// The stored session that is meant.
pub fn login(context: &Context, args: &ServerArgs) -> anyhow::Result<Login> {
    let config = crate::app::known::config(&context.paths).map_err(SessionError::from)?;
    let login = session::stored(&config, &context.paths, &args.into())?;
    context.asks(&login.session.server);
    Ok(login)
}

/// A client of a server: with the certificates of `--ca-file`, or of its login.
pub fn client(config: &Config, server: &ServerUrl, args: &ServerArgs) -> Result<Client, ApiError> {
    session::client(config, server, &args.into())
}

/// Ends a session at its server; why it may still work there.
pub fn end(config: &Config, args: &ServerArgs, held: &Session) -> Result<(), ApiError> {
    session::end(config, &args.into(), held)
}
