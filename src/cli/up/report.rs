//! Report of `wit up` about a server, and the record of it for other commands.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use url::Url;

use super::command;
use super::options::Start;
use crate::cli::output::{self, quoted};
use crate::cli::session::parse_url;
use crate::cli::{Context, Exit};
use crate::config::{self, Config};
use crate::database::Database;
use crate::platform::instance::Running;
use crate::platform::last_start::LastStart;
use crate::platform::tls::{self, Refused};
use crate::platform::{self, Ready};

/// Says that there is a server.
pub fn already(
    running: &Running,
    args: &Start,
    data_dir: &Path,
    context: &Context,
) -> anyhow::Result<Exit> {
    let url = url(running.address, running.is_tls)?;
    // Read anew: that server may have started just now.
    let last = LastStart::read(data_dir)?;
    let is_new = |name: &String| !has_account(name, data_dir);
    let ignored =
        args.ask_more(running.address, data_dir, &last) || args.user.as_ref().is_some_and(is_new);
    if context.json {
        output::json(&json!({
            "url": url,
            "dataDir": data_dir,
            "alreadyRunning": true,
            "optionsIgnored": ignored,
        }))?;
    } else {
        let place = output::tilde(&data_dir.display().to_string());
        output::print(format!("wit already runs at {url} (data in {place})\n").as_bytes())?;
    }
    if !ignored {
        return Ok(Exit::Done);
    }
    eprintln!("warning: already running; the new options were ignored");
    let stop = command::stop(data_dir, context);
    let hint: String = stop.text(", then run the same command again").into();
    eprintln!("hint: {hint}");
    Ok(Exit::Unfinished)
}

/// Returns whether the server's database has an account of that name, as far as it can be read.
fn has_account(name: &str, data_dir: &Path) -> bool {
    let Ok(runtime) = super::runtime() else {
        return false;
    };
    let found = runtime.block_on(async {
        let database = match config::variable("DATABASE_URL") {
            Some(url) => Database::connect_postgres(&url).await?,
            None => Database::connect_sqlite(&platform::sqlite_file(data_dir)).await?,
        };
        database.user_named(name).await
    });
    matches!(found, Ok(Some(_)))
}

/// Says that sign-up is open again, which nobody need have meant.
pub fn warn_of_sign_up(args: &Start, data_dir: &Path, last: &LastStart, context: &Context) {
    if !args.serving.no_sign_up && last.no_sign_up {
        eprintln!(
            "warning: anyone who reaches the server can sign up now; the last start had --no-sign-up"
        );
        let [down, up] =
            ["wit down", "wit up"].map(|words| command::about(words, data_dir, context));
        eprintln!("hint: {down}, then {}", up.arg("--no-sign-up"));
    }
}

/// Writes the server into the config, so that no other command needs to be told of it. It takes
/// the place of an earlier address of its own; whether somebody was logged in there is answered.
pub fn remember(ready: &Ready, data_dir: &Path, context: &Context) -> anyhow::Result<bool> {
    let url = url(ready.address, ready.is_tls)?;
    Config::update(&context.paths, |config| {
        let earlier = config
            .servers
            .iter()
            .filter(|(other, known)| **other != url && known.data_dir.as_deref() == Some(data_dir));
        let earlier: Vec<(String, bool)> = earlier
            .map(|(other, known)| (other.clone(), known.account.is_some()))
            .collect();
        let was_default = (config.default_server.as_ref())
            .is_some_and(|default| earlier.iter().any(|(other, _)| other == default));
        for (other, _) in &earlier {
            config.forget(other);
        }
        let has_login = config.logins().next().is_some();
        let known = config.servers.entry(url.clone()).or_default();
        known.api.get_or_insert_with(|| "rest".to_owned());
        known.data_dir = Some(data_dir.to_owned());
        if was_default || !has_login {
            config.default_server.get_or_insert(url);
        }
        earlier.iter().any(|(_, logged_in)| *logged_in)
    })
    .context("can't write the server into the config")
}

/// Says that clients refuse the certificate of a server: nobody else would be told.
pub fn warn_of_certificate(file: &Path) {
    let Some(reason) = tls::Facts::read(file).and_then(|facts| facts.refused()) else {
        return;
    };
    eprintln!(
        "warning: clients refuse the certificate in {}: {reason}",
        file.display()
    );
    match reason {
        Refused::Authority => eprintln!(
            "hint: make one for a server, such as by openssl req -x509 with \
             -addext basicConstraints=critical,CA:FALSE"
        ),
        _ => eprintln!("hint: replace it; the server follows its file"),
    }
}

/// URL by which other machines reach a server: the one that it was given, else by a name of its
/// certificate, else by this machine's name. `None` where only this machine reaches it.
pub fn shared_url(
    address: SocketAddr,
    is_tls: bool,
    public_url: Option<&str>,
    certificate: Option<&Path>,
) -> anyhow::Result<Option<String>> {
    if let Some(url) = public_url {
        return Ok(Some(parse_url(url)?.to_string()));
    }
    match address.ip().to_canonical() {
        ip if ip.is_loopback() => return Ok(None),
        ip if !ip.is_unspecified() => return Ok(Some(url(address, is_tls)?)),
        _ => {}
    }
    let named = certificate.and_then(|file| tls::Facts::read(file)?.name());
    let own = || hostname::get().ok()?.into_string().ok();
    let scheme = if is_tls { "https" } else { "http" };
    let url = |name| parse_url(&format!("{scheme}://{name}:{}", address.port())).ok();
    Ok(named.or_else(own).and_then(url).map(|url| url.to_string()))
}

pub fn report(
    ready: &Ready,
    moved: bool,
    args: &Start,
    data_dir: &Path,
    context: &Context,
) -> anyhow::Result<()> {
    let own_url = url(ready.address, ready.is_tls)?;
    let certificate = args.serving.tls_cert.as_deref();
    let public = args.serving.public_url.as_ref().map(Url::as_str);
    let shared = shared_url(ready.address, ready.is_tls, public, certificate)?;
    if let Some(file) = certificate {
        warn_of_certificate(file);
    }
    // A login checks the name in the certificate.
    let ip = platform::reached_at(ready.address).ip().to_string();
    let facts = certificate.and_then(tls::Facts::read);
    let url = match (&shared, facts) {
        (Some(shared), Some(facts)) if !facts.covers(&ip) => shared.clone(),
        _ => own_url.clone(),
    };
    let about = |words| command::about(words, data_dir, context);
    let next = match (&args.user, &ready.password_file) {
        (Some(user), Some(file)) => Some(format!(
            "wit login {url} --username {user} --password-stdin < {}",
            quoted(file)
        )),
        _ if ready.is_empty && args.serving.no_sign_up => {
            let up = about("wit up").args(["--no-sign-up", "--user", "you"]);
            Some(about("wit down").and(up).to_string())
        }
        _ if ready.is_empty => Some(format!(
            "wit login {url} --sign-up --email you@example.com --username you"
        )),
        _ if moved => Some(format!("wit login {url}")),
        _ => None,
    };
    let remembered: Vec<String> = (args.serving.remembered.iter())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // A URL that the person has set himself may hold a password; he knows it.
    let database_url = match config::variable("DATABASE_URL") {
        Some(_) => None,
        None => Some(format!(
            "sqlite:{}",
            platform::sqlite_file(data_dir).display()
        )),
    };
    if context.json {
        return Ok(output::json(&json!({
            "url": own_url,
            "sharedUrl": shared,
            "dataDir": data_dir,
            "alreadyRunning": false,
            "next": next,
            "databaseUrl": database_url,
            "userId": ready.user_id,
            "passwordFile": ready.password_file,
            "userExisted": ready.is_user_old,
            "remembered": remembered,
        }))?);
    }
    let place = output::tilde(&data_dir.display().to_string());
    let mut text = format!("wit runs at {own_url}\n");
    if let Some(shared) = shared.filter(|shared| *shared != own_url) {
        text += &format!("For other machines: {shared}\n");
    }
    text += &format!("Data directory: {place}\n");
    if !remembered.is_empty() {
        let words: Vec<String> = remembered.iter().map(quoted).collect();
        let words = words.join(" ");
        let forget = about("wit up").arg("--defaults");
        text += &format!("Options of the last start: {words} ({forget} forgets them)\n");
    }
    if ready.is_user_old {
        text += "The account of --user already exists and was not changed\n";
    }
    if let Some(next) = next {
        let what = match (ready.is_empty, &ready.password_file) {
            (true, _) => "Create an account",
            (_, Some(_)) => "Log in to the account that was created",
            _ => "Log in at its new address",
        };
        text += &format!("\n{what}:\n\n  {next}\n");
    }
    if let (Some(id), Some(_)) = (&ready.user_id, &args.user) {
        text += "\nTo manage tokens in the database directly, without the server:\n\n";
        if let Some(url) = database_url {
            text += &format!("  export DATABASE_URL={}\n", quoted(url));
        }
        text += &format!("  export WIT_USER_ID={id}\n");
    }
    Ok(output::print(text.as_bytes())?)
}

/// URL by which this machine reaches the server, as every command writes it.
pub fn url(address: SocketAddr, is_tls: bool) -> anyhow::Result<String> {
    let scheme = if is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", platform::reached_at(address));
    Ok(parse_url(&url)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_the_one_that_commands_write() {
        for (address, is_tls, expected) in [
            ("127.0.0.1:3000", false, "http://127.0.0.1:3000"),
            ("127.0.0.1:80", false, "http://127.0.0.1"),
            ("0.0.0.0:443", true, "https://127.0.0.1"),
            ("[::]:443", false, "http://[::1]:443"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(url(address, is_tls).expect("a URL"), expected);
        }
    }
}
