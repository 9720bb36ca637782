//! Bounds on what one account may keep: repositories, and the disk that they take.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use uuid::Uuid;

use super::Platform;
use super::lock::lock;
use super::refusal::Refusal;
use crate::quote::size;

/// Time for which a repository's size is taken as known: another server may push to it, and git may pack
/// it anew.
const SIZE_LIFETIME: Duration = Duration::from_secs(600);
/// Most that one push may bring, in bytes.
const MAX_PUSH: u64 = 4 << 30;

/// Bounds for each account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub repositories: u64,
    /// Bytes on the disk, of all its repositories together.
    pub disk: u64,
}

/// The bounds, with what is known of their use.
#[derive(Debug)]
pub struct Quotas {
    quota: Quota,
    sizes: Arc<Mutex<Sizes>>,
    accounts: Arc<Mutex<Accounts>>,
    /// Bytes that pushes under way may still bring, by account.
    promised: Arc<Mutex<HashMap<String, u64>>>,
}

/// Bytes that each repository takes on the disk, and since when they are known.
type Sizes = HashMap<Uuid, (u64, Instant)>;

/// Use of the disk by account. A push measures the repository that it went to, not all of them: an account
/// may have thousands.
type Accounts = HashMap<String, Account>;

#[derive(Debug, Default)]
struct Account {
    /// Bytes of each repository, and since when they are known.
    counted: Option<(HashMap<Uuid, u64>, Instant)>,
    /// Pushes that have ended, by repository, as far as they are not measured.
    pushed: HashMap<Uuid, u64>,
}

impl Account {
    fn is_known(&self) -> bool {
        matches!(&self.counted, Some((_, since)) if since.elapsed() < SIZE_LIFETIME)
    }

    /// Forgets the pushes that were there before something was measured: one that has ended meanwhile is
    /// measured next time.
    fn measured(&mut self, before: &HashMap<Uuid, u64>) {
        self.pushed
            .retain(|id, pushes| before.get(id) != Some(pushes));
    }
}

/// Room on the disk for one push, held until dropped.
#[derive(Debug)]
pub struct Room {
    bytes: u64,
    user_id: String,
    promised: Arc<Mutex<HashMap<String, u64>>>,
    /// The repository that is pushed to.
    target: Option<Target>,
}

/// A repository that has to be measured anew once a push ends, in what is known of its use.
#[derive(Debug)]
struct Target {
    repository: Uuid,
    sizes: Arc<Mutex<Sizes>>,
    accounts: Arc<Mutex<Accounts>>,
}

impl Room {
    /// Most that the push may bring, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            lock(&target.sizes).remove(&target.repository);
            let mut accounts = lock(&target.accounts);
            let account = accounts.entry(self.user_id.clone()).or_default();
            *account.pushed.entry(target.repository).or_default() += 1;
        }
        let mut promised = lock(&self.promised);
        if let Some(bytes) = promised.get_mut(&self.user_id) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                promised.remove(&self.user_id);
            }
        }
    }
}

impl Quotas {
    pub fn new(quota: Quota) -> Self {
        Quotas {
            quota,
            sizes: Arc::default(),
            accounts: Arc::default(),
            promised: Arc::default(),
        }
    }

    fn known(&self, repository: Uuid) -> Option<u64> {
        let sizes = lock(&self.sizes);
        let (size, since) = sizes.get(&repository)?;
        (since.elapsed() < SIZE_LIFETIME).then_some(*size)
    }

    /// Promises a push what is left, or only as much as it says that it needs.
    fn promise(&self, user_id: &str, used: u64, needed: Option<u64>) -> Result<Room, Refusal> {
        let left = self.quota.disk.saturating_sub(used);
        if left == 0 || needed.is_some_and(|needed| needed > left) {
            return Err(self.disk_is_full());
        }
        let mut promised = lock(&self.promised);
        let others = promised.get(user_id).copied().unwrap_or_default();
        let free = left.saturating_sub(others);
        let bytes = needed.unwrap_or(free.min(MAX_PUSH));
        if free == 0 || bytes > free {
            // What other pushes of the account don't use is free again when they end.
            return Err(Refusal::busy());
        }
        *promised.entry(user_id.to_owned()).or_default() += bytes;
        Ok(Room {
            bytes,
            user_id: user_id.to_owned(),
            promised: self.promised.clone(),
            target: None,
        })
    }

    fn disk_is_full(&self) -> Refusal {
        let disk = size(self.quota.disk);
        exceeded(format!(
            "the account's repositories would take more than the {disk} that this server allows; \
             delete one, or ask the server's operator (`wit up --max-disk`)"
        ))
    }

    /// Why a push that has this room was too large, for a person.
    pub fn push_too_large(&self, room: &Room) -> String {
        if room.bytes >= MAX_PUSH {
            let most = size(MAX_PUSH);
            return format!("a push may bring {most} at most; push the history in parts");
        }
        let left = size(room.bytes);
        format!("{left} were left: {}", self.disk_is_full().message)
    }

    fn too_many_repositories(&self) -> Refusal {
        let most = self.quota.repositories;
        exceeded(format!(
            "the account has the {most} repositories that this server allows; delete one, or ask the \
             server's operator (`wit up --max-repositories`)"
        ))
    }
}

fn exceeded(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "QUOTA_EXCEEDED", message)
}

impl Platform {
    /// Refuses a new repository where the account has no room for one.
    pub async fn check_room_for_repository(&self, user_id: &str) -> Result<(), Refusal> {
        let count = self.database.repositories(user_id).await?.len() as u64;
        if count >= self.quotas.quota.repositories {
            return Err(self.quotas.too_many_repositories());
        }
        match self.disk_use(user_id).await? < self.quotas.quota.disk {
            true => Ok(()),
            false => Err(self.quotas.disk_is_full()),
        }
    }

    /// Looks again once a repository is there: of two requests at once, neither saw the other's.
    pub async fn check_repository_count(&self, user_id: &str) -> Result<(), Refusal> {
        let count = self.database.repositories(user_id).await?.len() as u64;
        match count <= self.quotas.quota.repositories {
            true => Ok(()),
            false => Err(self.quotas.too_many_repositories()),
        }
    }

    /// Refuses to let a push begin that would find no room.
    pub async fn check_room_for_push(&self, user_id: &str) -> Result<(), Refusal> {
        let used = self.disk_use(user_id).await?;
        self.quotas.promise(user_id, used, Some(1)).map(drop)
    }

    /// Room for a push to a repository, which needs so many bytes if it says so.
    pub async fn room_for_push(
        &self,
        user_id: &str,
        repository: Uuid,
        needed: Option<u64>,
    ) -> Result<Room, Refusal> {
        let used = self.disk_use(user_id).await?;
        let mut room = match self.quotas.promise(user_id, used, needed) {
            Err(refusal) if refusal.status == StatusCode::FORBIDDEN => {
                self.count_disk_anew(user_id);
                let used = self.disk_use(user_id).await?;
                self.quotas.promise(user_id, used, needed)?
            }
            other => other?,
        };
        room.target = Some(Target {
            repository,
            sizes: self.quotas.sizes.clone(),
            accounts: self.quotas.accounts.clone(),
        });
        Ok(room)
    }

    /// Bytes that the account's repositories take on the disk. That it is full is never said of what was
    /// counted before: another server may have deleted a repository.
    async fn disk_use(&self, user_id: &str) -> Result<u64, Refusal> {
        let (is_known, pushed) = {
            let mut accounts = lock(&self.quotas.accounts);
            let account = accounts.entry(user_id.to_owned()).or_default();
            (account.is_known(), account.pushed.clone())
        };
        if is_known {
            let used = self.disk_uses(pushed.keys().copied()).await?;
            let mut accounts = lock(&self.quotas.accounts);
            let account = accounts.entry(user_id.to_owned()).or_default();
            if let Some((sizes, _)) = &mut account.counted {
                sizes.extend(used);
                let total = sizes.values().sum();
                account.measured(&pushed);
                if total < self.quotas.quota.disk {
                    return Ok(total);
                }
            }
        }
        let since = Instant::now();
        let repositories = self.database.repositories(user_id).await?;
        let ids = repositories.iter().map(|repository| repository.id);
        let sizes = self.disk_uses(ids).await?;
        let total = sizes.values().sum();
        let mut accounts = lock(&self.quotas.accounts);
        let account = accounts.entry(user_id.to_owned()).or_default();
        account.counted = Some((sizes, since));
        account.measured(&pushed);
        Ok(total)
    }

    /// Has the account's repositories counted anew: one was created or deleted.
    pub fn count_disk_anew(&self, user_id: &str) {
        if let Some(account) = lock(&self.quotas.accounts).get_mut(user_id) {
            account.counted = None;
        }
    }

    /// Bytes that each of some repositories takes on the disk.
    pub async fn disk_uses(
        &self,
        repositories: impl Iterator<Item = Uuid>,
    ) -> Result<HashMap<Uuid, u64>, Refusal> {
        let mut used = HashMap::new();
        let mut unknown = Vec::new();
        for id in repositories {
            match self.quotas.known(id) {
                Some(size) => {
                    used.insert(id, size);
                }
                None => unknown.push((id, self.git.directory(id))),
            }
        }
        if unknown.is_empty() {
            return Ok(used);
        }
        let now = Instant::now();
        let measured = tokio::task::spawn_blocking(move || {
            let sizes = unknown
                .into_iter()
                .map(|(id, path)| (id, (disk_use(path), now)));
            sizes.collect::<Vec<_>>()
        });
        let measured = measured.await.map_err(|_| Refusal::failed())?;
        used.extend(measured.iter().map(|(id, (size, _))| (*id, *size)));
        let mut sizes = lock(&self.quotas.sizes);
        sizes.retain(|_, (_, since)| since.elapsed() < SIZE_LIFETIME);
        sizes.extend(measured);
        Ok(used)
    }
}

/// Bytes that a directory takes on the disk. What can't be read counts as nothing.
fn disk_use(directory: PathBuf) -> u64 {
    let mut total = 0;
    let mut open = vec![directory];
    while let Some(directory) = open.pop() {
        for entry in entries(&directory) {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            total += metadata.blocks() * 512;
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    total
}

fn entries(directory: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn quotas(disk: u64) -> Quotas {
        Quotas::new(Quota {
            repositories: 1,
            disk,
        })
    }

    #[test]
    fn pushes_under_way_are_never_promised_more_than_there_is() {
        let quotas = quotas(100 * MIB);
        let small = quotas.promise("ada", 60 * MIB, Some(MIB)).expect("room");
        let all = quotas.promise("ada", 60 * MIB, None).expect("the rest");
        assert_eq!((small.bytes(), all.bytes()), (MIB, 39 * MIB));
        let refused = quotas.promise("ada", 60 * MIB, Some(1)).expect_err("none");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(quotas.promise("bob", 0, None).is_ok());
        drop(all);
        assert!(quotas.promise("ada", 60 * MIB, Some(39 * MIB)).is_ok());
        drop(small);
        assert!(quotas.promised.lock().expect("no panic").is_empty());
    }

    #[test]
    fn a_push_that_ends_while_an_account_is_counted_is_measured_next_time() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut account = Account::default();
        account.pushed.extend([(first, 1), (second, 1)]);
        let before = account.pushed.clone();
        account.pushed.insert(second, 2);
        account.measured(&before);
        assert_eq!(account.pushed, HashMap::from([(second, 2)]));
    }

    #[test]
    fn one_push_brings_so_much_and_no_more() {
        let quotas = quotas(10 * MAX_PUSH);
        let room = quotas.promise("ada", 0, None).expect("room");
        assert_eq!(room.bytes(), MAX_PUSH);
        let said = quotas.push_too_large(&room);
        assert_eq!(
            said,
            "a push may bring 4.0 GiB at most; push the history in parts"
        );
    }

    #[test]
    fn a_full_account_is_told_so() {
        let quotas = quotas(100 * MIB);
        for (used, needed) in [
            (100 * MIB, None),
            (200 * MIB, Some(1)),
            (99 * MIB, Some(2 * MIB)),
        ] {
            let refused = quotas.promise("ada", used, needed).expect_err("no room");
            assert_eq!(refused.status, StatusCode::FORBIDDEN);
            assert!(refused.message.contains("100.0 MiB"), "{}", refused.message);
        }
    }
}
