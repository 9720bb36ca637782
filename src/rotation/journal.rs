//! The record of a rotation, written before each of its steps: ids and names, never a token.
//!
//! All of its times are the server's: this machine's clock may be wrong, or be set while a rotation
//! waits for the end of a grace.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::GRACE_AGAIN;
use super::deliver::Receiver;
use crate::api::NewToken;
use crate::api::promises::stem;
use crate::config::{Paths, write_private};
use crate::credential::Site;
use crate::expiry::{CLOCK_MARGIN, UnixTime};
use crate::files::{self, Fault, FileError};
use crate::trace;

/// The format's version. A higher one is never touched. The times of version 1 were this machine's,
/// and a create request had no id.
const VERSION: u64 = 2;

/// The step that is about to be taken, or was being taken when the process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The create request may have been sent; where it was, its answer may not have been kept.
    Creating,
    /// The new token lies in the pending slot.
    Verifying,
    /// The new token works and takes the old one's place.
    Promoting,
    /// The new token goes to its receivers.
    Delivering,
    /// Every receiver has the new token; the old one lives on for a while.
    Grace,
    /// The old token is being revoked.
    Revoking,
    /// The new token is being revoked and the old one kept.
    Undoing,
}

/// One rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u64,
    /// The rotation's own id, also the file's name.
    pub rotation: String,
    protocol: String,
    host: String,
    /// Base URL of the server.
    pub server: String,
    /// Username or email of the account.
    pub account: String,
    /// The account's id as the server told it of the old token; `None` where it was not asked.
    pub account_id: Option<String>,
    /// Name of the new token.
    pub name: String,
    /// Scopes of the new token.
    pub scopes: Vec<String>,
    /// Repositories that the new token is bound to; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// Lifetime of the new token in days; `None` for no end.
    pub expires_in_days: Option<u32>,
    /// Days after which this machine is to replace the new token, where the host gives no expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_in_days: Option<u32>,
    /// Id of the old token.
    pub old_id: String,
    /// Known from before the new token is put into the pending slot.
    pub new_id: Option<String>,
    /// True if the old token lies in the store, so that the new one belongs there too.
    pub stored: bool,
    /// True if the old token replaces itself, without a sign-in.
    #[serde(default)]
    pub by_itself: bool,
    /// Start of the rotation, by the server's clock.
    pub started: UnixTime,
    /// When the last create request was about to be sent.
    pub sent: UnixTime,
    /// Number of create requests that may have been sent.
    pub attempts: u32,
    /// The ids that they were sent with; the last is that of the next one.
    #[serde(default)]
    pub request_ids: Vec<Uuid>,
    /// The server's clock minus this machine's when the server answered last, in seconds.
    pub clock_skew: i64,
    /// Tokens that no lost request of this rotation created: those that the account had before, and
    /// those that a person was told of.
    pub known: Vec<String>,
    /// The step that is taken, or was when the process died.
    pub step: Step,
    /// Receivers of the new token.
    pub deliveries: Vec<Delivery>,
    /// Seconds for which the old token lives on after the last delivery.
    pub grace: u64,
    /// When the old token is to be revoked; set once all deliveries are done.
    pub revoke_at: Option<UnixTime>,
    /// True if the server ends the old token by itself when the grace is over.
    #[serde(default)]
    pub shortened: bool,
}

/// A receiver of the new token, and whether it has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The receiver.
    #[serde(rename = "sink")]
    pub receiver: Receiver,
    /// True if it has the new token.
    pub done: bool,
}

impl Journal {
    /// The journal of a rotation that has done nothing yet.
    pub(super) fn new(plan: &super::Plan, now: UnixTime) -> Self {
        let receivers = plan.deliver.iter().cloned();
        Journal {
            version: VERSION,
            rotation: plan.rotation.clone(),
            protocol: plan.site.protocol().to_owned(),
            host: plan.site.host().to_owned(),
            server: plan.server.clone(),
            account: plan.account.clone(),
            account_id: None,
            name: plan.new.name.clone(),
            scopes: plan.new.scopes.clone(),
            repositories: plan.new.repositories.clone(),
            expires_in_days: plan.new.expires_in_days,
            replace_in_days: None,
            old_id: plan.old_id.clone(),
            new_id: None,
            stored: plan.stored,
            by_itself: plan.by_itself,
            started: now,
            sent: now,
            attempts: 0,
            request_ids: vec![Uuid::new_v4()],
            clock_skew: 0,
            known: Vec::new(),
            step: Step::Creating,
            deliveries: receivers
                .map(|receiver| Delivery {
                    receiver,
                    done: false,
                })
                .collect(),
            grace: plan.grace.as_secs(),
            revoke_at: None,
            shortened: false,
        }
    }

    /// The site whose item holds the tokens; `None` for a journal that was tampered with.
    pub fn site(&self) -> Option<Site> {
        Site::new(self.protocol.as_bytes(), self.host.as_bytes())
    }

    pub(super) fn new_token(&self) -> NewToken {
        NewToken {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            repositories: self.repositories.clone(),
            expires_in_days: self.expires_in_days,
            request_id: self.request_ids.last().copied(),
            replaces: Some(self.old_id.clone()),
        }
    }

    /// Returns whether a run at `now`, by this machine's clock, has something to do: anything but waiting for
    /// the grace to end. An end further ahead than it can be is one by a clock that was set since;
    /// the run then asks the server.
    pub fn is_due(&self, now: UnixTime) -> bool {
        let now = now.plus(self.clock_skew);
        let longest = i64::try_from(self.grace).unwrap_or(i64::MAX);
        let longest = longest.max(GRACE_AGAIN).saturating_add(CLOCK_MARGIN);
        let is_over = |at: UnixTime| !(1..=longest).contains(&at.since(now));
        self.step != Step::Grace || self.revoke_at.is_none_or(is_over)
    }

    /// Returns whether the old token has outlived the grace, at `now` by this machine's clock.
    pub fn is_grace_over(&self, now: UnixTime) -> bool {
        self.step == Step::Grace && self.is_due(now)
    }

    /// Returns whether the old token's end was told to whoever waits for it: it comes, whatever becomes of
    /// the new one, which may well have been rotated since.
    pub(super) fn is_end_promised(&self) -> bool {
        self.grace > 0 && self.revoke_at.is_some()
    }

    /// Returns whether the new token is still to be printed, so that only a person can finish it.
    pub fn waits_for_print(&self) -> bool {
        let printed = |delivery: &Delivery| !delivery.done && delivery.receiver == Receiver::Print;
        self.deliveries.iter().any(printed)
    }

    /// Returns whether the old token replaces itself where it is stored.
    pub fn is_in_place(&self) -> bool {
        self.by_itself && self.stored
    }

    /// Returns whether the token of that id is the old one or the new one.
    pub fn is_of(&self, id: &str) -> bool {
        self.old_id == id || self.new_id.as_deref() == Some(id)
    }

    /// Returns whether `text`, the first characters of an id or a name, means this rotation.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let fits = |id: &str| text.len() >= 4 && id.starts_with(text);
        [self.name.as_str(), stem(&self.name)].contains(&text)
            || fits(&self.old_id)
            || self.new_id.as_deref().is_some_and(fits)
    }

    /// Sets who is to receive the token: those that have it already, and `receivers`.
    pub fn redirect(&mut self, receivers: &[Receiver]) {
        self.deliveries.retain(|delivery| delivery.done);
        for receiver in receivers {
            if !self
                .deliveries
                .iter()
                .any(|known| known.receiver == *receiver)
            {
                let receiver = receiver.clone();
                self.deliveries.push(Delivery {
                    receiver,
                    done: false,
                });
            }
        }
    }

    /// The journal in the present form.
    fn upgraded(mut self) -> Self {
        if self.version == 1 {
            let times = [&mut self.started, &mut self.sent].into_iter();
            for time in times.chain(&mut self.revoke_at) {
                *time = time.plus(self.clock_skew);
            }
        }
        self.version = VERSION;
        self
    }

    /// Writes the journal, all or nothing.
    pub fn save(&self, paths: &Paths) -> io::Result<()> {
        trace::note(format_args!("rotation {}: {:?}", self.rotation, self.step));
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_private(&file(paths, &self.rotation), &text)
    }

    /// Forgets the rotation. A journal that is not there is not an error.
    pub fn clear(&self, paths: &Paths) -> io::Result<()> {
        crate::config::remove_abandoned(&dir(paths));
        match std::fs::remove_file(file(paths, &self.rotation)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads the journal again, which another process may have moved on or cleared.
    pub(super) fn reload(&self, paths: &Paths) -> io::Result<Option<Self>> {
        Ok(read(&file(paths, &self.rotation))?)
    }
}

/// The rotations that are not finished, the oldest first. Journals that can't be used are left out,
/// so that one of them stops no other rotation: they are [`unusable`].
pub fn all(paths: &Paths) -> io::Result<Vec<Journal>> {
    let mut journals: Vec<Journal> = each(paths)?.into_iter().flatten().collect();
    journals.sort_by(|a: &Journal, b| (a.started, &a.rotation).cmp(&(b.started, &b.rotation)));
    Ok(journals)
}

/// The journals that are damaged, of a newer version, or can't be read.
pub fn unusable(paths: &Paths) -> io::Result<Vec<FileError>> {
    Ok(each(paths)?.into_iter().filter_map(Result::err).collect())
}

/// The journal of a newer version of this program that names the token as its old or new one: that
/// version's rotation of it is unfinished, and only that version can finish it.
pub(super) fn of_newer_version(paths: &Paths, id: &str) -> io::Result<Option<FileError>> {
    let names_it = |error: &FileError| {
        let read = files::read(&error.path).ok().flatten();
        let head = read.and_then(|bytes| serde_json::from_slice::<Tokens>(&bytes).ok());
        head.is_some_and(|head| [head.old_id, head.new_id].contains(&Some(id.to_owned())))
    };
    let mut newer = unusable(paths)?.into_iter();
    Ok(newer.find(|error| matches!(error.fault, Fault::Newer(_)) && names_it(error)))
}

/// As much of a newer version's journal as says which tokens it is about.
#[derive(Deserialize)]
struct Tokens {
    old_id: Option<String>,
    new_id: Option<String>,
}

/// Every journal there is, in no order.
fn each(paths: &Paths) -> io::Result<Vec<Result<Journal, FileError>>> {
    let entries = match std::fs::read_dir(dir(paths)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            // One that was cleared meanwhile is none.
            journals.extend(read(&path).transpose());
        }
    }
    Ok(journals)
}

/// The directory of the journals.
pub fn dir(paths: &Paths) -> PathBuf {
    paths.state_dir().join("rotations")
}

fn file(paths: &Paths, rotation: &str) -> PathBuf {
    dir(paths).join(format!("{rotation}.json"))
}

fn read(path: &Path) -> Result<Option<Journal>, FileError> {
    let Some(journal) = files::read_json::<Journal>(path, VERSION)? else {
        return Ok(None);
    };
    // The name of the file is what is written back: it must not lead anywhere else.
    if path
        .file_stem()
        .is_none_or(|stem| stem != journal.rotation.as_str())
    {
        let why = "the journal belongs to another rotation".to_owned();
        return Err(files::fault(path, Fault::Damaged(why)));
    }
    Ok(Some(journal.upgraded()))
}
