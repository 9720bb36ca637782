//! Which server a command means, and the sign-in that it speaks to it with.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;

use super::output::escaped;
use super::{Context, Exit, Failure};
use crate::api::database::{self, Direct};
use crate::api::http::Client;
use crate::api::login;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, TokenApi};
use crate::config::{self, Config};
use crate::credential::Site;
use crate::expiry::{CLOCK_MARGIN, UnixTime};
use crate::item::{Item, Session};
use crate::quote::{Hint, Suggestion};
use crate::sign_in::HostType;
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
    /// Trust the certificates in FILE (PEM) too [default: those given to wit login]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// An account whose tokens can be worked on, on a server that git knows.
pub struct SignedIn {
    pub server: ServerUrl,
    pub site: Site,
    pub account: String,
    pub api: Box<dyn TokenApi>,
    pub store: Box<dyn Store>,
    pub item: Item,
}

/// A sign-in that has not run out, with the client to use it by.
pub struct Login {
    pub client: Rc<Client>,
    pub session: Session,
    site: Site,
    store: Box<dyn Store>,
    item: Item,
}

/// An account whose tokens can be worked on: signed in to a server, or in direct mode on the
/// platform's own database.
pub struct Acting {
    /// Where git meets the tokens; in direct mode it need not be known.
    pub place: Option<Place>,
    /// The server or the database, in words.
    pub name: String,
    pub account: String,
    pub api: Box<dyn TokenApi>,
    pub store: Box<dyn Store>,
    pub item: Item,
    pub config: Config,
}

/// A server and the site that git knows it by.
#[derive(Clone)]
pub struct Place {
    pub server: ServerUrl,
    pub site: Site,
}

impl Acting {
    /// The time by the server's clock, which decides what has expired.
    pub fn now(&self) -> UnixTime {
        UnixTime::now().plus(self.api.clock_skew().unwrap_or(0))
    }

    /// Whether it works on the database itself.
    pub fn is_direct(&self) -> bool {
        self.api.form() == "database"
    }

    /// Whether git on this machine uses the token of that id, as this account's.
    pub fn stores(&self, id: &str) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let server = place.server.to_string();
        self.item.credentials.0.iter().any(|entry| {
            let token = entry.token.as_ref();
            token.is_some_and(|token| {
                token.server == server && token.id == id && token.account == self.account
            })
        })
    }

    /// A command about this account, as far as it would not mean it anyway.
    pub fn suggest(&self, words: &'static str) -> Suggestion {
        let Some(place) = &self.place else {
            return Suggestion::new(words);
        };
        let url = place.server.to_string();
        match self.is_direct() {
            false => suggest(words, &self.config, &url, &self.account),
            // The account is that of WIT_USER_ID.
            true => (options(&self.config, &url, &self.account).into_iter())
                .filter(|(name, _)| *name == "--server")
                .fold(Suggestion::new(words), |command, (name, value)| {
                    command.option(name, value)
                }),
        }
    }

    /// Whether stored tokens can be replaced: it is known where git meets them.
    pub fn can_rotate(&self) -> bool {
        let theirs = |place: &Place| !self.is_direct() || is_direct(&self.config, &place.server);
        self.place.as_ref().is_some_and(theirs)
    }

    /// Whether this machine keeps the token of that id.
    pub fn holds(&self, id: &str) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let server = place.server.to_string();
        let all = [
            &self.item.credentials.0,
            &self.item.pending,
            &self.item.previous,
        ];
        all.into_iter().flatten().any(|entry| {
            let token = entry.token.as_ref();
            token.is_some_and(|token| token.server == server && token.id == id)
        })
    }
}

/// Direct mode where `DATABASE_URL` and `WIT_USER_ID` are set, else the stored sign-in.
pub fn acting(context: &Context, args: &ServerArgs) -> anyhow::Result<Acting> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let Some((direct, account)) = direct()? else {
        if let Some(half) = half_direct()
            && !context.json
        {
            eprintln!("warning: {half}");
        }
        let login = login(&config, context, args)?;
        let server = login.client.server().clone();
        let form = known(&config, &server).and_then(|known| known.api.as_deref());
        let api = login::token_api(&login.client, &login.session.token, form)?;
        return Ok(Acting {
            name: server.to_string(),
            place: Some(Place {
                server,
                site: login.site,
            }),
            account: login.session.account,
            api,
            store: login.store,
            item: login.item,
            config,
        });
    };
    if let Some(named) = args.account.as_ref().filter(|named| **named != account) {
        let why = format!(
            "WIT_USER_ID is of {}, not of {}",
            escaped(&account),
            escaped(named)
        );
        return Err(Failure::new(Exit::Usage, why)
            .hint("unset DATABASE_URL to use the server you are logged in to")
            .into());
    }
    if !context.json {
        eprintln!("Working on {}, as {}.", database::SERVER, escaped(&account));
    }
    let store = store::choice::open(&context.paths, None)?;
    let place = match server(&config, args.server.as_deref()) {
        Ok(server) => Some(Place {
            site: site_of(&server)?,
            server,
        }),
        Err(failure) if args.server.is_some() => return Err(failure.into()),
        Err(_) => None,
    };
    let item = match &place {
        Some(place) => store::load(store.as_ref(), &place.site)?,
        None => Item::default(),
    };
    Ok(Acting {
        place,
        name: database::SERVER.into(),
        account,
        api: Box::new(direct),
        store,
        item,
        config,
    })
}

/// [`acting`] where stored tokens are replaced or ended.
pub fn signed_in(context: &Context, args: &ServerArgs) -> anyhow::Result<SignedIn> {
    let acting = acting(context, args)?;
    let Place { server, site } = git_place(&acting)?.clone();
    Ok(SignedIn {
        server,
        site,
        account: acting.account,
        api: acting.api,
        store: acting.store,
        item: acting.item,
    })
}

/// Where git meets the tokens that are worked on: in direct mode it must be known that they are in
/// that database, and not in another.
pub fn git_place(acting: &Acting) -> anyhow::Result<&Place> {
    let place = acting.place.as_ref().filter(|_| acting.can_rotate());
    Ok(place.ok_or_else(|| {
        let why = format!("git's tokens are not linked to {}", database::SERVER);
        Failure::new(Exit::Usage, why).hint(
            "wit login URL --api database says so; unset DATABASE_URL to go through the server",
        )
    })?)
}

/// What a person is told where only one of the two variables of direct mode is set.
pub fn half_direct() -> Option<&'static str> {
    let is_set = |name| config::variable(name).is_some();
    match (is_set("DATABASE_URL"), is_set("WIT_USER_ID")) {
        (true, false) => Some("DATABASE_URL is ignored, because WIT_USER_ID is not set"),
        (false, true) => Some("WIT_USER_ID is ignored, because DATABASE_URL is not set"),
        _ => None,
    }
}

/// The database of `DATABASE_URL` and the name of the account of `WIT_USER_ID`; `None` where the
/// two variables are not both set.
pub fn direct() -> anyhow::Result<Option<(Direct, String)>> {
    let set = config::line("DATABASE_URL").zip(config::line("WIT_USER_ID"));
    let Some((url, user_id)) = set else {
        return Ok(None);
    };
    let direct = Direct::open(&url, &user_id)?;
    let account = direct.account().map_err(|error| match error {
        ApiError::Unauthorized => {
            let why = "the database has no account with the id in WIT_USER_ID";
            anyhow::Error::from(
                Failure::new(Exit::NotLoggedIn, why)
                    .hint("unset DATABASE_URL to use the server you are logged in to"),
            )
        }
        other => other.into(),
    })?;
    Ok(Some((direct, account.username.unwrap_or(account.email))))
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
    server.site().ok_or_else(|| {
        Failure::new(Exit::Usage, format!("bad server URL: {server}"))
            .hint("wit login https://your.server")
    })
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
            format!(
                "more than one server is known: {}",
                escaped(&known.join(", "))
            ),
        )
        .hint("name one with --server URL")
    })
}

/// The account that a command means: the one named, or the one that signed in last.
pub fn account(config: &Config, server: &ServerUrl, named: Option<&str>) -> Option<String> {
    let remembered = || config.servers.get(&server.to_string())?.account.clone();
    named.map(str::to_owned).or_else(remembered)
}

/// The options that name an account on a server, as far as a command would not mean them anyway.
fn options(config: &Config, url: &str, named: &str) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    if !server(config, None).is_ok_and(|meant| meant.to_string() == url) {
        options.push(("--server", url.to_owned()));
    }
    let remembered = config
        .servers
        .get(url)
        .and_then(|known| known.account.as_deref());
    if remembered != Some(named) {
        options.push(("--account", named.to_owned()));
    }
    options
}

/// A command about an account on a server, named as far as it would not mean them anyway.
pub fn suggest(words: &'static str, config: &Config, url: &str, account: &str) -> Suggestion {
    let command = Suggestion::new(words);
    (options(config, url, account).into_iter()).fold(command, |command, (name, value)| {
        command.option(name, value)
    })
}

/// The command that stores a token of a server, after a login where there is no session for it.
pub fn suggest_create(
    config: &Config,
    item: &Item,
    url: &str,
    account: Option<&str>,
) -> Suggestion {
    let mut sessions = item.sessions.iter();
    let is_theirs = |held: &Session| {
        held.server == url && account.is_none_or(|account| account == held.account)
    };
    let is_signed_in = is_direct_url(config, url) || sessions.any(is_theirs);
    let create = match account {
        Some(account) => suggest("wit token create", config, url, account),
        None => Suggestion::new("wit token create").option("--server", url),
    };
    match is_signed_in {
        true => create,
        false => Suggestion::new("wit login").arg(url).and(create),
    }
}

/// The same options as text.
pub fn naming(config: &Config, url: &str, named: &str) -> String {
    let options = suggest("", config, url, named).to_string();
    match options.is_empty() {
        true => options,
        false => format!(" {options}"),
    }
}

/// What `wit login` remembered of a server.
pub fn known<'a>(config: &'a Config, server: &ServerUrl) -> Option<&'a config::Server> {
    config.servers.get(&server.to_string())
}

/// A client of a server: with the certificates of `--ca-file`, or of its login.
pub fn client(config: &Config, server: &ServerUrl, args: &ServerArgs) -> Result<Client, ApiError> {
    let remembered = || known(config, server)?.ca_file.as_deref();
    let ca_file = args.ca_file.as_deref().or_else(remembered);
    Client::trusting(server, args.allow_http, ca_file)
}

/// Finds the stored sign-in, or says how to make one.
pub fn login(config: &Config, context: &Context, args: &ServerArgs) -> anyhow::Result<Login> {
    let server = server(config, args.server.as_deref())?;
    let host = known(config, &server).and_then(|known| known.host_type.as_deref());
    if let Some(host) = host.and_then(HostType::parse) {
        let why = format!(
            "{server} is {}, whose tokens wit does not manage",
            host.title()
        );
        return Err(Failure::new(Exit::Failed, why)
            .hint(format!("wit login {server} signs git in there"))
            .into());
    }
    let site = site_of(&server)?;
    let account = account(config, &server, args.account.as_deref());
    let store = store::choice::open(&context.paths, None)?;
    let item = store::load(store.as_ref(), &site)?;
    let name = server.to_string();
    let held = item.sessions.iter().find(|session| {
        session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
    });
    let log_in = Suggestion::new("wit login").arg(&name);
    let refused = |why: String| Failure::new(Exit::NotLoggedIn, why).hint(log_in.clone());
    let session = match held {
        None if is_direct(config, &server) => {
            let why = format!("the tokens of {name} are managed directly in its database");
            return Err(Failure::new(Exit::NotLoggedIn, why)
                .hint(
                    Hint::from("set DATABASE_URL and WIT_USER_ID; to go through the server: ")
                        .command(&log_in),
                )
                .into());
        }
        None => return Err(refused(format!("not logged in to {name}")).into()),
        Some(held)
            if held
                .expiry
                .is_some_and(|e| e.is_past(UnixTime::now().plus(CLOCK_MARGIN))) =>
        {
            return Err(refused(format!("the login to {name} has expired")).into());
        }
        Some(held) => held.clone(),
    };
    context.asks(&name);
    Ok(Login {
        client: Rc::new(client(config, &server, args)?),
        session,
        site,
        store,
        item,
    })
}

/// Whether `wit login --api database` was the last login to a server.
pub fn is_direct(config: &Config, server: &ServerUrl) -> bool {
    is_direct_url(config, &server.to_string())
}

fn is_direct_url(config: &Config, url: &str) -> bool {
    let known = config.servers.get(url);
    known.is_some_and(|known| known.api.as_deref() == Some("database"))
}

/// Ends a session at its server; what to tell a person where that can't be known.
pub fn end(config: &Config, args: &ServerArgs, session: &Session) -> Result<(), ApiError> {
    let server = ServerUrl::parse(&session.server).map_err(|why| ApiError::Unreachable {
        server: session.server.clone(),
        reason: why.to_owned(),
    })?;
    let client = Rc::new(client(config, &server, args)?);
    login::sign_out(&client, &session.token, session.cookie.as_ref())
}
