//! `wit logout`: ends the session here and at the server.

mod host;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::output::escaped;
use super::session::{self, ServerArgs};
use super::token::forget;
use super::{Context, Exit, Failure, output};
use crate::api::ApiError;
use crate::config::Config;
use crate::credential::{Credential, Site, TokenInfo};
use crate::expiry::UnixTime;
use crate::item::{Item, Session};
use crate::quote::{Hint, Suggestion};
use crate::rotation::journal::{self, Journal};
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
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    args.server.server = args.url.take().or(args.server.server);
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = session::server(&config, args.server.server.as_deref())?;
    let name = server.to_string();
    let named = args.server.account.as_deref();
    if let Some(exit) = host::run(&server, named, args.revoke, args.yes, &config, context)? {
        return Ok(exit);
    }
    let account = session::account(&config, &server, args.server.account.as_deref());
    let site = session::site_of(&server)?;
    let store = store::choice::open(&context.paths, None)?;
    let mut revocations = Revocations::default();
    if args.revoke {
        revocations = revoke(&args, &name, &site, store.as_ref(), context)?;
        if revocations.failed_of(account.as_deref()) {
            // With it they can be revoked by another try.
            revocations.report(context.json)?;
            return still_logged_in(&name, &revocations, context);
        }
    }
    let remembered = session::account(&config, &server, None);
    let (ended, left) = store::update(store.as_ref(), &context.paths, &site, |item| {
        let is_meant = |session: &mut Session| {
            session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
        };
        let ended: Vec<Session> = item.sessions.extract_if(.., is_meant).collect();
        (ended, Left::of(item, &name, remembered.as_deref()))
    })?;
    let direct = session::is_direct(&config, &server);
    let is_idle = config.servers.contains_key(&name) && !left.tokens && left.account.is_none();
    if ended.is_empty() && !direct && !is_idle {
        return Err(
            Failure::new(Exit::NotLoggedIn, format!("not logged in to {name}"))
                .hint(Suggestion::new("wit login").arg(&name))
                .into(),
        );
    }
    Config::update(&context.paths, |config| match &left.account {
        None if !left.tokens => config.forget(&name),
        left => {
            if let Some(known) = config.servers.get_mut(&name) {
                known.api.take_if(|form| form == "database");
                // Where nobody is left, the next login offers the one that was.
                known.account = left.clone().or(known.account.take());
            }
        }
    })
    .context("can't write the configuration")?;
    let now = UnixTime::now();
    let is_over = |session: &Session| session.expiry.is_some_and(|expiry| expiry.is_past(now));
    let sessions: Vec<(Session, Result<(), ApiError>)> = (ended.into_iter())
        .map(|session| match is_over(&session) {
            true => (session, Ok(())),
            false => {
                let done = session::end(&config, &args.server, &session);
                (session, done)
            }
        })
        .collect();
    let unfinished = unfinished(&name, &sessions, &revocations, context)?;
    report(&name, &sessions, &revocations, &unfinished, context)?;
    let is_done = unfinished.is_empty()
        && revocations.failed.is_empty()
        && sessions.iter().all(|(_, done)| done.is_ok());
    match is_done {
        true => Ok(Exit::Done),
        false => Ok(Exit::Unfinished),
    }
}

/// The tokens of this machine that were to be revoked.
#[derive(Default)]
struct Revocations {
    revoked: Vec<TokenInfo>,
    failed: Vec<(TokenInfo, anyhow::Error)>,
}

impl Revocations {
    /// Whether a token of that account, or of any, still works.
    fn failed_of(&self, account: Option<&str>) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|(token, _)| account.is_none_or(|account| account == token.account))
    }

    fn has_revoked(&self, id: &str) -> bool {
        self.revoked.iter().any(|token| token.id == id)
    }

    fn ids(&self) -> Vec<&str> {
        let ids = self.revoked.iter().map(|token| token.id.as_str());
        ids.collect()
    }

    fn not_revoked(&self) -> Vec<Value> {
        let failed = self.failed.iter().map(|(token, error)| {
            json!({
                "id": token.id,
                "name": token.name,
                "account": token.account,
                "reason": output::redacted(&format!("{error:#}")),
            })
        });
        failed.collect()
    }

    /// A line for each token.
    fn report(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return Ok(());
        }
        let told = |token: &TokenInfo| {
            let (name, account) = (escaped(&token.name), escaped(&token.account));
            format!("{name} of {account} ({})", escaped(&token.id))
        };
        for token in &self.revoked {
            output::print(format!("Revoked {}\n", told(token)).as_bytes())?;
        }
        for (token, error) in &self.failed {
            let error = output::redacted(&format!("{error:#}"));
            eprintln!("warning: {} was not revoked: {error}", told(token));
        }
        Ok(())
    }
}

/// Revokes what this machine stores for a server: git's tokens, those that a rotation has replaced
/// and those of unfinished ones; each account's by its own session.
fn revoke(
    args: &Args,
    server: &str,
    site: &Site,
    store: &dyn Store,
    context: &Context,
) -> anyhow::Result<Revocations> {
    let item = store::load(store, site)?;
    let named = args.server.account.as_ref();
    let is_meant = |token: &&TokenInfo| {
        token.server == server && named.is_none_or(|account| *account == token.account)
    };
    let all = [&item.credentials.0, &item.pending, &item.previous];
    let mut tokens: Vec<TokenInfo> = (all.into_iter().flatten())
        .filter_map(|entry| entry.token.as_ref())
        .filter(is_meant)
        .cloned()
        .collect();
    tokens.sort_by(|a, b| (&a.account, &a.id).cmp(&(&b.account, &b.id)));
    tokens.dedup_by(|a, b| a.id == b.id);
    if tokens.is_empty() {
        return Ok(Revocations::default());
    }
    let question = match tokens.len() {
        1 => format!("Revoke the token that this machine stores for {server}?"),
        many => format!("Revoke the {many} tokens that this machine stores for {server}?"),
    };
    confirm(&question, args.yes)?;
    let mut done = Revocations::default();
    for of_account in tokens.chunk_by(|a, b| a.account == b.account) {
        let account = ServerArgs {
            server: Some(server.to_owned()),
            account: of_account.first().map(|token| token.account.clone()),
            ..args.server.clone()
        };
        let signed_in = session::signed_in(context, &account);
        for token in of_account {
            let revoked = match &signed_in {
                Ok(signed_in) => match signed_in.api.revoke(&token.id) {
                    Ok(()) | Err(ApiError::NotFound) => Ok(()),
                    Err(error) => Err(anyhow::Error::from(error)),
                },
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            match revoked {
                Ok(()) => {
                    store::update(store, &context.paths, site, |item| {
                        forget(item, server, &token.id)
                    })?;
                    done.revoked.push(token.clone());
                }
                Err(error) => done.failed.push((token.clone(), error)),
            }
        }
        // A server that is away, or no login at all, is told as for any other command.
        if let (Err(error), true) = (signed_in, of_account.len() == tokens.len()) {
            return Err(error);
        }
    }
    match done.failed.is_empty() || !done.revoked.is_empty() {
        true => Ok(done),
        false => {
            let (_, error) = done.failed.swap_remove(0);
            Err(error.context("can't revoke this machine's tokens"))
        }
    }
}

fn still_logged_in(
    server: &str,
    revocations: &Revocations,
    context: &Context,
) -> anyhow::Result<Exit> {
    if context.json {
        output::json(&json!({
            "server": server,
            "revoked": revocations.ids(),
            "notRevoked": revocations.not_revoked(),
            "unfinished": [],
            "sessions": [],
        }))?;
    }
    let again = Suggestion::new("wit logout --revoke").option("--server", server);
    let hint = Hint::from("run it again later: ").command(&again);
    let message = format!("still logged in to {server}, because a token was not revoked");
    Err(Failure::new(Exit::Unfinished, message).hint(hint).into())
}

fn report(
    server: &str,
    sessions: &[(Session, Result<(), ApiError>)],
    revocations: &Revocations,
    unfinished: &[Journal],
    context: &Context,
) -> anyhow::Result<()> {
    if context.json {
        let unfinished: Vec<_> = (unfinished.iter())
            .map(|journal| json!({ "name": journal.name, "oldId": journal.old_id }))
            .collect();
        let sessions: Vec<_> = (sessions.iter())
            .map(|(session, done)| {
                json!({
                    "account": session.account,
                    "ended": done.is_ok(),
                    "reason": done.as_ref().err().map(ApiError::to_string),
                    "expiresAt": session.expiry.map(|expiry| output::rfc3339(expiry.0)),
                })
            })
            .collect();
        output::json(&json!({
            "server": server,
            "revoked": revocations.ids(),
            "notRevoked": revocations.not_revoked(),
            "unfinished": unfinished,
            "sessions": sessions,
        }))?;
        return Ok(());
    }
    revocations.report(false)?;
    let tokens = match revocations.revoked.len() {
        0 => String::new(),
        1 => " and revoked 1 token".into(),
        many => format!(" and revoked {many} tokens"),
    };
    output::print(format!("Logged out of {server}{tokens}.\n").as_bytes())?;
    for (session, done) in sessions {
        let Err(error) = done else { continue };
        let account = escaped(&session.account);
        let end = match session.expiry {
            Some(expiry) => format!("until {}", output::iso_date(expiry.0)),
            None => "until it expires".to_owned(),
        };
        eprintln!("warning: the session of {account} may still work at the server {end}: {error}");
    }
    for journal in unfinished {
        let (name, id) = (escaped(&journal.name), escaped(&journal.old_id));
        eprintln!("warning: nothing revokes the old token of {name} now: {id}");
    }
    if !unfinished.is_empty() {
        let ids = unfinished.iter().map(|journal| journal.old_id.clone());
        let revoke = (Suggestion::new("wit token revoke").args(ids)).option("--server", server);
        let log_in = Suggestion::new("wit login").arg(server);
        eprintln!("hint: {}", log_in.and(revoke));
    }
    Ok(())
}

/// What an item still has of a server.
struct Left {
    /// An account that is logged in: the one that commands mean so far, if it still is.
    account: Option<String>,
    /// Whether there is a token that was made there.
    tokens: bool,
}

impl Left {
    fn of(item: &Item, server: &str, remembered: Option<&str>) -> Self {
        let all = [&item.credentials.0, &item.pending, &item.previous];
        let made_there = |entry: &Credential| {
            let token = entry.token.as_ref();
            token.is_some_and(|token| token.server == server)
        };
        let accounts = (item.sessions.iter())
            .filter(|session| session.server == server)
            .map(|session| session.account.as_str());
        let mut accounts: Vec<&str> = accounts.collect();
        accounts.sort_by_key(|account| Some(*account) != remembered);
        Left {
            account: accounts.first().map(|account| (*account).to_owned()),
            tokens: all.into_iter().flatten().any(made_there),
        }
    }
}

/// The rotations that need one of the sign-ins that ended, so that their old tokens live on. Those
/// of which nothing lives any more are forgotten.
fn unfinished(
    server: &str,
    ended: &[(Session, Result<(), ApiError>)],
    revocations: &Revocations,
    context: &Context,
) -> anyhow::Result<Vec<Journal>> {
    let mut left = Vec::new();
    for journal in journal::all(&context.paths).unwrap_or_default() {
        let is_theirs =
            |(session, _): &(Session, Result<(), ApiError>)| session.account == journal.account;
        if journal.server != server || !ended.iter().any(is_theirs) {
            continue;
        }
        let is_new_over = journal
            .new_id
            .as_ref()
            .is_none_or(|id| revocations.has_revoked(id));
        if revocations.has_revoked(&journal.old_id) && is_new_over {
            journal.clear(&context.paths)?;
        } else if !journal.shortened && !journal.by_itself {
            left.push(journal);
        }
    }
    Ok(left)
}
