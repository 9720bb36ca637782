//! `wit logout`.

use anyhow::Context as _;
use serde_json::json;

use super::confirm::confirm;
use super::output::escaped;
use super::session::{self, ServerArgs};
use super::token::forget;
use super::{Context, Exit, Failure, output};
use crate::api::{ApiError, login};
use crate::config::Config;
use crate::credential::Credential;
use crate::item::{Item, Session};
use crate::rotation::journal::{self, Journal};
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, where more than one is known
    #[arg(conflicts_with = "server")]
    url: Option<String>,
    /// Also revoke the tokens that this machine made there
    #[arg(long)]
    revoke: bool,
    /// Do not ask before that, as is done at a terminal only
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    args.server.server = args.url.or(args.server.server);
    let mut revoked = Vec::new();
    if args.revoke {
        let signed_in = session::signed_in(context, &args.server)?;
        let server = signed_in.server.to_string();
        let item = &signed_in.item;
        let all = [&item.credentials.0, &item.pending, &item.previous];
        let made_here = |entry: &Credential| {
            let token = entry.token.as_ref()?;
            (token.server == server && token.account == signed_in.account).then(|| token.id.clone())
        };
        let ids: Vec<String> = all.into_iter().flatten().filter_map(made_here).collect();
        if !ids.is_empty() {
            let question = format!("Revoke the tokens that this machine made at {server}?");
            confirm(&question, args.yes)?;
        }
        for id in ids {
            match signed_in.api.revoke(&id) {
                Ok(()) | Err(ApiError::NotFound) => {}
                Err(error) => return Err(error).context("can't revoke this machine's tokens"),
            }
            store::update(
                signed_in.store.as_ref(),
                &context.paths,
                &signed_in.site,
                |item| forget(item, &server, &id),
            )?;
            revoked.push(id);
        }
    }
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let server = session::server(&config, args.server.server.as_deref())?;
    let name = server.to_string();
    let account = session::account(&config, &server, args.server.account.as_deref());
    let site = session::site_of(&server)?;
    let store = store::choice::open(&context.paths, None)?;
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
                .hint(format!("wit login {name}"))
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
    // It is gone from this machine; that the server forgets it too is a courtesy, tried once.
    if let Ok(client) = session::client(&config, &server, &args.server) {
        for session in &ended {
            let _ = login::sign_out(&client, &session.token);
        }
    }
    let unfinished = unfinished(&name, &ended, &revoked, context)?;
    if context.json {
        let unfinished: Vec<_> = (unfinished.iter())
            .map(|journal| json!({ "name": journal.name, "oldId": journal.old_id }))
            .collect();
        output::json(&json!({ "server": name, "revoked": revoked, "unfinished": unfinished }))?;
    } else {
        let tokens = match revoked.len() {
            0 => String::new(),
            1 => " and revoked 1 token".into(),
            many => format!(" and revoked {many} tokens"),
        };
        output::print(format!("Logged out of {name}{tokens}.\n").as_bytes())?;
        for journal in &unfinished {
            let (name, id) = (escaped(&journal.name), escaped(&journal.old_id));
            eprintln!("warning: nothing ends the old token of {name} now: {id}");
        }
        if !unfinished.is_empty() {
            eprintln!("hint: wit login {name}, then wit token revoke ID");
        }
    }
    match unfinished.is_empty() {
        true => Ok(Exit::Done),
        false => Ok(Exit::Unfinished),
    }
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
    ended: &[Session],
    revoked: &[String],
    context: &Context,
) -> anyhow::Result<Vec<Journal>> {
    let mut left = Vec::new();
    for journal in journal::all(&context.paths).unwrap_or_default() {
        let is_theirs = |session: &Session| session.account == journal.account;
        if journal.server != server || !ended.iter().any(is_theirs) {
            continue;
        }
        let is_new_over = journal
            .new_id
            .as_ref()
            .is_none_or(|id| revoked.contains(id));
        if revoked.contains(&journal.old_id) && is_new_over {
            journal.clear(&context.paths)?;
        } else if !journal.shortened && !journal.by_itself {
            left.push(journal);
        }
    }
    Ok(left)
}
