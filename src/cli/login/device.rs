//! Signing in by a browser, on this machine or any other.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::api::ApiError;
use crate::api::device::{self, Asked, Progress};
use crate::api::http::Client;
use crate::api::login::SignedIn;
use crate::cli::output;
use crate::{config, progress, system};

/// What is waited longer where the server says so (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// The longest pause between two questions to a server that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Signs in as soon as a person says so in a browser; `None` where the server knows no such way.
pub fn sign_in(client: &Client, may_open: bool) -> Result<Option<SignedIn>, ApiError> {
    let asked = match device::ask(client, &output::machine()) {
        Ok(asked) => asked,
        Err(ApiError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let opened = may_open && open_in_browser(&asked.address);
    let place = if opened {
        "In the browser that opens, or at"
    } else {
        "Open"
    };
    let minutes = asked.life.as_secs().div_ceil(60);
    eprintln!(
        "{place}\n\n  {}\n\nenter the code\n\n  {}\n\nIt lasts {minutes} minutes. Ctrl-C gives up.",
        asked.address, asked.user_code
    );
    let signed_in = progress::during("Waiting for the code to be entered", || {
        wait(client, &asked)
    });
    signed_in.map(Some)
}

fn wait(client: &Client, asked: &Asked) -> Result<SignedIn, ApiError> {
    let end = Instant::now() + asked.life;
    let mut pause = asked.interval;
    loop {
        std::thread::sleep(pause);
        let progress = device::poll(client, asked);
        let is_over = Instant::now() + pause >= end;
        match progress {
            Ok(Progress::Done(signed_in)) => return Ok(signed_in),
            Ok(_) if is_over => {
                let message = "nobody entered the code in time".to_owned();
                return Err(ApiError::Refused { message });
            }
            Ok(Progress::Pending) => {}
            Ok(Progress::SlowDown) => pause += SLOWER,
            // A server that is away may come back while the code lasts.
            Err(
                ApiError::Unreachable { .. }
                | ApiError::Lost { .. }
                | ApiError::Failed { .. }
                | ApiError::Limited { .. },
            ) if !is_over => pause = (pause * 2).min(LONGEST_PAUSE),
            Err(error) => return Err(error),
        }
    }
}

/// Shows an address in a browser where there is a screen and a program to do it with.
pub(super) fn open_in_browser(address: &str) -> bool {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let Some(opener) = opener().filter(|_| is_web) else {
        return false;
    };
    let mut command = Command::new(opener);
    command
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // A Ctrl-C for the sign-in is not one for the browser.
    system::apart(&mut command);
    command.spawn().is_ok()
}

fn opener() -> Option<&'static str> {
    if cfg!(target_os = "macos") {
        return Some("open");
    }
    let screen = config::variable("WAYLAND_DISPLAY").or_else(|| config::variable("DISPLAY"));
    screen.map(|_| "xdg-open")
}
