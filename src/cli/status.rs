//! `wit status`: who is logged in where, and what this machine keeps. It asks no server.

use std::fmt::Write;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::output::{self, escaped};
use super::session::{self, ServerArgs};
use super::{Context, Exit, Failure};
use crate::api::database;
use crate::config::Config;
use crate::credential::{Credential, Proof};
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::item::Item;
use crate::store;

/// How long before its end a token or a session needs attention, in seconds.
const SOON: i64 = 3 * DAY;

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
    };
    let mut documents = Vec::new();
    for server in servers {
        let site = session::site_of(&server)?;
        let item = store::load(store.as_ref(), &site)?;
        let direct = session::is_direct(&config, &server);
        documents.push(report.server(&server.to_string(), &item, direct));
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

struct Report {
    text: String,
    attention: bool,
    now: UnixTime,
}

impl Report {
    /// One server's part of both forms of the answer.
    fn server(&mut self, server: &str, item: &Item, direct: bool) -> Value {
        self.line(format!("\n{server}"));
        let mut sessions = Vec::new();
        for session in item.sessions.iter().filter(|held| held.server == server) {
            let state = self.state(session.expiry, format!("wit login {server}"));
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
            tokens.push(self.token(server, entry));
        }
        for (entries, what) in [(&item.pending, "unfinished"), (&item.previous, "replaced")] {
            if !entries.is_empty() {
                self.attention = true;
                let number = entries.len();
                self.line(format!("  {number} {what}, to be ended: wit token rotate"));
            }
        }
        json!({
            "server": server,
            "sessions": sessions,
            "tokens": tokens,
            "pending": item.pending.len(),
            "previous": item.previous.len(),
        })
    }

    fn token(&mut self, server: &str, entry: &Credential) -> Value {
        let username = entry.username.as_deref().map(String::from_utf8_lossy);
        let state = self.state(entry.expiry, format!("wit token create --server {server}"));
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
    fn state(&mut self, expiry: Option<Expiry>, mend: String) -> String {
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
        if left > SOON {
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

/// The 8 characters of a token that people see; of any other password, nothing.
fn prefix(entry: &Credential) -> Option<String> {
    let Proof::Password(secret) = &entry.proof else {
        return None;
    };
    let text = secret.expose_str()?;
    let known = text.starts_with("wit_") && text.len() == 44;
    known.then(|| escaped(text.get(..8).unwrap_or_default()))
}
