//! `wit token audit`: what a careful person would look for.

use std::fmt::Write;

use serde_json::json;

use super::pick::{label, short_id};
use crate::api::{Event, Token};
use crate::cli::output::{self, escaped, quoted};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit};
use crate::expiry::{DAY, UnixTime};

/// Days before its expiry from which a token is about to expire.
const SOON: i64 = 14;
/// Days without a use after which a token is not needed.
const UNUSED: i64 = 90;
/// Days after which one that was never used is not needed.
const NEVER_USED: i64 = 7;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show instead what was done with your tokens, newest first: made, first used, rotated,
    /// revoked, and from which address
    #[arg(long)]
    events: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is wrong with a token, by the name that `--json` gives it, and in words.
fn findings(token: &Token, now: UnixTime) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let wide = token.scopes.iter().any(|scope| scope == "repo:admin");
    match token.expiry {
        Some(expiry) if expiry.is_past(now) => {
            // Nothing else matters of one that opens nothing.
            let date = output::date(expiry.0);
            return vec![("expired", format!("expired on {date} and still kept"))];
        }
        Some(expiry) if expiry.left(now) <= SOON * DAY => {
            let date = output::date(expiry.0);
            found.push(("expiring", format!("expires on {date}")));
        }
        Some(_) => {}
        None => found.push(("never-expires", "never expires".into())),
    }
    if wide {
        found.push(("wide", "repo:admin may delete repositories".into()));
    }
    match token.last_used {
        None if now.since(token.created) >= NEVER_USED * DAY => {
            let made = output::date(token.created);
            found.push(("never-used", format!("never used since {made}")));
        }
        Some(at) if now.since(at) >= UNUSED * DAY => {
            found.push(("unused", format!("last used {}", output::ago(at, now))));
        }
        _ => {}
    }
    found
}

/// The command that mends the worst of it. `receiver` is where the new token goes.
fn mend(token: &Token, kind: &str, id: &str, receiver: &str) -> String {
    match kind {
        "expiring" => format!("wit token rotate {id}{receiver}"),
        "never-expires" | "wide" => {
            let narrow = token.scopes.iter().filter(|scope| *scope != "repo:admin");
            let scopes: Vec<&str> = narrow.map(String::as_str).collect();
            let scopes = match scopes.is_empty() {
                true => "repo:read".to_owned(),
                false => scopes.join(","),
            };
            format!("wit token rotate {id} -e 90 -s {scopes}{receiver}")
        }
        _ => format!("wit token revoke {id}"),
    }
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let acting = session::acting(context, &args.server)?;
    if args.events {
        return events(&acting.api.events()?, context);
    }
    let tokens = acting.api.list()?;
    let now = acting.now();
    let mut text = String::new();
    let mut documents = Vec::new();
    for token in &tokens {
        let found = findings(token, now);
        if found.is_empty() {
            continue;
        }
        let id = quoted(escaped(short_id(token, &tokens)));
        let receiver = match acting.holds(&token.id) {
            true => "",
            false => " --print",
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", label(token));
        for (kind, words) in &found {
            let mend = escaped(&mend(token, kind, &id, receiver));
            let _ = writeln!(text, "  {words}: {mend}");
            documents
                .push(json!({"id": token.id, "name": token.name, "finding": kind, "mend": mend}));
        }
    }
    let clean = documents.is_empty();
    if context.json {
        output::json(&documents)?;
    } else if clean {
        output::print(b"Nothing to mend.\n")?;
    } else {
        output::print(text.as_bytes())?;
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
            created: now.plus(-20 * DAY),
            last_used: Some(now.plus(-DAY)),
            expiry: Some(Expiry(now.plus(60 * DAY))),
            request_id: None,
            replaced_by: None,
        };
        let kinds = |token: &Token| -> Vec<&str> {
            findings(token, now)
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
