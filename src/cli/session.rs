//! Which server a command means, and the sign-in that it speaks to it with.

use std::rc::Rc;

use anyhow::Context as _;

use super::{Context, Exit, Failure};
use crate::api::TokenApi;
use crate::api::http::Client;
use crate::api::login;
use crate::api::server::ServerUrl;
use crate::config::{self, Config};
use crate::credential::Site;
use crate::expiry::UnixTime;
use crate::item::{Item, Session};
use crate::store::{self, Store};

/// Which server, and how it may be reached.
#[derive(Clone, Debug, Default, clap::Args)]
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
}

/// A server with a sign-in that has not run out.
pub struct SignedIn {
    pub server: ServerUrl,
    pub site: Site,
    pub account: String,
    pub client: Rc<Client>,
    pub api: Box<dyn TokenApi>,
    pub session: Session,
    pub store: Box<dyn Store>,
    pub item: Item,
}

/// The URL that a person typed, or a usage error.
pub fn parse_url(text: &str) -> Result<ServerUrl, Failure> {
    ServerUrl::parse(text).map_err(|why| {
        Failure::new(Exit::Usage, format!("bad server URL: {why}"))
            .hint("wit login https://your.server")
    })
}

/// The site of a server, which every http URL has.
pub fn site_of(server: &ServerUrl) -> Result<Site, Failure> {
    server
        .site()
        .ok_or_else(|| Failure::new(Exit::Usage, format!("bad server URL: {server}")))
}

/// The server that a command means: the one named, `WIT_URL`, the config's default, the only one.
pub fn server(config: &Config, named: Option<&str>) -> Result<ServerUrl, Failure> {
    let environment = config::variable("WIT_URL");
    let only = || match config.servers.len() {
        1 => config.servers.keys().next(),
        _ => None,
    };
    let chosen = named
        .or(environment.as_deref())
        .or(config.default_server.as_deref())
        .or_else(|| only().map(String::as_str));
    if let Some(text) = chosen {
        return parse_url(text);
    }
    Err(if config.servers.is_empty() {
        Failure::new(Exit::NotLoggedIn, "not logged in to any server")
            .hint("wit login https://your.server")
    } else {
        let known: Vec<&str> = config.servers.keys().map(String::as_str).collect();
        Failure::new(
            Exit::Usage,
            format!("more than one server is known: {}", known.join(", ")),
        )
        .hint("name one with --server URL")
    })
}

/// The account that a command means: the one named, or the one that signed in last.
pub fn account(config: &Config, server: &ServerUrl, named: Option<&str>) -> Option<String> {
    let remembered = || config.servers.get(&server.to_string())?.account.clone();
    named.map(str::to_owned).or_else(remembered)
}

/// Finds the stored sign-in, or says how to make one.
pub fn signed_in(context: &Context, args: &ServerArgs) -> anyhow::Result<SignedIn> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = server(&config, args.server.as_deref())?;
    let site = site_of(&server)?;
    let account = account(&config, &server, args.account.as_deref());
    let store = store::choice::open(&context.paths, None)?;
    let item = store::load(store.as_ref(), &site)?;
    let name = server.to_string();
    let held = item.sessions.iter().find(|session| {
        session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
    });
    let refused =
        |why: String| Failure::new(Exit::NotLoggedIn, why).hint(format!("wit login {name}"));
    let session = match held {
        None => return Err(refused(format!("not logged in to {name}")).into()),
        Some(held) if held.expiry.is_some_and(|e| e.is_past(UnixTime::now())) => {
            return Err(refused(format!("the login to {name} has expired")).into());
        }
        Some(held) => held.clone(),
    };
    let client = Rc::new(Client::new(&server, args.allow_http)?);
    let form = config
        .servers
        .get(&name)
        .and_then(|known| known.api.as_deref());
    let api = login::token_api(&client, &session.token, Some(form.unwrap_or("rest")))?;
    Ok(SignedIn {
        server,
        site,
        account: session.account.clone(),
        client,
        api,
        session,
        store,
        item,
    })
}
