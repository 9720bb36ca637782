//! `wit token create`.

use std::io::Write;

use serde::Serialize;
use time::Date;
use time::macros::format_description;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::pick::shown;
use crate::api::promises::Precision;
use crate::api::{CreatedToken, NewToken};
use crate::app::git_config;
use crate::app::issue::{self, DEFAULT_DAYS, Issued, Order, Replaced};
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ApiSession, GitSite, ServerArgs};
use crate::cli::{Context, Exit, Failure, completion};
use crate::duration;
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::hosts::place::{AccessLevel, Place};
use crate::hosts::scopes::{self, UnknownScope};
use crate::quote::{Hint, Suggestion};
use crate::sign_in::HostType;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the token. Without it one is created for git on this machine, and stored
    name: Option<String>,
    /// Days until it expires, 1 to 365, also as 7d or 2w, or `never` [default: 30]
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<String>,
    /// The last day on which it works, such as 2027-01-31
    #[arg(long, value_name = "DATE", conflicts_with = "expires")]
    expires_on: Option<String>,
    /// Scopes by the host's names, or `read` or `write`, comma-separated or repeated
    /// [default: write]
    #[arg(short, long, value_name = "SCOPES")]
    scopes: Vec<String>,
    /// Store it on this machine, for git
    #[arg(long)]
    store: bool,
    /// Print it, once
    #[arg(long)]
    print: bool,
    /// Print the bare token and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// Only for this repository, as OWNER/NAME; may be repeated
    #[arg(long, value_name = "OWNER/NAME", value_parser = repository)]
    repo: Vec<String>,
    /// For this project (GitLab)
    #[arg(long, value_name = "PATH", value_parser = session::project, conflicts_with_all = ["repo", "group"])]
    project: Option<Place>,
    /// For this group (GitLab)
    #[arg(long, value_name = "PATH", value_parser = session::group, conflicts_with = "repo")]
    group: Option<Place>,
    /// The token's role there [default: reporter, or developer where it pushes]
    #[arg(long, value_name = "ROLE", value_parser = AccessLevel::NAMES)]
    access_level: Option<String>,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// `OWNER/NAME`, where the owner may be a group within groups.
pub(super) fn repository(text: &str) -> Result<String, String> {
    let is_name = |part: &str| crate::names::is_name(part);
    match text.contains('/') && text.split('/').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err(format!("not OWNER/NAME: {}", escaped(text))),
    }
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let for_git = args.name.is_none();
    let print = args.print || args.quiet || (!for_git && !args.store);
    let keep = args.store || (for_git && !print);
    let asked = args.expires.as_deref().map(days).transpose()?;
    let last_day = args.expires_on.as_deref().map(date).transpose()?;
    let place = args.project.or(args.group);
    let repositories: Vec<String> = match &place {
        Some(place) => vec![place.locator()],
        None => args.repo,
    };
    let mut server = args.server.with_password(args.password_stdin);
    let named = repositories.iter().filter_map(|name| Place::parse(name));
    server.places = named.collect();
    server.access_level = args.access_level.as_deref().and_then(AccessLevel::parse);
    let api_session = session::api_session(context, &server)?;
    let promises = api_session.api.promises();
    let days = match asked {
        Some(days) => days,
        // Replaced by this machine.
        None if keep && promises.expiry == Precision::None => Some(DEFAULT_DAYS),
        None => promises.lifetime(Some(DEFAULT_DAYS)),
    };
    let new = NewToken {
        name: match args.name {
            Some(name) => checked_name(name)?,
            None => (api_session.api.promises()).next_name(&name_of_this_machine()),
        },
        scopes: scopes(api_session.host, &args.scopes)?,
        repositories,
        expires_in_days: days,
        request_id: Some(Uuid::new_v4()),
        replaces: None,
    };
    let place = match keep {
        true => Some(session::git_site(&api_session)?),
        false => None,
    };
    let is_wide = new.scopes.iter().any(|scope| scope == "repo:admin");
    let order = Order {
        new,
        last_day,
        store: keep,
    };
    let issued = issue::issue(&context.paths, &api_session, order)?;
    let Issued {
        created,
        replaced,
        replace_by,
    } = issued;
    completion::created(&context.paths, &api_session.name, &created.token);
    // Said to a person alone.
    let told = place.as_ref().filter(|_| !context.json && !args.quiet);
    let site = told.map(|place| place.site.to_string());
    let shown = Shown {
        print,
        quiet: args.quiet,
        is_asked: site.map(|site| git_config::chain::asks_ours(&site)),
        stored: place,
        replace_by,
        replaced: replaced.as_ref().map(|replaced| replaced.token.id.as_str()),
    };
    report(&created, &shown, &api_session, context)
        .map_err(|error| unprinted(error, &created, &shown, &api_session))?;
    if context.json {
        return Ok(Exit::Done);
    }
    if let Some(is_asked) = shown.is_asked {
        output::next(context, if is_asked { "git push" } else { "wit setup" });
    }
    let is_default = args.expires.is_none() && args.expires_on.is_none();
    if is_default && days == Some(DEFAULT_DAYS) && !args.quiet {
        match replace_by {
            Some(_) => {
                eprintln!("Replaced after {DEFAULT_DAYS} days; use --expires DAYS to change that.")
            }
            None => eprintln!("Expires in {DEFAULT_DAYS} days; use --expires DAYS to change that."),
        }
    }
    if let Some(by) = replace_by
        && api_session.api.promises().asks_password
    {
        let host = api_session.host.title();
        let rotate = api_session.suggest("wit token rotate");
        let date = output::iso_date(by.0);
        eprintln!(
            "warning: {host} requires your password for a new token, so that none is replaced by itself; \
             by {date}: {rotate}"
        );
    }
    if created.token.expiry.is_none() && replace_by.is_none() {
        let what = match is_wide {
            true => "this token never expires and may delete repositories",
            false => "this token never expires",
        };
        let next = match api_session.api.promises().expiry {
            Precision::None => "revoke it when nothing needs it",
            Precision::Date | Precision::Second => "--expires DAYS makes one that does",
        };
        eprintln!("warning: {what}; {next}");
    }
    if let Some(Replaced { works, revoke, .. }) = replaced
        && works != Some(false)
    {
        let works = if works.is_some() {
            "still works"
        } else {
            "may still work"
        };
        eprintln!("The token stored before {works}; to revoke it: {revoke}");
    }
    Ok(Exit::Done)
}

/// Whole days, 1 to 365; `None` for `never`.
pub(super) fn days(text: &str) -> Result<Option<u32>, Failure> {
    if text == "never" {
        return Ok(None);
    }
    match duration::days(text) {
        Ok(days @ 1..=365) => Ok(Some(days)),
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

fn name_of_this_machine() -> String {
    let host = output::machine();
    match host.is_empty() {
        true => "git".into(),
        false => format!("git on {host}"),
    }
}

/// The scopes asked for, in the host's words; by default those that fetch and push.
pub(super) fn scopes(host: HostType, asked: &[String]) -> Result<Vec<String>, Failure> {
    if asked.is_empty() {
        return Ok(scopes::default(host));
    }
    scopes::parse(host, asked).map_err(|UnknownScope { scope, nearest }| {
        let hint = match nearest {
            Some(near) => Hint::from("did you mean ")
                .text(near)
                .text("? All of them: wit token scopes"),
            None => "wit token scopes".into(),
        };
        let message = format!("unknown scope '{}'", shown(&scope));
        Failure::new(Exit::Usage, message).hint(hint)
    })
}
/// The document of `--json`, in the names of the API; `token` only where it is to be printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    id: &'a str,
    name: &'a str,
    token_prefix: &'a str,
    /// The last characters, of a host that tells those of its tokens.
    #[serde(skip_serializing_if = "str::is_empty")]
    token_suffix: &'a str,
    scopes: &'a [String],
    created_at: Option<String>,
    expires_at: Option<String>,
    /// When this machine replaces and revokes it, where the host gives no expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    replace_by: Option<String>,
    server: &'a str,
    stored: bool,
    /// The id of the token that was stored before, which still works.
    replaced: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// The parts of a new token that are printed.
struct Shown<'a> {
    print: bool,
    quiet: bool,
    stored: Option<&'a GitSite>,
    /// Whether git asks the helper about the site that it is stored for; `None` where nobody is told.
    is_asked: Option<bool>,
    replace_by: Option<Expiry>,
    /// The id of the stored token whose place it took.
    replaced: Option<&'a str>,
}

/// What became of a token whose report could not be written.
fn unprinted(
    error: anyhow::Error,
    created: &CreatedToken,
    shown: &Shown,
    api_session: &ApiSession,
) -> anyhow::Error {
    let name = escaped(&created.token.name);
    let message = match shown.stored {
        Some(_) => format!("the token {name} was created and stored, but could not be reported"),
        None => format!("the token {name} was created, but could not be printed"),
    };
    let revoke = api_session.suggest("wit token revoke");
    Failure::new(Exit::Unfinished, message)
        .hint(Hint::from("to revoke it: ").command(&revoke.arg(created.token.id.as_str())))
        .caused_by(error)
        .into()
}

fn report(
    created: &CreatedToken,
    shown: &Shown,
    api_session: &ApiSession,
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
            token_suffix: &token.suffix,
            scopes: &token.scopes,
            created_at: token.created.map(output::rfc3339),
            replace_by: shown.replace_by.map(|by| output::rfc3339(by.0)),
            expires_at: token.expiry.map(|expiry| output::rfc3339(expiry.0)),
            server: &api_session.name,
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
        // A date says nothing of a token of an hour.
        Some(expiry) if api_session.api.promises().max_lifetime_days == Some(1) => {
            output::rfc3339(expiry.0)
        }
        Some(expiry) => output::iso_date(expiry.0),
        None => match shown.replace_by {
            Some(by) => format!(
                "Never; this machine replaces and revokes it by {}",
                output::iso_date(by.0)
            ),
            None => "Never".into(),
        },
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
    if let Some(GitSite { site, .. }) = stored {
        let location = output::tilde(&api_session.store.location());
        match shown.is_asked {
            Some(false) => writeln!(
                text,
                "\nIt is stored for {site}, in {location}.\n\
                 Git does not ask for it there yet: wit setup"
            )?,
            _ => writeln!(
                text,
                "\nGit on this machine uses it for {site}.\nIt is kept in {location}."
            )?,
        }
        if api_session.host != HostType::Wit {
            writeln!(text, "When it is revoked, git uses the sign-in again.")?;
        }
    }
    Ok(output::print(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_1_to_365_days() {
        assert_eq!(days("1").unwrap(), Some(1));
        assert_eq!(days("2w").unwrap(), Some(14));
        assert_eq!(days("365").unwrap(), Some(365));
        assert_eq!(days("never").unwrap(), None);
        for bad in [
            "0",
            "366",
            "53w",
            "1h",
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
}
