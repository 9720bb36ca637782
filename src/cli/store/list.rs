//! `wit store list`.

use serde_json::{Value, json};

use crate::app::stored::{self, Default, Entry, Source, State};
use crate::cli::output::{self, escaped, lossy};
use crate::cli::{Context, Exit, table};
use crate::expiry::UnixTime;
use crate::quote::Suggestion;
use crate::store::StoreError;

pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let listing = stored::list(&context.paths, UnixTime::now())?;
    if context.json {
        let problems = listing.unreadable.iter().map(ToString::to_string);
        output::json(&json!({
            "store": listing.store,
            "location": listing.location,
            "entries": listing.entries.iter().map(document).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        }))?;
    } else {
        let location = output::tilde(&listing.location);
        let text = match listing.entries.is_empty() {
            true => format!("Nothing is stored in {location}.\n"),
            false => {
                let rows: Vec<_> = listing.entries.iter().map(row).collect();
                let chosen = choosing(&listing.entries);
                let header = ["SITE", "USER", "SOURCE", "EXPIRES", "RENEWED BY"];
                table::layout(&header, &rows, table::width()) + &chosen.unwrap_or_default()
            }
        };
        output::print(text.as_bytes())?;
        for problem in &listing.unreadable {
            eprintln!("warning: {problem}");
        }
    }
    if !listing.unreadable.is_empty() && !context.json {
        eprintln!(
            "hint: {}",
            StoreError::hint(&listing.unreadable[0]).unwrap_or("wit doctor")
        );
    }
    Ok(match listing.unreadable.is_empty() {
        true => Exit::Done,
        false => Exit::Attention,
    })
}

/// Programs are told of an entry by this.
pub fn document(entry: &Entry) -> Value {
    let (name, id) = entry.token.clone().unzip();
    json!({
        "site": entry.site.to_string(),
        "path": lossy(&entry.path),
        "username": lossy(&entry.username),
        "source": entry.source.name(),
        "state": entry.state.name(),
        "name": name,
        "id": id,
        "expiresAt": entry.expiry.map(|expiry| output::rfc3339(expiry.0)),
        "expired": entry.left.is_some_and(|left| left <= 0),
        "renewal": entry.renewal.name(),
        "default": entry.default != Default::No,
    })
}

/// The URL that an entry is for.
pub fn place(entry: &Entry) -> String {
    match lossy(&entry.path) {
        Some(path) => format!("{}/{}", entry.site, escaped(&path)),
        None => entry.site.to_string(),
    }
}

/// What the mark of an entry says, and how git is made to ask for another account.
fn choosing(entries: &[Entry]) -> Option<String> {
    let marked = (entries.iter()).find(|entry| entry.default == Default::AmongOthers)?;
    let mut others = (entries.iter())
        .filter(|entry| entry.site == marked.site && entry.source != Source::Session)
        .filter(|entry| entry.username != marked.username)
        .filter_map(|entry| lossy(&entry.username));
    let other = others.next().filter(|name| !name.is_empty());
    let command = Suggestion::new("git config --global")
        .arg(format!("credential.{}.username", marked.site))
        .arg(other.unwrap_or_else(|| "NAME".to_owned()));
    Some(format!(
        "* answers git where git names no user of that site. For another: {command}\n"
    ))
}

fn row(entry: &Entry) -> Vec<String> {
    let name = entry.token.as_ref().map(|(name, _)| escaped(name));
    let source = match (entry.source, name) {
        (Source::Token, Some(name)) if !name.is_empty() => format!("token {name}"),
        (source, _) => source.name().to_owned(),
    };
    let expires = match entry.left {
        Some(left) if left <= 0 => "expired".to_owned(),
        Some(left) => format!("in {}", output::span(left)),
        None => "-".to_owned(),
    };
    let renewed = match entry.state {
        State::Current => entry.renewal.words(),
        State::Pending => "- (rotation unfinished)",
        State::Replaced => "- (replaced)",
    };
    let username = lossy(&entry.username).unwrap_or_else(|| "-".to_owned());
    let mut username = escaped(&username);
    if entry.default == Default::AmongOthers {
        username += " *";
    }
    let cells = [place(entry), username, source, expires, renewed.to_owned()];
    cells.to_vec()
}
