//! Git over HTTP: git's own `git http-backend`, run as CGI (git-http-backend(1), RFC 3875).

use std::io;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::Shared;
use super::limits::network;
use super::refusal::Refusal;
use super::turns::{Turn, Turns, Whom};

/// Most that git may answer before its body, in bytes.
const HEAD_LIMIT: u64 = 16 * 1024;
/// Most of git's output that is held at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// How long git may take to begin its answer.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long the making of an empty repository may take.
const CREATE_PATIENCE: Duration = Duration::from_secs(20);

/// Most memory of its own that a git may have, in KiB: the commands of a push, and what a fetch
/// wants, have no other bound, and a client can send a thousand times as much as it pays for (gzip).
const MEMORY: u32 = 1024 * 1024;

/// What git is told beside a repository's own config.
const CONFIG: [(&str, &str); 10] = [
    // Hooks are never run, whatever lies in a repository.
    ("core.hooksPath", "/dev/null"),
    ("http.receivepack", "true"),
    ("receive.fsckObjects", "true"),
    ("receive.maxInputSize", "4g"),
    // A push that is acknowledged lies on the disk.
    ("core.fsync", "added,reference"),
    ("uploadpack.allowFilter", "true"),
    ("core.fsmonitor", "false"),
    // What keeps a git well below its bound of memory.
    ("core.bigFileThreshold", "64m"),
    ("pack.windowMemory", "128m"),
    ("pack.threads", "2"),
];

/// The git of this machine, and where its repositories lie.
#[derive(Debug)]
pub struct Git {
    http_backend: PathBuf,
    /// Holds `<id>.git` for each repository.
    repositories: PathBuf,
    pub turns: Turns,
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
        Ok(Git {
            http_backend,
            repositories: repositories.to_owned(),
            turns: Turns::default(),
        })
    }

    /// Makes an empty repository.
    pub async fn create(&self, id: Uuid) -> Result<(), Refusal> {
        let mut command = self.command(FilePath::new("git"));
        command
            .args([
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "--initial-branch=main",
            ])
            .arg(self.directory(id))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match tokio::time::timeout(CREATE_PATIENCE, command.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            other => {
                tracing::error!(?other, "git init failed");
                self.remove(id).await;
                Err(Refusal::failed())
            }
        }
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

    fn directory(&self, id: Uuid) -> PathBuf {
        self.repositories.join(format!("{id}.git"))
    }

    /// A program of git's that sees nothing of this process's environment but where programs are.
    fn command(&self, program: &FilePath) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("HOME", &self.repositories)
            .env("LC_ALL", "C")
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
                "only git's smart protocol is spoken here",
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
    let allowed = allowed(&platform, request.headers(), from, &owner, &name, service).await;
    let (id, user) = match allowed {
        Ok(allowed) => allowed,
        Err(refusal) => return refusal.into_text(),
    };
    let whom = match &user {
        Some(user) => Whom::Account(user.clone()),
        None => Whom::Network(network(from.ip())),
    };
    let turn = match platform.git.turns.take(whom).await {
        Ok(turn) => turn,
        Err(refusal) => return refusal.into_text(),
    };
    (run(&platform.git, id, user, from, request, service, turn).await).unwrap_or_else(|error| {
        tracing::error!(%error, "git http-backend failed");
        Refusal::failed().into_text()
    })
}

/// The repository's id, and the account's where there is one, if the request may do what it asks
/// for. The order of the questions is what keeps a stranger from learning which repositories there
/// are.
async fn allowed(
    platform: &super::Platform,
    headers: &HeaderMap,
    from: SocketAddr,
    owner: &str,
    name: &str,
    service: Service,
) -> Result<(Uuid, Option<String>), Refusal> {
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
            Some(repository) if !repository.private => Ok((repository.id, None)),
            _ => Err(unknown()),
        };
    }
    let grant = platform.token(headers, from.ip()).await?;
    let grant = grant.ok_or_else(unknown)?;
    if !grant.allows(service.scope()) {
        return Err(Refusal::needs_scope(service.scope()));
    }
    let repository = platform.database.repository(owner, name).await?;
    let repository = repository
        .filter(|found| !found.private || found.owner_id == grant.user.id)
        .ok_or_else(Refusal::not_found)?;
    if service == Service::Push && repository.owner_id != grant.user.id {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "only its owner may push to this repository",
        ));
    }
    Ok((repository.id, Some(grant.user.id.clone())))
}

/// Hands the request to git and its answer to the client, neither ever whole in memory.
async fn run(
    git: &Git,
    id: Uuid,
    user: Option<String>,
    from: SocketAddr,
    request: Request,
    service: Service,
    turn: Turn,
) -> io::Result<Response> {
    let (parts, body) = request.into_parts();
    let mut command = git.command(FilePath::new("sh"));
    command
        .args(["-c", r#"ulimit -d "$1" && exec "$0""#])
        .arg(&git.http_backend)
        .arg(MEMORY.to_string());
    let advertising = parts.method != Method::POST;
    let path = match advertising {
        true => "info/refs",
        false => service.name(),
    };
    command
        .env("GIT_PROJECT_ROOT", &git.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{id}.git/{path}"))
        .env("REQUEST_METHOD", if advertising { "GET" } else { "POST" })
        .env("REMOTE_ADDR", from.ip().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(user) = user {
        // Without it git http-backend takes no push.
        command.env("REMOTE_USER", user);
    }
    if advertising {
        command.env("QUERY_STRING", format!("service={}", service.name()));
    }
    // Not its length: git http-backend would end git by a signal where a body is shorter.
    for (name, variable) in [
        (header::CONTENT_TYPE, "CONTENT_TYPE"),
        (header::CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ] {
        if let Some(value) = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
        {
            command.env(variable, value);
        }
    }
    let mut child = command.spawn()?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (stdin, stdout) = pipes.ok_or_else(|| io::Error::other("git has no pipes"))?;
    tokio::spawn(feed(child, stdin, body, turn));
    let mut stdout = BufReader::with_capacity(BUFFER, stdout);
    let head = tokio::time::timeout(HEAD_PATIENCE, read_head(&mut stdout)).await??;
    let answer = match service {
        Service::Fetch => Body::from_stream(ReaderStream::with_capacity(stdout, BUFFER)),
        Service::Push => Body::from_stream(ReaderStream::new(to_its_end(stdout))),
    };
    let mut response = Response::new(answer);
    (*response.status_mut(), *response.headers_mut()) = head;
    Ok(response)
}

/// Streams the request's body to git, then sees it to its end. Where the body breaks off, or the
/// client is silent for too long, git's input ends early, and git then changes nothing.
async fn feed(mut child: Child, mut stdin: ChildStdin, mut body: Body, _turn: Turn) {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if stdin.write_all(&data).await.is_err() {
            break;
        }
    }
    drop(stdin);
    let _ = child.wait().await;
}

/// Passes git's output on, and goes on reading it when nobody wants it any more: a signal for a
/// closed pipe would end git before it has removed what was pushed so far.
fn to_its_end(mut stdout: BufReader<ChildStdout>) -> DuplexStream {
    let (output, mut passed_on) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        if tokio::io::copy_buf(&mut stdout, &mut passed_on)
            .await
            .is_err()
        {
            drop(passed_on);
            let _ = tokio::io::copy_buf(&mut stdout, &mut tokio::io::sink()).await;
        }
    });
    output
}

/// The header lines of a CGI answer, up to the empty line (RFC 3875 section 6.3).
async fn read_head(stdout: &mut BufReader<ChildStdout>) -> io::Result<(StatusCode, HeaderMap)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "no CGI answer");
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    let mut lines = stdout.take(HEAD_LIMIT);
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Err(malformed());
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or_else(malformed)?);
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.get(..3).ok_or_else(malformed)?;
            status = StatusCode::from_bytes(code).map_err(|_| malformed())?;
        } else {
            let name = HeaderName::from_bytes(name).map_err(|_| malformed())?;
            let value = HeaderValue::from_bytes(value).map_err(|_| malformed())?;
            headers.append(name, value);
        }
    }
}
