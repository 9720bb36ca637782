//! git itself, and the helpers that it would ask.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Finding, State, quoted};
use crate::app::git_config::chain::{self, Conditional, Entry};
use crate::app::git_config::helper::{Keeping, Program, in_path, is_ours, is_stale, name};
use crate::app::git_config::{self, Exception, Place, without_user};
use crate::expiry;
use crate::process;

/// The oldest git that is tested.
const OLDEST: (u32, u32) = (2, 39);
/// The first git that passes on when a password ends.
const EXPIRY: (u32, u32) = (2, 41);
/// The first git with `authtype` and `state[]`.
const STATE: (u32, u32) = (2, 46);

/// The largest number of sites that git is asked about.
const MAX_SITES: usize = 50;

const INSTALL: &str = "sudo apt-get install git";

/// git itself, and the helpers that it would ask.
#[derive(Debug)]
pub struct Facts {
    program: Option<PathBuf>,
    /// Answer of `git --version`.
    version: Option<String>,
    /// A lock that keeps everybody from changing git's configuration, and its age.
    locked: Option<(PathBuf, Duration)>,
    /// Why git can't read its configuration.
    unreadable: Option<git_config::Error>,
    chains: Vec<Chain>,
    /// Sites beyond [`MAX_SITES`].
    not_asked: usize,
    /// The URLs for which others go first, whether anything is stored for them or not.
    exceptions: Vec<Exception>,
    /// Files that git reads elsewhere.
    conditional: Vec<Conditional>,
    /// Each program of ours in a chain, by the helper's value.
    programs: BTreeMap<String, Program>,
}

/// The helpers that git would ask about a URL, in their order.
#[derive(Debug)]
struct Chain {
    url: String,
    /// True for a server, false for a site of which only something is stored.
    is_server: bool,
    helpers: Vec<Entry>,
    /// The command that has git ask ours, or ask it first, where it does not.
    fix: Option<String>,
}

impl Facts {
    /// Asks git about each server, and about each other site that something is stored for.
    pub fn gather(servers: &[String], stored: &[String]) -> Self {
        let version = process::run("git", &["--version"], "").ok();
        let entries = chain::entries(Place::Here);
        let configured = entries.as_deref().unwrap_or_default();
        let urls = servers.iter().map(|url| (url, true));
        let others = stored.iter().filter(|url| !servers.contains(url));
        let urls: Vec<_> = urls.chain(others.map(|url| (url, false))).collect();
        let asked = urls.iter().take(MAX_SITES);
        let chains: Vec<Chain> = asked
            .map(|(url, is_server)| Chain::of(url, *is_server, configured))
            .collect();
        let ours = chains.iter().flat_map(|chain| &chain.helpers);
        let programs = ours
            .filter(|helper| is_ours(&helper.value))
            .map(|helper| (helper.value.clone(), Program::of(&helper.value)))
            .collect();
        Facts {
            program: in_path("git"),
            locked: git_config::lasting_lock(),
            version: version
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            exceptions: git_config::exceptions(configured).unwrap_or_default(),
            conditional: chain::conditional(configured).unwrap_or_default(),
            not_asked: urls.len().saturating_sub(MAX_SITES),
            unreadable: entries.err(),
            chains,
            programs,
        }
    }
}

impl Chain {
    fn of(url: &str, is_server: bool, configured: &[Entry]) -> Self {
        let run = chain::run_for(configured, url, Place::Here).unwrap_or_default();
        let helpers = run.into_iter().filter_map(|at| configured.get(at).cloned());
        let mut chain = Chain {
            url: url.to_owned(),
            is_server,
            helpers: helpers.collect(),
            fix: None,
        };
        chain.fix = match (chain.place(), chain.usurper()) {
            (None, _) => (git_config::fix(url)).map_or_else(|error| error.fix(), Some),
            (_, Some(_)) => git_config::fix_order(url).ok(),
            _ => None,
        };
        chain
    }

    /// The place of ours among them.
    fn place(&self) -> Option<usize> {
        self.helpers
            .iter()
            .position(|helper| is_ours(&helper.value))
    }

    /// Helper that settings for this site alone put before ours.
    fn usurper(&self) -> Option<&Entry> {
        let before = self.helpers.get(..self.place()?)?;
        before.iter().find(|helper| helper.pattern().is_some())
    }

    /// The helpers, for a person.
    fn names(&self) -> String {
        let names: Vec<String> = (self.helpers.iter())
            .map(|helper| name(&helper.value))
            .collect();
        names.join(", then ")
    }
}

/// The numbers of `git version 2.47.3.windows.1`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("git version ")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The findings about git.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let Some(version) = facts.version.as_deref() else {
        return vec![Finding::wrong("git", "git can't be run").fix(INSTALL)];
    };
    let mut findings = vec![check_version(version)];
    if let Some(path) = facts
        .program
        .as_ref()
        .filter(|path| path.starts_with("/mnt/"))
    {
        findings.push(
            Finding::wrong(
                "git-of-windows",
                format!("{} is the git of Windows", quoted(path)),
            )
            .why("it asks the helpers of Windows, not those of this Linux")
            .fix(INSTALL),
        );
    }
    if let Some((lock, age)) = &facts.locked {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let what = format!("{} is there for {}", quoted(lock), expiry::span(age));
        findings.push(
            Finding::wrong("git-lock", what)
                .why("git's configuration can't be changed; a git that was killed leaves such a file")
                .fix(format!("rm {}", quoted(lock))),
        );
    }
    if let Some(error) = &facts.unreadable {
        let finding = Finding::wrong("git-config", "git can't read its configuration");
        let finding = finding.why(error.to_string());
        findings.push(match error.fix() {
            Some(fix) => finding.fix(fix),
            None => finding,
        });
        return findings;
    }
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for chain in &facts.chains {
        for finding in check_chain(chain) {
            // Some are about a helper, whichever site it is asked about.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        if !chain.is_server && chain.place().is_some() && chain.usurper().is_none() {
            *stored.entry(chain.names()).or_default() += 1;
        }
    }
    for (names, count) in stored {
        let sites = match count {
            1 => "1 stored site".to_owned(),
            many => format!("{many} stored sites"),
        };
        findings.push(Finding::ok(
            "helper",
            format!("about {sites} git asks: {names}"),
        ));
    }
    if facts.not_asked > 0 {
        let what = format!("{} more stored sites were not looked at", facts.not_asked);
        findings.push(Finding::note("helper", what));
    }
    findings.extend(check_exceptions(facts));
    for (value, program) in &facts.programs {
        let mut named = facts.chains.iter().flat_map(|chain| &chain.helpers);
        let anew = named.find(|helper| helper.value == *value).and_then(anew);
        let finding = check_program(value, program);
        findings.push(match anew {
            Some(anew) if finding.state == State::Wrong && finding.fix.is_none() => {
                finding.fix(anew)
            }
            _ => finding,
        });
    }
    findings
}

fn check_version(version: &str) -> Finding {
    let number = version.strip_prefix("git version ").unwrap_or(version);
    match numbers(version) {
        Some(git) if git < OLDEST => Finding::wrong(
            "git",
            format!("git {number} is older than any that is tested"),
        )
        .why("2.39 is the oldest")
        .fix(INSTALL),
        Some(git) if git < EXPIRY => Finding::ok(
            "git",
            format!(
                "git {number}; 2.41 also passes on when a password ends, 2.46 authtype and state"
            ),
        ),
        Some(git) if git < STATE => Finding::ok(
            "git",
            format!("git {number}, with expiry; 2.46 also has authtype and state"),
        ),
        _ => Finding::ok(
            "git",
            format!("git {number}, with expiry, authtype and state"),
        ),
    }
}

fn check_chain(chain: &Chain) -> Vec<Finding> {
    let url = &chain.url;
    let Some(place) = chain.place() else {
        let fix = chain.fix.as_deref().unwrap_or("wit setup");
        let why = match chain.helpers.is_empty() {
            true => "no effective credential.helper points to it".to_owned(),
            false => format!("it asks: {}", chain.names()),
        };
        let what = format!("git does not ask this helper about {url}");
        return vec![Finding::wrong("helper", what).why(why).fix(fix)];
    };
    let mut findings = Vec::new();
    if let Some(usurper) = chain.usurper() {
        let first = name(&usurper.value);
        let what = format!("about {url} git asks {first} before this helper");
        let finding = Finding::wrong("helper-order", what)
            .why("what is stored here for it is used only where the other has no answer");
        findings.push(match &chain.fix {
            Some(fix) => finding.fix(fix),
            None => finding,
        });
    } else if chain.is_server {
        let what = format!("about {url} git asks: {}", chain.names());
        findings.push(Finding::ok("helper", what));
    }
    for (at, helper) in chain.helpers.iter().enumerate() {
        let is_named = chain.usurper().is_some_and(|usurper| usurper == helper);
        if !is_ours(&helper.value) && !is_named {
            findings.push(check_other(helper, at < place));
        }
    }
    findings
}

/// Another helper that git asks, `first` or behind ours.
fn check_other(helper: &Entry, first: bool) -> Finding {
    let name = name(&helper.value);
    let keeping = Keeping::of(&helper.value);
    let what = match keeping {
        Keeping::PlainText => "keeps a copy of each secret in plain text",
        Keeping::Memory => "keeps copies in memory for a time",
        Keeping::Copies => "keeps copies",
        Keeping::Unknown => "may keep copies",
        Keeping::Nothing if first => {
            let what = format!("the helper {name} answers first, and stores nothing");
            let finding = Finding::note("other-helper", what)
                .why("what is stored here is used only where it has no answer");
            return removable(finding, helper);
        }
        Keeping::Nothing => {
            let what = format!(
                "the helper {name} stores nothing; git asks it where this one has no answer"
            );
            return Finding::ok("other-helper", what);
        }
    };
    let finding = match (keeping, first) {
        (Keeping::PlainText, _) => {
            Finding::wrong("plain-text", format!("the helper {name} {what}"))
                .why("git hands whatever worked to every helper of the chain")
        }
        (_, true) => {
            let what = format!("the helper {name} {what}, and answers first");
            Finding::note("other-helper", what)
                .why("after a rotation it still has the old token, until git refuses it once")
        }
        (_, false) => Finding::note("other-helper", format!("the helper {name} {what}"))
            .why("git hands whatever worked to every helper of the chain"),
    };
    removable(finding, helper)
}

fn removable(finding: Finding, helper: &Entry) -> Finding {
    match removal(helper) {
        Some(command) => finding.fix(command),
        None => finding,
    }
}

/// The URLs at which others go first, beyond those that were looked at one by one, and the settings that
/// count in other places.
fn check_exceptions(facts: &Facts) -> Vec<Finding> {
    let is_told = |url: &str| facts.chains.iter().any(|chain| chain.url == url);
    let others = facts
        .exceptions
        .iter()
        .filter(|exception| !is_told(&exception.url));
    let mut findings = Vec::new();
    for exception in others {
        let names: Vec<String> = exception
            .helpers
            .iter()
            .map(|helper| name(helper))
            .collect();
        let asked = match (names.join(", then "), exception.is_asked) {
            (names, _) if names.is_empty() => "no helper".to_owned(),
            (names, true) => format!("{names} before this helper"),
            (names, false) => format!("only {names}"),
        };
        let what = format!("about {} git asks {asked}", without_user(&exception.url));
        let finding = Finding::note("helper-order", what).why("settings for that URL alone say so");
        findings.push(finding.fix(&exception.fix));
    }
    for Conditional { condition, file } in &facts.conditional {
        let file = quoted(file);
        let what = format!("where {condition} holds, git also reads {file}, which names helpers");
        findings.push(Finding::note("helper-order", what).why("run wit doctor there to see them"));
    }
    findings
}

/// The git command that takes one helper out of its file.
fn removal(helper: &Entry) -> Option<String> {
    let file = helper.file.as_ref()?;
    // Neither an unknown shell command nor a URL with a user in it is safe to show.
    let is_hidden = helper.value.starts_with('!') && Keeping::of(&helper.value) == Keeping::Unknown;
    if is_hidden || helper.key.contains('@') {
        return None;
    }
    Some(format!(
        "git config --file {} --fixed-value --unset-all {} {}",
        quoted(file),
        quoted(&helper.key),
        quoted(&helper.value)
    ))
}

/// Command that names our helper anew where it is named now, and touches nothing else.
fn anew(helper: &Entry) -> Option<String> {
    // A path that leads nowhere is replaced where it stands.
    if is_stale(&helper.value) {
        let setup = match helper.scope.as_str() {
            "system" => Some("sudo wit setup --system"),
            "global" => Some("wit setup"),
            "local" => Some("wit setup --local"),
            _ => None,
        };
        if let Some(setup) = setup {
            return Some(setup.to_owned());
        }
    }
    let Some(removal) = removal(helper) else {
        let file = helper.file.as_ref()?;
        return Some(format!("git config --file {} --edit", quoted(file)));
    };
    let host = helper
        .key
        .strip_prefix("credential.")
        .and_then(|key| key.strip_suffix(".helper"));
    let host = host.map(|url| format!(" --host {}", quoted(url)));
    Some(format!(
        "{removal} && wit setup{}",
        host.unwrap_or_default()
    ))
}

/// Without a fix where that is to name the helper anew.
fn check_program(value: &str, program: &Program) -> Finding {
    let value = name(value);
    let Some(path) = &program.path else {
        return Finding::wrong(
            "helper-program",
            format!("git will not find the helper {value}"),
        )
        .why("git-credential-wit is not in the PATH, or no longer where it was");
    };
    let path = quoted(path);
    let own = env!("CARGO_PKG_VERSION");
    match &program.version {
        _ if !program.executable => {
            Finding::wrong("helper-program", format!("{path} is not executable"))
                .fix(format!("chmod +x {path}"))
        }
        Some(version) if version == own => Finding::ok(
            "helper-program",
            format!("{path} {own}, the version of wit"),
        ),
        Some(version) => Finding::wrong(
            "helper-program",
            format!("{path} is version {version}, and wit is {own}"),
        )
        .why("another installation comes first in the PATH"),
        None => Finding::wrong("helper-program", format!("{path} does not say its version"))
            .why("it is not the program that it should be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper(key: &str, value: &str) -> Entry {
        Entry {
            scope: "global".to_owned(),
            value: value.to_owned(),
            key: key.to_owned(),
            file: Some(PathBuf::from("/home/ada/.gitconfig")),
        }
    }

    #[test]
    fn a_git_that_is_missing_old_or_of_windows_is_wrong() {
        let facts = |version: Option<&str>, program: &str| Facts {
            program: Some(PathBuf::from(program)),
            locked: None,
            version: version.map(str::to_owned),
            unreadable: None,
            chains: Vec::new(),
            not_asked: 0,
            exceptions: Vec::new(),
            conditional: Vec::new(),
            programs: BTreeMap::new(),
        };
        for (facts, check_name) in [
            (facts(None, "/usr/bin/git"), "git"),
            (facts(Some("git version 2.20.1"), "/usr/bin/git"), "git"),
            (
                facts(Some("git version 2.47.3"), "/mnt/c/Git/git.exe"),
                "git-of-windows",
            ),
        ] {
            let findings = check(&facts);
            let wrong = findings.last().expect("one at least");
            assert_eq!(
                (wrong.check, wrong.fix.as_deref()),
                (check_name, Some(INSTALL))
            );
        }
        assert_eq!(numbers("git version 2.47.1.windows.2"), Some((2, 47)));
    }

    #[test]
    fn what_an_older_git_lacks_is_told() {
        let told = |version: &str| check_version(&format!("git version {version}")).what;
        assert!(told("2.39.5").contains("2.41 also passes on when a password ends"));
        assert!(told("2.43.0").contains("2.46 also has authtype and state"));
        assert!(told("2.46.0").ends_with("with expiry, authtype and state"));
    }

    #[test]
    fn a_helper_that_may_hold_a_password_is_not_shown() {
        let hidden = helper("credential.helper", "!f() { echo password=secret; }; f");
        assert_eq!(name(&hidden.value), "!…");
        assert_eq!(removal(&hidden), None);
        assert_eq!(
            removal(&helper("credential.https://me:pw@a.helper", "store")),
            None
        );
    }
}
