//! The user at the terminal, as a sign-in at a git host asks and tells.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver};

use url::Url;

use super::Given;
use crate::api::server::ServerUrl;
use crate::app::AskError;
use crate::app::host_login::{Interaction, Notice, Way};
use crate::cli::ask::{answer, asked, first_line, line, no_terminal, tell_code};
use crate::cli::failure::register;
use crate::cli::login::browser::open_in_browser;
use crate::cli::output::escaped;
use crate::cli::{AtHost, Context, Exit, Failure};
use crate::hosts::{self, github_app::Installation};
use crate::oauth::device;
use crate::quote::Suggestion;
use crate::secret::Secret;
use crate::sign_in::HostType;

pub struct Terminal<'a> {
    pub given: &'a Given<'a>,
    /// Nothing that happens is told where a program reads.
    pub context: &'a Context,
}

impl Terminal<'_> {
    fn with_password(server: &ServerUrl) -> Suggestion {
        let options = ["--username", "NAME", "--password-stdin"];
        let command = Suggestion::new("wit login").arg(server.to_string());
        command.args(options)
    }

    fn ask_token(&self, server: &ServerUrl, page: Option<&Url>) -> anyhow::Result<Secret> {
        if self.given.host.token_stdin {
            return first_line("token");
        }
        let hint = Suggestion::new("wit login").arg(server.to_string());
        let hint = hint.arg("--token-stdin");
        if !io::stdin().is_terminal() {
            return Err(no_terminal(hint));
        }
        if let Some(page) = page {
            let place = match self.open(page) {
                true => "Go to the browser window that was opened, or to",
                false => "At",
            };
            eprintln!("{place}\n\n  {page}\n\ncreate a token, and paste it here.");
        }
        asked("token", false, hint)
    }

    fn ask_way(&self, host: HostType, server: &ServerUrl, ways: &[Way]) -> anyhow::Result<Way> {
        eprintln!(
            "No OAuth client is configured. To use one of your own, {}.",
            register(host, server)
        );
        if let [only] = ways {
            // The name of another program is seen at the host.
            if *only == Way::Browser {
                eprintln!("Signing in {}.", words(*only, host));
            }
            return Ok(*only);
        }
        eprintln!("Sign in:");
        for (number, way) in ways.iter().enumerate() {
            eprintln!("  {}  {}", number + 1, words(*way, host));
        }
        let way = numbered("Which [1]? ", Some(1))?.and_then(|number| ways.get(number));
        Ok(*way.ok_or_else(|| {
            Failure::new(Exit::Usage, "no way to sign in was chosen").hint("wit login --help")
        })?)
    }

    fn ask_password(&self, server: &ServerUrl) -> anyhow::Result<(Secret, Option<Secret>)> {
        match self.given.password_stdin {
            // A script puts the code on the second line.
            true => Ok((first_line("password")?, first_line("one-time code").ok())),
            false => Ok((asked("password", false, Self::with_password(server))?, None)),
        }
    }

    fn ask_installation(&self, app: &str, all: &[Installation]) -> anyhow::Result<usize> {
        eprintln!("The app {} is installed at:", escaped(app));
        for (number, one) in all.iter().enumerate() {
            eprintln!("  {}  {}", number + 1, escaped(&one.owner));
        }
        let number = numbered("Which? ", None)?.filter(|number| *number < all.len());
        Ok(number.ok_or_else(|| {
            Failure::new(Exit::Usage, "no installation was chosen")
                .hint("--owner NAME says it, too")
        })?)
    }
}

/// Asks for a number from 1 on, and returns it counted from 0; `default` is for an empty line.
fn numbered(prompt: &str, default: Option<usize>) -> io::Result<Option<usize>> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let number = match line.trim() {
        "" if line.is_empty() => None,
        "" => default,
        text => text.parse().ok(),
    };
    Ok(number.and_then(|number: usize| number.checked_sub(1)))
}

fn words(way: Way, host: HostType) -> String {
    match (way, hosts::built_in_client(host)) {
        (Way::Device | Way::Browser, Some(client)) => format!(
            "in a browser, with the built-in client, which you will see as \"{}\"",
            client.name
        ),
        (Way::Device | Way::Browser, None) => "in a browser".to_owned(),
        (Way::Token, _) => "with a token that you create on a page".to_owned(),
        (Way::Password, _) => "with your password".to_owned(),
    }
}

impl Interaction for Terminal<'_> {
    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn choose(&self, host: HostType, server: &ServerUrl, ways: &[Way]) -> Result<Way, AskError> {
        self.ask_way(host, server, ways).map_err(answer)
    }

    fn token(&self, server: &ServerUrl, page: Option<&Url>) -> Result<Secret, AskError> {
        self.ask_token(server, page).map_err(answer)
    }

    fn username(&self, server: &ServerUrl) -> Result<String, AskError> {
        line("Username", |_| Ok(()), Self::with_password(server)).map_err(answer)
    }

    fn password(&self, server: &ServerUrl) -> Result<(Secret, Option<Secret>), AskError> {
        self.ask_password(server).map_err(answer)
    }

    fn one_time_code(&self) -> Result<Option<Secret>, AskError> {
        match self.given.password_stdin {
            true => Ok(None),
            false => asked("one-time code", false, "").map(Some).map_err(answer),
        }
    }

    fn installation(&self, app: &str, all: &[Installation]) -> Result<Option<usize>, AskError> {
        match io::stdin().is_terminal() && !self.given.host.app.reads_stdin() {
            true => self.ask_installation(app, all).map(Some).map_err(answer),
            false => Ok(None),
        }
    }

    fn open(&self, address: &Url) -> bool {
        !self.given.no_browser && open_in_browser(address.as_str())
    }

    fn show_code(&self, pending: &device::Pending, is_open: bool) {
        let address = &pending.address;
        tell_code(is_open, address, &pending.user_code, pending.lifetime);
    }

    fn show_address(&self, address: &Url, redirect: &Url, is_open: bool) {
        if is_open {
            eprintln!("Sign in in the browser that opens, or at\n\n  {address}\n\nCtrl-C cancels.");
            return;
        }
        eprintln!("Open\n\n  {address}\n");
        if !self.given.host.for_git {
            eprintln!(
                "in a browser and sign in. Where it can't reach this machine, paste the address\n\
                 that it was sent to, which begins with {redirect}"
            );
        }
    }

    fn pasted(&self) -> Option<Receiver<String>> {
        if self.given.host.for_git {
            return None;
        }
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in io::stdin().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Some(receiver)
    }

    fn tell(&self, notice: &Notice) {
        match notice {
            Notice::ReplacedRevoked { name } => {
                eprintln!("Revoked the token {} that it replaces.", escaped(name));
            }
            Notice::ReplacedWorks { name, error, page } => {
                let why = error.map(|error| format!(": {error}")).unwrap_or_default();
                let name = escaped(name);
                eprintln!("warning: the replaced token {name} still works{why}");
                if let Some(page) = page {
                    eprintln!("hint: revoke it at {page}");
                }
            }
            Notice::GrantEnded => eprintln!("Ended the sign-in that it replaces, at the host too."),
            Notice::GrantWorks { host, error, page } => {
                let title = host.title();
                match error {
                    Some(error) => {
                        eprintln!("warning: the sign-in that it replaces may still work: {error}")
                    }
                    None => eprintln!(
                        "warning: {title} lets no program end the sign-in that it replaces, which \
                         lapses by itself"
                    ),
                }
                if let Some(page) = page {
                    eprintln!("hint: see {page}; to end it there may end the new one too");
                }
            }
            Notice::PastedReplaced { name, works, page } => {
                let name = name.map(|name| format!(" '{}'", escaped(name)));
                let name = name.unwrap_or_default();
                let what = format!("the token{name} that was pasted before is kept here no longer");
                let page = page.map(|page| format!(" at {page}")).unwrap_or_default();
                match works {
                    Some(false) => eprintln!("Note: {what}; it has ended."),
                    Some(true) => eprintln!("warning: {what}, and still works; revoke it{page}"),
                    None => eprintln!("warning: {what}, and may still work; revoke it{page}"),
                }
            }
            Notice::Recognized {
                server,
                host,
                version,
            } => {
                self.context.asks_host(AtHost::login(server, *host));
                if self.context.json {
                    return;
                }
                let version = version.map(|version| format!(" {version}"));
                let version = version.unwrap_or_default();
                eprintln!("{server} is {}{version}.", host.title());
            }
            _ if self.context.json => {}
            Notice::Unchecked { server } => {
                eprintln!("warning: {server} did not say whether it accepts this token");
            }
            Notice::NotForGit => eprintln!(
                "warning: git can't use this token: it has neither read_repository nor \
                 write_repository"
            ),
            Notice::Created { name } => eprintln!("Created the token {}.", escaped(name)),
        }
    }
}
