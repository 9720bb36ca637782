//! `wit token exec`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::create;
use crate::api::ApiError;
use crate::app::exec::{self, Difference, Lease, Order};
use crate::app::git_config::helper::{PORTABLE, shell_word};
use crate::cli::output::{self, escaped, iso_date};
use crate::cli::session::{self, ServerArgs};
use crate::cli::{Context, Exit, Failure};
use crate::config;
use crate::duration::duration;
use crate::hosts::place::Place;
use crate::system::{self, Signals};

/// Time that a token is for where none is named.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Variables that programs act on, and beginnings of such. The command would not start, or not as
/// itself, with a token in them.
const RESERVED: [&str; 2] = ["HOME", "PATH"];
const RESERVED_PREFIXES: [&str; 4] = ["DYLD_", "GIT_", "LD_", "WIT_"];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scopes, comma-separated or repeated [default: read]
    #[arg(short, long, value_name = "SCOPES")]
    scopes: Vec<String>,
    /// Lifetime of the token, such as 30m, 12h or 7d, as precisely as the server supports
    /// [default: 1h]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lifetime: Option<Duration>,
    /// Only for this repository, as OWNER/NAME; may be repeated
    #[arg(long, value_name = "OWNER/NAME", value_parser = create::repository)]
    repo: Vec<String>,
    /// Only for this project (GitLab)
    #[arg(long, value_name = "PATH", value_parser = session::project, conflicts_with_all = ["repo", "group"])]
    project: Option<Place>,
    /// Only for this group (GitLab)
    #[arg(long, value_name = "PATH", value_parser = session::group, conflicts_with = "repo")]
    group: Option<Place>,
    /// Put the token into this variable too; may be repeated
    #[arg(long, value_name = "NAME", value_parser = variable)]
    env: Vec<String>,
    /// Read the account's password from the first line of stdin, and one-time codes from the next,
    /// for a host that requires them; the command has an empty stdin then
    #[arg(long)]
    password_stdin: bool,
    /// The command, after `--`. It has the token in WIT_TOKEN, and the server's URL in WIT_URL
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The name of a variable (POSIX.1, Environment Variable Definition) that nothing acts on. Windows
/// takes names without regard to case.
fn variable(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit());
    if !is_name || text.is_empty() {
        return Err("not the name of a variable, such as GITHUB_TOKEN".to_owned());
    }
    let upper = text.to_ascii_uppercase();
    let has_meaning = RESERVED.contains(&upper.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| upper.starts_with(prefix));
    match has_meaning {
        true => Err("a variable that programs act on; take one such as GITHUB_TOKEN".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let message = "wit token exec has no output of its own, so --json is not supported";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit token exec -- COMMAND")
            .into());
    }
    let lifetime = args.lifetime.unwrap_or(LIFETIME);
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::new(Exit::Usage, "no command was given").into());
    };
    let mut server = args.server.with_password(args.password_stdin);
    let repositories = match args.project.or(args.group) {
        Some(place) => vec![place.locator()],
        None => args.repo,
    };
    server.places = (repositories.iter())
        .filter_map(|repo| Place::parse(repo))
        .collect();
    let api_session = session::api_session(context, &server)?;
    let scopes = match args.scopes.is_empty() {
        true => create::scopes(api_session.host, &["read".to_owned()])?,
        false => create::scopes(api_session.host, &args.scopes)?,
    };
    let order = Order {
        command: name_of(program),
        machine: output::machine(),
        scopes,
        repositories,
        lifetime,
    };
    // From here on this process ends only after it has revoked the token.
    let mut signals = Signals::catch()?;
    let lease = exec::issue(&context.paths, &api_session, &order)?;
    if let Some(signal) = signals.caught() {
        end(lease, &api_session.name);
        return Ok(Exit::Command(u8::try_from(128 + signal).unwrap_or(1)));
    }
    tell(&lease, lifetime, args.lifetime.is_some(), &api_session.name);
    let mut command = Command::new(program);
    command.args(arguments).envs(variables(&lease, &args.env)?);
    if args.password_stdin {
        // What is left there are codes.
        command.stdin(Stdio::null());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            end(lease, &api_session.name);
            return Err(not_run(program, &error).into());
        }
    };
    // What it holds are copies of the token.
    drop(command);
    let ended = signals.wait(&mut child);
    end(lease, &api_session.name);
    Ok(Exit::Command(system::exit_code(ended?)))
}

/// The name of a program without its directory, as a token's name can hold it.
fn name_of(program: &OsString) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    let name = escaped(&name.to_string_lossy());
    // A token in the wrong place.
    match output::redacted(&name) == name {
        true => name,
        false => "command".to_owned(),
    }
}

/// The environment that the command has besides ours.
fn variables(lease: &Lease, more: &[String]) -> anyhow::Result<BTreeMap<String, OsString>> {
    let (site, url) = lease.site()?;
    let secret = lease.created.secret.expose_str().unwrap_or_default();
    let mut variables = BTreeMap::new();
    for name in more.iter().map(String::as_str).chain(["WIT_TOKEN"]) {
        variables.insert(name.to_owned(), secret.into());
    }
    variables.insert("WIT_URL".to_owned(), url.into());
    // The one beside this program, if there is one; else git's PATH finds it.
    let name = format!("git-credential-wit{}", std::env::consts::EXE_SUFFIX);
    let own = std::env::current_exe().map(|own| own.with_file_name(name));
    let own = own.ok().filter(|path| path.is_file());
    let helper = own.map_or(PORTABLE.to_owned(), |path| {
        shell_word(&path.to_string_lossy())
    });
    let count = config::variable("GIT_CONFIG_COUNT");
    let username = lease.git_username();
    let configured = exec::git_variables(site, &helper, username.as_deref(), count.as_deref());
    for (name, value) in configured {
        variables.insert(name, value.into());
    }
    Ok(variables)
}

/// Says where the token's own end is another than the command was promised.
fn tell(lease: &Lease, wanted: Duration, is_named: bool, server: &str) {
    match lease.difference(wanted) {
        Some(Difference::Earlier(ends)) => {
            let ends = output::rfc3339(ends.0);
            eprintln!(
                "warning: tokens of {server} have a shorter lifetime: this one expires at {ends}"
            );
        }
        Some(Difference::Later(ends)) if is_named => {
            let ends = iso_date(ends.0);
            eprintln!("{server} counts in days: the token ends with the command, or on {ends}");
        }
        Some(Difference::Never) if is_named => {
            eprintln!("Tokens of {server} never expire: this one ends with the command alone.");
        }
        _ => {}
    }
}

/// Revokes the token. The command's exit code stays what it is.
fn end(lease: Lease, server: &str) {
    let name = escaped(&lease.created.token.name);
    let by_hand = lease.revoke_by_hand();
    if let Err(error) = lease.end() {
        let after = match by_hand {
            Some(command) => format!("to revoke it: {command}"),
            None => "the next wit command tries again".to_owned(),
        };
        eprintln!("warning: the token {name} of {server} was not revoked ({error}); {after}");
    }
}

/// Why a command did not start, with the exit code that a shell has for it.
fn not_run(program: &OsString, error: &io::Error) -> Failure {
    let (code, hint) = match error.kind() {
        io::ErrorKind::NotFound => (127, "is it installed, and in the PATH?"),
        _ => (126, "is it a program that you may run?"),
    };
    let program = escaped(&program.to_string_lossy());
    Failure::new(Exit::Command(code), format!("can't run {program}: {error}")).hint(hint)
}

/// Revokes the tokens of commands whose `wit token exec` was killed. Nobody asked for it: a failure
/// is not reported, and not repeated for ten minutes.
pub fn end_abandoned(context: &Context) {
    let mut accounts = BTreeMap::<_, Vec<_>>::new();
    for held in exec::abandoned(&context.paths) {
        let record = &held.journal;
        // A token of a project or group is listed there alone. One that is gone does not keep the
        // others' records from being finished.
        let key = (
            record.server.clone(),
            record.account.clone(),
            record.repositories.clone(),
        );
        accounts.entry(key).or_default().push(held);
    }
    let quiet = Context::new(context.paths.clone(), true);
    for ((server, account, repositories), records) in accounts {
        let args = ServerArgs {
            server: Some(server),
            account: Some(account),
            unattended: true,
            places: (repositories.iter())
                .filter_map(|name| Place::parse(name))
                .collect(),
            ..ServerArgs::default()
        };
        let api_session = match session::api_session(&quiet, &args) {
            Ok(api_session) if session::git_site(&api_session).is_ok() => api_session,
            _ => {
                records.into_iter().for_each(exec::give_up);
                continue;
            }
        };
        for held in records {
            let ended = exec::finish(&context.paths, held, &api_session);
            // Each of the others would wait as long.
            if let Err(ApiError::Unreachable { .. } | ApiError::Lost { .. }) = ended {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_by_its_file_and_nothing_else() {
        let name = |program: &str| name_of(&OsString::from(program));
        assert_eq!(name("/usr/bin/git"), "git");
        assert_eq!(name("./release.sh"), "release.sh");
        assert_eq!(name("a\u{1b}[2Jb"), escaped("a\u{1b}[2Jb"));
        let token = format!("wit_{}", "0123456789".repeat(4));
        assert_eq!(name(&token), "command");
    }

    #[test]
    fn a_variable_has_a_name_that_a_shell_takes() {
        for good in ["GITHUB_TOKEN", "_x", "T1"] {
            assert!(variable(good).is_ok(), "{good}");
        }
        for bad in ["", "1X", "A-B", "A=B", "WIT_TOKEN", "WIT_URL", "É"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
    }
}
