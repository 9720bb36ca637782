//! git itself, and the helpers that it would ask.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Finding, State, quoted};
use crate::app::git_config::chain::{self, Entry};
use crate::app::git_config::helper::{Program, first_word, in_path, is_ours, is_stale, name};
use crate::app::git_config::{self, Place};
use crate::process;

/// The oldest git that is tested.
const OLDEST: (u32, u32) = (2, 39);
/// The first git that passes on when a password ends.
const EXPIRY: (u32, u32) = (2, 41);
/// The first git with `authtype` and `state[]`.
const STATE: (u32, u32) = (2, 46);

const INSTALL: &str = "sudo apt-get install git";

/// git itself, and the helpers that it would ask.
#[derive(Debug)]
pub struct Facts {
    program: Option<PathBuf>,
    /// Answer of `git --version`.
    version: Option<String>,
    /// Why git can't read its configuration.
    unreadable: Option<git_config::Error>,
    chains: Vec<Chain>,
    /// Each program of ours in a chain, by the helper's value.
    programs: BTreeMap<String, Program>,
}

/// The helpers that git would ask about a URL, in their order.
#[derive(Debug)]
struct Chain {
    url: String,
    helpers: Vec<Entry>,
    /// The command that has git ask ours too, where it does not.
    fix: Option<String>,
}

impl Facts {
    /// Asks git about each URL.
    pub fn gather(urls: &[String]) -> Self {
        let version = process::run("git", &["--version"], "").ok();
        let entries = chain::entries(Place::Here);
        let configured = entries.as_deref().unwrap_or_default();
        let chains: Vec<Chain> = urls.iter().map(|url| Chain::of(url, configured)).collect();
        let ours = chains.iter().flat_map(|chain| &chain.helpers);
        let programs = ours
            .filter(|helper| is_ours(&helper.value))
            .map(|helper| (helper.value.clone(), Program::of(&helper.value)))
            .collect();
        Facts {
            program: in_path("git"),
            version: version
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            unreadable: entries.err(),
            chains,
            programs,
        }
    }
}

impl Chain {
    fn of(url: &str, configured: &[Entry]) -> Self {
        let run = chain::run_for(configured, url, Place::Here).unwrap_or_default();
        let helpers = run.into_iter().filter_map(|at| configured.get(at).cloned());
        let helpers: Vec<Entry> = helpers.collect();
        let is_asked = helpers.iter().any(|helper| is_ours(&helper.value));
        Chain {
            fix: match is_asked {
                true => None,
                false => git_config::fix(url).ok(),
            },
            url: url.to_owned(),
            helpers,
        }
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
    if let Some(error) = &facts.unreadable {
        let finding = Finding::wrong("git-config", "git can't read its configuration");
        let finding = finding.why(error.to_string());
        findings.push(match error.fix() {
            Some(fix) => finding.fix(fix),
            None => finding,
        });
        return findings;
    }
    for chain in &facts.chains {
        findings.extend(check_chain(chain));
    }
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
    let Some(place) = chain
        .helpers
        .iter()
        .position(|helper| is_ours(&helper.value))
    else {
        let fix = chain.fix.as_deref().unwrap_or("wit setup");
        return vec![
            Finding::wrong(
                "helper",
                format!("git does not ask this helper about {url}"),
            )
            .why("no effective credential.helper points to it")
            .fix(fix),
        ];
    };
    let names: Vec<String> = chain
        .helpers
        .iter()
        .map(|helper| name(&helper.value))
        .collect();
    let mut findings = vec![Finding::ok(
        "helper",
        format!("about {url} git asks: {}", names.join(", then ")),
    )];
    for (at, helper) in chain.helpers.iter().enumerate() {
        if is_ours(&helper.value) {
            continue;
        }
        let name = name(&helper.value);
        let finding = match first_word(&helper.value).as_str() {
            "store" => Finding::wrong(
                "plain-text",
                format!("the helper {name} keeps a copy of each secret in plain text"),
            )
            .why("git hands whatever worked to every helper of the chain"),
            _ if at < place => Finding::note(
                "other-helper",
                format!("the helper {name} keeps copies, and answers first"),
            )
            .why("after a rotation it still has the old token, until git refuses it once"),
            _ => Finding::note("other-helper", format!("the helper {name} keeps copies"))
                .why("git hands whatever worked to every helper of the chain"),
        };
        findings.push(match removal(helper) {
            Some(command) => finding.fix(command),
            None => finding,
        });
    }
    findings
}

/// The git command that takes one helper out of its file.
fn removal(helper: &Entry) -> Option<String> {
    let file = helper.file.as_ref()?;
    // Neither a shell command nor a URL with a user in it is safe to show.
    if helper.value.starts_with('!') || helper.key.contains('@') {
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
            version: version.map(str::to_owned),
            unreadable: None,
            chains: Vec::new(),
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
