//! Putting a helper into one of git's configuration files, and taking it out again.

use std::fs;
use std::path::{Path, PathBuf};

use super::chain::{self, Entry, key};
use super::change::Change;
use super::error::Error;
use super::locked::Locked;
use super::scope::{Scope, git, values};
use crate::quote::quoted;

/// git skips it at the very beginning of a file only.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Place of a new value in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the very beginning, before the helpers that the file names or includes.
    Front,
    /// In the line behind the value number `at`, counted from 0, of the `of` values that the file has
    /// for the key: the last one that resets, before the helpers that follow it.
    Behind { at: usize, of: usize },
    /// At the place that `git config --add` chooses.
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
    /// True if to forget, for this key, the helpers named before.
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
    ) -> Result<Self, Error> {
        let key = key(host);
        let mut file = scope.file()?;
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
            (None, Some(reset)) if is_ours(reset) => {
                let own: Vec<&Entry> = matching.iter().copied().filter(|e| is_ours(e)).collect();
                let at = own.iter().rposition(|entry| entry.is_reset());
                let of = own.len();
                at.map_or(Position::Added, |at| Position::Behind { at, of })
            }
            (None, Some(_)) => Position::End,
            (Some(_), _) if last.is_some_and(&is_ours) => Position::Added,
            // git makes a section of its own, at the end.
            (Some(_), _) if !matching.iter().any(is_ours) => Position::Added,
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
    pub fn commands(&self) -> Result<Vec<String>, Error> {
        let (key, value) = (quoted(&self.key), quoted(&self.value));
        let scope = self.scope.option();
        let file = quoted(&self.file);
        let add = |value: &str| format!("git config {scope} --add {key} {value}");
        // Through its links, and with its mode; by way of a file that nobody else can read.
        let replace = |text: String| {
            let write = format!("new=$(mktemp) && {{ {text}; }} >\"$new\"");
            format!("{write} && cat \"$new\" >{file} && rm \"$new\"")
        };
        let added = || {
            let forget = self.alone.then(|| add("''"));
            forget.into_iter().chain([add(&value)]).collect()
        };
        Ok(match self.position {
            Position::Behind { at, of } => {
                let text = fs::read(&self.file).unwrap_or_default();
                let Some(line) = self.line(&text, at, of) else {
                    return Ok(added());
                };
                let entry = single_quoted(&self.entry()?);
                let rest = line + 1;
                vec![replace(format!(
                    "head -n {line} {file}; printf %s {entry}; tail -n +{rest} {file}"
                ))]
            }
            Position::Front if !self.file.exists() => {
                vec![format!("git config --file {file} {key} {value}")]
            }
            Position::Front => {
                let text = fs::read(&self.file).unwrap_or_default();
                let section = by_git(b"", &self.file, &[vec!["--add", &self.key, &self.value]])?;
                let section = single_quoted(&String::from_utf8_lossy(&section));
                let all = match text.starts_with(BYTE_ORDER_MARK) {
                    true => format!("head -c 3 {file}; printf %s {section}; tail -c +4 {file}"),
                    false => format!("printf %s {section}; cat {file}"),
                };
                vec![replace(all)]
            }
            Position::Added => added(),
            Position::End => {
                let before = fs::read(&self.file).unwrap_or_default();
                let after = self.applied(&before)?;
                let added = String::from_utf8_lossy(&after[before.len()..]).into_owned();
                vec![format!("printf %s {} >>{file}", single_quoted(&added))]
            }
        })
    }

    /// Carries it out, once `record` has written down what takes it back.
    pub fn make(&self, record: impl FnOnce(Change) -> Result<(), Error>) -> Result<(), Error> {
        let locked = Locked::take(self.scope, &self.file)?;
        let before = locked.text.as_deref();
        let after = self.applied(before.unwrap_or_default())?;
        let texts = (before, after.as_slice());
        let entry = (self.key.as_str(), self.value.as_str());
        let change = Change::between(self.scope, self.file.clone(), texts, entry)
            .ok_or_else(|| Error::Untold(self.file.clone()))?;
        record(change)?;
        locked.replace(&after)
    }

    /// The line that holds value number `at` of `of` in the text of its file; `None` where no line can be
    /// put behind it.
    fn line(&self, text: &[u8], at: usize, of: usize) -> Option<usize> {
        let text = std::str::from_utf8(text).ok()?;
        let lines = chain::lines(text, &self.key);
        let line = *lines.get(at).filter(|_| lines.len() == of)?;
        let held = text.split_inclusive('\n').nth(line.checked_sub(1)?)?;
        // It goes on in the next line, or its line does not end.
        let is_whole = held.ends_with('\n') && !held.trim_end().ends_with('\\');
        is_whole.then_some(line)
    }

    /// The line of the value in a section that is there.
    fn entry(&self) -> Result<String, Error> {
        Ok(format!("\thelper = {}\n", encoded(&self.value)?))
    }

    fn applied(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let values = self.alone.then_some("").into_iter().chain([&*self.value]);
        let added = values.map(|value| vec!["--add", &self.key, value]);
        let added: Vec<Vec<&str>> = added.collect();
        if let Position::Behind { at, of } = self.position {
            let Some(line) = self.line(text, at, of) else {
                return by_git(text, &self.file, &added);
            };
            let lines: Vec<&[u8]> = text.split_inclusive(|c| *c == b'\n').collect();
            let (before, after) = lines.split_at(line.min(lines.len()));
            let entry = self.entry()?;
            return Ok([&before.concat(), entry.as_bytes(), &after.concat()].concat());
        }
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
    /// The record of what wit setup itself had put there becomes the new value; what somebody else had put
    /// there comes back with `--undo`.
    pub fn make(
        &self,
        changes: &mut Vec<Change>,
        record: impl FnOnce(&[Change]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let locked = Locked::take(self.scope, &self.file)?;
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
                    .ok_or_else(|| Error::Untold(self.file.clone()))?;
                changes.push(change);
            }
        }
        record(changes)?;
        locked.replace(&after)
    }
}

/// A value as git writes it into a file.
fn encoded(value: &str) -> Result<String, Error> {
    let text = by_git(b"", Path::new("config"), &[vec!["--add", "a.b", value]])?;
    let text = String::from_utf8_lossy(&text).into_owned();
    // git writes KEY = VALUE.
    let Some((_, value)) = text.split_once("b = ") else {
        return Err(Error::Untold(PathBuf::from("config")));
    };
    Ok(value.trim_end_matches('\n').to_owned())
}

/// In single quotes whatever it holds: line breaks too.
fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Changes a configuration file's text by git. It is given a copy: `file` itself is locked.
fn by_git(text: &[u8], file: &Path, changes: &[Vec<&str>]) -> Result<Vec<u8>, Error> {
    let io_error = |error| Error::Io {
        file: file.to_owned(),
        error,
    };
    let dir = tempfile::tempdir().map_err(io_error)?;
    let copy = dir.path().join("config");
    let name = text_of(&copy)?;
    fs::write(&copy, text).map_err(io_error)?;
    for change in changes {
        let mut output = git(&[&["config", "--file", name], &change[..]].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            output.stderr = said.replace(name, &file.display().to_string()).into();
            return Err(Error::refused(
                "git did not change its configuration",
                &output,
            ));
        }
    }
    fs::read(&copy).map_err(io_error)
}

/// File that holds a change now: the one that it was made in, or the one that this was moved to.
/// `None` where nothing of it is left.
#[derive(Debug)]
pub struct Located {
    /// The change as it was made.
    pub change: Change,
    /// The file that it is in now.
    pub file: Option<PathBuf>,
}

/// Of the changes of a record those that `--undo` of a scope means, where they stand now, and the
/// others. Of a repository they are those in its own file, wherever that was moved to.
pub fn meant(changes: Vec<Change>, scope: Scope) -> Result<(Vec<Located>, Vec<Change>), Error> {
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
        Scope::Local => Some(scope.file()?),
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
        let is_there = |file: &Path| -> Result<bool, Error> {
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

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| Error::Io {
        file: file.to_owned(),
        error,
    })
}

/// A path as an argument of git's.
fn text_of(file: &Path) -> Result<&str, Error> {
    file.to_str().ok_or_else(|| Error::Io {
        file: file.to_owned(),
        error: std::io::Error::other("not UTF-8"),
    })
}

fn names(file: &Path, change: &Change) -> Result<bool, Error> {
    let name = text_of(file)?;
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
    pub fn take_back(&self) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        take_back(&self.change, file)
    }
}

/// [`Located::take_back`] of a change that stands in `file`.
pub fn take_back(change: &Change, file: &Path) -> Result<(), Error> {
    let locked = Locked::take(change.scope, file)?;
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
    Err(Error::Changed {
        file: file.to_owned(),
        value: change.value.clone(),
    })
}
