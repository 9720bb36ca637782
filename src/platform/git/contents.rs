//! Contents of a repository, as far as its page shows them.

use std::io;

use uuid::Uuid;

use super::{Git, Requester};
use crate::platform::refusal::Refusal;

/// Branches, and tags, that are listed.
const MAX_REFS: usize = 50;
/// Commits that are listed.
const MAX_COMMITS: usize = 10;
/// Largest README that is shown, in bytes.
const MAX_README: u64 = 256 * 1024;

/// The names under which a README is looked for, best first, in lower case.
const READMES: [&str; 4] = ["readme.md", "readme.markdown", "readme", "readme.txt"];

/// The parts of a repository that its page shows. Everything in it is a stranger's text.
#[derive(Debug, Default)]
pub struct Contents {
    pub branches: Refs,
    pub tags: Refs,
    /// Newest first.
    pub commits: Vec<Commit>,
    pub readme: Option<Readme>,
}

/// Names of refs, by name.
#[derive(Debug, Default)]
pub struct Refs {
    pub names: Vec<String>,
    /// There are more of them.
    pub has_more: bool,
}

#[derive(Debug)]
pub struct Commit {
    pub id: String,
    pub author: String,
    /// Seconds since 1970.
    pub at: i64,
    pub subject: String,
}

#[derive(Debug)]
pub struct Readme {
    pub name: String,
    pub text: String,
}

impl Git {
    /// Contents of a repository. What can't be read, or is too much, is left out.
    pub async fn contents(&self, id: Uuid, requester: Requester) -> Result<Contents, Refusal> {
        let _slot = self.slots.take(requester).await?;
        let branches = left_out(id, self.refs(id, "refs/heads/").await);
        if branches.names.is_empty() {
            return Ok(Contents::default());
        }
        Ok(Contents {
            tags: left_out(id, self.refs(id, "refs/tags/").await),
            commits: left_out(id, self.commits(id).await),
            readme: left_out(id, self.readme(id).await),
            branches,
        })
    }

    async fn refs(&self, id: Uuid, below: &str) -> io::Result<Refs> {
        let count = format!("--count={}", MAX_REFS + 1);
        let list = ["for-each-ref", "--format=%(refname)", &count, below];
        let listed = self.ask(id, &list).await?.unwrap_or_default();
        let names = listed.lines().filter_map(|name| name.strip_prefix(below));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        let has_more = names.len() > MAX_REFS;
        names.truncate(MAX_REFS);
        Ok(Refs { names, has_more })
    }

    async fn commits(&self, id: Uuid) -> io::Result<Vec<Commit>> {
        let count = format!("--max-count={MAX_COMMITS}");
        let format = "--format=%H%x00%at%x00%<(80,trunc)%an%x00%<(160,trunc)%s";
        let log = ["log", "--no-show-signature", &count, format, "HEAD", "--"];
        let listed = self.ask(id, &log).await?.unwrap_or_default();
        let commit = |line: &str| {
            let mut parts = line.splitn(4, '\0');
            Some(Commit {
                id: parts.next()?.to_owned(),
                at: parts.next()?.parse().ok()?,
                author: parts.next()?.trim_end().to_owned(),
                subject: parts.next()?.trim_end().to_owned(),
            })
        };
        Ok(listed.lines().filter_map(commit).collect())
    }

    async fn readme(&self, id: Uuid) -> io::Result<Option<Readme>> {
        let list = ["ls-tree", "-z", "--name-only", "HEAD"];
        let listed = self.ask(id, &list).await?.unwrap_or_default();
        let rank = |name: &&str| {
            let name = name.to_lowercase();
            READMES.iter().position(|known| *known == name)
        };
        let names = listed.split('\0').filter(|name| rank(name).is_some());
        let Some(name) = names.min_by_key(rank) else {
            return Ok(None);
        };
        let object = format!("HEAD:{name}");
        let size = self.ask(id, &["cat-file", "-s", &object]).await?;
        let size = size.and_then(|size| size.trim().parse::<u64>().ok());
        if size.is_none_or(|size| size > MAX_README) {
            return Ok(None);
        }
        let text = self.ask(id, &["cat-file", "blob", &object]).await?;
        Ok(text.map(|text| Readme {
            name: name.to_owned(),
            text,
        }))
    }
}

fn left_out<T: Default>(id: Uuid, read: io::Result<T>) -> T {
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, repository = %id, "a part of a repository can't be shown");
        T::default()
    })
}
