//! `wit logout`.

use anyhow::Context as _;
use serde_json::json;

use super::confirm::confirm;
use super::session::{self, ServerArgs};
use super::token::forget;
use super::{Context, Exit, Failure, output};
use crate::api::{ApiError, login};
use crate::config::Config;
use crate::credential::Credential;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also revoke the tokens that this machine made there
    #[arg(long)]
    revoke: bool,
    /// Do not ask before that, as is done at a terminal only
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
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
    let ended = store::update(store.as_ref(), &context.paths, &site, |item| {
        let (ended, kept): (Vec<_>, Vec<_>) = item.sessions.drain(..).partition(|session| {
            session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
        });
        item.sessions = kept;
        ended
    })?;
    let direct = session::is_direct(&config, &server);
    if direct {
        Config::update(&context.paths, |config| config.servers.remove(&name))
            .context("can't write the configuration")?;
    }
    if ended.is_empty() && !direct {
        return Err(
            Failure::new(Exit::NotLoggedIn, format!("not logged in to {name}"))
                .hint(format!("wit login {name}"))
                .into(),
        );
    }
    // It is gone from this machine; that the server forgets it too is a courtesy, tried once.
    if let Ok(client) = session::client(&config, &server, &args.server) {
        for session in &ended {
            let _ = login::sign_out(&client, &session.token);
        }
    }
    if context.json {
        output::json(&json!({ "server": name, "revoked": revoked }))?;
    } else {
        let tokens = match revoked.len() {
            0 => String::new(),
            1 => " and revoked 1 token".into(),
            many => format!(" and revoked {many} tokens"),
        };
        output::print(format!("Logged out of {name}{tokens}.\n").as_bytes())?;
    }
    Ok(Exit::Done)
}
