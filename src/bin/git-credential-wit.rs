//! Hands stdin, stdout and the store to the helper. No clap, no network, no runtime.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use wit::config::{self, Paths};
use wit::credential::{Credential, Site};
use wit::expiry::UnixTime;
use wit::helper::renewal::{self, Renewal};
use wit::helper::{self, Env, EnvironmentToken, Operation};
use wit::helper::{asking, refresh};
use wit::secret::Secret;
use wit::store::{self, select};
use wit::trace;

const USAGE: &str = "usage: git-credential-wit [--store NAME] (get | store | erase | capability)

git runs this after: wit setup
See git-credential-wit(1).
";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Parsed::Run(arguments) => arguments,
        Parsed::Print(text) => return print(text),
        Parsed::Refuse => {
            let _ = std::io::stderr().write_all(USAGE.as_bytes());
            return ExitCode::from(2);
        }
    };
    // A word of a future git: nothing on either stream, before stdin is read.
    let Some(operation) = Operation::parse(&arguments.operation) else {
        return ExitCode::SUCCESS;
    };
    match run(operation, arguments.store.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            trace::tell(format_args!("{message}"));
            ExitCode::FAILURE
        }
    }
}

fn run(operation: Operation, store: Option<&str>) -> Result<(), String> {
    let paths = Paths::from_environment().ok_or("no home directory: set HOME")?;
    let env = Env {
        now: UnixTime::now(),
        paths: &paths,
        environment_token: environment_token(operation),
        open: &|| select::open(&paths, store),
        renew: &|site, entry| renew(&paths, site, entry, store),
        sign_in: &|site| asking::sign_in(&paths, site, store, UnixTime::now()),
    };
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    helper::run(operation, input, output, &env).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    })
}

fn renew(paths: &Paths, site: &Site, entry: &Credential, store: Option<&str>) -> bool {
    let now = UnixTime::now();
    if renewal::runs_out(entry, now) {
        if config::variable("WIT_QUIET").is_none()
            && let Some(warning) = renewal::pasted_warning(paths, site, entry, now)
        {
            trace::tell(format_args!("{warning}"));
        }
        return false;
    }
    if entry.sign_in.is_some() && !entry.is_replaceable() {
        let done = refresh::refresh(paths, site, store, now);
        if entry.is_expired(now)
            && let Some(reason) = refresh::paused(paths, site, UnixTime::now())
        {
            trace::tell(format_args!(
                "the access token for {site} has expired and was not renewed: {reason}; \
                 wit status tries again at once, git after a pause"
            ));
        }
        return done;
    }
    let renewal = match renewal::renew(paths, site, entry, store, now) {
        Renewal::Failed if was_lost(paths, site, entry, store) => Renewal::Lost,
        other => other,
    };
    if config::variable("WIT_QUIET").is_none()
        && let Some(warning) = renewal::warning(paths, site, entry, renewal, now)
    {
        trace::tell(format_args!("{warning}"));
    }
    matches!(renewal, Renewal::Done | Renewal::Lost)
}

/// Returns whether the renewal of a token that replaces itself has found it dead.
fn was_lost(paths: &Paths, site: &Site, entry: &Credential, store: Option<&str>) -> bool {
    let Some(token) = entry.token.as_ref().filter(|_| entry.rotates_itself()) else {
        return false;
    };
    let item = select::open(paths, store).and_then(|store| store::load(store.as_ref(), site));
    item.is_ok_and(|item| {
        let mut entries = item.credentials.0.iter();
        entries.any(|entry| entry.is_token(&token.server, &token.id) && entry.was_lost())
    })
}

fn environment_token(operation: Operation) -> Option<EnvironmentToken> {
    let token = Secret::from(config::line("WIT_TOKEN")?);
    let url = config::line("WIT_URL");
    let environment = (url.as_deref()).and_then(|url| EnvironmentToken::new(url, token));
    // Once for each question of git's, not again when it stores what worked.
    if environment.is_none() && operation == Operation::Get {
        let why = match url {
            None => "WIT_URL is not set: it names the server that the token is for",
            Some(_) => "WIT_URL has to begin with https://, or with http:// for this machine",
        };
        trace::tell(format_args!("WIT_TOKEN is ignored: {why}"));
    }
    environment
}

struct Arguments {
    store: Option<String>,
    operation: OsString,
}

enum Parsed {
    Run(Arguments),
    Print(&'static str),
    Refuse,
}

impl Arguments {
    /// The operation comes last; before it whatever stands in `credential.helper`.
    fn parse(words: impl Iterator<Item = OsString>) -> Parsed {
        let mut words: Vec<OsString> = words.collect();
        let Some(operation) = words.pop() else {
            return Parsed::Refuse;
        };
        let mut store = None;
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let value = match word.to_str() {
                Some("--store") => words.next().and_then(|name| name.into_string().ok()),
                Some(word) => word.strip_prefix("--store=").map(str::to_owned),
                None => None,
            };
            match value {
                Some(name) => store = Some(name),
                None => return Parsed::Refuse,
            }
        }
        match operation.to_str() {
            Some("--version") => Parsed::Print(concat!(
                "git-credential-wit ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            )),
            Some("--help" | "-h") => Parsed::Print(USAGE),
            Some(word) if word.starts_with('-') => Parsed::Refuse,
            _ => Parsed::Run(Arguments { store, operation }),
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has gone away is no error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            trace::tell(format_args!("can't write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}
