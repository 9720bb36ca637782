//! `--self`: a token replaces itself, where nobody is signed in.

use std::rc::Rc;

use anyhow::Context as _;

use super::report::{nothing, report, show};
use super::{Args, Done, Means, receivers, resume, start};
use crate::api::rest;
use crate::api::self_token::{self, SelfTokenApi};
use crate::api::server::ServerUrl;
use crate::api::{Account, ApiError};
use crate::app::upkeep::rotation_id;
use crate::cli::session;
use crate::cli::{Context, Exit, Failure};
use crate::config::{self, Config};
use crate::credential::Credential;
use crate::hosts;
use crate::item::Item;
use crate::rotation::journal::{self, Journal, Step};
use crate::rotation::{Outcome, Plan};
use crate::secret::Secret;
use crate::sign_in::HostType;
use crate::store::{self, select};

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let token = config::line("WIT_TOKEN").map(Secret::from).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "--self replaces the token in WIT_TOKEN, which is not set",
        )
        .hint("wit token rotate ID, where you are logged in")
    })?;
    let server = server(args)?;
    let name = server.to_string();
    // Nothing is sent of a token that is of another host.
    let text = token.expose_str().unwrap_or_default();
    let is_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    let other = match () {
        () if is_of(&["glpat-", "gldt-", "gloas-"]) => Some(HostType::Gitlab),
        () if is_of(&["ghp_", "gho_", "ghu_", "ghs_", "github_pat_"]) => Some(HostType::Github),
        () => None,
    };
    if let Some(other) = other {
        return Err(not_for(&server, other, "the token in WIT_TOKEN is of").into());
    }
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let host = crate::app::session::git_host(&config, &server).or_else(|| hosts::known(&server));
    if let Some(host) = host {
        return Err(not_for(&server, host, &format!("{server} is")).into());
    }
    let client = Rc::new(session::client(&config, &server, &args.server)?);
    let store = select::open(&context.paths, None)?;
    let site = session::site_of(&server)?;
    let item = store::load(store.as_ref(), &site)?;
    let this = self_token::describe(&client, &token);
    for mut journal in journal::all(&context.paths)? {
        if args.dry_run || !is_left_over(&journal, &name, this.as_ref().ok(), &item) {
            continue;
        }
        let receivers = receivers(args)?;
        if !receivers.is_empty() {
            journal.redirect(&receivers);
        }
        let api = SelfTokenApi::new(Rc::clone(&client), token.clone(), journal.old_id.clone());
        let done = resume(&journal, &Means::new(&api, store.as_ref()), context)?;
        if !matches!(done.outcome, Outcome::Undone | Outcome::Gone) {
            return report(&[done], context);
        }
    }
    if args.resume {
        return nothing(context);
    }
    let this = this.map_err(|error| told(error, &name))?;
    if let Some(new) = this.replaced_by {
        let message = format!("the token in WIT_TOKEN was replaced before, by {new}");
        return Err(Failure::new(Exit::Attention, message)
            .hint("put the new one into WIT_TOKEN; a second try would revoke both")
            .into());
    }
    let account = account(rest::verify(&client, &token)?);
    let mut plan = Plan::of_listed(rotation_id(), &site, name, account, &this.token);
    plan.by_itself = true;
    plan.deliver = receivers(args)?;
    if args.dry_run {
        return show(&[plan], context);
    }
    let api = SelfTokenApi::new(client, token, this.token.id);
    let done: Done = start(&plan, &Means::new(&api, store.as_ref()), context)?;
    report(&[done], context)
}

/// Why a host's token is not asked to replace itself here.
fn not_for(server: &ServerUrl, host: HostType, why: &str) -> Failure {
    let message = format!("--self is for a wit server, and {why} {}", host.title());
    Failure::new(Exit::Failed, message).hint(format!(
        "wit login {server}, then wit token rotate ID --deliver COMMAND"
    ))
}

/// The one origin that the token is for: `WIT_URL`, or what the command line names where that is
/// not set.
fn server(args: &Args) -> Result<ServerUrl, Failure> {
    let bound = config::variable("WIT_URL");
    let bound = bound.map(|url| session::parse_url(&url)).transpose()?;
    let named = args
        .server
        .server
        .as_deref()
        .map(session::parse_url)
        .transpose()?;
    match (bound, named) {
        (Some(bound), Some(named)) if bound != named => {
            let message = format!("WIT_TOKEN is for {bound} only, as WIT_URL says");
            Err(Failure::new(Exit::Usage, message)
                .hint("wit token rotate --self, without --server"))
        }
        (Some(server), _) | (None, Some(server)) => Ok(server),
        (None, None) => Err(Failure::new(
            Exit::Usage,
            "it is not known which server WIT_TOKEN is for",
        )
        .hint("set WIT_URL to its URL")),
    }
}

/// Returns whether a rotation that began here can go on: its new token is kept, or was never made.
fn is_left_over(
    journal: &Journal,
    server: &str,
    this: Option<&self_token::SelfToken>,
    item: &Item,
) -> bool {
    let is_this = |this: &self_token::SelfToken| {
        this.token.id == journal.old_id && this.replaced_by.is_none()
    };
    let is_kept = |entry: &Credential| {
        let info = entry.token.as_ref();
        info.is_some_and(|info| info.server == server && info.name == journal.name)
    };
    journal.by_itself
        && journal.server == server
        && (journal.step != Step::Creating
            || item.pending.iter().any(is_kept)
            || this.is_some_and(is_this))
}

fn account(account: Account) -> String {
    account.username.unwrap_or(account.email)
}

fn told(error: ApiError, server: &str) -> anyhow::Error {
    let hint = match &error {
        ApiError::Unauthorized => format!("wit login {server}, then wit token create"),
        ApiError::Unsupported { .. } => {
            format!("wit login {server}, then wit token rotate ID --deliver COMMAND")
        }
        _ => return error.into(),
    };
    let (exit, message) = match error {
        ApiError::Unauthorized => (
            Exit::NotLoggedIn,
            format!("{server} does not accept the token in WIT_TOKEN"),
        ),
        other => (Exit::Failed, other.to_string()),
    };
    Failure::new(exit, message).hint(hint).into()
}
