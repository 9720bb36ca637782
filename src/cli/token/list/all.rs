//! `wit token list --all`: the tokens of every account on every server that is known, in one table.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{document, expires, used};
use crate::api::ApiError;
use crate::api::promises::require;
use crate::app::known;
use crate::app::rotations::Rotations;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs, SessionError};
use crate::cli::token::pick::short_id;
use crate::cli::{Context, Exit, table};
use crate::config::{Config, Paths};
use crate::credential::Site;
use crate::progress;
use crate::store::{self, lock::SiteLock};

/// Time limit for all servers together: they are asked at the same time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a refresh that is under way then.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// The columns of the table.
const HEADINGS: [&str; 7] = [
    "SERVER",
    "ACCOUNT",
    "ID",
    "NAME",
    "SCOPES",
    "LAST USED",
    "EXPIRES",
];

/// An account on a server; `None` for the one that is meant without a name.
type Account = (String, Option<String>);

/// List of one account.
struct Listed {
    account: Option<String>,
    host: &'static str,
    /// A cell for each of [`HEADINGS`].
    rows: Vec<Vec<String>>,
    documents: Vec<Value>,
}

/// Why an account's tokens are not listed.
struct Reason {
    words: String,
    /// True if that is nothing to put right: the host has no such call, or only for a person.
    is_usual: bool,
}

/// Asks all of them at once. One that does not answer does not keep the others from being shown.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let accounts = accounts(&context.paths)?;
    let answers = progress::during("Asking the servers", || answers(&context.paths, &accounts));
    let is_well = |answer: &Result<Listed, Reason>| match answer {
        Ok(_) => true,
        Err(reason) => reason.is_usual,
    };
    let exit = match answers.iter().all(is_well) {
        true => Exit::Done,
        false => Exit::Attention,
    };
    let all = accounts.iter().zip(&answers);
    if context.json {
        let documents: Vec<Value> = all.map(|(account, answer)| one(account, answer)).collect();
        output::json(&documents)?;
        return Ok(exit);
    }
    let rows = answers.iter().flatten().flat_map(|listed| &listed.rows);
    // Nothing is cut: ids are here to be copied.
    let rows: Vec<Vec<String>> = rows.cloned().collect();
    let mut text = match rows.is_empty() {
        false => table::layout(&HEADINGS, &rows, None),
        true if answers.iter().any(Result::is_ok) => "No tokens.\n".to_owned(),
        true => String::new(),
    };
    for ((server, account), answer) in all {
        if let Err(reason) = answer {
            let account = account
                .as_deref()
                .map(|name| format!(" ({})", escaped(name)));
            let account = account.unwrap_or_default();
            // Writing to a String can't fail.
            let server = escaped(server);
            let _ = writeln!(text, "{server}{account}: not listed: {}", reason.words);
        }
    }
    output::print(text.as_bytes())?;
    Ok(exit)
}

/// The answers in time. A server that takes longer is not waited for.
fn answers(paths: &Paths, accounts: &[Account]) -> Vec<Result<Listed, Reason>> {
    let mut answers: Vec<Option<Result<Listed, Reason>>> = accounts.iter().map(|_| None).collect();
    let end = Instant::now() + ANSWER_TIMEOUT;
    let (send, receive) = mpsc::channel();
    for (number, account) in accounts.iter().enumerate() {
        let (send, paths, account) = (send.clone(), paths.clone(), account.clone());
        // Not joined: one that is too slow ends with the program.
        thread::spawn(move || send.send((number, ask(&paths, &account))));
    }
    drop(send);
    while let Ok((number, answer)) =
        receive.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        if let Some(known) = answers.get_mut(number) {
            *known = Some(answer);
        }
    }
    let late = accounts.iter().zip(&answers);
    let late = late.filter(|(_, answer)| answer.is_none());
    let sites: BTreeSet<Site> = late.filter_map(|((server, _), _)| site(server)).collect();
    for site in &sites {
        await_refresh(paths, site, end + REFRESH_TIMEOUT);
    }
    let late = || {
        Err(Reason {
            words: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
            is_usual: false,
        })
    };
    let answers = answers.into_iter();
    answers.map(|answer| answer.unwrap_or_else(late)).collect()
}

fn site(server: &str) -> Option<Site> {
    let url = session::parse_url(server).ok()?;
    session::site_of(&url).ok()
}

/// Waits for a refresh under way at a site, and lets none begin: the program is about to end, and a
/// refresh token that the host has replaced would be lost with it.
fn await_refresh(paths: &Paths, site: &Site, end: Instant) {
    let left = end.saturating_duration_since(Instant::now());
    // Held until the program ends.
    std::mem::forget(SiteLock::acquire_rotation(paths, site, left));
}

/// Each account that is signed in somewhere, and each server that none is signed in to: those of the
/// config file, and those of which the store holds something, should that file be lost.
fn accounts(paths: &Paths) -> anyhow::Result<Vec<Account>> {
    let mut config = Config::load(paths).context("can't read the configuration")?;
    let store = store::select::open(paths, None)?;
    let stored = known::complete(&mut config, store.as_ref())?;
    if config.servers.is_empty() {
        let unreadable = stored.unreadable.into_iter().next();
        return Err(unreadable
            .map_or(SessionError::NoServer, SessionError::Store)
            .into());
    }
    let mut all = Vec::new();
    for url in config.servers.keys() {
        let site = session::parse_url(url).and_then(|url| session::site_of(&url));
        let item = site
            .ok()
            .and_then(|site| store::load(store.as_ref(), &site).ok());
        let item = item.unwrap_or_default();
        let sessions = item.sessions.iter().filter(|held| held.server == *url);
        let sign_ins = item
            .credentials
            .0
            .iter()
            .filter_map(|entry| entry.sign_in.as_ref());
        let sign_ins = sign_ins.filter(|sign_in| sign_in.server == *url);
        let mut names: BTreeSet<Option<String>> = sessions
            .map(|held| Some(held.account.clone()))
            .chain(sign_ins.map(|sign_in| sign_in.account.clone()))
            .collect();
        if names.is_empty() {
            names.insert(None);
        }
        all.extend(names.into_iter().map(|name| (url.clone(), name)));
    }
    Ok(all)
}

fn ask(paths: &Paths, (server, account): &Account) -> Result<Listed, Reason> {
    let quiet = Context::new(paths.clone(), true);
    list(&quiet, server, account.as_deref()).map_err(|error| {
        let is_usual = error.chain().any(|cause| {
            matches!(
                cause.downcast_ref(),
                Some(
                    ApiError::Impossible { .. }
                        | ApiError::Unsupported { .. }
                        | ApiError::PasswordNeeded { .. }
                )
            )
        });
        let failure = quiet.failure(&error);
        let hint = failure.hint.map(|hint| format!(" ({hint})"));
        let words = format!("{}{}", failure.message, hint.unwrap_or_default());
        Reason {
            // One line for each.
            words: output::redacted(&words).replace('\n', " "),
            is_usual,
        }
    })
}

fn list(quiet: &Context, server: &str, account: Option<&str>) -> anyhow::Result<Listed> {
    let args = ServerArgs {
        server: Some(server.to_owned()),
        account: account.map(str::to_owned),
        unattended: true,
        ..ServerArgs::default()
    };
    let api_session = session::api_session(quiet, &args)?;
    let api = api_session.api.as_ref();
    let promises = api.promises();
    require(api, promises.list, "list tokens")?;
    if promises.asks_password {
        // Not asked here: nobody expects it between the answers of other servers.
        let error = ApiError::PasswordNeeded {
            server: server.to_owned(),
            reason: "list it by itself".to_owned(),
        };
        return Err(error.into());
    }
    let tokens = api.list()?;
    let now = api_session.now();
    let rotations = Rotations::load(&quiet.paths);
    let rows = tokens.iter().map(|token| {
        vec![
            server.to_owned(),
            escaped(&api_session.account),
            escaped(short_id(token, &tokens)),
            escaped(&token.name),
            escaped(&token.scopes.join(" ")),
            used(token, now),
            expires(token, now, api_session.replace_by(&token.id)),
        ]
    });
    Ok(Listed {
        rows: rows.collect(),
        documents: (tokens.iter())
            .map(|token| document(token, &api_session, &rotations, now))
            .collect(),
        account: Some(api_session.account.clone()),
        host: api_session.host.name(),
    })
}

fn one((server, account): &Account, answer: &Result<Listed, Reason>) -> Value {
    match answer {
        Ok(listed) => json!({
            "server": server,
            "account": listed.account,
            "hostType": listed.host,
            "tokens": listed.documents,
            "problem": null,
        }),
        Err(reason) => json!({
            "server": server,
            "account": account,
            "hostType": null,
            "tokens": [],
            "problem": reason.words,
        }),
    }
}
