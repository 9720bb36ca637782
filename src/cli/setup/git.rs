//! git's configuration files: which one is meant, and how a helper is put in and taken out again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::chain::{self, Entry, Place, key};
use super::record::{Change, Locked};
use crate::cli::output::quoted;
use crate::cli::{Exit, Failure};
use crate::config;
use crate::process;

/// One of git's configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    System,
    Global,
    Local,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::System => "system",
            Scope::Global => "global",
            Scope::Local => "local",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Scope::System => "--system",
            Scope::Global => "--global",
            Scope::Local => "--local",
        }
    }

    /// The places where what is written to it is read: a repository may include more files.
    pub fn places(self) -> &'static [Place] {
        match self {
            Scope::Local => &[Place::Here],
            _ => &[Place::Outside, Place::Here],
        }
    }
}

/// Runs a git command and waits for it.
pub fn run_git(command: Command, input: &str) -> anyhow::Result<Output> {
    process::output(command, input.as_bytes()).map_err(|error| {
        Failure::new(Exit::Failed, format!("can't run git: {error}"))
            .hint("install git, for example: sudo apt-get install git")
            .into()
    })
}

fn git(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new("git");
    command.args(args);
    run_git(command, "")
}

/// What git said on stderr, as the reason of a failure.
pub fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    Failure::new(
        Exit::Failed,
        format!("{what}: {}", said.trim().escape_debug()),
    )
}

/// What git answers, taken apart at the NULs that end each field.
fn values(question: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = git(question)?;
    // 1: there is none.
    if !output.status.success() && output.status.code() != Some(1) {
        return Err(refused("can't read git's configuration", &output).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Where in its file a new value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the very beginning, before the helpers that the file names or includes.
    Front,
    /// Where `git config --add` puts it.
    Added,
    /// In a section of its own at the very end, after what the file includes.
    End,
}

/// A value that is put into a configuration file.
#[derive(Clone, Debug)]
pub struct Addition {
    scope: Scope,
    key: String,
    value: String,
    /// Whether to forget, for this key, the helpers named before.
    alone: bool,
    file: PathBuf,
    position: Position,
}

impl Addition {
    /// For one `host` ours is to be the only one. For all hosts it goes before those that the same
    /// scope names: they would answer first, some of them by asking a person, and what they copied
    /// of an older token would go before the new one. It goes behind the last value that resets.
    /// `matching` are the scope's entries that are for the site, in git's order.
    pub fn new(
        scope: Scope,
        host: Option<&str>,
        value: &str,
        matching: &[&Entry],
    ) -> anyhow::Result<Self> {
        let key = key(host);
        let mut file = file(scope)?;
        let is_ours = |entry: &&Entry| entry.key == key && entry.file.as_ref() == Some(&file);
        let last = matching.last();
        let last_reset = matching.iter().rfind(|entry| entry.is_reset());
        let position = match (host, last_reset) {
            (None, None) if matching.is_empty() => Position::Added,
            (None, None) => {
                // Of the two files of the global scope, the one that git reads first.
                let own = values(&[
                    "config",
                    scope.option(),
                    "--no-includes",
                    "--show-origin",
                    "-z",
                    "--get-all",
                    &key,
                ])?;
                let mut files = own.iter().filter_map(|field| field.strip_prefix("file:"));
                if let (Some(first), Scope::System | Scope::Global) = (files.next(), scope) {
                    file = first.into();
                }
                Position::Front
            }
            (None, Some(reset)) if is_ours(&reset) => Position::Added,
            (None, Some(_)) => Position::End,
            (Some(_), _) if last.is_some_and(|last| is_ours(last)) => Position::Added,
            // git makes a section of its own, at the end.
            (Some(_), _) if !matching.iter().any(|entry| is_ours(entry)) => Position::Added,
            (Some(_), _) => Position::End,
        };
        Ok(Addition {
            alone: host.is_some(),
            scope,
            key,
            value: value.to_owned(),
            file,
            position,
        })
    }

    /// The same at the very end of the file, where it stands behind everything that git reads in it.
    pub fn at_end(self) -> Option<Self> {
        (self.position != Position::End).then_some(Addition {
            position: Position::End,
            ..self
        })
    }

    /// Equivalent shell commands.
    pub fn commands(&self) -> anyhow::Result<Vec<String>> {
        let (key, value) = (quoted(&self.key), quoted(&self.value));
        let scope = self.scope.option();
        let file = quoted(&self.file);
        let add = |value: &str| format!("git config {scope} --add {key} {value}");
        Ok(match self.position {
            Position::Front => {
                let new = quoted(format!("{}.new", self.file.display()));
                vec![
                    format!("git config --file {new} {key} {value}"),
                    format!("cat {file} >>{new} && mv {new} {file}"),
                ]
            }
            Position::Added => {
                let forget = self.alone.then(|| add("''"));
                forget.into_iter().chain([add(&value)]).collect()
            }
            Position::End => {
                let before = fs::read(&self.file).unwrap_or_default();
                let after = self.applied(&before)?;
                let added = String::from_utf8_lossy(&after[before.len()..]).into_owned();
                vec![format!("printf %s {} >>{file}", single_quoted(&added))]
            }
        })
    }

    /// Carries it out, once `record` has written down what takes it back.
    pub fn make(&self, record: impl FnOnce(Change) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let locked = lock(self.scope, &self.file)?;
        let before = locked.text.as_deref();
        let after = self.applied(before.unwrap_or_default())?;
        let texts = (before, after.as_slice());
        let entry = (self.key.as_str(), self.value.as_str());
        let change = Change::between(self.scope, self.file.clone(), texts, entry)
            .ok_or_else(|| untold(&self.file))?;
        record(change)?;
        locked.replace(&after)
    }

    fn applied(&self, text: &[u8]) -> anyhow::Result<Vec<u8>> {
        /// git skips it at the very beginning of a file only.
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        let values = self.alone.then_some("").into_iter().chain([&*self.value]);
        let added = values.map(|value| vec!["--add", &self.key, value]);
        let added: Vec<Vec<&str>> = added.collect();
        if self.position == Position::Added {
            return by_git(text, &self.file, &added);
        }
        let section = by_git(b"", &self.file, &added)?;
        if self.position == Position::End {
            let gap: &[u8] = match text.is_empty() || text.ends_with(b"\n") {
                true => b"",
                false => b"\n",
            };
            return Ok([text, gap, &section].concat());
        }
        let mark = match text.starts_with(BYTE_ORDER_MARK) {
            true => BYTE_ORDER_MARK.len(),
            false => 0,
        };
        Ok([&text[..mark], &section, &text[mark..]].concat())
    }
}

/// One value of ours that leads nowhere, in the place of which a new one is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    scope: Scope,
    file: PathBuf,
    key: String,
    old: String,
    new: String,
}

impl Replacement {
    /// `None` for what no file says.
    pub fn new(scope: Scope, stale: &Entry, new: &str) -> Option<Self> {
        Some(Replacement {
            scope,
            file: stale.file.clone()?,
            key: stale.key.clone(),
            old: stale.value.clone(),
            new: new.to_owned(),
        })
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn old(&self) -> &str {
        &self.old
    }

    /// The equivalent shell command.
    pub fn command(&self) -> String {
        format!(
            "git config --file {} --fixed-value --replace-all {} {} {}",
            quoted(&self.file),
            quoted(&self.key),
            quoted(&self.new),
            quoted(&self.old)
        )
    }

    /// Carries it out, once `record` has written down the changes that remain to be taken back.
    /// What wit setup itself had put there is from now on the new value; what somebody else had put
    /// there comes back with `--undo`.
    pub fn make(
        &self,
        changes: &mut Vec<Change>,
        record: impl FnOnce(&[Change]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let locked = lock(self.scope, &self.file)?;
        let before = locked.text.clone().unwrap_or_default();
        let arguments = vec![
            "--fixed-value",
            "--replace-all",
            &self.key,
            &self.new,
            &self.old,
        ];
        let after = by_git(&before, &self.file, &[arguments])?;
        let known = changes.iter_mut().find(|change| {
            change.file == self.file && change.key == self.key && change.value == self.old
        });
        let old = (encoded(&self.old)?, encoded(&self.new)?);
        match known {
            Some(change) => change.renew((&old.0, &old.1), &self.new, &after),
            None => {
                let entry = (self.key.as_str(), self.new.as_str());
                let texts = (before.as_slice(), after.as_slice());
                let change = Change::replacing(self.scope, self.file.clone(), texts, entry)
                    .ok_or_else(|| untold(&self.file))?;
                changes.push(change);
            }
        }
        record(changes)?;
        locked.replace(&after)
    }
}

/// A value as git writes it into a file.
fn encoded(value: &str) -> anyhow::Result<String> {
    let text = by_git(b"", Path::new("config"), &[vec!["--add", "a.b", value]])?;
    let text = String::from_utf8(text).context("git's own text is UTF-8")?;
    let (_, value) = text.split_once("b = ").context("git writes KEY = VALUE")?;
    Ok(value.trim_end_matches('\n').to_owned())
}

fn untold(file: &Path) -> Failure {
    let message = format!(
        "it can't be told what git would change in {}",
        file.display()
    );
    Failure::new(Exit::Attention, message).hint("wit setup --dry-run")
}

/// In single quotes whatever it holds: line breaks too.
fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn lock(scope: Scope, file: &Path) -> anyhow::Result<Locked> {
    Locked::take(file).map_err(|error| match scope {
        Scope::System if error.downcast_ref::<Failure>().is_none() => {
            Failure::new(Exit::Failed, format!("{error:#}"))
                .hint("sudo wit setup --system")
                .into()
        }
        _ => error,
    })
}

/// What git makes of a configuration file's text. It is given a copy: `file` itself is locked.
fn by_git(text: &[u8], file: &Path, changes: &[Vec<&str>]) -> anyhow::Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("config");
    let name = copy.to_str().context("the temporary directory's path")?;
    fs::write(&copy, text)?;
    for change in changes {
        let mut output = git(&[&["config", "--file", name], &change[..]].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            output.stderr = said.replace(name, &file.display().to_string()).into();
            return Err(refused("git did not change its configuration", &output).into());
        }
    }
    Ok(fs::read(&copy)?)
}

/// The file that git writes to for a scope, whether it is there or not.
pub fn file(scope: Scope) -> anyhow::Result<PathBuf> {
    let unknown = "git does not say where its configuration lies";
    match scope {
        Scope::Local => local_file(),
        Scope::Global => config::git_global_file().context(unknown),
        Scope::System => {
            if let Some(file) = config::variable("GIT_CONFIG_SYSTEM") {
                return Ok(file.into());
            }
            // From git 2.41 on.
            let said = git(&["var", "GIT_CONFIG_SYSTEM"])?;
            let named = String::from_utf8_lossy(&said.stdout);
            match named.lines().next().filter(|_| said.status.success()) {
                Some(file) => Ok(file.into()),
                None => {
                    let asked = ["config", "--system", "--show-origin", "-z", "--no-includes"];
                    let fields = values(&[&asked[..], &["--list"]].concat())?;
                    let mut files = fields
                        .iter()
                        .filter_map(|field| field.strip_prefix("file:"));
                    Ok(files.next().unwrap_or("/etc/gitconfig").into())
                }
            }
        }
    }
}

fn local_file() -> anyhow::Result<PathBuf> {
    let output = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if !output.status.success() {
        return Err(refused("this directory is in no repository", &output).into());
    }
    let dir = String::from_utf8(output.stdout).context("the repository's path is not UTF-8")?;
    Ok(Path::new(dir.trim_end_matches('\n')).join("config"))
}

/// Where a change stands now: in the file that it was made in, or in the one that this was moved to.
/// `None` where nothing of it is left.
#[derive(Debug)]
pub struct Located {
    pub change: Change,
    pub file: Option<PathBuf>,
}

/// Of the changes of a record those that `--undo` of a scope means, where they stand now, and the
/// others. Of a repository they are those in its own file, wherever that was moved to.
pub fn meant(changes: Vec<Change>, scope: Scope) -> anyhow::Result<(Vec<Located>, Vec<Change>)> {
    let (mut meant, mut others) = (Vec::new(), Vec::new());
    if !changes.iter().any(|change| change.scope == scope) {
        return Ok((meant, changes));
    }
    let mut named = Vec::new();
    for place in scope.places() {
        let found = chain::entries(*place)?.into_iter();
        named.extend(found.filter(|entry| entry.scope == scope.name()));
    }
    let local = match scope {
        Scope::Local => Some(local_file()?),
        _ => None,
    };
    // What another change accounts for is not where this one went.
    let known = |file: &Path, change: &Change| {
        changes.iter().any(|other| {
            other.file == file && other.key == change.key && other.value == change.value
        })
    };
    let moved = |change: &Change| {
        let mut files = named.iter().filter_map(|entry| {
            let same = entry.key == change.key && entry.value == change.value;
            entry.file.clone().filter(|_| same)
        });
        files.find(|file| !known(file, change))
    };
    for change in &changes {
        let is_there = |file: &Path| -> anyhow::Result<bool> {
            Ok(file.is_file() && (change.stands_in(&read(file)?) || names(file, change)?))
        };
        let is_other = local.as_ref().is_some_and(|local| *local != change.file);
        let file = match change.scope == scope {
            false => None,
            // Another repository's, unless this one was moved.
            true if is_other && change.file.exists() => None,
            true if !is_other && is_there(&change.file)? => Some(Some(change.file.clone())),
            true => match moved(change) {
                None if is_other => None,
                moved => Some(moved),
            },
        };
        match file {
            None => others.push(change.clone()),
            Some(file) => meant.push(Located {
                change: change.clone(),
                file,
            }),
        }
    }
    Ok((meant, others))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}

fn names(file: &Path, change: &Change) -> anyhow::Result<bool> {
    let name = file.to_str().context("the path of git's configuration")?;
    let named = values(&["config", "--file", name, "-z", "--get-all", &change.key])?;
    Ok(named.contains(&change.value))
}

impl Located {
    /// The shell command that comes nearest to [`Located::take_back`].
    pub fn command(&self) -> Option<String> {
        Some(format!(
            "git config --file {} --fixed-value --unset {} {}",
            quoted(self.file.as_ref()?),
            quoted(&self.change.key),
            quoted(&self.change.value)
        ))
    }

    /// Takes a change back to the byte. Where a person has changed just that since, it is left alone.
    pub fn take_back(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        take_back(&self.change, file)
    }
}

/// [`Located::take_back`] of a change that stands in `file`.
pub fn take_back(change: &Change, file: &Path) -> anyhow::Result<()> {
    let locked = Locked::take(file)?;
    let now = locked.text.as_deref().unwrap_or_default();
    let is_ours = |text: &[u8]| change.made_file && text.trim_ascii().is_empty();
    match change.taken_from(now) {
        Some(kept) if is_ours(&kept) => return locked.remove(),
        Some(kept) => return locked.replace(&kept),
        None if is_ours(now) => return locked.remove(),
        None => {}
    }
    if !names(file, change)? {
        return Ok(());
    }
    let file = file.display().to_string();
    let message = format!(
        "{file} was changed since, so it is not clear which line to take back; it names {}",
        change.value
    );
    let fix = format!("git config --file {} --edit", quoted(&file));
    Err(Failure::new(Exit::Attention, message).hint(fix).into())
}
