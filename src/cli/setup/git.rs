//! git's configuration: which helpers it names, where, and how one more is put in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::program;
use super::record::{Change, Locked};
use crate::cli::output::quoted;
use crate::cli::{Exit, Failure};
use crate::config;

/// Which of git's configuration files is meant.
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

    /// git reads system, then global, then local: what this scope adds comes after these.
    fn comes_after(self, name: &str) -> bool {
        match self {
            Scope::System => name == "system",
            Scope::Global => matches!(name, "system" | "global"),
            Scope::Local => matches!(name, "system" | "global" | "local"),
        }
    }
}

/// Runs git and waits for it. It asks nobody anything: its stdin is empty.
fn git(args: &[&str]) -> anyhow::Result<Output> {
    program::run("git", args, "").map_err(|error| {
        Failure::new(Exit::Failed, format!("can't run git: {error}"))
            .hint("install git, for example: sudo apt-get install git")
            .into()
    })
}

/// What git said on stderr, as the reason of a failure.
fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    Failure::new(
        Exit::Failed,
        format!("{what}: {}", said.trim().escape_debug()),
    )
}

/// The setting that names helpers: for every site, or for the one at `host`.
pub fn key(host: Option<&str>) -> String {
    match host {
        Some(host) => format!("credential.{host}.helper"),
        None => "credential.helper".to_owned(),
    }
}

/// The helpers that git would ask, in order, as far as this scope's configuration decides: all, or
/// those of one `host` only. An empty value forgets those before it (gitcredentials(7)).
pub fn chain(scope: Scope, host: Option<&str>) -> anyhow::Result<Vec<String>> {
    let mut helpers = Vec::new();
    let fields = values(&["config", "--show-scope", "-z", "--get-all", &key(host)])?;
    for pair in fields.chunks_exact(2) {
        match (scope.comes_after(&pair[0]), pair[1].as_str()) {
            (false, _) => {}
            (true, "") => helpers.clear(),
            (true, helper) => helpers.push(helper.to_owned()),
        }
    }
    Ok(helpers)
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

/// Whether this value of `credential.helper` runs our helper, whatever its options.
pub fn is_ours(helper: &str) -> bool {
    let program = first_word(helper.strip_prefix('!').unwrap_or(helper));
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    program == "wit" || name.trim_end_matches(".exe") == "git-credential-wit"
}

/// A helper for a person: a shell command may hold a password, and is not shown.
pub fn name(helper: &str) -> String {
    match helper.starts_with('!') {
        true => "!…".to_owned(),
        false => first_word(helper),
    }
}

/// The first word as git's shell reads it, as far as paths need it.
pub fn first_word(command: &str) -> String {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = command.trim_start().chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.extend(letters.next()),
            (None, c) if c.is_whitespace() => break,
            (_, c) => word.push(c),
        }
    }
    word
}

/// A path as one word of git's shell. Not in quotes: git takes a value for a path by its first
/// character.
pub fn shell_word(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    path.chars()
        .flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// How a helper is going to be named in a configuration file.
pub struct Addition {
    scope: Scope,
    key: String,
    value: String,
    /// Whether to forget, for this key, the helpers named before.
    alone: bool,
    /// The file in which others are named, so that ours goes to its very beginning.
    before: Option<PathBuf>,
}

impl Addition {
    /// For one `host` ours is to be the only one. For all hosts it goes before those that the same
    /// file names: they would answer first, some of them by asking a person, and what they copied
    /// of an older token would go before the new one.
    pub fn new(scope: Scope, host: Option<&str>, value: &str) -> anyhow::Result<Self> {
        let key = key(host);
        let own = values(&[
            "config",
            scope.option(),
            "--no-includes",
            "-z",
            "--get-all",
            &key,
        ])?;
        let before = match own.iter().any(String::is_empty) || host.is_some() {
            // What stood before the empty value would be forgotten.
            true => None,
            false => origin(scope, &["--get-all", &key])?,
        };
        Ok(Addition {
            alone: host.is_some(),
            scope,
            key,
            value: value.to_owned(),
            before,
        })
    }

    /// What a person could type instead.
    pub fn commands(&self) -> Vec<String> {
        let (key, value) = (quoted(&self.key), quoted(&self.value));
        let scope = self.scope.option();
        if let Some(file) = &self.before {
            let file = file.display().to_string();
            let (new, file) = (quoted(format!("{file}.new")), quoted(&file));
            return vec![
                format!("git config --file {new} {key} {value}"),
                format!("cat {file} >>{new} && mv {new} {file}"),
            ];
        }
        let add = |value: &str| format!("git config {scope} --add {key} {value}");
        let forget = self.alone.then(|| add("''"));
        forget.into_iter().chain([add(&value)]).collect()
    }

    /// Carries it out, once `record` has written down what takes it back.
    pub fn make(&self, record: impl FnOnce(Change) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let file = match &self.before {
            Some(file) => file.clone(),
            None => file(self.scope)?,
        };
        let locked = Locked::take(&file).map_err(|error| match self.scope {
            Scope::System => Failure::new(Exit::Failed, format!("{error:#}"))
                .hint("sudo wit setup --system")
                .into(),
            _ => error,
        })?;
        let before = locked.text.as_deref();
        let after = match &self.before {
            Some(_) => self.prepended(before.unwrap_or_default(), &file)?,
            None => self.appended(before.unwrap_or_default(), &file)?,
        };
        let texts = (before, after.as_slice());
        let entry = (self.key.as_str(), self.value.as_str());
        let change = Change::between(self.scope, file.clone(), texts, entry).ok_or_else(|| {
            let message = format!(
                "it can't be told what git would change in {}",
                file.display()
            );
            Failure::new(Exit::Attention, message).hint("wit setup --dry-run")
        })?;
        record(change)?;
        locked.replace(&after)
    }

    fn appended(&self, text: &[u8], file: &Path) -> anyhow::Result<Vec<u8>> {
        let values = self.alone.then_some("").into_iter().chain([&*self.value]);
        let added = values.map(|value| ["--add", &self.key, value]);
        by_git(text, file, &added.collect::<Vec<_>>())
    }

    fn prepended(&self, text: &[u8], file: &Path) -> anyhow::Result<Vec<u8>> {
        /// git skips it at the very beginning of a file only.
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        let mark = match text.starts_with(BYTE_ORDER_MARK) {
            true => BYTE_ORDER_MARK.len(),
            false => 0,
        };
        let section = by_git(b"", file, &[["--add", &self.key, &self.value]])?;
        Ok([&text[..mark], &section, &text[mark..]].concat())
    }
}

/// What git makes of a configuration file's text. It is given a copy: `file` itself is locked.
fn by_git(text: &[u8], file: &Path, changes: &[[&str; 3]]) -> anyhow::Result<Vec<u8>> {
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
fn file(scope: Scope) -> anyhow::Result<PathBuf> {
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
                None => Ok(origin(scope, &["--list"])?.unwrap_or("/etc/gitconfig".into())),
            }
        }
    }
}

/// The first file of a scope's from which git answers `question`.
fn origin(scope: Scope, question: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let asked = [
        "config",
        scope.option(),
        "--show-origin",
        "-z",
        "--no-includes",
    ];
    let fields = values(&[&asked[..], question].concat())?;
    let mut files = fields
        .iter()
        .filter_map(|field| field.strip_prefix("file:"));
    match (files.next(), scope) {
        // It is named relative to the top of the working tree.
        (Some(_), Scope::Local) => local_file().map(Some),
        (file, _) => Ok(file.map(PathBuf::from)),
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

/// The changes of a record that `--undo` of a scope means: of a repository, those in its file.
pub fn is_meant(change: &Change, scope: Scope) -> anyhow::Result<bool> {
    Ok(change.scope == scope && (scope != Scope::Local || change.file == local_file()?))
}

/// The command that comes nearest to [`take_back`], for a person.
pub fn removal(change: &Change) -> String {
    format!(
        "git config --file {} --fixed-value --unset {} {}",
        quoted(&change.file),
        quoted(&change.key),
        quoted(&change.value)
    )
}

/// Takes a change back to the byte. Where a person has changed just that since, it is left alone.
pub fn take_back(change: &Change) -> anyhow::Result<()> {
    if !change.file.exists() {
        return Ok(());
    }
    let locked = Locked::take(&change.file)?;
    let now = locked.text.as_deref().unwrap_or_default();
    let is_ours = |text: &[u8]| change.made_file && text.trim_ascii().is_empty();
    match change.taken_from(now) {
        Some(kept) if is_ours(&kept) => locked.remove(),
        Some(kept) => locked.replace(&kept),
        None if is_ours(now) => locked.remove(),
        None => still_named(change),
    }
}

/// An error where the file still names the helper, in another way than it was written.
fn still_named(change: &Change) -> anyhow::Result<()> {
    let file = change
        .file
        .to_str()
        .context("the path of git's configuration")?;
    if !values(&["config", "--file", file, "-z", "--get-all", &change.key])?.contains(&change.value)
    {
        return Ok(());
    }
    let message = format!(
        "{file} was changed since, so it is not clear which line to take back; it names {}",
        change.value
    );
    let mend = format!("git config --file {} --edit", quoted(file));
    Err(Failure::new(Exit::Attention, message).hint(mend).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_helper_is_known_by_its_name_and_by_its_path_whatever_its_options() {
        for ours in [
            "wit",
            "wit --store file",
            "/usr/bin/git-credential-wit --store keyutils",
            "!git-credential-wit",
            r"/home/a\ b/git-credential-wit",
            r"!'/home/it'\''s/git-credential-wit' --store file",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "store",
            "without",
            "/bin/git-credential-without",
            "!f() { wit; }; f",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_path_is_one_word_again() {
        let path = r#"/home/it's "a" b/$x\y/git-credential-wit"#;
        assert_eq!(first_word(&shell_word(path)), path);
    }
}
