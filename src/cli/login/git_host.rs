//! `wit login` at a git host that is not a wit server.

mod app;
mod terminal;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use self::terminal::Terminal;
use crate::api::server::ServerUrl;
use crate::app::host_login::{self, Client, LoggedIn, Request, Way};
use crate::cli::ask::first_line;
use crate::cli::output::{self, escaped};
use crate::cli::session;
use crate::cli::{AtHost, Context, Exit};
use crate::credential::use_http_path;
use crate::hosts::BuiltInClient;
use crate::oauth::split_scopes;
use crate::quote::Suggestion;
use crate::sign_in::{HostType, InstalledApp};

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Options for git hosts")]
pub struct HostArgs {
    /// The type of the server [default: asked of the server]
    #[arg(long, value_name = "TYPE", value_parser = types())]
    host_type: Option<HostType>,
    /// Confirm a code in a browser, on this machine or any other
    #[arg(long, conflicts_with_all = ["browser", "token_stdin", "paste_token", "password"])]
    device: bool,
    /// Sign in in a browser that comes back to this machine
    #[arg(long, conflicts_with_all = ["token_stdin", "paste_token", "password"])]
    browser: bool,
    /// Read a token that was created elsewhere from the first line of stdin
    #[arg(long, conflicts_with_all = ["paste_token", "password"])]
    token_stdin: bool,
    /// Open the host's page for a new token, and ask for that token
    #[arg(long, conflicts_with = "password")]
    paste_token: bool,
    /// Have a token created with your password (Gitea, Forgejo)
    #[arg(long)]
    password: bool,
    /// ID of an OAuth client registered at the server, or built-in
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Read the client's secret from the first line of stdin
    #[arg(long, requires = "client_id", conflicts_with_all = ["token_stdin", "password"])]
    client_secret_stdin: bool,
    /// Scopes to ask for [default: the least that clones and pushes]
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// Keep it for one path only, as git names it under useHttpPath
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    app: app::AppArgs,
    /// Ask nothing: git waits
    #[arg(long, hide = true)]
    for_git: bool,
}

/// The types of server, by their names.
fn types() -> impl TypedValueParser<Value = HostType> {
    let names = HostType::ALL.map(HostType::name);
    PossibleValuesParser::new(names).map(|name| HostType::parse(&name).unwrap_or(HostType::Oauth))
}

impl HostArgs {
    /// Returns whether a token is to be taken for the login.
    pub fn takes_token(&self) -> bool {
        self.token_stdin || self.paste_token
    }

    /// The option that asks for a browser, here or elsewhere.
    pub fn by_browser(&self) -> Option<&'static str> {
        match (self.device, self.browser) {
            (true, _) => Some("--device"),
            (false, true) => Some("--browser"),
            (false, false) => None,
        }
    }

    /// Returns whether the password is named as the way in.
    pub fn by_password(&self) -> bool {
        self.password
    }

    /// The first option that says nothing to a wit server.
    pub fn without_meaning(&self) -> Option<&'static str> {
        let given = [
            (self.client_id.is_some(), "--client-id"),
            (self.scopes.is_some(), "--scopes"),
            (self.path.is_some(), "--path"),
            (self.app.is_given(), "--app-id"),
        ];
        given
            .iter()
            .find_map(|(is_given, name)| is_given.then_some(*name))
    }
}

/// Arguments of `wit login`, as far as they matter here.
pub struct Given<'a> {
    pub host: &'a HostArgs,
    pub username: Option<&'a str>,
    pub password_stdin: bool,
    pub no_browser: bool,
    pub ca_file: Option<PathBuf>,
    /// True if there is an option that only a wit server has.
    pub is_wit: bool,
}

impl Given<'_> {
    fn request(&self, server: &ServerUrl) -> anyhow::Result<Request> {
        let args = self.host;
        let way = match args {
            _ if args.takes_token() => Some(Way::Token),
            _ if args.password || self.password_stdin => Some(Way::Password),
            _ if args.device => Some(Way::Device),
            _ if args.browser => Some(Way::Browser),
            _ => None,
        };
        let client = match (args.client_id.as_deref(), args.client_secret_stdin) {
            (None, _) => None,
            (Some(BuiltInClient::WORD), _) => Some(Client::BuiltIn),
            (Some(id), has_secret) => Some(Client::Registered {
                id: id.to_owned(),
                secret: has_secret
                    .then(|| first_line("client secret"))
                    .transpose()?,
            }),
        };
        Ok(Request {
            server: server.clone(),
            host_type: args.host_type,
            way,
            app: args.app.request()?,
            client,
            username: self.username.map(str::to_owned),
            scopes: args.scopes.as_deref().map(split_scopes),
            path: args.path.clone(),
            ca_file: self.ca_file.clone(),
            opens_browser: !self.no_browser,
            is_for_git: args.for_git,
            device_name: output::machine(),
        })
    }
}

/// Signs in; `None` where the server is a wit server, which is signed in to in its own way.
pub fn run(given: &Given, server: &ServerUrl, context: &Context) -> anyhow::Result<Option<Exit>> {
    if given.is_wit && given.host.host_type.is_none() {
        return Ok(None);
    }
    if let Some(host) = given.host.host_type.filter(|host| *host != HostType::Wit) {
        context.asks_host(AtHost::login(server, host));
    }
    let terminal = Terminal { given, context };
    let request = given.request(server)?;
    match host_login::log_in(&context.paths, &request, &terminal)? {
        Some(done) => report(&done, given, context).map(Some),
        // Where git waits there is no other way, and nobody to be told so.
        None => Ok(given.host.for_git.then_some(Exit::NotLoggedIn)),
    }
}

fn report(done: &LoggedIn, given: &Given, context: &Context) -> anyhow::Result<Exit> {
    let LoggedIn {
        server,
        app,
        location,
        ..
    } = done;
    if context.json {
        output::json(&json!({
            "server": server,
            "hostType": done.host.name(),
            "account": done.account,
            "scopes": done.scopes,
            "app": app.as_ref().map(output::app),
            "renews": done.renews,
            "expiresAt": done.expiry.map(|expiry| output::rfc3339(expiry.0)),
            "store": done.store,
            "location": location,
        }))?;
        return Ok(Exit::Done);
    }
    let account = done.account.as_deref().map(escaped);
    let account = account
        .map(|account| format!(" as {account}"))
        .unwrap_or_default();
    let renewed = match (done.renews, done.expiry) {
        (true, Some(expiry)) if done.rotates_itself => format!(
            " The token expires on {}; it replaces itself before that.",
            output::date(expiry.0)
        ),
        (true, _) => " Access is renewed automatically.".to_owned(),
        (false, Some(expiry)) => format!(" The token expires on {}.", output::date(expiry.0)),
        (false, None) => String::new(),
    };
    let by = app
        .as_ref()
        .map(|app| format!(" by the app {}", escaped(&app.slug)));
    let by = by.unwrap_or_default();
    output::print(format!("Logged in to {server}{account}{by}.{renewed}\n").as_bytes())?;
    if let Some(app) = app {
        eprintln!("The app's private key is kept in {location}; git needs its file no longer.");
        if done.is_one_of_several && given.host.path.is_none() {
            hint_at_username(done, app);
        }
    }
    if done.host == HostType::Azure && done.lacks_http_path {
        let site = session::site_of(&session::parse_url(server)?)?;
        let config = use_http_path(&site);
        eprintln!("hint: for git to say which organization it asks for: {config}");
    }
    if done.is_first {
        eprintln!("Secrets are kept in {}.", output::tilde(location));
    }
    Ok(Exit::Done)
}

/// Says how git is told which of several sign-ins to use.
fn hint_at_username(done: &LoggedIn, app: &InstalledApp) {
    let key = format!("credential.{}/{}.username", done.server, app.owner);
    let account = done.account.as_deref().unwrap_or(&app.owner);
    let config = Suggestion::new("git config --global").arg(key).arg(account);
    eprintln!(
        "hint: git uses this sign-in first; for {} alone: {config}",
        escaped(&app.owner)
    );
}
