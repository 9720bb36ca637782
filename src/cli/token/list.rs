//! `wit token list`.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use serde_json::{Value, json};

use super::pick::{hint, short_id};
use crate::api::Token;
use crate::api::promises::require;
use crate::app::rotations::Rotations;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ApiSession, PlaceArgs, ServerArgs};
use crate::cli::{Context, Exit, completion, table};
use crate::duration;
use crate::expiry::{DAY, Expiry, SOON, UnixTime};

mod all;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The tokens of every account on every known server
    #[arg(long, conflicts_with_all = ["server", "account", "expiring", "unused", "password_stdin"])]
    all: bool,
    /// Only tokens that have expired or expire within DAYS; exit code 3 if there are any
    #[arg(long, value_name = "DAYS", value_parser = duration::days)]
    expiring: Option<u32>,
    /// Only tokens not used for DAYS; exit code 3 if there are any
    #[arg(long, value_name = "DAYS", value_parser = duration::days)]
    unused: Option<u32>,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long)]
    password_stdin: bool,
    /// Layout: a table, or with tabs between id, name, prefix, scopes, created, used and expires
    /// [default: table at a terminal]
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with = "json")]
    format: Option<Format>,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Tsv,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if args.all {
        return all::run(context);
    }
    let api_session = session::api_session(
        context,
        &(args.server.at(&args.places, &[])).with_password(args.password_stdin),
    )?;
    require(
        api_session.api.as_ref(),
        api_session.api.promises().list,
        "list tokens",
    )?;
    let mut tokens = api_session.api.list()?;
    completion::listed(&context.paths, &api_session.name, &tokens);
    let now = api_session.now();
    let replace_by = |token: &Token| api_session.replace_by(&token.id);
    let filtered = args.expiring.is_some() || args.unused.is_some();
    if let Some(days) = args.expiring {
        let soon = |token: &Token| {
            let end = token.expiry.or(replace_by(token))?;
            Some(end.left(now) <= i64::from(days) * DAY)
        };
        tokens.retain(|token| soon(token).unwrap_or(false));
    }
    if let Some(days) = args.unused {
        tokens.retain(|token| (token.idle(now)).is_some_and(|idle| idle >= i64::from(days) * DAY));
    }
    let here = |token: &Token| api_session.holds(&token.id);
    let rotations = Rotations::load(&context.paths);
    let ends = |token: &Token| rotations.ends(token, now).map(|at| at.since(now));
    if context.json {
        let all: Vec<Value> = (tokens.iter())
            .map(|token| document(token, &api_session, &rotations, now))
            .collect();
        output::json(&all)?;
    } else {
        let text = match args.format {
            Some(Format::Tsv) => tsv(&tokens),
            _ if filtered && tokens.is_empty() => none_of(&args),
            Some(Format::Table) => table(&tokens, now, here, ends),
            None if io::stdout().is_terminal() => table(&tokens, now, here, ends),
            None => layout(&tokens, now, here, ends, replace_by),
        };
        output::print(text.as_bytes())?;
        if tokens.is_empty() && !filtered {
            eprintln!("hint: {}", api_session.suggest("wit token create"));
        }
    }
    match filtered && !tokens.is_empty() {
        true => Ok(Exit::Attention),
        false => Ok(Exit::Done),
    }
}

/// Sentence for a filter that nothing passes.
fn none_of(args: &Args) -> String {
    let days = |days: u32| output::counted(i64::from(days), "day");
    match (args.expiring, args.unused) {
        (Some(soon), None) => format!("No tokens expire within {}.\n", days(soon)),
        (None, Some(unused)) => format!("No tokens were unused for {}.\n", days(unused)),
        _ => "No tokens match.\n".to_owned(),
    }
}

fn document(
    token: &Token,
    api_session: &ApiSession,
    rotations: &Rotations,
    now: UnixTime,
) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "tokenPrefix": token.prefix,
        "tokenSuffix": token.suffix,
        "scopes": token.scopes,
        "repositories": token.repositories,
        "createdAt": token.created.map(output::rfc3339),
        "lastUsedAt": token.last_used.map(output::rfc3339),
        "expiresAt": token.expiry.map(|expiry| output::rfc3339(expiry.0)),
        "replaceBy": api_session.replace_by(&token.id).map(|by| output::rfc3339(by.0)),
        "expired": token.is_expired(now),
        "thisMachine": api_session.holds(&token.id),
        "replacedUntil": rotations.ends(token, now).map(output::rfc3339),
    })
}

/// When it was used last, in words.
fn used(token: &Token, now: UnixTime) -> String {
    match token.last_used {
        Some(at) => output::ago(at, now),
        None => "never".to_owned(),
    }
}

/// When it ends, in words; of one that never does, when this machine replaces it.
fn expires(token: &Token, now: UnixTime, replace_by: Option<Expiry>) -> String {
    match (token.expiry, replace_by) {
        (Some(expiry), _) if token.is_expired(now) => {
            format!("{} (expired)", output::iso_date(expiry.0))
        }
        (Some(expiry), _) => output::iso_date(expiry.0),
        (None, Some(by)) => format!("never, replaced by {}", output::iso_date(by.0)),
        (None, None) => "never".to_owned(),
    }
}

/// A line for each token, cut to the width of a terminal; what needs attention is coloured too.
fn table(
    tokens: &[Token],
    now: UnixTime,
    here: impl Fn(&Token) -> bool,
    ends: impl Fn(&Token) -> Option<i64>,
) -> String {
    if tokens.is_empty() {
        return "No tokens.\n".to_owned();
    }
    let row = |token: &Token| {
        let used = token.last_used.map(|at| output::ago(at, now));
        let left = token.expiry.map(|expiry| expiry.left(now));
        let expires = match (ends(token), left) {
            (_, Some(left)) if left <= 0 => "EXPIRED".to_owned(),
            (Some(left), _) => output::replaced(left),
            (None, Some(left)) => format!("in {}", output::until_end(left)),
            (None, None) => "never".to_owned(),
        };
        vec![
            escaped(&token.name),
            hint(token),
            escaped(&token.scopes.join(",")),
            used.unwrap_or_else(|| "never".to_owned()),
            expires,
            if here(token) { "this machine" } else { "" }.to_owned(),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    let header = ["NAME", "TOKEN", "SCOPES", "USED", "EXPIRES", "GIT"];
    let (header, rows) = table::rows(&header, &rows, table::width());
    let mut coloured = match header.as_str() {
        "" => String::new(),
        header => format!("{}\n", output::styled(header, output::BOLD)),
    };
    for (row, token) in rows.iter().zip(tokens) {
        let left = token.expiry.map(|expiry| expiry.left(now));
        coloured += &match left {
            Some(left) if left <= 0 => output::styled(row, output::WRONG),
            Some(left) if left <= SOON => output::styled(row, output::WARNING),
            _ => row.to_owned(),
        };
        coloured.push('\n');
    }
    coloured
}

/// The same for `cut` and `awk`. What is escaped holds no tab.
fn tsv(tokens: &[Token]) -> String {
    let line = |token: &Token| {
        let fields = [
            escaped(&token.id),
            escaped(&token.name),
            hint(token),
            escaped(&token.scopes.join(",")),
            token.created.map(output::rfc3339).unwrap_or_default(),
            token.last_used.map(output::rfc3339).unwrap_or_default(),
            token
                .expiry
                .map(|expiry| output::rfc3339(expiry.0))
                .unwrap_or_default(),
        ];
        format!("{}\n", fields.join("\t"))
    };
    tokens.iter().map(line).collect()
}

/// The documented layout.
fn layout(
    tokens: &[Token],
    now: UnixTime,
    here: impl Fn(&Token) -> bool,
    ends: impl Fn(&Token) -> Option<i64>,
    replace_by: impl Fn(&Token) -> Option<Expiry>,
) -> String {
    let mut text = format!("Personal Access Tokens ({})\n", tokens.len());
    for token in tokens {
        let expired = token.is_expired(now);
        let used = match token.last_used {
            Some(at) => format!("Last used: {}", output::ago(at, now)),
            None => "Never used".into(),
        };
        let ends = ends(token).filter(|_| !expired).map(output::replaced);
        let expires = match token.expiry {
            Some(expiry) if expired => format!("Expired: {}", output::date(expiry.0)),
            Some(expiry) => format!("Expires: {}", output::date(expiry.0)),
            None => match replace_by(token) {
                Some(by) => format!("Expires: Never, replaced by {}", output::date(by.0)),
                None => "Expires: Never".into(),
            },
        };
        // In the place of the date, which is that of the grace where the server knows it.
        let expires = ends.unwrap_or(expires);
        let only = match token.repositories.as_slice() {
            [] => String::new(),
            names => format!("  Only: {}", escaped(&names.join(", "))),
        };
        let heading = format!(
            "{}  {}{}{}",
            hint(token),
            if expired { "[EXPIRED] " } else { "" },
            escaped(&token.name),
            if here(token) { "  (this machine)" } else { "" },
        );
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{}\n  ID: {}  Scopes: {}{only}\n  {used}  •  {expires}\n",
            heading.trim_start(),
            escaped(short_id(token, tokens)),
            escaped(&token.scopes.join(", ")),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let now = UnixTime(1_710_000_000);
        let ci = Token {
            id: "abc12345-1111".into(),
            name: "CI Token".into(),
            prefix: "wit_a1b2".into(),
            scopes: vec!["repo:read".into(), "repo:write".into()],
            created: Some(UnixTime(0)),
            last_used: Some(now.plus(-7_300)),
            expiry: Some(Expiry(UnixTime(1_713_175_200))),
            request_id: None,
            replaced_by: None,
            suffix: String::new(),
            repositories: Vec::new(),
        };
        let old = Token {
            id: "def67890-2222".into(),
            name: "Old \u{1b}[2JKey".into(),
            prefix: "wit_c3d4".into(),
            scopes: vec!["repo:read".into()],
            last_used: None,
            expiry: Some(Expiry(UnixTime(1_709_251_200))),
            ..ci.clone()
        };
        let shown = layout(&[ci, old], now, |_| false, |_| None, |_| None);
        assert_eq!(
            shown,
            "Personal Access Tokens (2)\n\
             \n\
             wit_a1b2...  CI Token\n  ID: abc12345  Scopes: repo:read, repo:write\n  \
             Last used: 2 hours ago  •  Expires: Apr 15, 2024\n\
             \n\
             wit_c3d4...  [EXPIRED] Old \\u{1b}[2JKey\n  ID: def67890  Scopes: repo:read\n  \
             Never used  •  Expired: Mar 1, 2024\n"
        );
    }
}
