//! `wit store erase`.

use serde_json::json;

use crate::app::stored::Selected;
use crate::cli::confirm::confirm;
use crate::cli::output::{self, escaped, lossy, quoted};
use crate::cli::{Context, Exit, Failure, session};
use crate::credential::{Credential, Site};
use crate::quote::Suggestion;
use crate::store::select;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site, such as example.com or http://localhost:3000; with a path, only what is stored for that path
    url: String,
    /// Only the entries of this username
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Skip the confirmation prompt, which comes at a terminal only
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let selected = selected(args)?;
    let store = select::open(&context.paths, None)?;
    let site = &selected.site;
    let found = selected.entries(store.as_ref())?;
    if found.is_empty() {
        let path = lossy(&selected.path).map(|path| format!("/{}", escaped(&path)));
        let path = path.unwrap_or_default();
        let of = match &args.username {
            Some(name) => format!(" of {}", escaped(name)),
            None => String::new(),
        };
        let location = output::tilde(&store.location());
        let message = format!("nothing is stored for {site}{path}{of} in {location}");
        return Err(Failure::new(Exit::Failed, message)
            .hint("wit store list")
            .into());
    }
    let names: Vec<String> = found.iter().map(name).collect();
    let question = format!("Erase what is stored for {site}: {}?", names.join(", "));
    confirm(&question, args.yes)?;
    let (erased, sessions) = selected.erase(store.as_ref(), &context.paths)?;
    if context.json {
        let entries: Vec<_> = erased.iter().map(document).collect();
        output::json(&json!({
            "site": site.to_string(),
            "store": store.name(),
            "erased": entries,
            "sessions": sessions,
        }))?;
        return Ok(Exit::Done);
    }
    let s = if erased.len() == 1 { "y" } else { "ies" };
    let names: Vec<String> = erased.iter().map(name).collect();
    let names = names.join(", ");
    let text = format!("Erased {} entr{s} for {site}: {names}\n", erased.len());
    output::print(text.as_bytes())?;
    tell_what_lives_on(&erased, &sessions, site);
    Ok(Exit::Done)
}

fn selected(args: &Args) -> anyhow::Result<Selected> {
    let wrong = || {
        let message = format!(
            "not a URL of a site: {}",
            output::redacted(&escaped(&args.url))
        );
        Failure::new(Exit::Usage, message).hint("wit store erase https://example.com")
    };
    let (site, rest) = match args.url.split_once("://") {
        Some((_, rest)) => (Site::of_url(&args.url), rest),
        // A host alone, as other commands take it.
        None => {
            let host = args.url.split('/').next().unwrap_or_default();
            let server = session::parse_url(host).ok();
            (server.and_then(|server| server.site()), args.url.as_str())
        }
    };
    let site = site.ok_or_else(wrong)?;
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.trim_end_matches('/');
    Ok(Selected {
        site,
        path: (!path.is_empty()).then(|| path.as_bytes().to_vec()),
        username: args.username.clone().map(String::into_bytes),
    })
}

/// Erasing here ends nothing at a server.
fn tell_what_lives_on(erased: &[Credential], sessions: &[String], site: &Site) {
    for token in erased.iter().filter_map(|entry| entry.token.as_ref()) {
        let revoke = Suggestion::new("wit token revoke")
            .option("--server", &token.server)
            .arg(&token.id);
        let name = quoted(escaped(&token.name));
        eprintln!("note: the token {name} still works at {site}\nhint: {revoke}");
    }
    if erased.iter().any(|entry| entry.sign_in.is_some()) {
        eprintln!("note: the sign-in still works at {site} until it is ended there");
    }
    for account in sessions {
        let log_out = Suggestion::new("wit logout")
            .option("--server", site.to_string())
            .option("--account", account);
        eprintln!(
            "note: still logged in to {site} as {}\nhint: {log_out}",
            escaped(account)
        );
    }
}

fn name(entry: &Credential) -> String {
    let username = lossy(&entry.username);
    let username = username.map_or_else(|| "no username".to_owned(), |name| escaped(&name));
    match lossy(&entry.path) {
        Some(path) => format!("{username} ({})", escaped(&path)),
        None => username,
    }
}

fn document(entry: &Credential) -> serde_json::Value {
    json!({
        "username": lossy(&entry.username),
        "path": lossy(&entry.path),
        "id": entry.token.as_ref().map(|token| &token.id),
    })
}
