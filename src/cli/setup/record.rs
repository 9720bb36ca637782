//! What `wit setup` changed: to the byte, so that it can be taken back to the byte.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::git::Scope;
use super::schedule::Schedule;
use crate::cli::output::quoted;
use crate::cli::{Exit, Failure};
use crate::config::{self, Paths};
use crate::files::{self, FileError};

/// The format's version. A record of a higher one is neither read nor overwritten.
const VERSION: u64 = 1;

/// What was changed and has not been taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub changes: Vec<Change>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// One piece of text that was put into one of git's configuration files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub scope: Scope,
    pub file: PathBuf,
    /// Whether the file was made for it.
    pub made_file: bool,
    pub key: String,
    pub value: String,
    text: String,
    /// What stood there before, where it was not put in but in the place of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    /// Which of the places where the text stands is ours, counted from 0, and how many there were:
    /// a person may have written the same line.
    place: usize,
    places: usize,
}

impl Record {
    fn path(paths: &Paths) -> PathBuf {
        paths.state_dir().join("setup.json")
    }

    /// A missing record is an empty one.
    pub fn load(paths: &Paths) -> Result<Self, FileError> {
        let read = files::read_json(&Record::path(paths), VERSION)?;
        Ok(read.unwrap_or_default())
    }

    pub fn save(&self, paths: &Paths) -> anyhow::Result<()> {
        let path = Record::path(paths);
        if self.changes.is_empty() && self.schedule.is_none() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| path.display().to_string())
                }
                _ => Ok(()),
            };
        }
        #[derive(Serialize)]
        struct Document<'a> {
            version: u64,
            #[serde(flatten)]
            record: &'a Record,
        }
        let text = serde_json::to_vec_pretty(&Document {
            version: VERSION,
            record: self,
        })?;
        config::write_private(&path, &text).with_context(|| path.display().to_string())
    }
}

impl Change {
    /// What turned the `before` of a file into its `after`; `None` where that was more than one
    /// piece of text put in.
    pub fn between(
        scope: Scope,
        file: PathBuf,
        (before, after): (Option<&[u8]>, &[u8]),
        (key, value): (&str, &str),
    ) -> Option<Self> {
        let (at, text) = insertion(before.unwrap_or_default(), after)?;
        Change::at(scope, file, after, (key, value), at, text).map(|change| Change {
            made_file: before.is_none(),
            ..change
        })
    }

    /// The same where one piece of text took the place of another.
    pub fn replacing(
        scope: Scope,
        file: PathBuf,
        (before, after): (&[u8], &[u8]),
        entry: (&str, &str),
    ) -> Option<Self> {
        let (at, old, new) = replacement(before, after)?;
        let change = Change::at(scope, file, after, entry, at, new)?;
        Some(Change {
            replaced: Some(old),
            ..change
        })
    }

    fn at(
        scope: Scope,
        file: PathBuf,
        after: &[u8],
        (key, value): (&str, &str),
        at: usize,
        text: String,
    ) -> Option<Self> {
        let places = places(after, text.as_bytes());
        Some(Change {
            scope,
            file,
            made_file: false,
            replaced: None,
            key: key.to_owned(),
            value: value.to_owned(),
            place: places.iter().position(|place| *place == at)?,
            places: places.len(),
            text,
        })
    }

    /// Notes that the value it put in, `old` as git writes it, was replaced by another in the file,
    /// which is now `after`.
    pub fn renew(&mut self, (old, new): (&str, &str), value: &str, after: &[u8]) {
        self.text = self.text.replace(old, new);
        value.clone_into(&mut self.value);
        let places = places(after, self.text.as_bytes());
        if places.len() != self.places {
            (self.place, self.places) = (0, places.len());
        }
    }

    /// Whether it can be taken out of `now`.
    pub fn stands_in(&self, now: &[u8]) -> bool {
        self.taken_from(now).is_some()
    }

    /// `now` without what was put in; `None` where it can't be told any more which piece that was.
    pub fn taken_from(&self, now: &[u8]) -> Option<Vec<u8>> {
        let text = self.text.as_bytes();
        let places = places(now, text);
        let at = *places
            .get(self.place)
            .filter(|_| places.len() == self.places)?;
        let rest = &now[at + text.len()..];
        let mut kept = now[..at].to_vec();
        if let Some(replaced) = &self.replaced {
            kept.extend_from_slice(replaced.as_bytes());
            kept.extend_from_slice(rest);
            return Some(kept);
        }
        // A section that a person has used since must keep its head.
        let used = first_entry(rest).is_some_and(|line| line[0] != b'[');
        if let Some(end) = self.text.find("]\n").filter(|_| used) {
            kept.extend_from_slice(&text[..end + 2]);
        }
        kept.extend_from_slice(rest);
        Some(kept)
    }
}

/// The first line that is more than a comment.
fn first_entry(text: &[u8]) -> Option<&[u8]> {
    let mut lines = text.split(|c| *c == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty() && !matches!(line[0], b'#' | b';'))
}

/// The one piece by which `after` is longer than `before`, from the start of a line where that is
/// possible, and where it stands.
fn insertion(before: &[u8], after: &[u8]) -> Option<(usize, String)> {
    let length = after.len().checked_sub(before.len())?;
    let pairs = before.iter().zip(after);
    let last = pairs.take_while(|(one, other)| one == other).count();
    if length == 0 || before[last..] != after[last + length..] {
        return None;
    }
    // What follows may begin as the piece does, so that it could as well stand further to the left.
    let mut first = last;
    while first > 0 && after[first - 1] == after[first + length - 1] {
        first -= 1;
    }
    let starts_line = |at: &usize| *at == 0 || after[*at - 1] == b'\n';
    let at = (first..=last)
        .find(|at| after[*at] == b'[')
        .or_else(|| (first..=last).rev().find(starts_line))
        .unwrap_or(last);
    let text = String::from_utf8(after[at..at + length].to_vec()).ok()?;
    Some((at, text))
}

/// The one piece of whole lines in which `after` differs from `before`: where it begins, the old one
/// and the new one.
fn replacement(before: &[u8], after: &[u8]) -> Option<(usize, String, String)> {
    let shorter = before.len().min(after.len());
    let alike = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let first = alike(&mut before.iter().zip(after));
    let last = alike(&mut before.iter().rev().zip(after.iter().rev())).min(shorter - first);
    let start = before[..first].iter().rposition(|c| *c == b'\n');
    let start = start.map_or(0, |at| at + 1);
    let tail = before[before.len() - last..]
        .iter()
        .position(|c| *c == b'\n');
    let tail = tail.map_or(0, |at| last - at - 1);
    let piece = |text: &[u8]| String::from_utf8(text[start..text.len() - tail].to_vec()).ok();
    let (old, new) = (piece(before)?, piece(after)?);
    (old != new && !new.is_empty()).then_some((start, old, new))
}

fn places(all: &[u8], text: &[u8]) -> Vec<usize> {
    let found = all.windows(text.len().max(1)).enumerate();
    found
        .filter(|(_, window)| *window == text)
        .map(|(at, _)| at)
        .collect()
}

/// The file that git writes to where `file` is a link: what it leads to, whether that is there or not.
fn target(file: &Path) -> anyhow::Result<PathBuf> {
    /// More than the links that the kernel follows (path_resolution(7)).
    const MAX_LINKS: usize = 40;
    let mut target = file.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(next) = fs::read_link(&target) else {
            return Ok(target);
        };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    let message = format!("{} is a link that leads to itself", file.display());
    Err(Failure::new(Exit::Attention, message)
        .hint(format!("ls -l {}", quoted(file)))
        .into())
}

/// Refuses what is there and no regular file.
pub fn check_kind(file: &Path) -> Result<(), Failure> {
    match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => {
            let message = format!(
                "{} is not a regular file, so it is left as it is",
                file.display()
            );
            let hint = match config::variable("GIT_CONFIG_GLOBAL") {
                Some(name) if Path::new(&name) == file => "unset GIT_CONFIG_GLOBAL".to_owned(),
                _ => format!("ls -ld {}", quoted(file)),
            };
            Err(Failure::new(Exit::Attention, message).hint(hint))
        }
        _ => Ok(()),
    }
}

/// One of git's files while nobody else may change it: by git's own lock, a file beside it.
pub struct Locked {
    file: PathBuf,
    lock: PathBuf,
    written: fs::File,
    held: bool,
    /// What it holds; `None` where it is not there.
    pub text: Option<Vec<u8>>,
}

impl Locked {
    /// Takes the lock, then reads. Something else than a file is refused: a device or a directory
    /// is there because somebody wants no such file.
    pub fn take(file: &Path) -> anyhow::Result<Self> {
        let file = target(file)?;
        check_kind(&file)?;
        let mut lock = file.clone().into_os_string();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let written = fs::File::create_new(&lock).with_context(|| match lock.exists() {
            true => format!("{} is there: is another git at it?", lock.display()),
            false => format!("can't change {}", file.display()),
        })?;
        config::hand_over(&written, file.parent().unwrap_or(&file))?;
        let mut locked = Locked {
            file,
            lock,
            written,
            held: true,
            text: None,
        };
        locked.text = match fs::read(&locked.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.with_context(|| locked.file.display().to_string())?),
        };
        Ok(locked)
    }

    /// Replaces the content all at once, and keeps the mode.
    pub fn replace(mut self, content: &[u8]) -> anyhow::Result<()> {
        use std::io::Write;
        let replaced = match fs::metadata(&self.file) {
            Ok(old) => self.written.set_permissions(old.permissions()),
            Err(_) => Ok(()),
        };
        replaced
            .and_then(|()| self.written.write_all(content))
            .and_then(|()| self.written.sync_all())
            .and_then(|()| fs::rename(&self.lock, &self.file))
            .with_context(|| self.file.display().to_string())?;
        self.held = false;
        Ok(())
    }

    /// Removes the file.
    pub fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.file).with_context(|| self.file.display().to_string())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Whoever comes next is not to wait for nobody; and by then it may be another's.
        if self.held {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: &str) -> Change {
        let texts = (before.map(str::as_bytes), after.as_bytes());
        let entry = ("credential.helper", "wit");
        Change::between(Scope::Global, PathBuf::new(), texts, entry).expect("one piece")
    }

    fn taken(change: &Change, now: &str) -> Option<String> {
        let kept = change.taken_from(now.as_bytes())?;
        Some(String::from_utf8(kept).expect("text"))
    }

    #[test]
    fn what_was_put_in_is_found_wherever_it_stands() {
        let head = "[credential]\n\thelper = wit\n\thelper =\n";
        let after = "[credential]\n\thelper = wit\n\thelper =\n\thelper = wit\n";
        let last = change(Some(head), after);
        assert_eq!(taken(&last, after).as_deref(), Some(head));
        let moved = format!("[user]\n\tname = A\n{after}");
        assert_eq!(
            taken(&last, &moved),
            Some(format!("[user]\n\tname = A\n{head}"))
        );
        // One of the two is gone, and nobody can tell which.
        assert_eq!(taken(&last, head), None);
    }

    #[test]
    fn a_line_before_one_that_begins_alike_is_a_whole_line() {
        let change = change(Some("\thelper = x\n"), "\thelper = wit\n\thelper = x\n");
        assert_eq!(change.text, "\thelper = wit\n");
    }

    #[test]
    fn a_section_goes_with_it_unless_somebody_has_used_it_since() {
        let own = "[credential]\n\thelper = wit\n";
        let change = change(Some("x"), &format!("x\n{own}"));
        assert_eq!(taken(&change, &format!("x\n{own}")).as_deref(), Some("x"));
        let before_others = format!("x\n{own}# mine\n[user]\n");
        let kept = taken(&change, &before_others);
        assert_eq!(kept.as_deref(), Some("x# mine\n[user]\n"));
        assert_eq!(
            taken(&change, &format!("x\n{own}\tusername = a\n")).as_deref(),
            Some("x\n[credential]\n\tusername = a\n")
        );
    }

    #[test]
    fn a_line_that_was_replaced_comes_back() {
        let before = "[user]\n\tname = A\n[credential]\n\thelper = /old/wit\n\thelper = store\n";
        let after = before.replace("/old/wit", "/new/it");
        let texts = (before.as_bytes(), after.as_bytes());
        let entry = ("credential.helper", "/new/it");
        let change = Change::replacing(Scope::Global, PathBuf::new(), texts, entry);
        let change = change.expect("one piece");
        assert_eq!(change.text, "\thelper = /new/it\n");
        assert_eq!(taken(&change, &after).as_deref(), Some(before));
    }

    #[test]
    fn two_pieces_are_not_one() {
        assert_eq!(insertion(b"abc", b"xabcy"), None);
        assert_eq!(insertion(b"abc", b"ab"), None);
    }
}
