//! One `git http-backend`: what it is given, what it answers, and its end.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{OwnedRwLockReadGuard, oneshot};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::request::{self, Coding};
use super::slots::Slot;
use super::{Access, GIT_TIMEOUT, Git, Service};
use crate::platform::refusal::Refusal;

/// Most that git may answer before its body, in bytes.
const MAX_HEAD: u64 = 16 * 1024;
/// Most of git's output that is held at once, in bytes.
const BUFFER: usize = 64 * 1024;
/// Time limit for git to begin its answer to a request that it has whole.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Most that a fetch may send, in bytes, decoded: 80,000 wants.
const MAX_FETCH: u64 = 4 << 20;
/// Most that a push may send, in bytes; git counts its pack for itself (`receive.maxInputSize`).
const MAX_PUSH: u64 = (4 << 30) + (16 << 20);
/// Most that a compressed push may hold, in bytes. git compresses none, others only small ones.
const MAX_COMPRESSED_PUSH: u64 = 64 << 20;
/// Most of a request that is held until the right to it has been checked again, in bytes.
const MAX_UNCHECKED: usize = 256 * 1024;
/// Most of a request that is read after git has ended, in bytes, so that the client gets to
/// the answer.
const MAX_DRAINED: usize = 64 << 20;

/// Interval at which the right to an answer under way is checked again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Time limit for git to end by itself, and then to clean up when it is told to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Hands the request to git and its answer to the client, neither ever whole in memory.
pub async fn run(
    access: Access,
    account: Option<&str>,
    coding: Coding,
    request: Request,
    slot: Slot,
) -> io::Result<Response> {
    let (parts, body) = request.into_parts();
    let service = access.service;
    let mut command = access.platform.git.http_backend();
    let advertising = parts.method != Method::POST;
    let path = match advertising {
        true => "info/refs",
        false => service.name(),
    };
    command
        .env("PATH_INFO", format!("/{}.git/{path}", access.repository))
        .env("REQUEST_METHOD", if advertising { "GET" } else { "POST" })
        .env("REMOTE_ADDR", access.from.ip().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(account) = account {
        // Without it git http-backend accepts no push.
        command.env("REMOTE_USER", account);
    }
    if let Some(room) = &access.room {
        Git::limit_push(&mut command, room.bytes());
    }
    if advertising {
        command.env("QUERY_STRING", format!("service={}", service.name()));
    }
    // Not its length: git http-backend would end git by a signal where a body is shorter. Not its
    // coding: git gets it decoded.
    for (name, variable) in [
        (header::CONTENT_TYPE, "CONTENT_TYPE"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ] {
        let value = parts.headers.get(name);
        if let Some(value) = value.and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    let mut child = command.spawn()?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (stdin, stdout) = pipes.ok_or_else(|| io::Error::other("git has no pipes"))?;
    let access = Arc::new(access);
    let slot = Arc::new(slot);
    let (tell, told) = oneshot::channel();
    tokio::spawn(supervise(
        child,
        stdin,
        (body, coding),
        access.clone(),
        tell,
        slot.clone(),
    ));
    match service {
        Service::Fetch => answer(stdout, told).await,
        Service::Push => answer(finish_push(stdout, access, slot), told).await,
    }
}

/// Git's answer, once the request has been passed on whole: until then it can still be a refusal.
async fn answer(
    output: impl AsyncRead + Send + Unpin + 'static,
    told: oneshot::Receiver<Result<(), Refusal>>,
) -> io::Result<Response> {
    match told.await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => return Ok(refusal.into_text()),
        Err(_) => return Ok(took_too_long().into_text()),
    }
    let mut output = BufReader::with_capacity(BUFFER, output);
    let head = timeout(HEAD_TIMEOUT, read_head(&mut output)).await??;
    let body = Body::from_stream(ReaderStream::with_capacity(output, BUFFER));
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = head;
    Ok(response)
}

fn took_too_long() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "REQUEST_TIMEOUT",
        "this request took too long",
    )
}

/// Gives git the request and sees it to its end, within the bounds of time. Ends it where the right
/// to what it does is gone.
async fn supervise(
    mut child: Child,
    stdin: ChildStdin,
    (body, coding): (Body, Coding),
    access: Arc<Access>,
    tell: oneshot::Sender<Result<(), Refusal>>,
    _slot: Arc<Slot>,
) {
    let limit = match (access.service, coding) {
        (Service::Fetch, _) => MAX_FETCH,
        (Service::Push, Coding::Identity) => MAX_PUSH,
        (Service::Push, Coding::Gzip) => MAX_COMPRESSED_PUSH,
    };
    let to_its_end = async {
        let (decoded, received) = tokio::io::duplex(MAX_UNCHECKED);
        let passed = tokio::try_join!(
            request::receive(body, coding, limit, decoded),
            pass_on(&access, received, stdin)
        );
        let (outcome, _updating_refs) = match passed {
            Ok(((), lock)) => (Ok(()), lock),
            Err(refusal) => (Err(refusal), None),
        };
        let is_refused = outcome.is_err();
        let _ = tell.send(outcome);
        if is_refused {
            return false;
        }
        loop {
            if timeout(CHECK_INTERVAL, child.wait()).await.is_ok() {
                return true;
            }
            // A database that fails for a moment ends nothing that was begun rightly.
            if let Err(refusal) = access.check_again().await
                && refusal.status.is_client_error()
            {
                return false;
            }
        }
    };
    match timeout(GIT_TIMEOUT, to_its_end).await {
        Ok(true) => {}
        Ok(false) => stop(&mut child, access.service).await,
        Err(_) => {
            tracing::warn!(repository = %access.repository, "git took too long");
            stop(&mut child, access.service).await;
        }
    }
}

/// Passes on what is received: each part once more has come, or the end, and the right to all of it
/// has been checked after that. So a push that ends after a revocation lacks its last part, without
/// which it changes nothing. A push holds a lock from then on, under which it updates refs.
async fn pass_on(
    access: &Access,
    mut received: DuplexStream,
    stdin: ChildStdin,
) -> Result<Option<OwnedRwLockReadGuard<()>>, Refusal> {
    let mut stdin = Some(stdin);
    let mut drained = 0;
    let mut lock = None;
    let mut held = Vec::with_capacity(MAX_UNCHECKED);
    let mut next = Vec::with_capacity(MAX_UNCHECKED);
    loop {
        next.clear();
        let length = received.read_buf(&mut next).await;
        let is_end = length.map_err(|_| Refusal::failed())? == 0;
        if is_end && access.service == Service::Push {
            let locks = &access.platform.git.push_locks;
            lock = Some(locks.push(access.repository).await);
        }
        if !held.is_empty() {
            access.check_again().await?;
        }
        match &mut stdin {
            Some(pipe) => {
                // Where git has ended it says why in its answer.
                if pipe.write_all(&held).await.is_err() {
                    stdin = None;
                }
            }
            None => drained += held.len(),
        }
        if is_end || drained > MAX_DRAINED {
            return Ok(lock);
        }
        std::mem::swap(&mut held, &mut next);
    }
}

/// Ends git. Its input has ended already: a push that is not whole then cleans up after itself.
async fn stop(child: &mut Child, service: Service) {
    if service == Service::Push && timeout(STOP_TIMEOUT, child.wait()).await.is_ok() {
        return;
    }
    // Git hands the signal on to what it runs, and removes its temporary files.
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
        if timeout(STOP_TIMEOUT, child.wait()).await.is_ok() {
            return;
        }
    }
    if let Err(error) = child.kill().await {
        tracing::error!(%error, "git can't be ended");
    }
}

/// Passes the answer to a push on, and goes on reading it when nobody wants it any more: a signal
/// for a closed pipe would end git before it has removed what was pushed so far. The answer ends
/// when everything that belongs to the push is done.
fn finish_push(mut stdout: ChildStdout, access: Arc<Access>, slot: Arc<Slot>) -> DuplexStream {
    let (output, mut passed_on) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        let too_large = match &access.room {
            Some(room) => access.platform.quotas.push_too_large(room),
            None => String::new(),
        };
        let has_changed_refs = pass_answer(&mut stdout, &mut passed_on, &too_large).await;
        if has_changed_refs
            && let Err(error) = access.platform.database.note_push(access.repository).await
        {
            tracing::error!(?error, "can't write down when a repository was pushed to");
        }
        access
            .platform
            .git
            .adopt_first_branch(access.repository)
            .await;
        access.platform.git.maintenance.pushed(access.repository);
        drop((passed_on, slot));
    });
    output
}

/// Passes the answer to a push on to its end; whether a ref was changed, as git's report says
/// (gitprotocol-pack(5), Report Status). Where git says that the pack is too large, the client is told
/// besides which limit that was: git knows the number alone.
async fn pass_answer(stdout: &mut ChildStdout, client: &mut DuplexStream, too_large: &str) -> bool {
    const CHANGED: &[u8] = b"ok refs/";
    const TOO_LARGE: &[u8] = b"pack exceeds maximum allowed size";
    /// End of the answer (gitprotocol-common(5)).
    const FLUSH: &[u8] = b"0000";
    let mut seen = Vec::with_capacity(BUFFER);
    // So much of it has been passed on.
    let mut passed = 0;
    let mut has_changed_refs = false;
    let mut is_too_large = false;
    let mut is_wanted = true;
    loop {
        // What may be the beginning of a word is looked at again.
        let kept = seen.len().min(TOO_LARGE.len() - 1);
        let gone = seen.len() - kept;
        seen.drain(..gone);
        passed -= gone;
        let is_end = matches!(stdout.read_buf(&mut seen).await, Ok(0) | Err(_));
        let holds = |word: &[u8]| seen.windows(word.len()).any(|part| part == word);
        has_changed_refs |= holds(CHANGED);
        is_too_large |= holds(TOO_LARGE);
        if is_end && is_too_large && seen.ends_with(FLUSH) && !too_large.is_empty() {
            let at = seen.len() - FLUSH.len();
            seen.splice(at..at, message_packet(too_large));
        }
        // What may be the end waits for it.
        let ready = match is_end {
            true => seen.len(),
            false => seen.len().saturating_sub(FLUSH.len()).max(passed),
        };
        is_wanted = is_wanted && client.write_all(&seen[passed..ready]).await.is_ok();
        passed = ready;
        if is_end {
            return has_changed_refs;
        }
    }
}

/// A message for the person who pushes (gitprotocol-pack(5), side-band: 2 is for progress).
fn message_packet(message: &str) -> Vec<u8> {
    let length = message.len() + "0000".len() + "\u{2}".len() + "\n".len();
    format!("{length:04x}\u{2}{message}\n").into_bytes()
}

/// The header lines of a CGI answer, up to the empty line (RFC 3875 section 6.3).
async fn read_head(
    stdout: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<(StatusCode, HeaderMap)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "no CGI answer");
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    let mut lines = stdout.take(MAX_HEAD);
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
