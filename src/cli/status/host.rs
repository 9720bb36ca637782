//! The part of `wit status` about a git host: who is signed in, how that is renewed, until when.

use serde_json::{Value, json};

use crate::app::status::Answer;
use crate::cli::output::{self, escaped};
use crate::credential::Credential;
use crate::expiry::{DAY, Expiry, SOON, UnixTime};
use crate::hosts::tokens::gitea::may_create;
use crate::item::Item;
use crate::quote::Suggestion;
use crate::sign_in::{self, HostType, InstalledApp, SignIn, Upkeep};

/// Seconds before its end from which a token that replaces itself needs attention: it should have
/// done so days before.
const UNRENEWED: i64 = 2 * DAY;

/// Lines about one host.
pub struct Shown {
    pub lines: Vec<String>,
    pub attention: bool,
    pub document: Value,
}

/// State of the renewals at a site.
pub struct Renewals<'a> {
    /// Reason why the last refresh failed.
    pub failure: Option<&'a str>,
    /// True if tokens are renewed at all.
    pub renews: bool,
    /// By this machine's clock.
    pub now: UnixTime,
}

/// Shows the sign-ins of `server` that an item has.
pub fn show(
    server: &str,
    host: HostType,
    item: &Item,
    answer: &Answer,
    renewals: &Renewals,
    has_failed: impl Fn(&Credential) -> bool,
) -> Shown {
    let Renewals {
        failure,
        renews,
        now,
    } = *renewals;
    let mut lines = vec![format!("  {}", host.title())];
    if let Some(problem) = &answer.problem {
        lines.push(format!("  Not checked: {}", output::redacted(problem)));
    }
    let mut attention = false;
    let mut documents = Vec::new();
    for (number, entry) in item.credentials.0.iter().enumerate() {
        let Some(sign_in) = &entry.sign_in else {
            continue;
        };
        if sign_in.server != server {
            continue;
        }
        let accepted = answer.sign_ins.get(&number).copied();
        let (mut line, mut needs_attention) = line(entry, sign_in, accepted, failure, renews, now);
        if entry.rotates_itself() && !needs_attention && has_failed(entry) {
            needs_attention = true;
            let rotate = Suggestion::new("wit token rotate").option("--server", server);
            line = format!("{line}, but the last renewal failed: {rotate}");
        }
        attention |= needs_attention;
        lines.push(match (needs_attention, accepted) {
            (true, Some(true)) => output::styled(&line, output::WARNING),
            (true, _) => output::styled(&line, output::WRONG),
            (false, Some(true)) => output::styled(&line, output::GOOD),
            (false, _) => line,
        });
        documents.push(document(entry, sign_in, accepted, renews));
    }
    if documents.is_empty() {
        attention = true;
        let login = Suggestion::new("wit login").arg(server);
        lines.push(output::styled(
            &format!("  Not logged in: {login}"),
            output::WRONG,
        ));
    }
    Shown {
        lines,
        attention,
        document: json!({
            "server": server,
            "hostType": host.name(),
            "checked": answer.is_complete && answer.problem.is_none(),
            "problem": answer.problem,
            "clockSkew": answer.skew,
            "sessions": [],
            "signIns": documents,
            "tokens": [],
            "pending": 0,
            "previous": 0,
        }),
    }
}

fn line(
    entry: &Credential,
    sign_in: &SignIn,
    accepted: Option<bool>,
    failure: Option<&str>,
    renews: bool,
    now: UnixTime,
) -> (String, bool) {
    let login = Suggestion::new("wit login").args(sign_in.login_words());
    let who = match &sign_in.account {
        Some(account) => format!("Logged in as {}", escaped(account)),
        None => "Logged in".to_owned(),
    };
    let path = entry.path.as_deref().map(String::from_utf8_lossy);
    let path = path
        .map(|path| format!(" for {}", escaped(&path)))
        .unwrap_or_default();
    let scopes = match sign_in.scopes.as_slice() {
        [] => String::new(),
        scopes => format!(": {}", escaped(&scopes.join(", "))),
    };
    let (state, attention) = match &sign_in.upkeep {
        _ if entry.was_lost() => {
            let name = entry.token.as_ref().map(|token| token.name.as_str());
            let name = escaped(name.unwrap_or_default());
            let next = sign_in::after_lost(&sign_in.server, &name);
            let why = "it was replaced, but the answer with the new token was lost";
            (format!("{why}: {next}"), true)
        }
        _ if sign_in.ended => (format!("the server has ended it: {login}"), true),
        _ if accepted == Some(false) => (format!("the server no longer accepts it: {login}"), true),
        _ if entry.is_refreshable() && entry.is_expired(now) => match failure {
            Some(reason) => {
                let reason = output::redacted(reason);
                (format!("expired and not renewed: {reason}"), true)
            }
            None => match &sign_in.upkeep {
                Upkeep::Mint(app) => (by_app(app), false),
                _ => ("renewed when git asks for it".to_owned(), false),
            },
        },
        Upkeep::Refresh(_) if entry.refresh_token.is_some() => match sign_in.refresh_expiry {
            Some(expiry) if expiry.left(now) <= SOON => (until(expiry, now, &login), true),
            Some(expiry) => {
                let date = output::date(expiry.0);
                (
                    format!("renewed automatically, by {date} at the latest"),
                    false,
                )
            }
            None => ("renewed automatically".to_owned(), false),
        },
        Upkeep::Mint(app) => (by_app(app), false),
        Upkeep::RotateItself if entry.rotates_itself() && renews => match entry.expiry {
            Some(expiry) if expiry.left(now) <= UNRENEWED => (until(expiry, now, &login), true),
            Some(expiry) => {
                let date = output::date(expiry.0);
                (format!("replaces itself before {date}"), false)
            }
            None => ("never expires".to_owned(), false),
        },
        Upkeep::Replace { .. } if entry.replace_by().is_some() => {
            by_password(entry, sign_in, renews, now)
        }
        upkeep => match entry.expiry {
            Some(expiry) if expiry.left(now) <= SOON => (until(expiry, now, &login), true),
            Some(expiry) => (
                format!("not renewed, expires {}", output::date(expiry.0)),
                false,
            ),
            None => (words(upkeep).to_owned(), false),
        },
    };
    (format!("  {who}{path}{scopes}, {state}"), attention)
}

/// A token that was created by a password: when this machine is to replace it, and whether it can.
fn by_password(
    entry: &Credential,
    sign_in: &SignIn,
    renews: bool,
    now: UnixTime,
) -> (String, bool) {
    let Some(by) = entry.replace_by() else {
        return (words(&sign_in.upkeep).to_owned(), false);
    };
    // At Gitea a token may create others; elsewhere that takes the password again.
    let by_itself = renews && sign_in.host == HostType::Gitea && may_create(&sign_in.scopes);
    let date = output::date(by.0);
    let limit = if by_itself { UNRENEWED } else { SOON };
    if by.left(now) > limit {
        return (
            format!("created with your password, replaced by {date}"),
            false,
        );
    }
    let rotate = Suggestion::new("wit token rotate").option("--server", &sign_in.server);
    (
        format!("created with your password, to be replaced by {date}: {rotate}"),
        true,
    )
}

/// It needs nobody, for as long as the app has its key and is installed.
fn by_app(app: &InstalledApp) -> String {
    let (slug, owner) = (escaped(&app.slug), escaped(&app.owner));
    let repositories = match app.repositories.as_slice() {
        [] => String::new(),
        names => format!(" for {}", escaped(&names.join(", "))),
    };
    let number = app.installation;
    format!(
        "a new token each hour{repositories} by the app {slug} ({}), installed at {owner} ({number}); no end",
        app.id
    )
}

fn until(expiry: Expiry, now: UnixTime, login: &Suggestion) -> String {
    match expiry.left(now) {
        left if left <= 0 => format!("expired {}: {login}", output::ago(expiry.0, now)),
        left => format!("expires in {}: {login}", output::until_end(left)),
    }
}

fn words(upkeep: &Upkeep) -> &'static str {
    match upkeep {
        Upkeep::Refresh(_) | Upkeep::Mint(_) => "never expires",
        Upkeep::Replace { .. } => "never expires; created with your password",
        Upkeep::RotateItself | Upkeep::Watch => "no expiry known; created elsewhere",
    }
}

fn document(entry: &Credential, sign_in: &SignIn, accepted: Option<bool>, renews: bool) -> Value {
    let time = |expiry: Option<Expiry>| expiry.map(|expiry| output::rfc3339(expiry.0));
    json!({
        "account": sign_in.account,
        "path": entry.path.as_deref().map(String::from_utf8_lossy),
        "scopes": sign_in.scopes,
        "upkeep": sign_in.upkeep.name(),
        "app": match &sign_in.upkeep {
            Upkeep::Mint(app) => output::app(app),
            _ => Value::Null,
        },
        "renewed": entry.is_refreshable()
            || renews && entry.rotates_itself() && entry.expiry.is_some(),
        "ended": sign_in.ended,
        "accepted": accepted,
        "expiresAt": time(entry.expiry),
        "replaceBy": time(entry.token.as_ref().and_then(|token| token.replace_by)),
        "renewableUntil": time(sign_in.refresh_expiry),
    })
}
