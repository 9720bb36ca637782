//! `wit token print`: the stored token, for a script.

use anyhow::Context as _;
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::known;
use crate::cli::session;
use crate::cli::{Context, Exit, Failure, output};
use crate::credential::Description;
use crate::expiry::UnixTime;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The URL of the site, where it is not that of the only or default server
    #[arg(conflicts_with = "server")]
    url: Option<String>,
    /// The same as URL, as other commands take it
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The account, where there is more than one on the server
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let config = known::config(&context.paths).map_err(session::SessionError::from)?;
    let server = session::server(&config, args.url.or(args.server).as_deref())?;
    let site = session::site_of(&server)?;
    let store = store::select::open(&context.paths, None)?;
    let item = store::load(store.as_ref(), &site)?;
    let request = Description {
        protocol: Some(site.protocol().into()),
        host: Some(site.host().into()),
        username: args.account.clone().map(String::into_bytes),
        ..Description::default()
    };
    let found = item.credentials.find(&request, UnixTime::now());
    let Some(entry) = found else {
        let message = format!("no token that still works is stored for {site}");
        let account = session::account(&config, &server, args.account.as_deref());
        let url = server.to_string();
        let create = session::suggest_create(&config, &item, &url, account.as_deref());
        return Err(Failure::new(Exit::Failed, message).hint(create).into());
    };
    let secret = entry.auth.secret();
    if context.json {
        let token = secret
            .expose_str()
            .context("the stored token is not text")?;
        output::json(&json!({ "site": site.to_string(), "token": token }))?;
    } else {
        output::print(&Zeroizing::new([secret.expose(), b"\n"].concat()))?;
    }
    Ok(Exit::Done)
}
