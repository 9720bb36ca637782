//! `wit token audit`: what a careful person would look for.

use std::fmt::Write;

use serde_json::json;

use super::pick::{label, short_id};
use crate::api::promises::{Precision, Promises, require};
use crate::api::{Event, Token};
use crate::app::rotations::Rotations;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ApiSession, PlaceArgs, ServerArgs};
use crate::cli::{Context, Exit};
use crate::expiry::{DAY, UnixTime};
use crate::hosts::scopes;
use crate::quote::Suggestion;
use crate::sign_in::HostType;

/// Returns whether it is a scope that few tokens need.
fn is_wide(host: HostType, scope: &str) -> bool {
    match host {
        HostType::Wit => scope == "repo:admin",
        HostType::Gitea | HostType::Forgejo => matches!(scope, "all" | "write:admin"),
        HostType::Gitlab => scope == "api",
        HostType::Github | HostType::Bitbucket | HostType::Azure | HostType::Oauth => false,
    }
}

/// Days before its expiry from which a token is about to expire.
const SOON: i64 = 14;
/// Days without a use after which a token is not needed.
const UNUSED: i64 = 90;
/// Days after which one that was never used is not needed.
const NEVER_USED: i64 = 7;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the events of your tokens instead, newest first: created, first used, rotated,
    /// revoked, each with its address
    #[arg(long)]
    events: bool,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Problems of a token: the name that `--json` has for each, and the words for it.
fn findings(
    token: &Token,
    now: UnixTime,
    host: HostType,
    promises: &Promises,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let wide = token.scopes.iter().find(|scope| is_wide(host, scope));
    match token.expiry {
        Some(expiry) if expiry.is_expired(now) => {
            // Nothing else matters of one that opens nothing.
            let date = output::date(expiry.0);
            return vec![("expired", format!("expired on {date} and still kept"))];
        }
        Some(expiry) if expiry.left(now) <= SOON * DAY => {
            let date = output::date(expiry.0);
            found.push(("expiring", format!("expires on {date}")));
        }
        Some(_) => {}
        None if promises.expiry == Precision::None => {}
        None => found.push(("never-expires", "never expires".into())),
    }
    match wide {
        Some(_) if host == HostType::Wit => {
            found.push(("wide", "repo:admin may delete repositories".into()));
        }
        Some(scope) => {
            let words = format!("{} is more than git needs", escaped(scope));
            found.push(("wide", words));
        }
        None => {}
    }
    match token.last_used {
        None if token.idle(now).is_some_and(|idle| idle >= NEVER_USED * DAY) => {
            let made = token.created.map(output::date).unwrap_or_default();
            found.push(("never-used", format!("never used since {made}")));
        }
        Some(at) if now.since(at) >= UNUSED * DAY => {
            found.push(("unused", format!("last used {}", output::ago(at, now))));
        }
        _ => {}
    }
    found
}

/// Relation of a token to this machine, which decides what can be done about it.
enum Place {
    /// Git on this machine uses it: a rotation stores the new one.
    Stored,
    /// It is used elsewhere: a rotation prints the new one.
    Elsewhere,
    /// A rotation has left it behind: it is only to be revoked.
    LeftBehind,
    /// It is worked on in a database that no server is linked to: nothing is rotated there.
    Unlinked,
}

fn place(api_session: &ApiSession, token: &Token) -> Place {
    match () {
        () if api_session.stores(&token.id) => Place::Stored,
        () if api_session.holds(&token.id) => Place::LeftBehind,
        () if api_session.can_rotate() => Place::Elsewhere,
        () => Place::Unlinked,
    }
}

/// The command for a finding: a replacement with what is wrong put right, or the end of a token
/// that is not needed.
fn mend(api_session: &ApiSession, token: &Token, kind: &str, tokens: &[Token]) -> Suggestion {
    let id = short_id(token, tokens);
    let revoke = api_session.suggest("wit token revoke").arg(id);
    let place = place(api_session, token);
    let is_needed = matches!(kind, "expiring" | "never-expires" | "wide");
    if !is_needed || matches!(place, Place::LeftBehind) {
        return revoke;
    }
    let host = api_session.host;
    let is_narrow = |scope: &&String| {
        let mut known = scopes::all(host).iter();
        !is_wide(host, scope) && known.any(|(known, _)| *known == scope.as_str())
    };
    let narrow: Vec<&str> = (token.scopes.iter().filter(is_narrow))
        .map(String::as_str)
        .collect();
    let narrow = match narrow.is_empty() {
        true => "read".to_owned(),
        false => narrow.join(","),
    };
    let is_wide = token.scopes.iter().any(|scope| is_wide(host, scope));
    if matches!(place, Place::Unlinked) {
        return api_session
            .suggest("wit token create --expires 90")
            .option("--scopes", narrow)
            .last(&token.name)
            .and(revoke);
    }
    // It keeps its scopes when it replaces itself: only another token is narrower.
    let mut entries = api_session.item.credentials.0.iter();
    let replaces_itself = entries.any(|entry| entry.has_id(&token.id) && entry.rotates_itself());
    if is_wide && replaces_itself {
        return Suggestion::new("wit login")
            .arg(&api_session.name)
            .arg("--paste-token");
    }
    let mut rotate = api_session.suggest("wit token rotate").arg(id);
    let expires = api_session.api.promises().expiry != Precision::None;
    if token.expiry.is_none() && expires {
        rotate = rotate.option("-e", "90");
    }
    if is_wide {
        rotate = rotate.option("-s", narrow);
    }
    if matches!(place, Place::Elsewhere) {
        rotate = rotate.arg("--print");
    }
    rotate
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let api_session = session::api_session(
        context,
        &(args.server.at(&args.places, &[])).with_password(args.password_stdin),
    )?;
    if args.events {
        return events(&api_session.api.events()?, context);
    }
    let promises = api_session.api.promises();
    require(api_session.api.as_ref(), promises.list, "list tokens")?;
    let tokens = api_session.api.list()?;
    let now = api_session.now();
    let rotations = Rotations::load(&context.paths);
    let (mut text, mut graces) = (String::new(), String::new());
    let mut documents = Vec::new();
    for token in &tokens {
        let label = label(token);
        // It was replaced, and ends by itself.
        let ends = rotations.ends(token, now).map(|at| at.since(now));
        if let Some(left) = ends.filter(|left| *left > 0) {
            // Writing to a String can't fail.
            let _ = writeln!(graces, "{label}\n  {}", output::replaced(left));
            continue;
        }
        let found = match rotations.is_unfinished(&token.id) {
            true => vec![("unfinished", "its rotation is not finished".to_owned())],
            false => findings(token, now, api_session.host, &promises),
        };
        if found.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{label}");
        for (kind, words) in &found {
            let mend = match *kind {
                "unfinished" => (api_session.suggest("wit token rotate --resume"))
                    .arg(short_id(token, &tokens))
                    .to_string(),
                kind => mend(&api_session, token, kind, &tokens).to_string(),
            };
            let _ = writeln!(text, "  {words}: {mend}");
            documents
                .push(json!({"id": token.id, "name": token.name, "finding": kind, "mend": mend}));
        }
    }
    let clean = documents.is_empty();
    if context.json {
        output::json(&documents)?;
    } else if clean {
        output::print(format!("No problems found.\n{graces}").as_bytes())?;
    } else {
        output::print(format!("{text}{graces}").as_bytes())?;
    }
    match clean {
        true => Ok(Exit::Done),
        false => Ok(Exit::Attention),
    }
}

fn events(events: &[Event], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let all = events.iter().map(|event| {
            json!({
                "at": output::rfc3339(event.at),
                "action": event.action,
                "tokenId": event.token_id,
                "tokenName": event.token_name,
                "tokenPrefix": event.token_prefix,
                "address": event.address,
            })
        });
        output::json(&all.collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for event in events {
        let place = match &event.address {
            Some(address) => format!("from {}", escaped(address)),
            None => "on the database itself".into(),
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "{}  {:<7}  {}...  {}, {place}",
            output::rfc3339(event.at),
            escaped(&event.action),
            escaped(&event.token_prefix),
            escaped(&event.token_name),
        );
    }
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::Expiry;

    #[test]
    fn each_kind_is_found_and_a_good_token_is_not() {
        let now = UnixTime(1_700_000_000);
        let good = Token {
            id: "cf44cc33".into(),
            name: "ci".into(),
            prefix: "wit_8432".into(),
            scopes: vec!["repo:read".into()],
            created: Some(now.plus(-20 * DAY)),
            last_used: Some(now.plus(-DAY)),
            expiry: Some(Expiry(now.plus(60 * DAY))),
            request_id: None,
            replaced_by: None,
            suffix: String::new(),
            repositories: Vec::new(),
        };
        let kinds = |token: &Token| -> Vec<&str> {
            findings(token, now, HostType::Wit, &Promises::PLATFORM)
                .into_iter()
                .map(|(kind, _)| kind)
                .collect()
        };
        assert!(kinds(&good).is_empty());
        let expiring = |days: i64| Some(Expiry(now.plus(days * DAY)));
        let with = |change: &dyn Fn(&mut Token)| {
            let mut token = good.clone();
            change(&mut token);
            token
        };
        assert_eq!(kinds(&with(&|t| t.expiry = expiring(-1))), ["expired"]);
        assert_eq!(kinds(&with(&|t| t.expiry = expiring(13))), ["expiring"]);
        assert_eq!(kinds(&with(&|t| t.expiry = None)), ["never-expires"]);
        assert_eq!(kinds(&with(&|t| t.last_used = None)), ["never-used"]);
        assert_eq!(
            kinds(&with(&|t| t.last_used = Some(now.plus(-99 * DAY)))),
            ["unused"]
        );
        assert_eq!(
            kinds(&with(&|t| t.scopes.push("repo:admin".into()))),
            ["wide"]
        );
    }
}
