//! `wit login` at a git host that is not a wit server: what it is, the way in, what is kept.

mod app;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use url::Url;

use super::browser::open_in_browser;
use crate::api::ApiError;
use crate::api::promises;
use crate::api::server::ServerUrl;
use crate::cli::ask::{asked, first_line, no_terminal, time};
use crate::cli::output::{self, escaped};

use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::{Credential, Proof, Site, TokenInfo};
use crate::expiry::UnixTime;
use crate::hosts::{self, account, github_app, password, recognition};
use crate::oauth::code::{self, Code, Loopback};
use crate::oauth::configured::Configured;
use crate::oauth::{App, Endpoints, OAuthError, Reach, Tokens, device, discovery};
use crate::secret::Secret;
use crate::sign_in::{ClientAuth, HostType, SignIn, Upkeep};
use crate::store::choice::Decided;
use crate::{interactive, process, progress, store};

/// Longest wait for the browser.
const BROWSER_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Interval between two looks for a pasted address.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The word of `--client-id` for the client that Gitea and Forgejo have built in.
const BUILT_IN: &str = "built-in";
const TYPES: [&str; 6] = ["wit", "github", "gitlab", "gitea", "forgejo", "oauth"];

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Options for git hosts")]
pub struct HostArgs {
    /// The type of the server [default: asked of the server]
    #[arg(long, value_name = "TYPE", value_parser = TYPES)]
    host_type: Option<String>,
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

impl HostArgs {
    /// Returns whether a token is to be taken for the login.
    pub fn takes_token(&self) -> bool {
        self.token_stdin || self.paste_token
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

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Device,
    Browser,
    Token,
    Password,
}

/// Facts about the server before the way in is chosen.
struct Host<'a> {
    given: Given<'a>,
    kind: HostType,
    server: ServerUrl,
    site: Site,
    described: Option<Endpoints>,
    configured: Configured,
    reach: Reach,
}

/// Result of a way in.
struct Kept {
    secret: Secret,
    tokens: Option<Tokens>,
    account: Option<String>,
    scopes: Vec<String>,
    upkeep: Upkeep,
    expiry: Option<crate::expiry::Expiry>,
    /// The token as the host describes it, where it does.
    described: Option<account::Described>,
    /// The password that created it, and the one-time code.
    password: Option<(Secret, Option<Secret>)>,
}

/// Signs in; `None` where the server is a wit server, which is signed in to in its own way.
pub fn run(
    given: Given,
    server: &ServerUrl,
    config: &Config,
    context: &Context,
) -> anyhow::Result<Option<Exit>> {
    if given.is_wit && given.host.host_type.is_none() {
        return Ok(None);
    }
    // Where git waits there is no other way, and nobody to be told so.
    let other_way = given.host.for_git.then_some(Exit::NotLoggedIn);
    let configured = configured(server)?;
    let Some(host) = resolve(given, server, config, configured, context)? else {
        return Ok(other_way);
    };
    if host.kind == HostType::Wit {
        return Ok(other_way);
    }
    if host.server.is_plain() && !host.server.is_loopback() {
        let server = host.server.to_string();
        return Err(ApiError::PlainHttp { server }.into());
    }
    if host.given.host.for_git && host.app(context)?.is_none() {
        return Ok(other_way);
    }
    // A store that can't be read now would lose what the host is about to grant.
    let decided = store::choice::decide(&context.paths, None)?;
    store::load(decided.store.as_ref(), &host.site)?;
    let kept = host.sign_in(context)?;
    host.keep(kept, decided, context).map(Some)
}

/// git's configuration for the server. Without git there is none.
fn configured(server: &ServerUrl) -> anyhow::Result<Configured> {
    let arguments = Configured::git_arguments(server);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Ok(printed) = process::run("git", &arguments, "") else {
        return Ok(Configured::default());
    };
    Configured::parse(server, &printed.stdout).context("git's configuration")
}

/// Type of the server: by option, as it was remembered, by its name, by git's configuration, or as
/// it answers.
fn resolve<'a>(
    given: Given<'a>,
    server: &ServerUrl,
    config: &Config,
    configured: Configured,
    context: &Context,
) -> anyhow::Result<Option<Host<'a>>> {
    let known = config.servers.get(&server.to_string());
    let reach = Reach::to(config, &server.to_string(), given.ca_file.clone());
    let root = || ServerUrl::parse(&server.at("").origin().ascii_serialization()).ok();
    let remembered = known.and_then(|known| known.host_type.as_deref());
    let mut described = None;
    let mut version = None;
    let mut place = server.clone();
    let option = given.host.host_type.as_deref();
    let kind = if let Some(kind) = option.or(remembered).and_then(HostType::parse) {
        kind
    } else if known.is_some_and(|known| known.api.is_some()) {
        return Ok(None);
    } else if let Some(kind) = hosts::known(server) {
        place = root().unwrap_or(place);
        kind
    } else if let Some(kind) = configured.host {
        kind
    } else if given.host.for_git {
        // Git's question is no reason to ask a server what it is.
        match configured.token.is_some() {
            true => HostType::Oauth,
            false => return Ok(None),
        }
    } else {
        let found = recognition::recognize(server, &reach);
        let found = found.map_err(|error| match error {
            OAuthError::Api(ApiError::Failed { status }) => {
                let why = format!("{server} could not be asked what it is: it answered {status}");
                let login = format!("wit login {server} --host-type TYPE");
                Failure::new(Exit::Failed, why)
                    .hint(format!("try again later, or name its type: {login}"))
                    .into()
            }
            other => anyhow::Error::from(other),
        })?;
        match found {
            Some(found) => {
                place = found.server;
                described = found.endpoints;
                version = found.version;
                found.host
            }
            None if configured.token.is_some() => HostType::Oauth,
            // It may be a wit server whose version is not known here: that way in says so if not.
            None => return Ok(None),
        }
    };
    if kind != HostType::Wit && option.is_none() && !context.json {
        let version = version
            .map(|version| format!(" {version}"))
            .unwrap_or_default();
        eprintln!("{place} is {}{version}.", kind.title());
    }
    let site = crate::cli::session::site_of(&place)?;
    Ok(Some(Host {
        given,
        kind,
        server: place,
        site,
        described,
        configured,
        reach,
    }))
}

impl Host<'_> {
    fn sign_in(&self, context: &Context) -> anyhow::Result<Kept> {
        let args = self.given.host;
        if args.app.is_given() {
            return self.by_app(context);
        }
        if args.token_stdin {
            return self.take_token(first_line("token")?, context);
        }
        if args.paste_token {
            return self.ask_token(context);
        }
        if args.password || self.given.password_stdin {
            return self.by_password(context);
        }
        let app = self.app(context)?;
        let wants_oauth = args.device || args.browser || self.given.no_browser;
        let Some(app) = app else {
            if args.for_git || !io::stdin().is_terminal() {
                return Err(self.no_client().into());
            }
            return match self.choose(wants_oauth)? {
                Way::Token => self.ask_token(context),
                Way::Password => self.by_password(context),
                Way::Device | Way::Browser => self.by_oauth(self.built_in()?),
            };
        };
        self.by_oauth(app)
    }

    /// The client that this program is to the server: by option, by git's configuration, or the one
    /// that signed in before.
    fn app(&self, context: &Context) -> anyhow::Result<Option<App>> {
        let args = self.given.host;
        let client_secret = match args.client_secret_stdin {
            true => Some(first_line("client secret")?),
            false => None,
        };
        let app = |client_id: &str, client_secret: Option<Secret>| App {
            client_id: client_id.to_owned(),
            client_secret,
            client_auth: self.configured.client_auth.unwrap_or_default(),
        };
        if args.client_id.as_deref() == Some(BUILT_IN) {
            return self.built_in().map(Some);
        }
        if let Some(id) = &args.client_id {
            return Ok(Some(app(id, client_secret)));
        }
        if let Some(id) = &self.configured.client_id {
            return Ok(Some(app(id, self.configured.client_secret.clone())));
        }
        let store = store::choice::open(&context.paths, None)?;
        let item = store::load(store.as_ref(), &self.site)?;
        let server = self.server.to_string();
        let before = item.credentials.0.iter().find_map(|entry| {
            let sign_in = entry.sign_in.as_ref()?;
            match &sign_in.upkeep {
                Upkeep::Refresh(client) if sign_in.server == server => Some(App::from(client)),
                _ => None,
            }
        });
        Ok(before)
    }

    fn built_in(&self) -> anyhow::Result<App> {
        let client = hosts::built_in_client(self.kind).ok_or_else(|| {
            let why = format!("{} has no built-in client", self.kind.title());
            Failure::new(Exit::Usage, why).hint(self.register())
        })?;
        Ok(App {
            client_id: client.client_id.to_owned(),
            client_secret: None,
            client_auth: ClientAuth::Body,
        })
    }

    /// Instructions for registering a client.
    fn register(&self) -> String {
        let registration = hosts::registration(self.kind, &self.server);
        let place = match registration.page {
            Some(page) => format!("at {page}"),
            None => "at the server".to_owned(),
        };
        format!(
            "register one {place} (redirect {}, {}), then: wit login {} --client-id ID",
            hosts::REDIRECT,
            registration.boxes,
            self.server
        )
    }

    fn no_client(&self) -> Failure {
        let why = format!("there is no OAuth client for {}", self.server);
        let mut hint = self.register();
        if let Some(client) = hosts::built_in_client(self.kind) {
            hint += &format!(
                "; or --client-id {BUILT_IN}, which {} shows as \"{}\"",
                self.kind.title(),
                client.name
            );
        }
        hint += "; or --token-stdin";
        Failure::new(Exit::Usage, why).hint(hint)
    }

    /// Asks for the way in where no client is known.
    fn choose(&self, wants_oauth: bool) -> anyhow::Result<Way> {
        let mut ways = Vec::new();
        if let Some(client) = hosts::built_in_client(self.kind) {
            let words = format!(
                "in a browser, with the built-in client, which you will see as \"{}\"",
                client.name
            );
            ways.push((Way::Browser, words));
        } else if wants_oauth {
            return Err(self.no_client().into());
        }
        if !wants_oauth {
            ways.push((
                Way::Token,
                "with a token that you create on a page".to_owned(),
            ));
            if password::is_supported(self.kind) {
                ways.push((Way::Password, "with your password".to_owned()));
            }
        }
        eprintln!(
            "No OAuth client is configured. To use one of your own, {}.",
            self.register()
        );
        eprintln!("Sign in:");
        for (number, (_, words)) in ways.iter().enumerate() {
            eprintln!("  {}  {words}", number + 1);
        }
        eprint!("Which [1]? ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let number = match line.trim() {
            "" if line.is_empty() => None,
            "" => Some(1),
            text => text.parse::<usize>().ok(),
        };
        let way = number.and_then(|number| ways.get(number.checked_sub(1)?));
        let (way, _) = way.ok_or_else(|| {
            Failure::new(Exit::Usage, "no way to sign in was chosen").hint("wit login --help")
        })?;
        Ok(*way)
    }

    fn endpoints(&self) -> anyhow::Result<Endpoints> {
        let configured = &self.configured;
        let mut base = match hosts::endpoints(self.kind, &self.server) {
            Some(base) => Some(base),
            None if self.described.is_some() => self.described.clone(),
            None if configured.token.is_some() => None,
            None => discovery::discover(&self.server, &self.reach)?,
        };
        if base.is_none()
            && let Some(token) = &configured.token
        {
            // The server that is configured may say the rest of itself.
            let origin = ServerUrl::parse(&token.origin().ascii_serialization());
            let described = origin
                .ok()
                .and_then(|origin| discovery::discover(&origin, &self.reach).ok().flatten());
            base = Some(match described {
                Some(described) if described.token == *token => described,
                _ => Endpoints {
                    authorization: None,
                    token: token.clone(),
                    device: None,
                    revocation: None,
                    userinfo: None,
                    issuer: None,
                    names_issuer: false,
                    client_auth: None,
                    scopes: Vec::new(),
                },
            });
        }
        let mut endpoints = base.ok_or_else(|| {
            let why = format!("{} does not describe its OAuth endpoints", self.server);
            Failure::new(Exit::Failed, why).hint(format!(
                "git config --global credential.{0}.oauthTokenURL URL, and oauthAuthURL or \
                 oauthDeviceAuthURL",
                self.server
            ))
        })?;
        let or = |one: &Option<Url>, other: Option<Url>| one.clone().or(other);
        endpoints.authorization = or(&configured.authorization, endpoints.authorization);
        endpoints.device = or(&configured.device, endpoints.device);
        endpoints.token = configured.token.clone().unwrap_or(endpoints.token);
        Ok(endpoints)
    }

    /// Device flow or code, the better one first.
    fn by_oauth(&self, mut app: App) -> anyhow::Result<Kept> {
        let endpoints = self.endpoints()?;
        if self.configured.client_auth.is_none() {
            app.client_auth = endpoints.client_auth.unwrap_or(app.client_auth);
        }
        let args = self.given.host;
        let scopes = match (&args.scopes, &self.configured.scopes) {
            (Some(scopes), _) => crate::oauth::split_scopes(scopes),
            (None, Some(scopes)) => scopes.clone(),
            (None, None) => hosts::scopes(self.kind, &endpoints.scopes),
        };
        // GitHub wants a secret with a code, and none with a device.
        let has_code = endpoints.authorization.is_some()
            && (self.kind != HostType::Github || app.client_secret.is_some());
        let has_device = endpoints.device.is_some();
        let way = match (args.device, args.browser || self.given.no_browser) {
            (true, _) => Way::Device,
            (false, true) if args.browser || has_code => Way::Browser,
            _ if has_device && (!has_code || self.kind == HostType::Github) => Way::Device,
            _ if has_device && !(interactive::has_screen() && has_code) => Way::Device,
            _ => Way::Browser,
        };
        let is_chosen = args.device || args.browser || self.given.no_browser;
        let tokens = match way {
            Way::Device => match self.by_device(&endpoints, &mut app, &scopes) {
                Err(OAuthError::Unsupported { .. }) if has_code && !args.device => {
                    self.by_code(&endpoints, &mut app, &scopes, false)
                }
                other => other,
            },
            // A screen on which no browser can be opened is no better than none.
            _ => match self.by_code(&endpoints, &mut app, &scopes, has_device && !is_chosen) {
                Err(OAuthError::Unsupported { .. }) if has_device && !is_chosen => {
                    self.by_device(&endpoints, &mut app, &scopes)
                }
                other => other,
            },
        };
        let tokens = tokens.map_err(|error| self.failure(error))?;
        let account = account::of_access_token(
            self.kind,
            &self.server,
            endpoints.userinfo.as_ref(),
            &tokens.access,
            &self.reach,
        );
        Ok(Kept {
            secret: tokens.access.clone(),
            account: account.or(self.given.username.map(str::to_owned)),
            scopes: tokens.scopes.clone().unwrap_or(scopes),
            upkeep: Upkeep::Refresh(app.stored(&endpoints)),
            expiry: tokens.expiry,
            tokens: Some(tokens),
            described: None,
            password: None,
        })
    }

    /// An OAuth error with what to type.
    fn failure(&self, error: OAuthError) -> anyhow::Error {
        let login = format!("wit login {}", self.server);
        let check = || {
            let registration = hosts::registration(self.kind, &self.server);
            format!("check the client's registration: {}", registration.boxes)
        };
        if let (OAuthError::Unsupported { .. }, HostType::Github) = (&error, self.kind) {
            // It has a device flow on each version, and says 404 of a client.
            let why = format!("{} does not know this client ID", self.server);
            return Failure::new(Exit::NotLoggedIn, why).hint(check()).into();
        }
        let hint = match &error {
            OAuthError::Denied
            | OAuthError::Expired
            | OAuthError::State
            | OAuthError::NoRedirect => login,
            OAuthError::Unsupported { what } if *what == "device flow" => {
                format!("{login} --browser, or --token-stdin")
            }
            OAuthError::Unsupported { .. } => format!("{login} --device, or --token-stdin"),
            OAuthError::Refused { code, .. } => match code.as_str() {
                "device_flow_disabled"
                | "unauthorized_client"
                | "invalid_client"
                | "incorrect_client_credentials" => check(),
                "invalid_scope" => format!("{login} --scopes SCOPES"),
                _ => login,
            },
            OAuthError::Listen(_) => format!("{login} --device"),
            OAuthError::Issuer { .. } | OAuthError::Endpoint { .. } => {
                "wit login --help".to_owned()
            }
            OAuthError::SlowDown { .. } | OAuthError::Ended { .. } => login,
            OAuthError::Api(_) => return error.into(),
        };
        Failure::new(Exit::NotLoggedIn, error.to_string())
            .hint(hint)
            .into()
    }

    fn by_device(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        scopes: &[String],
    ) -> Result<Tokens, OAuthError> {
        let pending = device::begin(endpoints, app, scopes, &self.reach)?;
        let address = pending.complete_address.as_ref();
        let opened = !self.given.no_browser
            && address.is_some_and(|address| open_in_browser(address.as_str()));
        let place = match opened {
            true => "In the browser that opens, or at",
            false => "Open",
        };
        let lifetime = time(pending.lifetime);
        eprintln!(
            "{place}\n\n  {}\n\nenter the code\n\n  {}\n\nIt expires in {lifetime}. Ctrl-C cancels.",
            pending.address, pending.user_code
        );
        progress::during("Waiting for the code to be confirmed", || {
            pending.wait(endpoints, app, &self.reach)
        })
    }

    fn by_code(
        &self,
        endpoints: &Endpoints,
        app: &mut App,
        scopes: &[String],
        needs_browser: bool,
    ) -> Result<Tokens, OAuthError> {
        let loopback = Loopback::bind(self.configured.redirect.as_ref())?;
        let pending = code::begin(endpoints, app, scopes, &loopback.redirect)?;
        let opened = !self.given.no_browser && open_in_browser(pending.address.as_str());
        if needs_browser && !opened {
            return Err(OAuthError::Unsupported { what: "browser" });
        }
        let code = if opened {
            eprintln!(
                "Sign in in the browser that opens, or at\n\n  {}\n\nCtrl-C cancels.",
                pending.address
            );
            progress::during("Waiting for the browser", || {
                loopback.wait(&pending, Instant::now() + BROWSER_TIMEOUT)
            })
        } else {
            eprintln!("Open\n\n  {}\n", pending.address);
            if !self.given.host.for_git {
                eprintln!(
                    "in a browser and sign in. Where it can't reach this machine, paste the address\n\
                     that it was sent to, which begins with {}",
                    loopback.redirect
                );
            }
            self.code_or_pasted(&loopback, &pending)
        }?;
        pending.exchange(&code, endpoints, app, &self.reach)
    }

    /// Whichever comes first: the browser, or the pasted address.
    fn code_or_pasted(
        &self,
        loopback: &Loopback,
        pending: &code::Pending,
    ) -> Result<Code, OAuthError> {
        let pasted = match self.given.host.for_git {
            true => None,
            false => Some(pasted()),
        };
        let end = Instant::now() + BROWSER_TIMEOUT;
        while Instant::now() < end {
            match loopback.wait(pending, Instant::now() + POLL_INTERVAL) {
                Err(OAuthError::Expired) => {}
                done => return done,
            }
            match pasted.as_ref().map(Receiver::try_recv) {
                Some(Ok(line)) if line.trim().is_empty() => {}
                Some(Ok(line)) => return pending.code(&line),
                None | Some(Err(TryRecvError::Empty | TryRecvError::Disconnected)) => {}
            }
        }
        Err(OAuthError::Expired)
    }

    fn ask_token(&self, context: &Context) -> anyhow::Result<Kept> {
        let hint = format!("wit login {} --token-stdin", self.server);
        if !io::stdin().is_terminal() {
            return Err(no_terminal(hint));
        }
        if let Some(page) = hosts::token_page(self.kind, &self.server, &output::machine()) {
            let opened = !self.given.no_browser && open_in_browser(page.as_str());
            let place = if opened {
                "In the browser that opens, or at"
            } else {
                "At"
            };
            eprintln!("{place}\n\n  {page}\n\ncreate a token, and paste it here.");
        }
        self.take_token(asked("token", false, hint)?, context)
    }

    /// Asks the host about a token that was created elsewhere.
    fn take_token(&self, token: Secret, context: &Context) -> anyhow::Result<Kept> {
        if !token.expose().iter().all(u8::is_ascii_graphic) {
            let why = "that is no token: it has characters that no token has";
            return Err(Failure::new(Exit::Usage, why)
                .hint("paste the token alone, without spaces or quotes")
                .into());
        }
        let userinfo = match self.kind {
            HostType::Oauth => self.endpoints().ok().and_then(|found| found.userinfo),
            _ => None,
        };
        let about = account::of_pasted(
            self.kind,
            &self.server,
            userinfo.as_ref(),
            &token,
            &self.reach,
        );
        let about = about.map_err(|error| match error {
            OAuthError::Api(ApiError::Unauthorized) => {
                let why = format!("{} does not accept this token", self.server);
                let page = hosts::token_page(self.kind, &self.server, &output::machine());
                let hint = match page {
                    Some(page) => format!("create one at {page}"),
                    None => "create a new one at the server".to_owned(),
                };
                Failure::new(Exit::NotLoggedIn, why).hint(hint).into()
            }
            OAuthError::Api(error) if !matches!(error, ApiError::Unreachable { .. }) => {
                self.unchecked(&error).into()
            }
            other => anyhow::Error::from(other),
        })?;
        if !about.is_accepted && !context.json {
            eprintln!(
                "warning: {} did not say whether it accepts this token",
                self.server
            );
        }
        let scopes = about.scopes.unwrap_or_default();
        let for_git = ["api", "write_repository", "read_repository"];
        let is_for_git = scopes.is_empty() || scopes.iter().any(|s| for_git.contains(&s.as_str()));
        if self.kind == HostType::Gitlab && !is_for_git && !context.json {
            eprintln!(
                "warning: git can't use this token: it has neither read_repository nor \
                 write_repository"
            );
        }
        let rotates = scopes.iter().any(|scope| scope == "self_rotate");
        Ok(Kept {
            secret: token,
            tokens: None,
            account: about.account.or(self.given.username.map(str::to_owned)),
            scopes,
            upkeep: match rotates && self.kind == HostType::Gitlab {
                true => Upkeep::RotateItself,
                false => Upkeep::Watch,
            },
            expiry: about.expiry,
            described: about.described,
            password: None,
        })
    }

    /// A token of which the host said neither yes nor no. It might take the place of one that works.
    fn unchecked(&self, error: &ApiError) -> Failure {
        let server = &self.server;
        let title = self.kind.title();
        let (reason, hint) = match error {
            ApiError::NotFound => (
                format!("it has no API of {title} there"),
                format!("is it {title}? wit login {server} --host-type TYPE --token-stdin"),
            ),
            other => (
                other.to_string(),
                format!("try again: wit login {server} --token-stdin"),
            ),
        };
        let why = format!(
            "{server} did not say whether it accepts this token, which was not stored: {reason}"
        );
        Failure::new(Exit::Failed, why).hint(hint)
    }

    /// Has the host create a token for the password, which is not kept.
    fn by_password(&self, context: &Context) -> anyhow::Result<Kept> {
        let server = &self.server;
        if !password::is_supported(self.kind) {
            let why = format!("{} takes no password for git", self.kind.title());
            return Err(Failure::new(Exit::Usage, why)
                .hint(format!("wit login {server} --token-stdin"))
                .into());
        }
        let hint = format!("wit login {server} --username NAME --password-stdin");
        let username = match self.given.username {
            Some(username) => username.to_owned(),
            None => ask_line("Username", &hint)?,
        };
        let is_asked = !self.given.password_stdin;
        let secret = match is_asked {
            true => asked("password", false, hint)?,
            false => first_line("password")?,
        };
        // A script puts the code on the second line.
        let mut code = match is_asked {
            true => None,
            false => first_line("one-time code").ok(),
        };
        let scopes = match &self.given.host.scopes {
            Some(scopes) => crate::oauth::split_scopes(scopes),
            None => vec!["write:repository".to_owned()],
        };
        // Names are unique at these hosts.
        let name = promises::generation(&format!("git on {}", output::machine()));
        let create = |code: Option<&Secret>| {
            let login = password::Login {
                username: &username,
                password: &secret,
                code,
            };
            password::create(self.kind, server, &login, &name, &scopes, &self.reach)
        };
        let mut created = create(code.as_ref());
        if matches!(created, Err(OAuthError::Api(ApiError::Unauthorized)))
            && is_asked
            && code.is_none()
        {
            // The host does not say whether it is the password or the missing code.
            code = Some(asked("one-time code", false, String::new())?);
            created = create(code.as_ref());
        }
        let created = created.map_err(|error| match error {
            OAuthError::Api(ApiError::Unauthorized) => Failure::new(
                Exit::NotLoggedIn,
                "wrong username, password or one-time code",
            )
            .hint(format!(
                "wit login {server} --token-stdin takes a token instead"
            ))
            .into(),
            other => anyhow::Error::from(other),
        })?;
        if !context.json {
            eprintln!("Created the token {}.", escaped(&created.name));
        }
        Ok(Kept {
            secret: created.secret,
            tokens: None,
            account: Some(username),
            scopes: created.scopes,
            upkeep: Upkeep::Replace {
                id: created.id,
                name: created.name,
            },
            expiry: None,
            described: None,
            password: Some((secret, code)),
        })
    }

    /// Revokes a token that an earlier login created, which nobody has any more, or says that it lives on.
    fn end_replaced(&self, replaced: &Credential, password: Option<&(Secret, Option<Secret>)>) {
        let sign_in = replaced.sign_in.as_ref();
        let Some((Upkeep::Replace { id, name }, account)) =
            sign_in.map(|sign_in| (&sign_in.upkeep, sign_in.account.as_deref()))
        else {
            return;
        };
        let why = match (password, account) {
            (Some((password, code)), Some(username)) => {
                let code = code.as_ref();
                let login = password::Login {
                    username,
                    password,
                    code,
                };
                match password::revoke(self.kind, &self.server, &login, id, &self.reach) {
                    Ok(()) => {
                        return eprintln!("Revoked the token {} that it replaces.", escaped(name));
                    }
                    Err(error) => format!(": {error}"),
                }
            }
            _ => String::new(),
        };
        eprintln!(
            "warning: the replaced token {} still works{why}",
            escaped(name)
        );
        if let Some(page) = hosts::grants_page(self.kind, &self.server) {
            eprintln!("hint: revoke it at {page}");
        }
    }

    fn keep(&self, kept: Kept, decided: Decided, context: &Context) -> anyhow::Result<Exit> {
        let name = self.server.to_string();
        let configured = self.configured.git_username.clone();
        let app = match &kept.upkeep {
            Upkeep::Mint(app) => Some(app.clone()),
            _ => None,
        };
        let git_username = match &app {
            Some(_) => github_app::GIT_USERNAME.to_owned(),
            None => configured
                .unwrap_or_else(|| hosts::git_username(self.kind, kept.account.as_deref())),
        };
        let username = kept.account.clone().unwrap_or_else(|| git_username.clone());
        let (refresh_token, refresh_expiry) = match kept.tokens {
            Some(tokens) => (tokens.refresh, tokens.refresh_expiry),
            None => (None, None),
        };
        let rotates = matches!(kept.upkeep, Upkeep::RotateItself);
        let renews = refresh_token.is_some() || app.is_some() || rotates && kept.expiry.is_some();
        let token = kept.described.map(|described| TokenInfo {
            server: name.clone(),
            id: described.id,
            name: described.name,
            account: username.clone(),
            scopes: kept.scopes.clone(),
            repositories: Vec::new(),
            created: described.created,
            replace_by: None,
            clock_skew: 0,
        });
        let entry = Credential {
            username: Some(username.into_bytes()),
            path: self.given.host.path.clone().map(String::into_bytes),
            proof: Proof::Password(kept.secret),
            expiry: kept.expiry,
            refresh_token,
            token,
            sign_in: Some(SignIn {
                server: name.clone(),
                host: self.kind,
                account: kept.account.clone(),
                git_username,
                bearer: hosts::takes_bearer(self.kind),
                scopes: kept.scopes.clone(),
                issued: UnixTime::now(),
                refresh_expiry,
                ended: false,
                upkeep: kept.upkeep,
            }),
            imported: false,
        };
        let granted = entry.clone();
        let stored = store::update(decided.store.as_ref(), &context.paths, &self.site, |item| {
            let replaced = item.credentials.in_place_of(&entry).cloned();
            item.credentials.sign_in(entry);
            replaced
        });
        let end = |entry: &Credential| {
            if let Some(sign_in) = &entry.sign_in {
                let _ = hosts::end::end(entry, sign_in, &self.server, &self.reach);
            }
        };
        match stored {
            // Nobody has it now, so it is not to live on at the host.
            Err(error) => {
                end(&granted);
                return Err(error.into());
            }
            Ok(Some(replaced)) if app.is_some() => end(&replaced),
            Ok(Some(replaced)) => self.end_replaced(&replaced, kept.password.as_ref()),
            Ok(_) => {}
        }
        // A server that was away, or a person who was not asked again, are so no longer.
        let _ = crate::helper::refresh::succeeded(&context.paths, &self.site);
        let ca_file = self.given.ca_file.clone();
        Config::update(&context.paths, |config| {
            let known = config.servers.entry(name.clone()).or_default();
            known.host_type = Some(self.kind.name().to_owned());
            known.account = kept.account.clone().or(known.account.take());
            known.ca_file = ca_file.or(known.ca_file.take());
        })
        .context("can't write the configuration")?;
        let location = decided.store.location();
        if context.json {
            output::json(&json!({
                "server": name,
                "hostType": self.kind.name(),
                "account": kept.account,
                "scopes": kept.scopes,
                "app": app.as_ref().map(output::app),
                "renews": renews,
                "expiresAt": kept.expiry.map(|expiry| output::rfc3339(expiry.0)),
                "store": decided.store.name(),
                "location": location,
            }))?;
            return Ok(Exit::Done);
        }
        let account = kept.account.as_deref().map(escaped);
        let account = account
            .map(|account| format!(" as {account}"))
            .unwrap_or_default();
        let renewed = match (renews, kept.expiry) {
            (true, Some(expiry)) if rotates => format!(
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
        output::print(format!("Logged in to {name}{account}{by}.{renewed}\n").as_bytes())?;
        if let Some(app) = &app {
            eprintln!("The app's private key is kept in {location}; git needs its file no longer.");
            self.tell_of_others(app, kept.account.as_deref(), decided.store.as_ref())?;
        }
        if decided.new {
            eprintln!("Secrets are kept in {}.", output::tilde(&location));
        }
        Ok(Exit::Done)
    }
}

/// The lines of stdin, read beside whatever else is waited for.
fn pasted() -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn ask_line(what: &str, hint: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return Err(no_terminal(hint.to_owned()));
    }
    eprint!("{what}: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "" => Err(Failure::new(Exit::Usage, "no name was given")
            .hint(hint.to_owned())
            .into()),
        name => Ok(name.to_owned()),
    }
}
