//! Shows a page in the browser of this machine.

use std::process::{Command, Stdio};

use crate::{config, system};

/// Shows an address in a browser where there is a screen and a program to do it with.
///
/// Not by the crate `open`, which starts `xdg-open` where there is no screen too: that runs a text
/// browser in the terminal of the sign-in, and takes its keys.
pub fn open_in_browser(address: &str) -> bool {
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
