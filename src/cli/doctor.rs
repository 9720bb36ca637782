//! `wit doctor`.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::output;
use super::session::{self, ServerArgs};
#[cfg(all(feature = "platform", unix))]
use super::up;
use super::{Context, Exit};
use crate::api::server::ServerUrl;
use crate::app::diagnose::{Finding, State, git, home, host, machine, server, storage};
use crate::app::git_trust;
use crate::config::{self, Config};
use crate::credential::Site;
use crate::expiry::UnixTime;
#[cfg(all(feature = "platform", unix))]
use crate::platform::last_start::LastStart;
use crate::store::select;

/// Site that git is asked about where no server is known and nothing is stored.
const ANY: &str = "https://example.com";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let home = home::Facts::gather();
    if let Some(home) = home.as_ref().filter(|home| home.is_in_the_way()) {
        return report(&[home::check(home)], context);
    }
    let read = Config::read(&context.paths);
    let (config, config_error) = match read {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error)),
    };
    let servers = servers(&args, &config)?;
    let store = select::open(&context.paths, None);
    let now = UnixTime::now();

    let naming = |url: &str, account: &str| session::naming(&config, url, account);
    let storage = storage::Facts::gather(&context.paths, config_error, &store, &servers, &naming);
    let mut urls: Vec<String> = servers.iter().map(ServerUrl::to_string).collect();
    let stored: Vec<String> = match args.server.server {
        Some(_) => Vec::new(),
        None => storage.sites.iter().map(Site::to_string).collect(),
    };
    if urls.is_empty() && stored.is_empty() {
        urls.push(ANY.to_owned());
    }
    let mut findings = git::check(&git::Facts::gather(&urls, &stored));
    findings.extend(storage::check(&storage));
    findings.extend(home.as_ref().map(home::check));
    let machine = machine::Facts::gather(Path::new("/"), &config::variable);
    findings.extend(machine::check(&machine, storage.wants_keychain()));
    let client = |server: &ServerUrl| session::client(&config, server, &args.server);
    findings.extend(server::check_environment(
        &server::EnvironmentFacts::gather(&servers, &client),
    ));
    for url in &servers {
        if let Some(facts) =
            host::Facts::gather(url, &config, store.as_deref().ok(), &context.paths, now)
        {
            findings.extend(host::check(&facts));
            continue;
        }
        let means = server::Means {
            account: session::account(&config, url, args.server.account.as_deref()),
            client: &client,
            naming: &naming,
            own: &|data_dir| own_server(data_dir, context),
            config: &config,
            store: store.as_deref().ok(),
        };
        let facts = server::Facts::gather(url, &means, now);
        findings.extend(server::check(&facts, now));
    }
    let untrusted = git_trust::untrusted(&config);
    let is_meant = |url: &String| servers.iter().any(|server| server.to_string() == *url);
    let untrusted = untrusted.iter().filter(|one| is_meant(&one.server));
    findings.extend(untrusted.filter_map(server::check_trust));
    report(&findings, context)
}

/// The commands that stop and start the server of a data directory.
#[cfg(all(feature = "platform", unix))]
fn own_server(data_dir: &Path, context: &Context) -> server::OwnServer {
    let [down, up] = ["wit down", "wit up"].map(|words| up::about(words, data_dir, context));
    // Without it another, empty database would be refused, or begun.
    let needs_url = LastStart::read(data_dir).is_ok_and(|last| last.postgres)
        && config::variable("DATABASE_URL").is_none();
    let database = if needs_url { "DATABASE_URL=… " } else { "" };
    server::OwnServer {
        down: down.to_string(),
        up: format!("{database}{up}"),
    }
}

#[cfg(not(all(feature = "platform", unix)))]
fn own_server(_: &Path, _: &Context) -> server::OwnServer {
    server::OwnServer::default()
}

/// The server that was named, else all that are known, `WIT_URL`'s among them.
fn servers(args: &Args, config: &Config) -> anyhow::Result<Vec<ServerUrl>> {
    if let Some(text) = &args.server.server {
        return Ok(vec![session::parse_url(text)?]);
    }
    let environment = config::variable("WIT_URL");
    let mut servers: Vec<ServerUrl> = Vec::new();
    for text in environment.iter().chain(config.servers.keys()) {
        // One that is no URL is told where it comes from.
        if let Ok(server) = ServerUrl::parse(text)
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    Ok(servers)
}

fn report(findings: &[Finding], context: &Context) -> anyhow::Result<Exit> {
    let attention = findings.iter().any(|f| f.state == State::Wrong);
    if context.json {
        output::json(&json!({ "attention": attention, "findings": findings }))?;
    } else {
        output::print(layout(findings).as_bytes())?;
    }
    match attention {
        true => Ok(Exit::Attention),
        false => Ok(Exit::Done),
    }
}

fn layout(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (state, style) = match finding.state {
            State::Ok => ("ok    ", output::GOOD),
            State::Note => ("note  ", output::WARNING),
            State::Wrong => ("WRONG ", output::WRONG),
        };
        let state = output::styled(state, style);
        // Writing to a String can't fail.
        let _ = writeln!(text, "{state}{}", output::tilde(&finding.what));
        if let Some(why) = &finding.why {
            let _ = writeln!(text, "      {}", output::tilde(why));
        }
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "      fix: {fix}");
        }
    }
    let wrong = findings.iter().filter(|f| f.state == State::Wrong).count();
    let _ = match wrong {
        0 => writeln!(text, "\nNothing is wrong."),
        1 => writeln!(text, "\n1 thing is wrong."),
        many => writeln!(text, "\n{many} things are wrong."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quote::quoted;

    #[test]
    fn what_is_wrong_has_its_reason_and_its_fix() {
        let findings = [
            Finding::ok("git", "git 2.47.3"),
            Finding::wrong("identity", "others can read /a b")
                .fix(format!("chmod 600 {}", quoted("/a b"))),
        ];
        assert_eq!(
            layout(&findings),
            "ok    git 2.47.3\nWRONG others can read /a b\n      fix: chmod 600 '/a b'\n\n\
             1 thing is wrong.\n"
        );
    }

    #[test]
    fn neither_a_token_nor_a_control_character_is_shown() {
        let token = "wit_84320813db95896baf7ab2a1ccdb0b6480e57b9d";
        let finding = Finding::wrong("x", format!("\u{1b}[2J{token}"))
            .why(token)
            .fix(token);
        assert!(!layout(&[finding]).contains(['\u{1b}', '3']));
    }
}
