//! `wit logout` of a git host: ends there what the sign-in holds, and forgets it here.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::tokens::{self, Asked};
use crate::api::server::ServerUrl;
use crate::app::logout::is_held_elsewhere;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped};
use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::{Credential, Site};
use crate::hosts::end::{End, end};
use crate::hosts::{grants_page, tokens_page};
use crate::oauth::Reach;
use crate::quote::Suggestion;
use crate::sign_in::{SignIn, Upkeep};
use crate::store::lock::SiteLock;
use crate::store::{self, Store};

/// Longest wait for a refresh that is under way, so that what it brings is ended too.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Remains of a sign-in at its host.
struct Left {
    account: Option<String>,
    reason: String,
    /// Page on which the user can end it.
    page: Option<String>,
    /// True if it was to be ended.
    is_failure: bool,
}

/// Logs out; `None` where the server is no git host of ours.
pub fn run(
    server: &ServerUrl,
    asked: &Asked,
    config: &Config,
    context: &Context,
) -> anyhow::Result<Option<Exit>> {
    let Asked {
        account,
        revoke,
        yes,
        ..
    } = *asked;
    let name = server.to_string();
    let known = config.servers.get(&name);
    if known.is_none_or(|known| known.host_type.is_none()) {
        return Ok(None);
    }
    let site = crate::cli::session::site_of(server)?;
    let store = store::select::open(&context.paths, None)?;
    let is_meant = |entry: &Credential| {
        entry.sign_in.as_ref().is_some_and(|sign_in| {
            sign_in.server == name && account.is_none_or(|account| sign_in.is_of(account))
        })
    };
    let item = store::load(store.as_ref(), &site)?;
    let mut done = 0;
    match revoke {
        true => done = tokens::revoke(&name, asked, &item, context)?,
        false => tokens::warn(&name, account, &item, context),
    }
    let pasted = |entry: &&Credential| is_meant(entry) && is_pasted(entry);
    if item.credentials.0.iter().any(|entry| pasted(&entry)) {
        // What is forgotten can't be revoked by this program any more.
        let question = match revoke {
            true => format!("Revoke the token that was pasted for {name}?"),
            false => format!(
                "Forget the token that was pasted for {name}? It still works; --revoke revokes it."
            ),
        };
        confirm(&question, yes)?;
    }
    let (ended, is_over) = take(store.as_ref(), &site, &name, is_meant, context)?;
    if ended.is_empty() && done == 0 && (account.is_some() || !is_over) {
        if account.is_none() {
            return Err(super::not_logged_in(server, config, context)?.into());
        }
        let why = format!("not logged in to {name}");
        return Err(Failure::new(Exit::NotLoggedIn, why)
            .hint(Suggestion::new("wit login").arg(&name))
            .into());
    }
    if is_over && !is_held_elsewhere(&context.paths, store.as_ref(), &site, &name)? {
        Config::update(&context.paths, |config| config.forget(&name))
            .context("can't write the configuration")?;
    }
    let reach = Reach {
        ca_file: known.and_then(|known| known.ca_file.clone()),
        limit: None,
    };
    let mut revoked = done;
    let mut left = Vec::new();
    for entry in &ended {
        let Some(sign_in) = &entry.sign_in else {
            continue;
        };
        if is_pasted(entry) && !revoke {
            left.push(Left::pasted(sign_in, server));
            continue;
        }
        match end(entry, sign_in, server, &reach) {
            End::Revoked => revoked += 1,
            End::Impossible => left.push(Left::impossible(sign_in, server)),
            End::Failed(error) => left.push(Left::failed(sign_in, server, &error.to_string())),
        }
    }
    let exit = report(&name, revoked, &left, context)?;
    super::warn_of_others(&site, store.as_ref(), context)?;
    let apps = ended
        .iter()
        .filter_map(|entry| match &entry.sign_in.as_ref()?.upkeep {
            Upkeep::Mint(app) => Some((escaped(&app.slug), escaped(&app.owner))),
            _ => None,
        });
    for (app, owner) in apps.filter(|_| !context.json) {
        eprintln!("The app's key is forgotten here. The app {app} stays installed at {owner}.");
    }
    Ok(Some(exit))
}

fn is_pasted(entry: &Credential) -> bool {
    let upkeep = entry.sign_in.as_ref().map(|sign_in| &sign_in.upkeep);
    matches!(upkeep, Some(Upkeep::Watch | Upkeep::RotateItself))
}

/// Takes the entries out of the store, and says whether nothing is left there of the server.
fn take(
    store: &dyn Store,
    site: &Site,
    name: &str,
    is_meant: impl Fn(&Credential) -> bool,
    context: &Context,
) -> anyhow::Result<(Vec<Credential>, bool)> {
    // A process that refreshes brings a new pair, and must not bring it after this. One that hangs
    // finds its entry gone.
    let _lock = SiteLock::acquire_rotation(&context.paths, site, LOCK_TIMEOUT).ok();
    Ok(store::update(store, &context.paths, site, |item| {
        let all = &mut item.credentials.0;
        let ended: Vec<Credential> = all.extract_if(.., |entry| is_meant(entry)).collect();
        let theirs = |entry: &Credential| {
            let sign_in = entry.sign_in.as_ref();
            sign_in.is_some_and(|sign_in| sign_in.server == name)
        };
        (ended, !all.iter().any(theirs))
    })?)
}

impl Left {
    fn pasted(sign_in: &SignIn, server: &ServerUrl) -> Self {
        Left {
            account: sign_in.account.clone(),
            reason: "the token was created elsewhere and still works".to_owned(),
            page: tokens_page(sign_in.host, server).map(|page| page.to_string()),
            is_failure: false,
        }
    }

    fn impossible(sign_in: &SignIn, server: &ServerUrl) -> Self {
        let what = match &sign_in.upkeep {
            Upkeep::Replace { name, .. } => format!("the token {}", escaped(name)),
            Upkeep::Refresh(_) => "what the sign-in was granted".to_owned(),
            Upkeep::Mint(_) => "the token of an hour".to_owned(),
            Upkeep::Watch | Upkeep::RotateItself => "the token".to_owned(),
        };
        let host = sign_in.host.title();
        let page = match &sign_in.upkeep {
            Upkeep::Watch | Upkeep::RotateItself => tokens_page(sign_in.host, server),
            _ => grants_page(sign_in.host, server),
        };
        Left {
            account: sign_in.account.clone(),
            reason: match &sign_in.upkeep {
                Upkeep::Replace { .. } => format!("{host} ends {what} for your password only"),
                _ => format!("{host} lets no program end {what}"),
            },
            page: page.map(|page| page.to_string()),
            is_failure: true,
        }
    }

    fn failed(sign_in: &SignIn, server: &ServerUrl, error: &str) -> Self {
        Left {
            reason: format!("the sign-in could not be ended at the server: {error}"),
            ..Left::impossible(sign_in, server)
        }
    }
}

fn report(name: &str, revoked: usize, left: &[Left], context: &Context) -> anyhow::Result<Exit> {
    let is_unfinished = left.iter().any(|left| left.is_failure);
    let exit = match is_unfinished {
        true => Exit::Unfinished,
        false => Exit::Done,
    };
    if context.json {
        let left: Vec<_> = left
            .iter()
            .map(
                |left| json!({ "account": left.account, "reason": left.reason, "page": left.page }),
            )
            .collect();
        output::json(&json!({ "server": name, "ended": revoked, "notEnded": left }))?;
        return Ok(exit);
    }
    let ended = match revoked {
        0 => String::new(),
        1 => "; the sign-in was ended there".to_owned(),
        many => format!("; {many} sign-ins were ended there"),
    };
    output::print(format!("Logged out of {name}{ended}.\n").as_bytes())?;
    for left in left {
        let account = left.account.as_deref().map(escaped);
        let account = account
            .map(|account| format!("{account}: "))
            .unwrap_or_default();
        eprintln!("warning: {account}{}", left.reason);
        if let Some(page) = &left.page {
            eprintln!("hint: see {page}");
        }
    }
    Ok(exit)
}
