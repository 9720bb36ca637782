//! `wit logout`: ends the session here and at the server.

mod host;
mod tokens;

use serde_json::{Value, json};

use super::ask::Terminal;
use super::output::escaped;
use super::session::{self, ServerArgs};
use super::{Context, Exit, Failure, output};
use crate::api::server::ServerUrl;
use crate::app::known;
use crate::app::logout::{self, LoggedOut, LogoutError};
use crate::app::session::{Selection, SessionError};
use crate::config::Config;
use crate::credential::{Site, TokenInfo};
use crate::item::Item;
use crate::quote::{Hint, Suggestion};
use crate::store::{self, Store};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, where more than one is known
    #[arg(conflicts_with = "server")]
    url: Option<String>,
    /// Also revoke the tokens that this machine stores for it, of each account unless one is named
    #[arg(long)]
    revoke: bool,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    /// Read the account's password from the first line of stdin, and one-time codes from the next,
    /// for a host that requires them to revoke
    #[arg(long, requires = "revoke")]
    password_stdin: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    args.server.server = args.url.take().or(args.server.server);
    let config = known::config(&context.paths).map_err(session::SessionError::from)?;
    let server = session::server(&config, args.server.server.as_deref())?;
    let asked = tokens::Asked {
        account: args.server.account.as_deref(),
        revoke: args.revoke,
        yes: args.yes,
        password_stdin: args.password_stdin,
    };
    if let Some(exit) = host::run(&server, &asked, &config, context)? {
        return Ok(exit);
    }
    if let Some(half) = session::half_direct()
        && args.revoke
        && !context.json
    {
        eprintln!("warning: {half}");
    }
    let terminal = Terminal {
        agrees: args.yes,
        ..Terminal::default()
    };
    let meant = Selection::from(&args.server);
    let done = match logout::log_out(&context.paths, &meant, args.revoke, &terminal) {
        Err(LogoutError::Session(SessionError::NotLoggedIn { .. })) if asked.account.is_none() => {
            return Err(not_logged_in(&server, &config, context)?.into());
        }
        done => done?,
    };
    match context.json {
        true => output::json(&document(&done))?,
        false => report(&done)?,
    }
    if done.is_kept {
        let server = &done.server;
        let again = Suggestion::new("wit logout --revoke").option("--server", server);
        let message = format!("still logged in to {server}, because a token was not revoked");
        return Err(Failure::new(Exit::Unfinished, message)
            .hint(Hint::from("run it again later: ").command(&again))
            .into());
    }
    match done.is_complete() {
        true => Ok(Exit::Done),
        false => Ok(Exit::Unfinished),
    }
}

/// The failure where nobody is logged in at a server. What else is stored there is named, as git goes on
/// with it.
fn not_logged_in(
    server: &ServerUrl,
    config: &Config,
    context: &Context,
) -> anyhow::Result<Failure> {
    let site = session::site_of(server)?;
    let store = store::select::open(&context.paths, None)?;
    let count = others(&store::load(store.as_ref(), &site)?);
    let name = server.to_string();
    let below = |url: &&String| {
        let rest = url.strip_prefix(name.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let message = format!("not logged in to {name}");
    let hint = match config.servers.keys().find(below) {
        Some(below) => Hint::from(Suggestion::new("wit logout").arg(below)),
        None if count > 0 => Hint::from(format!("git is still given {}; ", stored(count)))
            .text("to erase what is stored: ")
            .command(&Suggestion::new("wit store erase").arg(site.to_string())),
        None => Suggestion::new("wit login").arg(&name).into(),
    };
    Ok(Failure::new(Exit::NotLoggedIn, message).hint(hint))
}

/// The number of entries that git is given without a sign-in, such as those that were imported.
fn others(item: &Item) -> usize {
    let entries = item.credentials.0.iter();
    entries
        .filter(|entry| entry.sign_in.is_none() && entry.token.is_none())
        .count()
}

fn stored(count: usize) -> String {
    match count {
        1 => "a credential that was imported, or stored by git".to_owned(),
        many => format!("{many} credentials that were imported, or stored by git"),
    }
}

/// Says that git is answered after the logout too.
fn warn_of_others(site: &Site, store: &dyn Store, context: &Context) -> anyhow::Result<()> {
    let count = others(&store::load(store, site)?);
    if count > 0 && !context.json {
        let erase = Suggestion::new("wit store erase").arg(site.to_string());
        eprintln!("warning: git is still given {} for {site}", stored(count));
        eprintln!("hint: to erase what is stored: {erase}");
    }
    Ok(())
}

fn document(done: &LoggedOut) -> Value {
    let revoked: Vec<&str> = (done.revoked.iter())
        .map(|token| token.id.as_str())
        .collect();
    let not_revoked = done.not_revoked.iter().map(|failed| {
        json!({
            "id": failed.token.id,
            "name": failed.token.name,
            "account": failed.token.account,
            "reason": output::redacted(&failed.error.to_string()),
        })
    });
    let unfinished = (done.unfinished.iter())
        .map(|journal| json!({ "name": journal.name, "oldId": journal.old_id }));
    let sessions = done.sessions.iter().map(|session| {
        json!({
            "account": session.account,
            "ended": session.ended.is_ok(),
            "reason": session.ended.as_ref().err().map(ToString::to_string),
            "expiresAt": session.expiry.map(|expiry| output::rfc3339(expiry.0)),
        })
    });
    json!({
        "server": done.server,
        "revoked": revoked,
        "notRevoked": not_revoked.collect::<Vec<_>>(),
        "unfinished": unfinished.collect::<Vec<_>>(),
        "stillInUse": done.in_use.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
    })
}

fn report(done: &LoggedOut) -> anyhow::Result<()> {
    let told = |token: &TokenInfo| {
        let (name, account) = (escaped(&token.name), escaped(&token.account));
        format!("{name} of {account} ({})", escaped(&token.id))
    };
    for token in &done.revoked {
        output::print(format!("Revoked {}\n", told(token)).as_bytes())?;
    }
    for failed in &done.not_revoked {
        let error = output::redacted(&failed.error.to_string());
        eprintln!("warning: {} was not revoked: {error}", told(&failed.token));
    }
    if done.is_kept {
        return Ok(());
    }
    let server = &done.server;
    let tokens = match done.revoked.len() {
        0 => String::new(),
        1 => " and revoked 1 token".into(),
        many => format!(" and revoked {many} tokens"),
    };
    let told = match done.sessions.is_empty() && done.revoked.is_empty() && !done.is_direct {
        true => format!("Not logged in to {server}; removed from the configuration.\n"),
        false => format!("Logged out of {server}{tokens}.\n"),
    };
    output::print(told.as_bytes())?;
    for session in &done.sessions {
        let Err(error) = &session.ended else { continue };
        let account = escaped(&session.account);
        let end = match session.expiry {
            Some(expiry) => format!("until {}", output::iso_date(expiry.0)),
            None => "until it expires".to_owned(),
        };
        eprintln!("warning: the session of {account} may still work at the server {end}: {error}");
    }
    for journal in &done.unfinished {
        let (name, id) = (escaped(&journal.name), escaped(&journal.old_id));
        eprintln!("warning: nothing revokes the old token of {name} now: {id}");
    }
    for token in &done.in_use {
        let (name, account) = (escaped(&token.name), escaped(&token.account));
        eprintln!("warning: git still uses the token {name} of {account}, which was not revoked");
    }
    if !done.in_use.is_empty() {
        let log_in = Suggestion::new("wit login").arg(server);
        let revoke = Suggestion::new("wit logout").arg(server).arg("--revoke");
        eprintln!("hint: to revoke it: {}", log_in.and(revoke));
    }
    if !done.unfinished.is_empty() {
        let ids = done.unfinished.iter().map(|journal| journal.old_id.clone());
        let revoke = (Suggestion::new("wit token revoke").args(ids)).option("--server", server);
        let log_in = Suggestion::new("wit login").arg(server);
        eprintln!("hint: {}", log_in.and(revoke));
    }
    Ok(())
}
