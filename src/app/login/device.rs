//! Waits until a person has confirmed a sign-in in a browser.

use std::time::{Duration, Instant};

use crate::api::ApiError;
use crate::api::device::{self, Asked, Progress};
use crate::api::http::Client;
use crate::api::login::SignedIn;
use crate::app::Ask;
use crate::progress;

/// Added to the interval where the server asks for it (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Longest pause between two questions to a server that does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Signs in as soon as a person has entered the code; `None` where the server knows no such way.
pub fn sign_in(client: &Client, name: &str, ask: &dyn Ask) -> Result<Option<SignedIn>, ApiError> {
    let asked = match device::ask(client, name) {
        Ok(asked) => asked,
        Err(ApiError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    ask.show_code(&asked);
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
            ) if !is_over => pause = (pause * 2).min(MAX_PAUSE),
            Err(error) => return Err(error),
        }
    }
}
