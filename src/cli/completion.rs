//! Completions while a command is typed: the commands, the servers that are known, the
//! sites that something is stored for, and the tokens that were last seen, from a file that holds no
//! secret.
//!
//! The shell's script runs `wit` itself at each Tab, with `WIT_COMPLETE` set.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, EnvCompleter, Shells};
use serde::{Deserialize, Serialize};

use super::Cli;
use super::output::escaped;
use crate::api::Token;
use crate::api::server::ServerUrl;
use crate::config::{self, Config, Paths, write_private};
use crate::credential::Site;
use crate::files::{self, Fault, FileError};
use crate::names::{is_name, offered_scopes};
use crate::store::StoreKind;
use crate::store::select;

/// Time limit of the store, unless `WIT_KEYCHAIN_TIMEOUT` says otherwise: a person waits for the answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

const VARIABLE: &str = "WIT_COMPLETE";

/// A token as far as it is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: String,
    name: String,
    prefix: String,
}

impl From<&Token> for Known {
    fn from(token: &Token) -> Self {
        Known {
            id: token.id.clone(),
            name: token.name.clone(),
            prefix: token.prefix.clone(),
        }
    }
}

/// The tokens last seen, by their server.
type Seen = BTreeMap<String, Vec<Known>>;

fn read(paths: &Paths) -> Result<Option<Seen>, FileError> {
    files::read_json(&paths.completions_file(), 1)
}

/// A file that can't be read offers nothing, and is overwritten.
fn seen(paths: &Paths) -> Seen {
    read(paths).ok().flatten().unwrap_or_default()
}

/// A failure to remember is ignored: it fails no command.
fn change(paths: &Paths, server: &str, change: impl FnOnce(&mut Vec<Known>)) {
    if read(paths).is_err_and(|error| matches!(error.fault, Fault::Newer(_))) {
        return;
    }
    let mut seen = seen(paths);
    let tokens = seen.entry(server.to_owned()).or_default();
    let before = tokens.clone();
    change(tokens);
    if *tokens != before
        && let Ok(text) = serde_json::to_vec(&seen)
    {
        let _ = write_private(&paths.completions_file(), &text);
    }
}

/// Remembers all tokens of an account at a server.
pub fn listed(paths: &Paths, server: &str, tokens: &[Token]) {
    change(paths, server, |known| {
        *known = tokens.iter().map(Known::from).collect();
    });
}

/// Remembers one more.
pub fn created(paths: &Paths, server: &str, token: &Token) {
    change(paths, server, |known| known.insert(0, Known::from(token)));
}

/// Offers a token no longer.
pub fn revoked(paths: &Paths, server: &str, id: &str) {
    change(paths, server, |known| known.retain(|token| token.id != id));
}

/// Answers a shell that asks what could come next, and ends the program then.
pub fn answer() {
    CompleteEnv::with_factory(offering).var(VARIABLE).complete();
}

/// The script with which a shell asks; `None` for one that is not known.
pub fn script(shell: &str) -> Option<io::Result<Vec<u8>>> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell)?;
    let mut script = Vec::new();
    let written = write(completer, &mut script);
    Some(written.map(|()| script))
}

fn write(shell: &dyn EnvCompleter, script: &mut Vec<u8>) -> io::Result<()> {
    shell.write_registration(VARIABLE, "wit", "wit", "wit", script)?;
    if shell.is("zsh") {
        // At the first Tab zsh runs the file itself as the function, and expects an answer of it.
        script.extend_from_slice(
            b"\n[[ $funcstack[1] = _wit ]] && _clap_dynamic_completer_wit \"$@\"\n",
        );
    }
    Ok(())
}

/// The command line with what can be offered for its arguments.
fn offering() -> Command {
    with_values(Cli::command())
}

fn with_values(command: Command) -> Command {
    let own = command.get_name().to_owned();
    let command = command.mut_args(|argument| {
        let positional = argument.is_positional();
        let takes_values = argument.get_action().takes_values();
        let candidates = match argument.get_id().as_str() {
            "url" if own == "erase" => return argument.add(ArgValueCompleter::new(stored_sites)),
            "url" if own == "print" => return argument.add(ArgValueCompleter::new(all_sites)),
            "server" | "url" => return argument.add(ArgValueCompleter::new(servers)),
            "host" if takes_values => return argument.add(ArgValueCompleter::new(all_sites)),
            "account" | "username" => ArgValueCandidates::new(accounts),
            "from" | "to" if own == "move" => ArgValueCandidates::new(stores),
            "store" if takes_values => ArgValueCandidates::new(stores),
            "ids" | "token" if positional => ArgValueCandidates::new(tokens),
            "name" if positional && OF_REPOSITORIES.contains(&own.as_str()) => {
                ArgValueCandidates::new(repositories)
            }
            "command" if own == "help" => ArgValueCandidates::new(commands),
            "scopes" => return argument.add(ArgValueCompleter::new(scopes)),
            _ => return argument,
        };
        argument.add(candidates)
    });
    // Only the name itself is offered; an alias that is typed is still known.
    let aliases: Vec<&'static str> = command
        .get_all_aliases()
        // clap keeps names for good, and so does this process, which ends when it has answered.
        .map(|alias| &*Box::leak(alias.to_owned().into_boxed_str()))
        .collect();
    let command = command.visible_alias(None).aliases(aliases);
    command.mut_subcommands(with_values)
}

/// The commands below `wit repo` that are about one that is there.
const OF_REPOSITORIES: [&str; 4] = ["rename", "edit", "share", "delete"];

fn commands() -> Vec<CompletionCandidate> {
    let cli = Cli::command();
    let shown = cli.get_subcommands().filter(|below| !below.is_hide_set());
    shown
        .map(|below| CompletionCandidate::new(below.get_name()).help(below.get_about().cloned()))
        .collect()
}

fn stores() -> Vec<CompletionCandidate> {
    let names = StoreKind::ALL.map(StoreKind::name);
    names.map(CompletionCandidate::new).into()
}

/// The last of several scopes with commas between them.
fn scopes(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let (before, last) = match typed.rfind(',') {
        Some(at) => typed.split_at(at + 1),
        None => ("", &*typed),
    };
    offered_scopes()
        .filter(|(name, _)| name.starts_with(last))
        .map(|(name, about)| {
            CompletionCandidate::new(format!("{before}{name}")).help(Some(about.into()))
        })
        .collect()
}

/// The accounts that logged in last, a server each.
fn accounts() -> Vec<CompletionCandidate> {
    let config = Paths::from_environment().and_then(|paths| Config::load(&paths).ok());
    let servers = config.unwrap_or_default().servers.into_iter();
    servers
        .filter_map(|(url, server)| Some((url, server.account?)))
        .filter(|(_, account)| is_plain(account))
        .map(|(url, account)| CompletionCandidate::new(account).help(Some(escaped(&url).into())))
        .collect()
}

fn repositories() -> Vec<CompletionCandidate> {
    let paths = Paths::from_environment();
    let seen = paths.and_then(|paths| read_repositories(&paths).ok().flatten());
    let names = seen.unwrap_or_default().into_iter();
    names
        .flat_map(|(url, names)| names.into_iter().map(move |name| (url.clone(), name)))
        .filter(|(_, name)| is_name(name))
        .map(|(url, name)| CompletionCandidate::new(name).help(Some(escaped(&url).into())))
        .collect()
}

fn read_repositories(paths: &Paths) -> Result<Option<BTreeMap<String, Vec<String>>>, FileError> {
    files::read_json(&paths.repositories_file(), 1)
}

/// Remembers the repositories of an account at a server, as far as `change` makes them others.
pub fn repositories_seen(paths: &Paths, server: &str, change: impl FnOnce(&mut Vec<String>)) {
    let seen = match read_repositories(paths) {
        Err(error) if matches!(error.fault, Fault::Newer(_)) => return,
        seen => seen.ok().flatten(),
    };
    let mut seen = seen.unwrap_or_default();
    change(seen.entry(server.to_owned()).or_default());
    if let Ok(text) = serde_json::to_vec(&seen) {
        let _ = write_private(&paths.repositories_file(), &text);
    }
}

/// Returns whether it needs no quotes in any shell: not every shell's script quotes what it is offered.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+@%/".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

fn known_servers() -> Vec<String> {
    let config = Paths::from_environment().and_then(|paths| Config::load(&paths).ok());
    config.unwrap_or_default().servers.into_keys().collect()
}

/// The sites that something is stored for, as far as the store says it at once: nothing is unlocked and
/// nobody asked for that.
fn sites() -> Vec<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let store = Paths::from_environment().and_then(|paths| select::open(&paths, None).ok());
        let sites = store.and_then(|store| store.open_sites().ok());
        // Nobody listens any more where it took too long.
        let _ = sender.send(sites.unwrap_or_default());
    });
    let timeout = config::seconds("WIT_KEYCHAIN_TIMEOUT", STORE_TIMEOUT);
    let mut sites = receiver.recv_timeout(timeout).unwrap_or_default();
    sites.sort();
    sites.iter().map(Site::to_string).collect()
}

fn servers(typed: &OsStr) -> Vec<CompletionCandidate> {
    offered(known_servers(), typed)
}

fn stored_sites(typed: &OsStr) -> Vec<CompletionCandidate> {
    offered(sites(), typed)
}

fn all_sites(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut all = known_servers();
    all.extend(sites());
    all.sort();
    all.dedup();
    offered(all, typed)
}

/// The URLs that begin as what was typed. Without their scheme where none was typed and that means the
/// same: bash takes the colon for the end of a word.
fn offered(urls: Vec<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let short = |url: &String| {
        let host = url.strip_prefix("https://")?;
        let parsed = ServerUrl::parse(host).ok()?;
        (!host.contains(':') && parsed.to_string() == *url).then(|| host.to_owned())
    };
    let shown = urls.into_iter().map(|url| match short(&url) {
        Some(host) if !(typed.starts_with("http") && url.starts_with(&*typed)) => host,
        _ => url,
    });
    shown
        .filter(|shown| shown.starts_with(&*typed))
        .map(|shown| CompletionCandidate::new(escaped(&shown)))
        .collect()
}

fn tokens() -> Vec<CompletionCandidate> {
    let seen = Paths::from_environment().map(|paths| seen(&paths));
    let known = seen.unwrap_or_default().into_values().flatten();
    let mut candidates = Vec::new();
    for token in known {
        let (name, prefix) = (escaped(&token.name), escaped(&token.prefix));
        if is_plain(&name) {
            candidates.push(CompletionCandidate::new(&name).help(Some(prefix.clone().into())));
        }
        if !prefix.is_empty() {
            candidates.push(CompletionCandidate::new(prefix).help(Some(name.into())));
        }
    }
    candidates
}
