//! `wit login --api database`: a server's tokens are worked on in its database.

use anyhow::Context as _;
use serde_json::json;

use crate::api::database;
use crate::api::server::ServerUrl;
use crate::cli::output::{self, escaped};
use crate::cli::{Context, Exit, Failure, session};
use crate::config::Config;

/// Remembers that of `server`. The URL of the database is not kept: a password may be in it.
pub fn run(server: &ServerUrl, context: &Context) -> anyhow::Result<Exit> {
    let name = server.to_string();
    let Some((_, account)) = session::direct()? else {
        let why = "DATABASE_URL and WIT_USER_ID are not both set";
        return Err(Failure::new(Exit::NotLoggedIn, why)
            .hint(format!(
                "DATABASE_URL=postgres://… WIT_USER_ID=… wit login {name} --api database"
            ))
            .into());
    };
    Config::update(&context.paths, |config| {
        let known = config.servers.entry(name.clone()).or_default();
        known.api = Some("database".to_owned());
        known.account = Some(account.clone());
    })
    .context("can't write the configuration")?;
    if context.json {
        output::json(&json!({ "server": name, "account": account, "api": "database" }))?;
    } else {
        let text = format!(
            "Tokens of {name} are worked on in {}, as {}.\n",
            database::SERVER,
            escaped(&account)
        );
        output::print(text.as_bytes())?;
    }
    Ok(Exit::Done)
}
