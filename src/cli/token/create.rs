//! `wit token create`.

use std::io::Write;

use serde::Serialize;
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::pick::shown;
use crate::api::lost::{self, Search};
use crate::api::promises::require;
use crate::api::{ApiError, CreatedToken, NewToken, Token};
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, Acting, Place, ServerArgs};
use crate::cli::{Context, Exit, Failure, completion};
use crate::credential::{Credential, Proof, TokenInfo};
use crate::expiry::{DAY, UnixTime, notable_skew};
use crate::names::SCOPES;
use crate::quote::{Hint, Suggestion};
use crate::store;

/// What a token for git on this machine lasts, in days, where nobody says.
const GIT_DAYS: u32 = 90;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the token is for. Without it one is made for git on this machine, and stored
    name: Option<String>,
    /// Days until it expires, 1 to 365, or `never`
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<String>,
    /// The last day on which it works, such as 2027-01-31
    #[arg(long, value_name = "DATE", conflicts_with = "expires")]
    expires_on: Option<String>,
    /// What it is allowed, comma-separated or repeated [default: repo:read,repo:write]
    #[arg(short, long, value_name = "SCOPES")]
    scopes: Vec<String>,
    /// Keep it in this machine's store, for git
    #[arg(long)]
    store: bool,
    /// Print it, once
    #[arg(long)]
    print: bool,
    /// Print the bare token and nothing else
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let for_git = args.name.is_none();
    let print = args.print || args.quiet || (!for_git && !args.store);
    let keep = args.store || (for_git && !print);
    let days = match &args.expires {
        Some(text) => days(text)?,
        None if for_git => Some(GIT_DAYS),
        None => None,
    };
    let last_day = args.expires_on.as_deref().map(date).transpose()?;
    let new = NewToken {
        name: match args.name {
            Some(name) => checked_name(name)?,
            None => name_of_this_machine(),
        },
        scopes: scopes(&args.scopes)?,
        expires_in_days: days,
        request_id: Some(Uuid::new_v4()),
    };
    let acting = session::acting(context, &args.server)?;
    let place = match keep {
        true => Some(session::git_place(&acting)?),
        false => None,
    };
    let (created, before) = create(&acting, new.clone(), last_day)?;
    completion::created(&context.paths, &acting.name, &created.token);
    let replaced = match place {
        Some(place) => keep_it(&acting, place, &created, context)?,
        None => None,
    };
    let shown = Shown {
        print,
        quiet: args.quiet,
        stored: place,
        replaced: replaced.as_ref().map(|replaced| replaced.id.as_str()),
    };
    report(&created, &shown, &acting, context)?;
    if context.json {
        return Ok(Exit::Done);
    }
    if for_git && args.expires.is_none() && args.expires_on.is_none() && !args.quiet {
        eprintln!("It lasts {GIT_DAYS} days; --expires DAYS says otherwise.");
    }
    if created.token.expiry.is_none() {
        let what = match new.scopes.iter().any(|scope| scope == "repo:admin") {
            true => "this token never expires and may delete repositories",
            false => "this token never expires",
        };
        eprintln!("warning: {what}; --expires DAYS makes one that does");
    }
    if let Some(replaced) = replaced
        && let Some(told) = told_of_replaced(&replaced, &before, &acting)
    {
        eprintln!("{told}");
    }
    Ok(Exit::Done)
}

/// Days as digits, 1 to 365; `None` for `never`.
pub(super) fn days(text: &str) -> Result<Option<u32>, Failure> {
    if text == "never" {
        return Ok(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(days @ 1..=365) if digits => Ok(Some(days)),
        _ => Err(Failure::new(
            Exit::Usage,
            format!(
                "--expires takes 1 to 365 days or never, not '{}'",
                shown(text)
            ),
        )
        .hint("wit token create NAME --expires 30")),
    }
}

fn date(text: &str) -> Result<Date, Failure> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]"));
    date.map_err(|_| bad_date(&shown(text), UnixTime::now()))
}

/// Whole days from now, by the server's clock, to a date, so that a token ends on that day (UTC) and
/// not after it.
fn days_until(date: Date, now: UnixTime) -> Result<u32, Failure> {
    let day = |date: Date| i64::from(date.to_julian_day());
    let today = OffsetDateTime::from_unix_timestamp(now.0).map(|now| day(now.date()));
    let days = today.ok().map(|today| day(date) - today);
    match days.and_then(|days| u32::try_from(days).ok()) {
        Some(days @ 1..=365) => Ok(days),
        _ => Err(bad_date(&date.to_string(), now)),
    }
}

fn bad_date(shown: &str, now: UnixTime) -> Failure {
    let why = format!("--expires-on takes a date from tomorrow to a year ahead, not '{shown}'");
    let month = output::iso_date(now.plus(30 * DAY));
    let create = Suggestion::new("wit token create NAME").option("--expires-on", month);
    Failure::new(Exit::Usage, why).hint(create)
}

/// A name that the server takes: 1 to 100 characters without control characters, and no token.
fn checked_name(name: String) -> Result<String, Failure> {
    let wrong = if name.trim().is_empty() {
        "is empty"
    } else if name.chars().count() > 100 {
        "is longer than 100 characters"
    } else if escaped(&name) != name {
        "has control characters"
    } else if output::redacted(&name) != name {
        "looks like a token"
    } else {
        return Ok(name);
    };
    Err(
        Failure::new(Exit::Usage, format!("the token's name {wrong}"))
            .hint("wit token create \"CI Token\""),
    )
}

/// What to say of the token that was stored before, where it may still work.
fn told_of_replaced(replaced: &TokenInfo, before: &[Token], acting: &Acting) -> Option<String> {
    let is_theirs = (acting.place.as_ref())
        .is_some_and(|place| place.server.to_string() == replaced.server)
        && acting.account == replaced.account;
    if !is_theirs {
        let config = &acting.config;
        let revoke = "wit token revoke";
        let revoke = session::suggest(revoke, config, &replaced.server, &replaced.account);
        let revoke = revoke.arg(&replaced.id);
        return Some(format!(
            "The token stored before may still work; to revoke it: {revoke}"
        ));
    }
    let alive = |token: &&Token| token.id == replaced.id && !token.is_expired(acting.now());
    before.iter().find(alive).map(|token| {
        let revoke = acting.suggest("wit token revoke").arg(&token.id);
        format!("The token stored before still works; to revoke it: {revoke}")
    })
}

fn name_of_this_machine() -> String {
    let host = output::machine();
    match host.is_empty() {
        true => "git".into(),
        false => format!("git on {host}"),
    }
}

/// The scopes asked for, each once, in order.
pub(super) fn scopes(asked: &[String]) -> Result<Vec<String>, Failure> {
    if asked.is_empty() {
        return Ok(vec!["repo:read".into(), "repo:write".into()]);
    }
    let mut scopes: Vec<String> = Vec::new();
    for scope in asked.iter().flat_map(|list| list.split(',')).map(str::trim) {
        if !SCOPES.iter().any(|(known, _)| *known == scope) {
            let hint = match nearest(scope) {
                Some(near) => Hint::from("did you mean ")
                    .text(near)
                    .text("? All of them: wit token scopes"),
                None => "wit token scopes".into(),
            };
            let message = format!("unknown scope '{}'", shown(scope));
            return Err(Failure::new(Exit::Usage, message).hint(hint));
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    Ok(scopes)
}

fn nearest(scope: &str) -> Option<&'static str> {
    SCOPES
        .into_iter()
        .map(|(known, _)| (strsim::jaro_winkler(known, scope), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Creates once, and returns the tokens of before too. After a lost response it looks for the token
/// that the request may have created, and says what revokes it: its secret was lost.
fn create(
    acting: &Acting,
    mut new: NewToken,
    last_day: Option<Date>,
) -> anyhow::Result<(CreatedToken, Vec<Token>)> {
    let (api, server) = (&acting.api, &acting.name);
    let told = |error| match error {
        ApiError::NotFound => Failure::new(Exit::Failed, format!("{server} has no token API"))
            .hint(Suggestion::new("wit login").arg(server))
            .into(),
        other => anyhow::Error::from(other),
    };
    // None of these is one that got lost.
    let before = api.list().map_err(told)?;
    let promises = api.promises();
    require(promises.create, "create tokens")?;
    if let Some(date) = last_day {
        new.expires_in_days = Some(days_until(date, acting.now())?);
    }
    let longest = promises.lifetime(new.expires_in_days);
    if new.expires_in_days != longest {
        let message = match longest {
            Some(days) => format!("a token of {server} lives for {days} days at most"),
            None => format!("tokens of {server} never expire"),
        };
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let lost = match api.create(&new) {
        Err(error) if error.may_be_carried_out() => error,
        Err(error) => return Err(told(error)),
        Ok(created) => return Ok((created, before)),
    };
    let look = || {
        let list = acting.suggest("wit token list");
        Hint::from(list).text(", and revoke what you do not know")
    };
    let revoke = |tokens: &[Token]| {
        let ids = tokens.iter().map(|one| one.id.clone());
        Hint::from(acting.suggest("wit token revoke").args(ids))
    };
    let ids: Vec<Uuid> = new.request_id.into_iter().collect();
    let is_known = |id: &str| before.iter().any(|one| one.id == id);
    let found = lost::search(api.as_ref(), &new.name, &ids, is_known);
    let (exit, what, hint) = match found {
        Err(_) => (
            Exit::Unfinished,
            "the token may have been created".to_owned(),
            look(),
        ),
        Ok(Search::Nothing) => (
            Exit::Failed,
            "no token was created".to_owned(),
            Hint::from("try again"),
        ),
        Ok(Search::Ours(ours)) => (
            Exit::Unfinished,
            "the token was created, but its secret was lost".to_owned(),
            revoke(&ours).text(", then try again"),
        ),
        Ok(Search::Unclear(tokens)) => {
            let ids: Vec<String> = tokens.iter().map(|one| escaped(&one.id)).collect();
            let hint = match tokens.len() {
                1 => revoke(&tokens).text(", unless another machine created it"),
                _ => look(),
            };
            let what = format!("the token may have been created: {}", ids.join(" "));
            (Exit::Unfinished, what, hint)
        }
    };
    Err(Failure::new(exit, format!("{lost}; {what}"))
        .hint(hint)
        .into())
}

/// Puts the token where git finds it; the token that it took the place of. A token that can't be
/// stored is revoked again.
fn keep_it(
    acting: &Acting,
    place: &Place,
    created: &CreatedToken,
    context: &Context,
) -> anyhow::Result<Option<TokenInfo>> {
    let credential = Credential {
        username: Some(acting.account.clone().into_bytes()),
        path: None,
        proof: Proof::Password(created.secret.clone()),
        expiry: created.token.expiry,
        refresh_token: None,
        sign_in: None,
        token: Some(TokenInfo {
            server: place.server.to_string(),
            id: created.token.id.clone(),
            name: created.token.name.clone(),
            account: acting.account.clone(),
            scopes: created.token.scopes.clone(),
            created: created.token.created,
            clock_skew: notable_skew(acting.api.clock_skew()),
        }),
    };
    let kept = store::update(acting.store.as_ref(), &context.paths, &place.site, |item| {
        let before = infos(&item.credentials.0);
        item.credentials.put(credential);
        let after = infos(&item.credentials.0);
        before.into_iter().find(|info| !after.contains(info))
    });
    match kept {
        Ok(replaced) => Ok(replaced),
        Err(error) => {
            let ended = match acting.api.revoke(&created.token.id) {
                Ok(()) => "the new token was revoked again".to_owned(),
                Err(_) => format!(
                    "the new token still works; to revoke it: {}",
                    acting.suggest("wit token revoke").arg(&created.token.id)
                ),
            };
            Err(anyhow::Error::from(error).context(format!("the token was not stored ({ended})")))
        }
    }
}

fn infos(entries: &[Credential]) -> Vec<TokenInfo> {
    let infos = entries.iter().filter_map(|entry| entry.token.clone());
    infos.collect()
}

/// The document of `--json`, in the names of the API; `token` only where it is to be printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    id: &'a str,
    name: &'a str,
    token_prefix: &'a str,
    scopes: &'a [String],
    created_at: String,
    expires_at: Option<String>,
    server: &'a str,
    stored: bool,
    /// The id of the token that was stored before, which still works.
    replaced: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// What is told of a new token.
struct Shown<'a> {
    print: bool,
    quiet: bool,
    stored: Option<&'a Place>,
    /// The id of the stored token whose place it took.
    replaced: Option<&'a str>,
}

fn report(
    created: &CreatedToken,
    shown: &Shown,
    acting: &Acting,
    context: &Context,
) -> anyhow::Result<()> {
    let Shown { print, stored, .. } = *shown;
    let token = &created.token;
    let secret = created.secret.expose_str().unwrap_or_default();
    if context.json {
        return Ok(output::json(&Document {
            id: &token.id,
            name: &token.name,
            token_prefix: &token.prefix,
            scopes: &token.scopes,
            created_at: output::rfc3339(token.created),
            expires_at: token.expiry.map(|expiry| output::rfc3339(expiry.0)),
            server: &acting.name,
            stored: stored.is_some(),
            replaced: shown.replaced,
            token: print.then_some(secret),
        })?);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    if shown.quiet {
        writeln!(text, "{}", escaped(secret))?;
        return Ok(output::print(&text)?);
    }
    let expires = match token.expiry {
        Some(expiry) => output::iso_date(expiry.0),
        None => "Never".into(),
    };
    let facts = format!(
        "Name:    {}\nScopes:  {}\nExpires: {expires}\n",
        escaped(&token.name),
        escaped(&token.scopes.join(", ")),
    );
    writeln!(text, "Created personal access token\n")?;
    if print {
        // Escaped too: a server could send anything in its place.
        let secret = Zeroizing::new(escaped(secret));
        write!(
            text,
            "Token:\n\n  {}\n\nMake sure to copy your token now.\nYou will not be able to see it again!\n\n\
             {facts}\nUse this token in the Authorization header:\n  Authorization: Bearer {}\n",
            *secret, *secret
        )?;
    } else {
        write!(text, "{facts}")?;
    }
    if let Some(Place { site, .. }) = stored {
        let location = acting.store.location();
        writeln!(
            text,
            "\nGit on this machine uses it for {site}.\nIt is kept in {location}."
        )?;
    }
    Ok(output::print(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_digits_from_1_to_365() {
        assert_eq!(days("1").unwrap(), Some(1));
        assert_eq!(days("365").unwrap(), Some(365));
        assert_eq!(days("never").unwrap(), None);
        for bad in [
            "0",
            "366",
            "-5",
            "+5",
            "30abc",
            "",
            " 30",
            "1.5",
            "99999999999",
            "٣",
        ] {
            assert_eq!(days(bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
    }

    #[test]
    fn a_date_is_one_of_the_year_ahead() {
        // 2024-04-15, at ten.
        let now = UnixTime(1_713_175_200);
        let until = |text: &str| days_until(date(text)?, now);
        assert_eq!(until("2024-04-16").unwrap(), 1);
        assert_eq!(until("2025-04-15").unwrap(), 365);
        for bad in [
            "2024-04-15",
            "2025-04-16",
            "2024-02-30",
            "tomorrow",
            "",
            "2024-4-16",
        ] {
            assert_eq!(until(bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_scope_is_answered_with_the_nearest() {
        let failure = scopes(&["repo:reed".into()]).unwrap_err();
        assert!(failure.hint.unwrap().contains("repo:read"));
        let asked = ["repo:read,repo:read".to_owned(), "user:read".to_owned()];
        assert_eq!(scopes(&asked).unwrap(), ["repo:read", "user:read"]);
        assert!(scopes(&["".into()]).is_err());
    }
}
