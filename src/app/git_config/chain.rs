//! The helpers that git runs for a URL, in their order: git's *chain*.
//!
//! Files that include others, values that reset the ones before (gitcredentials(7)), URLs that match
//! in part, the environment: git itself is asked which of the configured helpers it would run. For
//! that it is given the same settings once more, with commands that do nothing but say that they
//! were run.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::helper::is_ours;
use super::scope::{Place, Scope, command, run};
use crate::config;

/// A URL that no setting for a site of its own matches (RFC 6761 section 6.4).
pub const ANY_SITE: &str = "https://wit.invalid";
/// Mark that a command in place of a helper prints on stderr.
const MARK: &str = "wit-chain";
/// The keys that name helpers, as a regular expression of git's.
const HELPER_KEYS: &str = r"^credential\.(.*\.)?helper$";
/// More helpers than anybody has, and few enough for one command line.
const MAX_HELPERS: usize = 500;

/// One value of `credential.helper` or `credential.URL.helper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As `git config --show-scope` says it: `system`, `global`, `local`, `worktree`, `command`.
    pub scope: String,
    /// `None` where the environment or the command line says it.
    pub file: Option<PathBuf>,
    /// As git writes it: `credential.helper` or `credential.URL.helper`.
    pub key: String,
    /// Empty where it resets the helpers before it.
    pub value: String,
}

impl Entry {
    /// The URL, or part of one, that it is for; `None` for every site.
    pub fn pattern(&self) -> Option<&str> {
        pattern(&self.key)
    }

    /// Returns whether it makes git forget the helpers before it.
    pub fn is_reset(&self) -> bool {
        self.value.is_empty()
    }

    /// Returns whether git reads it before, or as, what is written to `scope`.
    pub fn is_within(&self, scope: Scope) -> bool {
        rank(&self.scope) <= rank(scope.name())
    }

    /// Its file and line in words, for a message.
    pub fn place(&self, all: &[Entry]) -> String {
        let Some(file) = &self.file else {
            return "the environment".to_owned();
        };
        match self.line(all) {
            Some(line) => format!("{}:{line}", file.display()),
            None => file.display().to_string(),
        }
    }

    /// Its line in its file, counted from 1; `None` where that can't be told. `all` holds every entry
    /// in git's order.
    fn line(&self, all: &[Entry]) -> Option<usize> {
        let text = fs::read_to_string(self.file.as_ref()?).ok()?;
        let alike: Vec<&Entry> = all
            .iter()
            .filter(|entry| entry.file == self.file && entry.key == self.key)
            .collect();
        let at = alike.iter().position(|entry| std::ptr::eq(*entry, self));
        let at = at.or_else(|| alike.iter().position(|entry| *entry == self))?;
        let lines = lines(&text, &self.key);
        (lines.len() == alike.len()).then(|| lines.get(at).copied())?
    }
}

/// The order in which git reads its files: git-config(1), FILES and ENVIRONMENT.
fn rank(scope: &str) -> u8 {
    match scope {
        "system" => 0,
        "global" => 1,
        "local" => 2,
        "worktree" => 3,
        _ => 4,
    }
}

fn pattern(key: &str) -> Option<&str> {
    key.strip_prefix("credential.")?.strip_suffix(".helper")
}

/// The key that names helpers: for every site, or for the one at `host`.
pub fn key(host: Option<&str>) -> String {
    match host {
        Some(host) => format!("credential.{host}.helper"),
        None => "credential.helper".to_owned(),
    }
}

/// Every helper that is configured, in the order in which git reads them.
pub fn entries(place: Place) -> Result<Vec<Entry>, Error> {
    let mut git = command(place);
    git.args(["config", "--show-scope", "--show-origin", "-z"]);
    git.args(["--get-regexp", HELPER_KEYS]);
    let output = run(git, "")?;
    // 1: there is none.
    if !output.status.success() && output.status.code() != Some(1) {
        return Err(Error::refused("can't read git's configuration", &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.split_terminator('\0').collect();
    let base = match fields.iter().any(|field| is_relative(field)) {
        true => git_directory()?,
        false => PathBuf::new(),
    };
    let mut entries = Vec::new();
    for field in fields.chunks_exact(3) {
        let file = field[1].strip_prefix("file:").map(|file| base.join(file));
        let Some((key, value)) = field[2].split_once('\n') else {
            return Err(Error::NoValue {
                file: file.unwrap_or_default(),
                key: field[2].to_owned(),
            });
        };
        entries.push(Entry {
            scope: field[0].to_owned(),
            file,
            key: key.to_owned(),
            value: value.to_owned(),
        });
    }
    Ok(entries)
}

/// A file with helpers that git reads in some places only, and not in this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// When git reads it, as git-config(1), Conditional includes, writes it: `gitdir:~/work/`.
    pub condition: String,
    /// The file.
    pub file: PathBuf,
}

/// The files that git would read elsewhere, and that name other helpers than ours; `entries` are those
/// that it reads here.
pub fn conditional(entries: &[Entry]) -> Result<Vec<Conditional>, Error> {
    let mut git = command(Place::Here);
    git.args(["config", "--show-origin", "--type=path", "-z"]);
    git.args(["--get-regexp", r"^includeif\..*\.path$"]);
    let output = run(git, "")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.split_terminator('\0').collect();
    let mut found = Vec::new();
    for field in fields.chunks_exact(2) {
        let Some((key, path)) = field[1].split_once('\n') else {
            continue;
        };
        let condition = key.strip_prefix("includeif.");
        let condition = condition.and_then(|key| key.strip_suffix(".path"));
        let origin = Path::new(field[0].strip_prefix("file:").unwrap_or_default());
        let file = origin.parent().unwrap_or(Path::new("")).join(path);
        let is_read = entries
            .iter()
            .any(|entry| entry.file.as_ref() == Some(&file));
        let known = |other: &Conditional| other.file == file;
        if is_read || found.iter().any(known) || !file.is_file() {
            continue;
        }
        if let Some(condition) = condition
            && names_others(&file)?
        {
            found.push(Conditional {
                condition: condition.to_owned(),
                file,
            });
        }
    }
    Ok(found)
}

/// Returns whether a file, or one that it includes, resets helpers or names another than ours.
fn names_others(file: &Path) -> Result<bool, Error> {
    let mut git = command(Place::Outside);
    git.args(["config", "--file"]).arg(file);
    git.args(["--includes", "-z", "--get-regexp", HELPER_KEYS]);
    let output = run(git, "")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut values = text
        .split_terminator('\0')
        .filter_map(|field| field.split_once('\n'));
    Ok(values.any(|(_, value)| !is_ours(value)))
}

fn is_relative(origin: &str) -> bool {
    origin
        .strip_prefix("file:")
        .is_some_and(|file| !Path::new(file).is_absolute())
}

/// The directory that git names a repository's own files from.
fn git_directory() -> Result<PathBuf, Error> {
    for question in ["--show-toplevel", "--absolute-git-dir"] {
        let mut git = command(Place::Here);
        git.args(["rev-parse", question]);
        let output = run(git, "")?;
        if output.status.success() && !output.stdout.is_empty() {
            let path = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(PathBuf::from(path.trim_end_matches('\n')));
        }
    }
    std::env::current_dir().map_err(|error| Error::Io {
        file: PathBuf::from("."),
        error,
    })
}

/// Indexes of the `entries` that git runs for `url`, in its order.
pub fn run_for(entries: &[Entry], url: &str, place: Place) -> Result<Vec<usize>, Error> {
    asked(entries, url, place, |entry| entry.is_reset())
}

/// Indexes of the `entries` for `url`, those that reset others among them.
pub fn matching(entries: &[Entry], url: &str, place: Place) -> Result<Vec<usize>, Error> {
    asked(entries, url, place, |_| false)
}

fn asked(
    entries: &[Entry],
    url: &str,
    place: Place,
    resets: impl Fn(&Entry) -> bool,
) -> Result<Vec<usize>, Error> {
    if entries.len() > MAX_HELPERS {
        return Err(Error::TooMany(entries.len()));
    }
    let mut git = command(place);
    // Nobody is to be asked anything, and no real helper is to run.
    git.env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "")
        .env_remove("SSH_ASKPASS")
        .args(["-c", "credential.helper="]);
    for (at, entry) in entries.iter().enumerate() {
        let variable = format!("WIT_CHAIN_{at}");
        let value = match resets(entry) {
            true => String::new(),
            false => format!("!echo >&2 {MARK} {at}"),
        };
        git.arg(format!("--config-env={}={variable}", entry.key));
        git.env(variable, value);
    }
    git.args(["credential", "fill"]);
    let output = run(git, &format!("url={url}\n\n"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // git appends the operation, `get`.
    let mark = |line: &str| {
        line.strip_prefix(MARK)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    Ok(said.lines().filter_map(mark).collect())
}

/// Returns whether git asks our helper about a URL; `true` where git itself can't tell.
pub fn asks_ours(url: &str) -> bool {
    let asked = entries(Place::Here).and_then(|entries| runs_ours(&entries, url));
    asked.unwrap_or(true)
}

/// Returns whether git runs our helper among `entries` for `url`.
pub fn runs_ours(entries: &[Entry], url: &str) -> Result<bool, Error> {
    let run = run_for(entries, url, Place::Here)?;
    let mut run = run.into_iter().filter_map(|at| entries.get(at));
    Ok(run.any(|entry| is_ours(&entry.value)))
}

/// The URLs, or parts of one, that have helpers of their own, each once.
pub fn patterns(entries: &[Entry]) -> Vec<&str> {
    let mut patterns: Vec<&str> = entries.iter().filter_map(Entry::pattern).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// The lines that hold a value of `key`, counted from 1, in the text of a configuration file.
pub fn lines(text: &str, key: &str) -> Vec<usize> {
    let wanted = pattern(key);
    let mut found = Vec::new();
    let mut in_section = false;
    let mut continued = false;
    for (at, line) in text.lines().enumerate() {
        let was_continued = std::mem::replace(&mut continued, line.ends_with('\\'));
        let mut line = line.trim_start_matches('\u{feff}').trim();
        if was_continued {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (head, after) = section(rest);
            in_section = is_section(&head, wanted);
            line = after.trim();
        }
        let name = line.split(['=', ' ', '\t', '#', ';']).next();
        if in_section && name.is_some_and(|name| name.eq_ignore_ascii_case("helper")) {
            found.push(at + 1);
        }
    }
    found
}

/// Text between the brackets of a section's head, and behind them.
fn section(line: &str) -> (String, &str) {
    let mut head = String::new();
    let mut quoted = false;
    let mut letters = line.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => head.extend(letters.next().map(|(_, c)| c)),
            ']' if !quoted => return (head, &line[at + 1..]),
            c => head.push(c),
        }
    }
    (head, "")
}

fn is_section(head: &str, wanted: Option<&str>) -> bool {
    let (name, below) = match head.split_once([' ', '\t', '.']) {
        Some((name, below)) => (name, Some(below.trim_start())),
        None => (head, None),
    };
    name.eq_ignore_ascii_case("credential") && below == wanted
}

/// A URL that a setting for `pattern` is for.
pub fn example(pattern: &str) -> String {
    let whole = pattern.replace('*', "wit");
    match whole.split_once("://") {
        Some((_, "")) => format!("{whole}wit.invalid"),
        // git asks no helper where it is told a password.
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@');
            let host = host.map_or(authority.to_owned(), |(user, host)| {
                format!("{}@{host}", user.split(':').next().unwrap_or_default())
            });
            format!("{scheme}://{host}{path}")
        }
        None => format!("https://{whole}"),
    }
}

/// A URL of git's configuration, without its user and password.
pub fn without_user(url: &str) -> String {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{host}{path}"))
    });
    parts.unwrap_or_else(|| url.to_owned())
}

/// The settings of the environment that git reads as configuration, for a message.
pub fn environment() -> &'static str {
    match config::variable("GIT_CONFIG_COUNT").is_some() {
        true => "GIT_CONFIG_COUNT",
        false => "GIT_CONFIG_PARAMETERS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_key_are_those_that_git_reads() {
        let text = "\u{feff}[credential] helper = a\n# helper = x\n[user]\n\thelper = b\n\
            [credential \"https://a.example\"]\n\thelper=\n\tHelper = c \\\n helper = d\n\
            [Credential]\n\thelperx = e\n\thelper\n";
        assert_eq!(lines(text, "credential.helper"), [1, 11]);
        assert_eq!(lines(text, "credential.https://a.example.helper"), [6, 7]);
    }

    #[test]
    fn a_pattern_has_a_url_that_it_is_for() {
        for (pattern, url) in [
            ("https://a.example", "https://a.example"),
            ("https://", "https://wit.invalid"),
            ("a.example", "https://a.example"),
            ("https://*.a.example", "https://wit.a.example"),
            ("https://me:pw@a.example/b", "https://me@a.example/b"),
        ] {
            assert_eq!(example(pattern), url);
        }
    }
}
