//! `wit login --api database`: a server's tokens are managed directly in its database.

use anyhow::Context as _;
use serde_json::json;

use crate::api::database;
use crate::api::server::ServerUrl;
use crate::cli::output::{self, escaped};
use crate::cli::{Context, Exit, Failure, session};
use crate::config::Config;
use crate::quote::{Hint, Suggestion};

/// Remembers that of `server`. The URL of the database is not kept: a password may be in it.
pub fn run(server: &ServerUrl, context: &Context) -> anyhow::Result<Exit> {
    let name = server.to_string();
    let Some((_, account)) = session::direct()? else {
        let why = "DATABASE_URL and WIT_USER_ID are not both set";
        let log_in = Suggestion::new("wit login")
            .arg(&name)
            .args(["--api", "database"]);
        return Err(Failure::new(Exit::NotLoggedIn, why)
            .hint(Hint::from("DATABASE_URL=postgres://… WIT_USER_ID=… ").command(&log_in))
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
            "Tokens of {name} are managed directly in {}, as {}.\n",
            database::SERVER,
            escaped(&account)
        );
        output::print(text.as_bytes())?;
    }
    Ok(Exit::Done)
}
