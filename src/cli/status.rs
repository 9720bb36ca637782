//! `wit status`: who is logged in where, and what this machine keeps. It asks servers for
//! their clocks only.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::output::{self, escaped, quoted};
use super::session::{self, ServerArgs};
use super::{Context, Exit, Failure};
use crate::api::database;
use crate::api::server::ServerUrl;
use crate::config::Config;
use crate::credential::{Credential, Proof, TokenInfo};
use crate::expiry::{CLOCK_MARGIN, DAY, Expiry, UnixTime};
use crate::helper::renewal;
use crate::item::Item;
use crate::rotation::journal::{self, Journal, Step};
use crate::store;

/// How long before its end a token or a session needs attention, in seconds.
const SOON: i64 = 3 * DAY;
/// The same of a token that can't be renewed.
const SOON_UNRENEWED: i64 = 7 * DAY;
/// How long a server is waited for that only tells its time.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let servers = match &args.server.server {
        Some(text) => vec![session::parse_url(text)?],
        None => config
            .servers
            .keys()
            .map(|url| session::parse_url(url))
            .collect::<Result<Vec<_>, _>>()?,
    };
    if servers.is_empty() {
        return Err(
            Failure::new(Exit::NotLoggedIn, "not logged in to any server")
                .hint("wit login https://your.server")
                .into(),
        );
    }
    let store = store::choice::open(&context.paths, None)?;
    let now = UnixTime::now();
    let mut report = Report {
        text: String::new(),
        attention: false,
        now,
        context,
        config: &config,
        renews: renewal::days(&config).is_some(),
        journals: journal::all(&context.paths).unwrap_or_default(),
    };
    let mut documents = Vec::new();
    for server in servers {
        let site = session::site_of(&server)?;
        let item = store::load(store.as_ref(), &site)?;
        let skew = clock_skew(&config, &server, &args.server);
        let direct = session::is_direct(&config, &server);
        documents.push(report.server(&server, &item, skew, direct));
    }
    let location = store.location();
    if context.json {
        output::json(&json!({
            "store": store.name(),
            "location": location,
            "attention": report.attention,
            "servers": documents,
        }))?;
    } else {
        let text = format!("Secrets are kept in {location}.\n{}", report.text);
        output::print(text.as_bytes())?;
    }
    match report.attention {
        true => Ok(Exit::Attention),
        false => Ok(Exit::Done),
    }
}

struct Report<'a> {
    text: String,
    attention: bool,
    now: UnixTime,
    context: &'a Context,
    config: &'a Config,
    /// Whether tokens are renewed at all.
    renews: bool,
    journals: Vec<Journal>,
}

impl Report<'_> {
    /// One server's part of both forms of the answer.
    fn server(&mut self, url: &ServerUrl, item: &Item, skew: Option<i64>, direct: bool) -> Value {
        let name = url.to_string();
        let server = name.as_str();
        self.line(format!("\n{server}"));
        if let Some(skew) = skew.filter(|skew| skew.abs() >= CLOCK_MARGIN) {
            self.attention = true;
            let clock = output::clock(skew, server);
            self.line(format!("  {clock}: sudo timedatectl set-ntp true"));
        }
        let mut sessions = Vec::new();
        for session in item.sessions.iter().filter(|held| held.server == server) {
            let is_soon = is_within(session.expiry, SOON, self.now);
            let login = format!("wit login {server}");
            let state = self.state(session.expiry, is_soon, login);
            self.line(format!(
                "  Logged in as {}, {state}",
                escaped(&session.account)
            ));
            sessions.push(json!({
                "account": session.account,
                "expiresAt": session.expiry.map(|expiry| output::rfc3339(expiry.0)),
            }));
        }
        if sessions.is_empty() && direct {
            self.line(format!("  Worked on in {}", database::SERVER));
        } else if sessions.is_empty() {
            self.attention = true;
            self.line(format!("  Not logged in: wit login {server}"));
        }
        let mut tokens = Vec::new();
        for entry in &item.credentials.0 {
            tokens.push(self.token(server, entry, item, direct));
        }
        let left_over = |entry: &&Credential| !self.is_in_grace(entry);
        let previous: Vec<&Credential> = item.previous.iter().filter(left_over).collect();
        let pending: Vec<&Credential> = item.pending.iter().collect();
        for (entries, what) in [(pending, "unfinished"), (previous, "replaced")] {
            if let Some(mend) = self.end_of(&entries) {
                self.attention = true;
                self.line(format!("  {} {what}, to be ended: {mend}", entries.len()));
            }
        }
        json!({
            "server": server,
            "clockSkew": skew,
            "sessions": sessions,
            "tokens": tokens,
            "pending": item.pending.len(),
            "previous": item.previous.len(),
        })
    }

    /// What ends tokens that a rotation has left behind; `None` where there are none.
    fn end_of(&self, entries: &[&Credential]) -> Option<String> {
        let infos: Vec<&TokenInfo> = (entries.iter())
            .filter_map(|entry| entry.token.as_ref())
            .collect();
        let first = infos.first()?;
        let naming = session::naming(self.config, &first.server, &first.account);
        let mut journals = self.journals.iter();
        if journals.any(|journal| journal.server == first.server) {
            return Some(format!("wit token rotate --resume{naming}"));
        }
        let ids: Vec<String> = infos.iter().map(|info| quoted(escaped(&info.id))).collect();
        Some(format!("wit token revoke {}{naming}", ids.join(" ")))
    }

    /// Whether a replaced token still lives because that was asked for.
    fn is_in_grace(&self, entry: &Credential) -> bool {
        let id = entry.token.as_ref().map(|token| &token.id);
        let mut journals = self.journals.iter();
        journals.any(|journal| journal.step == Step::Grace && Some(&journal.old_id) == id)
    }

    /// Why a token is not renewed when its time comes, and what to type then.
    fn hindrance(
        &self,
        token: &TokenInfo,
        item: &Item,
        direct: bool,
    ) -> Option<(&'static str, String)> {
        let server = &token.server;
        let login = format!("wit login {server} && wit token rotate --server {server}");
        let mut sessions = item.sessions.iter();
        let signed_in = direct
            || sessions.any(|session| {
                let over = session
                    .expiry
                    .is_some_and(|expiry| expiry.is_past(self.now));
                session.server == *server && session.account == token.account && !over
            });
        let site = session::parse_url(server).and_then(|url| session::site_of(&url));
        let paused = |site| renewal::is_paused(&self.context.paths, &site, self.now);
        match () {
            () if !self.renews => Some((
                "renewal is switched off",
                format!("wit token rotate --server {server}"),
            )),
            () if !signed_in => Some(("the login is over", login)),
            () if site.is_ok_and(paused) => Some(("the last renewal failed", login)),
            () => None,
        }
    }

    fn token(&mut self, server: &str, entry: &Credential, item: &Item, direct: bool) -> Value {
        let username = entry.username.as_deref().map(String::from_utf8_lossy);
        let hindrance = (entry.token.as_ref())
            .filter(|_| is_within(entry.expiry, SOON_UNRENEWED, self.now))
            .and_then(|token| self.hindrance(token, item, direct));
        // One that is renewed in time needs nobody, however short its life.
        let is_soon = match &entry.token {
            Some(_) if hindrance.is_none() => renewal::is_due(entry, SOON / DAY, self.now),
            _ => is_within(entry.expiry, SOON, self.now),
        };
        let create = format!("wit token create --server {server}");
        let mut state = self.state(entry.expiry, is_soon, create);
        if let Some((reason, mend)) = hindrance
            && entry.expiry.is_some_and(|expiry| !expiry.is_past(self.now))
        {
            self.attention = true;
            let words = state.split(':').next().unwrap_or_default();
            state = format!("{words}, not renewed since {reason}: {mend}");
        }
        let name = match (&entry.token, &username) {
            (Some(token), _) => token.name.clone(),
            (None, Some(username)) => format!("password of {username}"),
            (None, None) => "credential without a name".into(),
        };
        let scopes = entry.token.as_ref().map(|token| token.scopes.as_slice());
        let prefix = prefix(entry);
        let shown = prefix.as_ref().map(|prefix| format!("{prefix}...  "));
        let (shown, name) = (shown.unwrap_or_default(), escaped(&name));
        let list = scopes.map(|scopes| format!("{}, ", escaped(&scopes.join(", "))));
        self.line(format!(
            "  {shown}{name}: {}{state}",
            list.unwrap_or_default()
        ));
        json!({
            "name": entry.token.as_ref().map(|token| &token.name),
            "id": entry.token.as_ref().map(|token| &token.id),
            "username": username,
            "tokenPrefix": prefix,
            "scopes": scopes,
            "expiresAt": entry.expiry.map(|expiry| output::rfc3339(expiry.0)),
        })
    }

    /// In words when it ends, with the command that mends it where that is soon.
    fn state(&mut self, expiry: Option<Expiry>, is_soon: bool, mend: String) -> String {
        let Some(expiry) = expiry else {
            return "no end known".into();
        };
        let left = expiry.left(self.now);
        let words = if left <= 0 {
            format!("expired {}", output::ago(expiry.0, self.now))
        } else if left < 2 * DAY {
            format!("expires in {}", output::span(left))
        } else {
            format!("expires in {} days", (left + DAY / 2) / DAY)
        };
        if !is_soon {
            return words;
        }
        self.attention = true;
        format!("{words}: {mend}")
    }

    fn line(&mut self, line: String) {
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Whether something ends within so many seconds, or has.
fn is_within(expiry: Option<Expiry>, seconds: i64, now: UnixTime) -> bool {
    expiry.is_some_and(|expiry| expiry.left(now) <= seconds)
}

/// Server clock minus this machine's, in seconds; `None` where the server does not answer at once.
fn clock_skew(config: &Config, server: &ServerUrl, args: &ServerArgs) -> Option<i64> {
    let args = ServerArgs {
        // No secret goes along.
        allow_http: true,
        ..args.clone()
    };
    let client = session::client(config, server, &args)
        .ok()?
        .within(PATIENCE);
    // Whatever it answers, it tells its time.
    let _ = client.head("/");
    client.clock_skew()
}

/// The 8 characters of a token that people see; of any other password, nothing.
fn prefix(entry: &Credential) -> Option<String> {
    let Proof::Password(secret) = &entry.proof else {
        return None;
    };
    let text = secret.expose_str()?;
    let known = text.starts_with("wit_") && text.len() == 44;
    known.then(|| escaped(text.get(..8).unwrap_or_default()))
}
