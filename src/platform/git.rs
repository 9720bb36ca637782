//! Git over HTTP: git's own `git http-backend`, run as CGI (git-http-backend(1), RFC 3875).

mod contents;
pub(super) mod fsck;
mod head;
pub(super) mod leftovers;
mod maintenance;
mod process;
mod request;
mod slots;

use std::io;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use rustix::fs;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::layout;
use super::quota::Room;
use super::refusal::Refusal;
use super::{Platform, Shared};
use crate::database::repositories::{Repository, is_name};
pub use contents::{Contents, Refs};
use maintenance::Maintenance;
use request::Coding;
use slots::GitSlots;
pub use slots::Requester;

/// Bytes that an empty repository may take, on a file system of large blocks.
const MIN_ROOM: u64 = 256 << 10;
/// Time limit for a command of git that is no client's request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit for a request to git in all, both ways.
const GIT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Most memory of its own that a git may have, in KiB: the commands of a push, and what a fetch
/// wants, have no other bound.
const MAX_MEMORY: u32 = 1024 * 1024;
/// Most that a command of git's may print, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;
/// Most CPU time that each process of a git may use, in seconds.
const MAX_CPU: u32 = 600;

/// Configuration that git is given beside a repository's own.
const CONFIG: [(&str, &str); 19] = [
    // Hooks are never run, whatever lies in a repository.
    ("core.hooksPath", "/dev/null"),
    ("http.receivepack", "true"),
    // Ours has bounds.
    ("receive.autogc", "false"),
    ("receive.fsckObjects", "true"),
    // Faults of old programs that many histories have, and that harm nobody.
    ("receive.fsck.badTimezone", "ignore"),
    ("receive.fsck.missingSpaceBeforeDate", "ignore"),
    ("receive.fsck.missingSpaceBeforeEmail", "ignore"),
    ("receive.fsck.zeroPaddedFilemode", "ignore"),
    ("receive.maxInputSize", "4g"),
    // Without it `git push -o` fails whole. No hook runs that would read the options.
    ("receive.advertisePushOptions", "true"),
    // A push that is acknowledged lies on the disk.
    ("core.fsync", "added,reference"),
    ("uploadpack.allowFilter", "true"),
    // A partial clone asks for objects by their ids. Protocol v2 always allows that; so v0 and v1
    // show nothing more.
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("core.fsmonitor", "false"),
    // Pushes that touch one ref at once wait for each other.
    ("core.filesRefLockTimeout", "5000"),
    ("core.packedRefsTimeout", "5000"),
    // What keeps a git well below its bound of memory.
    ("core.bigFileThreshold", "64m"),
    ("pack.windowMemory", "128m"),
    ("pack.threads", "2"),
];

/// The hash that names a repository's objects. Histories of one kind can't be pushed to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectFormat {
    #[default]
    Sha1,
    Sha256,
}

impl ObjectFormat {
    fn as_str(self) -> &'static str {
        match self {
            ObjectFormat::Sha1 => "sha1",
            ObjectFormat::Sha256 => "sha256",
        }
    }
}

/// The git of this machine, and where its repositories lie.
#[derive(Debug)]
pub struct Git {
    http_backend: PathBuf,
    /// Holds `<id>.git` for each repository.
    repositories: PathBuf,
    slots: GitSlots,
    push_locks: head::PushLocks,
    maintenance: Maintenance,
    maintaining: TaskTracker,
    _in_use: leftovers::InUse,
}

impl Git {
    /// Finds `git http-backend`, and makes the directory for repositories.
    pub async fn find(repositories: &FilePath) -> anyhow::Result<Self> {
        let asked = Command::new("git").arg("--exec-path").output().await;
        let Ok(asked) = asked else {
            bail!("there is no git on this machine; install it (Debian: apt-get install git)");
        };
        let told = String::from_utf8(asked.stdout).unwrap_or_default();
        let places = [told.trim(), "/usr/lib/git-core", "/usr/libexec/git-core"];
        let http_backend = (places.iter())
            .map(|place| FilePath::new(place).join("git-http-backend"))
            .find(|path| path.is_absolute() && path.is_file());
        let Some(http_backend) = http_backend else {
            bail!(
                "this git has no git-http-backend (looked in {}); install the complete git \
                 (Debian: git, Fedora: git-core, Alpine: git-daemon)",
                places.join(", ")
            );
        };
        crate::config::private_dir(repositories)
            .with_context(|| format!("can't make {}", repositories.display()))?;
        fs::access(repositories, fs::Access::WRITE_OK | fs::Access::EXEC_OK)
            .with_context(|| format!("can't write into {}", repositories.display()))?;
        let in_use = leftovers::start(repositories)
            .with_context(|| format!("can't read {}", repositories.display()))?;
        Ok(Git {
            http_backend,
            repositories: repositories.to_owned(),
            slots: GitSlots::default(),
            push_locks: head::PushLocks::default(),
            maintenance: Maintenance::default(),
            maintaining: TaskTracker::new(),
            _in_use: in_use,
        })
    }

    /// Looks after repositories that were pushed to, until [`Git::stop_maintenance`].
    pub fn start_maintenance(&self) {
        let repositories = self.repositories.clone();
        let git = move |id: Uuid, settings: &[&str]| {
            let directory = layout::repository(&repositories, id);
            let mut git = bounded(FilePath::new("sh"), &repositories);
            git.args(maintenance::words(&directory, settings));
            git
        };
        let running = self.maintenance.clone().run(self.slots.clone(), git);
        self.maintaining.spawn(running);
    }

    /// Tells what looks after repositories to end, with the git that is at it.
    pub fn cancel_maintenance(&self) {
        self.maintenance.stop();
    }

    /// The same, and waits for the end. That takes its bounds of time and no longer.
    pub async fn stop_maintenance(&self) {
        self.cancel_maintenance();
        self.maintaining.close();
        self.maintaining.wait().await;
    }

    /// Creates an empty repository.
    pub async fn create(
        &self,
        id: Uuid,
        format: ObjectFormat,
        requester: Requester,
    ) -> Result<(), Refusal> {
        let _slot = self.slots.take(requester).await?;
        let mut command = self.command(FilePath::new("git"));
        command
            .args([
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "--initial-branch=main",
            ])
            .arg(format!("--object-format={}", format.as_str()))
            .arg(self.directory(id))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match tokio::time::timeout(COMMAND_TIMEOUT, command.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            other => {
                // Before what was made is removed.
                let is_full = self.is_disk_full();
                tracing::error!(?other, is_full, "git init failed");
                self.remove(id).await;
                Err(match is_full {
                    true => Refusal::disk_full(),
                    false => Refusal::failed(),
                })
            }
        }
    }

    /// Returns whether there is no room for an empty repository. `git init` does not say why it failed.
    fn is_disk_full(&self) -> bool {
        fs::statvfs(&self.repositories).is_ok_and(|disk| {
            // Some file systems don't count files.
            let has_no_files = disk.f_files > 0 && disk.f_favail == 0;
            has_no_files || disk.f_bavail.saturating_mul(disk.f_frsize) < MIN_ROOM
        })
    }

    /// Removes a repository from disk, as far as that goes.
    pub async fn remove(&self, id: Uuid) {
        let removed = tokio::fs::remove_dir_all(self.directory(id)).await;
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, repository = %id, "a repository is still on the disk");
        }
    }

    /// Runs a command of git's in a repository: what it prints, or `None` where it exits with 1.
    /// Fails where that is more than 1 MiB.
    async fn ask(&self, id: Uuid, arguments: &[&str]) -> io::Result<Option<String>> {
        let mut command = self.bounded(FilePath::new("git"));
        command
            .arg("--git-dir")
            .arg(self.directory(id))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| io::Error::other("git has no stdout"))?;
        let run = async {
            let mut output = Vec::new();
            let mut bounded = stdout.take(MAX_OUTPUT + 1);
            bounded.read_to_end(&mut output).await?;
            if output.len() as u64 > MAX_OUTPUT {
                return Err(io::Error::other("git prints too much"));
            }
            Ok((output, child.wait().await?))
        };
        let (output, status) = tokio::time::timeout(COMMAND_TIMEOUT, run).await??;
        match status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output).into_owned())),
            Some(1) => Ok(None),
            _ => Err(io::Error::other(format!("git: {status}"))),
        }
    }

    fn bounded(&self, program: &FilePath) -> Command {
        bounded(program, &self.repositories)
    }

    fn http_backend(&self) -> Command {
        let mut command = self.bounded(&self.http_backend);
        command
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1");
        command
    }

    /// Bounds what a push may bring, in bytes, more closely than [`CONFIG`] does.
    fn limit_push(command: &mut Command, bytes: u64) {
        let index = CONFIG.len();
        command
            .env("GIT_CONFIG_COUNT", (index + 1).to_string())
            .env(format!("GIT_CONFIG_KEY_{index}"), "receive.maxInputSize")
            // 0 would be no bound.
            .env(
                format!("GIT_CONFIG_VALUE_{index}"),
                bytes.max(1).to_string(),
            );
    }

    pub(super) fn directory(&self, id: Uuid) -> PathBuf {
        layout::repository(&self.repositories, id)
    }

    fn command(&self, program: &FilePath) -> Command {
        command(program, &self.repositories)
    }
}

/// A program of git's that sees nothing of this process's environment but where programs are.
fn command(program: &FilePath, home: &FilePath) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", home)
        .env("LC_ALL", "C")
        // Another default would make repositories that this git or its clients can't read.
        .env("GIT_DEFAULT_HASH", "sha1")
        .env("GIT_DEFAULT_REF_FORMAT", "files")
        .env("GIT_CONFIG_COUNT", CONFIG.len().to_string())
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    for (index, (key, value)) in CONFIG.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    command
}

/// The same within bounds of memory and CPU time.
fn bounded(program: &FilePath, home: &FilePath) -> Command {
    let mut command = command(FilePath::new("sh"), home);
    let script = r#"ulimit -d "$1" && ulimit -t "$2" && shift 2 && exec "$0" "$@""#;
    command
        .args(["-c", script])
        .arg(program)
        .args([MAX_MEMORY.to_string(), MAX_CPU.to_string()]);
    command
}

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/{owner}/{repository}/info/refs", get(advertise))
        .route("/{owner}/{repository}/git-upload-pack", post(fetch))
        .route("/{owner}/{repository}/git-receive-pack", post(push))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Fetch,
    Push,
}

impl Service {
    fn scope(self) -> &'static str {
        match self {
            Service::Fetch => "repo:read",
            Service::Push => "repo:write",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::Fetch => "git-upload-pack",
            Service::Push => "git-receive-pack",
        }
    }
}

type Place = Path<(String, String)>;
type From = ConnectInfo<SocketAddr>;

async fn advertise(
    State(platform): State<Shared>,
    from: From,
    place: Place,
    request: Request,
) -> Response {
    let service = match request.uri().query() {
        Some("service=git-upload-pack") => Service::Fetch,
        Some("service=git-receive-pack") => Service::Push,
        _ => {
            return Refusal::new(
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "only git's smart HTTP protocol is supported",
            )
            .into_text();
        }
    };
    answer(platform, from, place, request, service).await
}

async fn fetch(state: State<Shared>, from: From, place: Place, request: Request) -> Response {
    answer(state.0, from, place, request, Service::Fetch).await
}

async fn push(state: State<Shared>, from: From, place: Place, request: Request) -> Response {
    answer(state.0, from, place, request, Service::Push).await
}

async fn answer(
    platform: Shared,
    ConnectInfo(from): From,
    Path((owner, name)): Place,
    request: Request,
    service: Service,
) -> Response {
    let headers = request.headers();
    let allowed = allowed(&platform, headers, from, &owner, &name, service).await;
    let (repository, account) = match allowed {
        Ok(allowed) => allowed,
        Err(refusal) => return refusal.into_text(),
    };
    let (repository, owner_id) = (repository.id, repository.owner_id);
    let Some(coding) = Coding::of(headers) else {
        return request::unknown_coding();
    };
    let mut credentials = HeaderMap::new();
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        credentials.insert(header::AUTHORIZATION, value.clone());
    }
    let is_announced = request.method() != Method::POST;
    let room = match service {
        // It takes its owner's room, whoever pushes.
        Service::Push => {
            let room = room_for_push(
                &platform,
                &owner_id,
                repository,
                is_announced,
                headers,
                coding,
            );
            match room.await {
                Ok(room) => room,
                Err(refusal) => return refusal.into_text(),
            }
        }
        Service::Fetch => None,
    };
    let requester = Requester::new(from.ip(), account.as_deref());
    let slot = match platform.git.slots.take(requester).await {
        Ok(slot) => slot,
        Err(refusal) => return refusal.into_text(),
    };
    let access = Access {
        platform,
        credentials,
        from,
        owner,
        name,
        service,
        repository,
        room,
    };
    let answered = process::run(access, account.as_deref(), coding, request, slot).await;
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "git http-backend failed");
        Refusal::failed().into_text()
    })
}

/// Room for what is pushed. A push that is only announced needs some, and gets none yet.
async fn room_for_push(
    platform: &Platform,
    owner_id: &str,
    repository: Uuid,
    is_announced: bool,
    headers: &HeaderMap,
    coding: Coding,
) -> Result<Option<Room>, Refusal> {
    if is_announced {
        platform.check_room_for_push(owner_id).await?;
        return Ok(None);
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let needed = length.filter(|_| coding == Coding::Identity);
    let room = platform.room_for_push(owner_id, repository, needed).await?;
    Ok(Some(room))
}

/// A request that was allowed, and what is needed to ask again while it is under way.
struct Access {
    platform: Shared,
    /// Its `Authorization` alone.
    credentials: HeaderMap,
    from: SocketAddr,
    owner: String,
    name: String,
    service: Service,
    repository: Uuid,
    /// Room for a push.
    room: Option<Room>,
}

impl Access {
    /// Refuses what would not be allowed any more: the token was revoked or has expired, the account
    /// is suspended, the repository is gone or hidden.
    async fn check_again(&self) -> Result<(), Refusal> {
        let (repository, _) = allowed(
            &self.platform,
            &self.credentials,
            self.from,
            &self.owner,
            &self.name,
            self.service,
        )
        .await?;
        match repository.id == self.repository {
            true => Ok(()),
            // Another one that has its name now.
            false => Err(Refusal::not_found()),
        }
    }
}

/// The repository, and the account's id where there is one, if the request may do what it asks
/// for. The order of the questions is what keeps a stranger from learning which repositories there
/// are.
async fn allowed(
    platform: &Platform,
    headers: &HeaderMap,
    from: SocketAddr,
    owner: &str,
    name: &str,
    service: Service,
) -> Result<(Repository, Option<String>), Refusal> {
    let name = name.strip_suffix(".git").unwrap_or(name);
    let unknown = || {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "a valid token is needed here, as the password",
        )
    };
    if !headers.contains_key(header::AUTHORIZATION) && service == Service::Fetch {
        let repository = platform.database.repository(owner, name).await?;
        return match repository {
            Some(repository) if !repository.private => Ok((repository, None)),
            _ => Err(unknown()),
        };
    }
    let grant = platform.token_for_git(headers, from.ip()).await?;
    let grant = grant.ok_or_else(unknown)?;
    if !grant.allows(service.scope()) {
        return Err(Refusal::needs_scope(service.scope()));
    }
    let user = &grant.user;
    let found = platform.database.repository(owner, name).await?;
    let Some(repository) = found else {
        return Err(match user.is_called(owner) && is_name(name) {
            true => Refusal::new(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                format!("you have no repository {name}; create it with: wit repo create {name}"),
            ),
            false => Refusal::not_found(),
        });
    };
    let (may_read, may_push) = platform.rights(&repository, Some(&user.id)).await?;
    if !may_read {
        return Err(Refusal::not_found());
    }
    if service == Service::Push && !may_push {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "only its owner, and accounts with the role write, may push to this repository",
        ));
    }
    Ok((repository, Some(grant.user.id.clone())))
}
