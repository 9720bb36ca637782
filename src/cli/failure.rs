//! Each kind of error with its exit code and its hint. Nothing else decides either of an error that
//! comes from below the command line.

mod host_login;

use std::error::Error;
use std::io;

pub use self::host_login::register;
use super::{Exit, Failure};
use crate::api::promises;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, DISK_FULL_STATUS, Reason, ReasonKind};
#[cfg(all(feature = "platform", unix))]
use crate::app::diagnose::files::aside;
use crate::app::exec::ExecError;
use crate::app::git_config;
use crate::app::host_login::HostLoginError;
use crate::app::issue::IssueError;
use crate::app::login::LoginError;
use crate::app::logout::LogoutError;
use crate::app::session::SessionError;
#[cfg(feature = "platform")]
use crate::database::DatabaseError;
use crate::expiry::{DAY, iso_date};
#[cfg(all(feature = "platform", unix))]
use crate::files::Fault;
use crate::files::FileError;
use crate::hosts;
use crate::hosts::renew::RenewError;
#[cfg(all(feature = "platform", unix))]
use crate::platform::last_start::RememberedError;
use crate::quote::{Hint, Suggestion, escaped, redacted};
use crate::rotation::RotationError;
use crate::sign_in::HostType;
use crate::store::StoreError;
use crate::trace;

/// An exit code, and what to do next.
type Kind = (Exit, Option<Hint>);

/// A git host that a command asks, as hints name it.
#[derive(Clone, Debug)]
pub struct AtHost {
    pub server: String,
    pub host: HostType,
    /// The login that replaces the one in use.
    pub login: Suggestion,
    /// Lists the tokens, where the host does.
    pub list: Option<Suggestion>,
}

impl AtHost {
    /// A host that is to be signed in to.
    pub fn login(server: &ServerUrl, host: HostType) -> Self {
        let server = server.to_string();
        AtHost {
            login: log_in(&server),
            list: None,
            server,
            host,
        }
    }
}

/// Maps any error to its exit code and hint.
pub fn failure(error: &anyhow::Error) -> Failure {
    tell(error, None)
}

/// The same where a git host was asked: it has neither the forms of a wit server's API nor its
/// commands.
pub fn at_host(error: &anyhow::Error, at: &AtHost) -> Failure {
    tell(error, Some(at))
}

fn tell(error: &anyhow::Error, at: Option<&AtHost>) -> Failure {
    trace_chain(error);
    let told =
        (error.chain()).find_map(|cause| told(cause).or_else(|| boxed(cause).and_then(told)));
    if let Some(failure) = told {
        let hint = failure.hint.clone();
        return Failure {
            exit: failure.exit,
            message: failure.message.clone(),
            hint: hint.or_else(|| general_hint(failure.exit, error).map(str::to_owned)),
            source: None,
        };
    }
    // The outermost that is known says most.
    let kind = error.chain().find_map(|cause| kind(cause, at));
    let (exit, hint) = kind.unwrap_or((Exit::Failed, None));
    let hint = hint.or_else(|| general_hint(exit, error).map(Hint::from));
    let failure = Failure::new(exit, message(error));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Writes an error and all of its causes to the trace, each on a line.
fn trace_chain(error: &anyhow::Error) {
    if !trace::is_on() {
        return;
    }
    for (depth, cause) in error.chain().enumerate() {
        let what = match depth {
            0 => "error",
            _ => "caused by",
        };
        trace::note(format_args!("{what}: {}", redacted(&cause.to_string())));
    }
}

/// An error with its causes. One that the error before it tells already is not repeated.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.is_empty() {
            message = text;
        } else if !message.ends_with(&text) {
            message += &format!(": {text}");
        }
        // It tells its innermost cause itself; what lies between is for `WIT_TRACE`.
        if cause.is::<ApiError>() || cause.is::<Reason>() {
            break;
        }
    }
    message
}

/// Returns whether a server refused the session that it was asked by.
pub fn is_refused_session(error: &anyhow::Error) -> bool {
    let is_told = error.chain().any(|cause| told(cause).is_some());
    let is_refusal = |cause: &(dyn Error + 'static)| {
        let by_api: Option<&ApiError> = cause.downcast_ref();
        let refusal = by_api.or_else(|| match cause.downcast_ref() {
            Some(SessionError::Api(error)) => Some(error),
            _ => None,
        });
        let refusal = refusal.or_else(|| match cause.downcast_ref() {
            Some(IssueError::Api(error)) => Some(error),
            _ => None,
        });
        let refusal = refusal.or_else(|| match cause.downcast_ref() {
            Some(ExecError::Api(error)) => Some(error),
            _ => None,
        });
        matches!(refusal, Some(ApiError::Unauthorized))
    };
    !is_told && error.chain().any(is_refusal)
}

/// An error of the command line's own, which says all by itself.
fn told<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a Failure> {
    cause.downcast_ref::<Failure>()
}

/// Answers of a person, or their absence, in the middle of a task.
fn boxed<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let by_login = match cause.downcast_ref() {
        Some(LoginError::Ask(error)) => Some(error),
        _ => None,
    };
    let by_host_login = match cause.downcast_ref() {
        Some(HostLoginError::Ask(error)) => Some(error),
        _ => None,
    };
    let by_logout = match cause.downcast_ref() {
        Some(LogoutError::Ask(error)) => Some(error),
        _ => None,
    };
    let asked = by_login.or(by_host_login).or(by_logout)?;
    Some(&**asked)
}

/// The exit code and the hint of a kind of error; `None` for what is known by its cause only.
fn kind(cause: &(dyn Error + 'static), at: Option<&AtHost>) -> Option<Kind> {
    if let Some(error) = cause.downcast_ref() {
        return Some(login(error, at));
    }
    if let Some(error) = cause.downcast_ref() {
        return logout(error, at);
    }
    if let Some(error) = cause.downcast_ref() {
        return host_login::host_login(error, at);
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(issue(error, at));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(exec(error, at));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(session(error, at));
    }
    if let Some(RotationError::Lost { server, name }) = cause.downcast_ref() {
        return Some(lost(server, name));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(api(error, at));
    }
    #[cfg(feature = "platform")]
    if let Some(DatabaseError::Invalid(_) | DatabaseError::InvalidField(..)) = cause.downcast_ref()
    {
        return Some((
            Exit::Failed,
            Some("wit help COMMAND says what is accepted".into()),
        ));
    }
    #[cfg(all(feature = "platform", unix))]
    if let Some(RememberedError(error)) = cause.downcast_ref() {
        return Some(remembered(error));
    }
    cause.downcast_ref().map(store)
}

/// A file of a server's data directory, which `wit doctor` does not look at.
#[cfg(all(feature = "platform", unix))]
fn remembered(error: &FileError) -> Kind {
    let hint = match &error.fault {
        Fault::Newer(_) => "use the newer wit that wrote it".into(),
        Fault::Unreadable(_) => return (Exit::Failed, None),
        Fault::Damaged(_) | Fault::NotAFile => format!(
            "{}, then wit up with all its options, --no-sign-up above all",
            aside(&error.path)
        ),
    };
    (Exit::Failed, Some(hint.into()))
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        failure(&error.into())
    }
}

/// A token that has replaced itself, and whose successor nobody has.
fn lost(server: &str, name: &str) -> Kind {
    let login = log_in(server).arg("--paste-token");
    let page = ServerUrl::parse(server).ok();
    let page = page.and_then(|server| hosts::token_page(HostType::Gitlab, &server, ""));
    let Some(mut page) = page else {
        return (Exit::Failed, Some(login.into()));
    };
    page.set_query(None);
    let name = escaped(name);
    let revoke = format!("revoke '{name}' at {page}, which nobody has; then: ");
    (Exit::Failed, Some(Hint::from(revoke).command(&login)))
}

fn log_in(server: &str) -> Suggestion {
    Suggestion::new("wit login").arg(server)
}

fn login(error: &LoginError, at: Option<&AtHost>) -> Kind {
    let sign_up =
        |server: &str| log_in(server).args(["--sign-up", "--email", "EMAIL", "--username", "NAME"]);
    let (exit, hint) = match error {
        LoginError::WrongPassword { server } | LoginError::SessionRefused { server } => (
            Exit::NotLoggedIn,
            Hint::from(log_in(server))
                .text("; for a new account: ")
                .command(&sign_up(server)),
        ),
        LoginError::NotWit { server } => (
            Exit::Failed,
            Hint::from("check the address; for another kind of git server: ")
                .command(&log_in(server)),
        ),
        LoginError::NoSignIn { server } => (Exit::Failed, log_in(server).arg("--device").into()),
        LoginError::NoDeviceFlow { server } => {
            let options = ["--username", "NAME", "--password-stdin"];
            (Exit::Failed, log_in(server).args(options).into())
        }
        LoginError::SignUpRefused { server, .. } => (Exit::Failed, sign_up(server).into()),
        LoginError::NoSignUp { server, .. } => (
            Exit::Failed,
            Hint::from("with an account that you have: ").command(&log_in(server)),
        ),
        LoginError::Denied { server, .. } => (Exit::NotLoggedIn, log_in(server).into()),
        LoginError::OtherForm { server, .. } => (
            Exit::Failed,
            Hint::from(log_in(server)).text(" detects the form of its API"),
        ),
        LoginError::Anonymous { server } => (Exit::Failed, log_in(server).into()),
        LoginError::OtherAccount { server, .. } => {
            (Exit::Usage, log_in(server).arg("--session-stdin").into())
        }
        LoginError::NotDirect { server } => (
            Exit::NotLoggedIn,
            Hint::from("DATABASE_URL=postgres://… WIT_USER_ID=… ")
                .command(&log_in(server).args(["--api", "database"])),
        ),
        LoginError::Ask(_) | LoginError::Config(_) => return (Exit::Failed, None),
        LoginError::Session(error) => return session(error, at),
        LoginError::Store(error) => return store(error),
        LoginError::Api(error) => return api(error, at),
    };
    (exit, Some(hint))
}

fn logout(error: &LogoutError, at: Option<&AtHost>) -> Option<Kind> {
    match error {
        // Its cause says it.
        LogoutError::Revoke(_) => None,
        LogoutError::StillStored { server, .. } => {
            let revoke = Suggestion::new("wit logout").arg(server).arg("--revoke");
            Some((Exit::NotLoggedIn, Some(log_in(server).and(revoke).into())))
        }
        LogoutError::Ask(_) | LogoutError::Journal(_) | LogoutError::Config(_) => None,
        LogoutError::Session(error) => Some(session(error, at)),
        LogoutError::Store(error) => Some(store(error)),
        LogoutError::Api(error) => Some(api(error, at)),
    }
}

fn issue(error: &IssueError, at: Option<&AtHost>) -> Kind {
    let (exit, hint) = match error {
        IssueError::BadDate { now, .. } => {
            let month = iso_date(now.plus(30 * DAY));
            let create = Suggestion::new("wit token create NAME");
            (Exit::Usage, create.option("--expires-on", month).into())
        }
        IssueError::Lifetime { longest, .. } => {
            let hint = longest
                .is_none()
                .then(|| "--store, or --expires never".into());
            return (Exit::Usage, hint);
        }
        IssueError::NeverGiven { server } => {
            let print = Suggestion::new("wit token create --print --allow-http");
            let print = print.option("--server", server);
            let hint =
                Hint::from("serve it over https; or to see the token once: ").command(&print);
            return (Exit::Failed, Some(hint));
        }
        IssueError::EndRequired { .. } => {
            return (Exit::Usage, Some("--expires DAYS".into()));
        }
        IssueError::NameTaken { free, .. } => {
            let create = Suggestion::new("wit token create").last(free);
            (Exit::Failed, create.into())
        }
        IssueError::NoTokenApi { server } => (Exit::Failed, log_in(server).into()),
        IssueError::NotCreated(
            error @ ApiError::Failed {
                status: DISK_FULL_STATUS,
            },
        ) => return api(error, at),
        IssueError::NotCreated(_) => (Exit::Failed, "try again".into()),
        IssueError::SecretLost { revoke, .. } => (
            Exit::Unfinished,
            Hint::from(revoke.clone()).text(", then try again"),
        ),
        IssueError::Unclear { tokens, next, .. } if tokens.len() == 1 => (
            Exit::Unfinished,
            Hint::from(next.clone()).text(", unless another machine created it"),
        ),
        IssueError::Unclear { next, .. } => (
            Exit::Unfinished,
            Hint::from(next.clone()).text(", and revoke what you do not know"),
        ),
        IssueError::NotStored { error, .. } => return store(error),
        IssueError::Api(error) => return api(error, at),
    };
    (exit, Some(hint))
}

fn exec(error: &ExecError, at: Option<&AtHost>) -> Kind {
    match error {
        ExecError::Session(error) => session(error, at),
        ExecError::Api(error) => api(error, at),
        ExecError::Journal(_) => (Exit::Failed, None),
        ExecError::Store(error) => store(error),
        ExecError::NotCreated(_) => (Exit::Failed, Some("try again".into())),
        ExecError::SecretLost { is_revoked, .. } | ExecError::TooBroad { is_revoked, .. } => {
            match is_revoked {
                true => (Exit::Failed, Some("try again".into())),
                false => (Exit::Unfinished, Some("wit status".into())),
            }
        }
    }
}

fn session(error: &SessionError, at: Option<&AtHost>) -> Kind {
    let (exit, hint) = match error {
        SessionError::BadUrl(_) => (Exit::Usage, "wit login https://your.server".into()),
        SessionError::NoServer => (Exit::NotLoggedIn, "wit login https://your.server".into()),
        SessionError::SeveralServers(_) => (Exit::Usage, "name one with --server URL".into()),
        SessionError::OtherHost { server, .. } => (
            Exit::Failed,
            Hint::from(log_in(server)).text(" signs git in there"),
        ),
        SessionError::NotRefreshed { server, error } => match error {
            RenewError::Store(error) => return store(error),
            _ => (Exit::Failed, log_in(server).into()),
        },
        SessionError::UnknownAccount {
            server, account, ..
        } => {
            let username = log_in(server).option("--username", account);
            (Exit::NotLoggedIn, username.into())
        }
        SessionError::NotLoggedIn { server } | SessionError::Expired { server } => {
            (Exit::NotLoggedIn, log_in(server).into())
        }
        SessionError::ManagedDirectly { server } => (
            Exit::NotLoggedIn,
            Hint::from("set DATABASE_URL and WIT_USER_ID; to go through the server: ")
                .command(&log_in(server)),
        ),
        SessionError::Unlinked => (
            Exit::Usage,
            "wit login URL --api database links them; unset DATABASE_URL to go through the server"
                .into(),
        ),
        SessionError::OtherAccount { .. } => (
            Exit::Usage,
            "unset DATABASE_URL to use the server you are logged in to".into(),
        ),
        SessionError::NoSuchUser => (
            Exit::NotLoggedIn,
            "unset DATABASE_URL to use the server you are logged in to".into(),
        ),
        SessionError::UnknownForm { server, .. } => (Exit::Failed, log_in(server).into()),
        SessionError::Config(_) => return (Exit::Failed, None),
        SessionError::Store(error) => return store(error),
        SessionError::Api(error) => return api(error, at),
    };
    (exit, Some(hint))
}

fn store(error: &StoreError) -> Kind {
    (Exit::Failed, error.hint().map(Hint::from))
}

/// A refusal or a failure of the server's, or of the way to it.
fn api(error: &ApiError, at: Option<&AtHost>) -> Kind {
    if matches!(error, ApiError::Unsupported { what } if *what == promises::BIND) {
        let hint = "leave --repo out: the scopes alone then say what the token may do";
        return (Exit::Failed, Some(hint.into()));
    }
    if let Some(kind) = at.and_then(|at| by_host(error, at)) {
        return kind;
    }
    let hint = match error {
        ApiError::Unauthorized => return (Exit::NotLoggedIn, Some("wit login".into())),
        ApiError::Unreachable { server, reason } | ApiError::Lost { server, reason } => {
            match reason.kind() {
                ReasonKind::Database => {
                    "is DATABASE_URL right (postgres://USER@HOST/NAME), and does that database run?"
                }
                ReasonKind::NoSuchHost => "is the name right, and is there a network?",
                ReasonKind::NotTls => {
                    let plain = server.replacen("https://", "http://", 1);
                    let hint = Hint::from("if it speaks plain http: ").command(&log_in(&plain));
                    return (Exit::Failed, Some(hint));
                }
                ReasonKind::NotHttp => {
                    let encrypted = server.replacen("http://", "https://", 1);
                    let hint = Hint::from("if it speaks https: ").command(&log_in(&encrypted));
                    return (Exit::Failed, Some(hint));
                }
                ReasonKind::Certificate if reason.to_string().contains("CaUsedAsEndEntity") => {
                    "its certificate is a CA's, which no server may present; one for the server: \
                     openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE"
                }
                ReasonKind::Certificate => "--ca-file FILE trusts one of your own too",
                ReasonKind::Other => "is it running? wit up starts one on this machine",
            }
        }
        ApiError::CaFile { .. } => "--ca-file takes a PEM file with one or more certificates",
        ApiError::DatabaseRefused { .. } => "set DATABASE_URL to the database of your wit server",
        ApiError::PlainHttp { .. } => "use https, or --allow-http",
        ApiError::NotFound => "wit token list",
        ApiError::Limited { .. } => "run it again later",
        ApiError::Failed {
            status: DISK_FULL_STATUS,
        } => "make room on the server's disk, then run it again",
        ApiError::Failed { .. } => "run it again later; the server's own log says why",
        ApiError::Malformed { .. } => "is it a wit server? wit login https://your.server",
        ApiError::Forbidden { .. } => "wit login as an account that may do it",
        ApiError::Refused { .. } => "wit token list shows your tokens; --help, the accepted values",
        ApiError::Impossible { page, .. } => {
            let hint = match page {
                Some(page) => format!("you can at {page}"),
                None => "the host's own pages may have it".to_owned(),
            };
            return (Exit::Failed, Some(hint.into()));
        }
        ApiError::PasswordNeeded { .. } => {
            let hint = "run it at a terminal, or with --password-stdin";
            return (Exit::NotLoggedIn, Some(hint.into()));
        }
        ApiError::WrongPassword { .. } => {
            let hint = "run it again; a one-time code is accepted once";
            return (Exit::NotLoggedIn, Some(hint.into()));
        }
        ApiError::Unsupported { .. } => "wit login --api says which form of the API is used",
    };
    (Exit::Failed, Some(hint.into()))
}

/// The same of a git host; `None` for what is said of any server.
fn by_host(error: &ApiError, at: &AtHost) -> Option<Kind> {
    let hint: Hint = match error {
        ApiError::Unauthorized => return Some((Exit::NotLoggedIn, Some(at.login.clone().into()))),
        // No git host is managed in its database.
        ApiError::DatabaseRefused { .. } => return None,
        // It is the way to it that is said.
        ApiError::Unreachable { reason, .. } | ApiError::Lost { reason, .. }
            if reason.kind() != ReasonKind::Other =>
        {
            return None;
        }
        ApiError::Unreachable { .. } | ApiError::Lost { .. } => {
            "is it running, and can this machine reach it? run it again later".into()
        }
        ApiError::PlainHttp { server } => {
            let encrypted = server.replacen("http://", "https://", 1);
            Hint::from("use https: ").command(&log_in(&encrypted))
        }
        ApiError::NotFound => match &at.list {
            Some(list) => list.clone().into(),
            None => "the host's own pages may have it".into(),
        },
        ApiError::Malformed { .. } => {
            let other = log_in(&at.server).option("--host-type", "TYPE");
            Hint::from("is it ")
                .text(at.host.title())
                .text("? to name another type: ")
                .command(&other)
        }
        ApiError::Forbidden { .. } if at.host == HostType::Gitlab => {
            let paste = log_in(&at.server).arg("--paste-token");
            Hint::from(paste).text(", with a token that may do it")
        }
        ApiError::Forbidden { .. } => {
            Hint::from(at.login.clone()).text(", as an account and with scopes that may do it")
        }
        ApiError::Refused { .. } => match &at.list {
            Some(list) => Hint::from(list.clone())
                .text(" shows your tokens; wit help token says what is accepted"),
            None => "wit help token says what is accepted".into(),
        },
        ApiError::Unsupported { .. } => "the host's own pages may have it".into(),
        ApiError::Limited { .. }
        | ApiError::Failed { .. }
        | ApiError::CaFile { .. }
        | ApiError::Impossible { .. }
        | ApiError::PasswordNeeded { .. }
        | ApiError::WrongPassword { .. } => return None,
    };
    Some((Exit::Failed, Some(hint)))
}

/// Hint where nothing better is known. `wit doctor` is named only for what it looks at: the store, the
/// files that `wit` keeps, git's configuration, and the servers.
fn general_hint(exit: Exit, error: &anyhow::Error) -> Option<&'static str> {
    let is_diagnosed = |cause: &(dyn Error + 'static)| {
        let io: Option<&io::Error> = cause.downcast_ref();
        let inner = io.and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<FileError>())
            || cause.is::<StoreError>()
            || cause.is::<FileError>()
            || cause.is::<git_config::Error>()
            || cause.is::<ApiError>()
    };
    match exit {
        Exit::Usage => Some("wit --help"),
        _ if is_of_server(error) => None,
        _ => (error.chain().any(is_diagnosed)).then_some("wit doctor finds what is wrong"),
    }
}

/// Returns whether it is about a file of a server's data directory, which `wit doctor` does not read.
#[cfg(all(feature = "platform", unix))]
fn is_of_server(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<RememberedError>())
}

#[cfg(not(all(feature = "platform", unix)))]
fn is_of_server(_: &anyhow::Error) -> bool {
    false
}
