//! A change of one of git's files: to the byte, so that it can be taken back to the byte.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::scope::Scope;

/// One piece of text that was put into one of git's configuration files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The configuration that was meant.
    pub scope: Scope,
    /// The file that was changed.
    pub file: PathBuf,
    /// True if the file was made for it.
    pub made_file: bool,
    /// The key that names helpers.
    pub key: String,
    /// The value that names ours.
    pub value: String,
    text: String,
    /// Text that it replaced; empty where it replaced nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    /// Place of the text among equal ones, counted from 0, and their number:
    /// a person may have written the same line.
    place: usize,
    places: usize,
}

impl Change {
    /// Change that turned the `before` of a file into its `after`; `None` where that was more than one
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

    /// Returns whether it can be taken out of `now`.
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
