//! Exit codes and hints of a sign-in at a git host.

use super::{AtHost, Kind, api, log_in, session, store};
use crate::api::server::ServerUrl;
use crate::app::host_login::{At, HostLoginError};
use crate::cli::Exit;
use crate::hosts::github_app::ID_PAGE;
use crate::hosts::{self, BuiltInClient};
use crate::oauth::OAuthError;
use crate::quote::{Hint, Suggestion};
use crate::sign_in::HostType;

/// The exit code and the hint; `None` for what is known by its cause only.
pub fn host_login(error: &HostLoginError, at: Option<&AtHost>) -> Option<Kind> {
    let (exit, hint) = match error {
        HostLoginError::Unknown(server) => {
            let login = Suggestion::new("wit login").arg(server.to_string());
            let login = login.option("--host-type", "TYPE");
            let paste = again(server).args(["--host-type", "oauth", "--paste-token"]);
            let hint = Hint::from("check the address, or name its type: ").command(&login);
            let hint = hint.text("; for a token of any other server: ");
            (Exit::Usage, hint.command(&paste))
        }
        HostLoginError::Generic { server, .. } => {
            let paste = again(server).args(["--username", "NAME", "--paste-token"]);
            let hint = Hint::from("git asks for both itself; to store a token now: ");
            (Exit::Usage, hint.command(&paste))
        }
        HostLoginError::NoOrganization(server) => {
            let url = format!("{server}/ORGANIZATION");
            (Exit::Usage, log_in(&url).into())
        }
        HostLoginError::NotRecognized(server, _) => (
            Exit::Failed,
            Hint::from("try again later, or name its type: ")
                .command(&again(server).args(["--host-type", "TYPE"])),
        ),
        HostLoginError::NoClient(At { server, host }) => {
            let built_in = match hosts::built_in_client(*host) {
                Some(client) => format!(
                    "; or --client-id {}, which {} shows as \"{}\"",
                    BuiltInClient::WORD,
                    host.title(),
                    client.name
                ),
                None => String::new(),
            };
            let page = hosts::tokens_page(*host, server);
            let page = page.map(|page| format!(" from {page}")).unwrap_or_default();
            let register = register(*host, server);
            let hint = Hint::from(format!("{register}{built_in}; or paste a token{page}: "))
                .command(&again(server).arg("--paste-token"))
                .text("; in a script --token-stdin");
            (Exit::Usage, hint)
        }
        HostLoginError::NoBuiltInClient(At { server, host }) => {
            (Exit::Usage, register(*host, server).into())
        }
        HostLoginError::UnknownClient(At { server, host }) => {
            (Exit::NotLoggedIn, check(*host, server))
        }
        HostLoginError::NoEndpoints(server) => {
            let key = format!("credential.{server}.oauthTokenURL");
            let config = Suggestion::new("git config --global").arg(key).arg("URL");
            let hint = Hint::from(config).text(", and oauthAuthURL or oauthDeviceAuthURL");
            (Exit::Failed, hint)
        }
        HostLoginError::Grant(At { server, host }, error) => {
            (Exit::NotLoggedIn, grant(server, *host, error))
        }
        HostLoginError::NotAToken => (
            Exit::Usage,
            "paste the token alone, without spaces or quotes".into(),
        ),
        HostLoginError::TokenRefused(_, page) => {
            let hint = match page {
                Some(page) => format!("create one at {page}"),
                None => "create a new one at the server".to_owned(),
            };
            (Exit::NotLoggedIn, hint.into())
        }
        HostLoginError::NoApi(At { server, host }) => {
            let command = again(server).args(["--host-type", "TYPE", "--token-stdin"]);
            let hint = Hint::from(format!("is it {}? ", host.title())).command(&command);
            (Exit::Failed, hint)
        }
        HostLoginError::TokenUnchecked(server, _) => (
            Exit::Failed,
            Hint::from("try again: ").command(&again(server).arg("--token-stdin")),
        ),
        HostLoginError::NoPassword(At { server, .. }) => {
            (Exit::Usage, again(server).arg("--token-stdin").into())
        }
        HostLoginError::WrongPassword(server) => (
            Exit::NotLoggedIn,
            Hint::from(again(server).arg("--token-stdin")).text(" takes a token instead"),
        ),
        HostLoginError::NoApps(At { server, .. }) => (Exit::Usage, again(server).into()),
        HostLoginError::BadAppId => (Exit::Usage, ID_PAGE.into()),
        HostLoginError::BadPermission(_) => (
            Exit::Usage,
            "--permissions contents:write,workflows:write".into(),
        ),
        HostLoginError::BadRepository { .. } => (Exit::Usage, "--repositories hello,world".into()),
        HostLoginError::NoKey(server, id) => (Exit::Usage, with_key(server, id).into()),
        HostLoginError::AppRefused { server, id, .. } => (
            Exit::NotLoggedIn,
            Hint::from("the app's page lists its keys and creates one: ")
                .command(&with_key(server, id)),
        ),
        HostLoginError::AppTokenRefused { pages, .. } => {
            let hint =
                format!("choose others with --repositories and --permissions, or see {pages}");
            (Exit::Failed, hint.into())
        }
        HostLoginError::NotInstalled {
            server,
            id,
            page,
            is_key_stored,
            ..
        } => {
            let hint = Hint::from(format!("install it at {page}, then: "));
            let command = by_app(server, id, *is_key_stored);
            (Exit::NotLoggedIn, hint.command(&command))
        }
        HostLoginError::Suspended { pages, .. } => {
            (Exit::NotLoggedIn, format!("see {pages}").into())
        }
        HostLoginError::SeveralInstallations {
            server,
            id,
            owners,
            is_key_stored,
            ..
        } => {
            let owner = owners.first().map_or("NAME", String::as_str);
            let command = by_app(server, id, *is_key_stored);
            (Exit::Usage, command.option("--owner", owner).into())
        }
        HostLoginError::EndedTogether(server) => (
            Exit::NotLoggedIn,
            Hint::from("sign in once more: ").command(&again(server)),
        ),
        HostLoginError::Session(error) => return Some(session(error, at)),
        HostLoginError::Store(error) => return Some(store(error)),
        HostLoginError::Api(error) => return Some(api(error, at)),
        // Their causes say it.
        HostLoginError::GitConfig(_)
        | HostLoginError::Ask(_)
        | HostLoginError::Config(_)
        | HostLoginError::OAuth(_) => return None,
    };
    Some((exit, Some(hint)))
}

fn again(server: &ServerUrl) -> Suggestion {
    log_in(&server.to_string())
}

/// The login of an app once more. A key that was given is not stored yet.
fn by_app(server: &ServerUrl, id: &str, is_key_stored: bool) -> Suggestion {
    match is_key_stored {
        true => again(server).option("--app-id", id),
        false => with_key(server, id),
    }
}

fn with_key(server: &ServerUrl, id: &str) -> Suggestion {
    let command = again(server).option("--app-id", id);
    command.option("--private-key", "FILE")
}

/// Instructions for registering a client.
pub fn register(host: HostType, server: &ServerUrl) -> String {
    let registration = hosts::registration(host, server);
    let login = again(server);
    let (place, login) = match (registration.page, host) {
        (_, HostType::Azure) => {
            return "configure an application of your directory (docs/hosts/azure-devops.md)"
                .to_owned();
        }
        (_, HostType::Bitbucket) => (
            "in the settings of a workspace, OAuth consumers".to_owned(),
            login.args(["--client-id", "KEY", "--client-secret-stdin"]),
        ),
        (Some(page), _) => (format!("at {page}"), login.args(["--client-id", "ID"])),
        (None, _) => (
            "at the server".to_owned(),
            login.args(["--client-id", "ID"]),
        ),
    };
    format!(
        "register a client {place} (redirect {}, {}), then: {login}",
        registration.redirect, registration.boxes,
    )
}

fn check(host: HostType, server: &ServerUrl) -> Hint {
    let registration = hosts::registration(host, server);
    format!("check the client's registration: {}", registration.boxes).into()
}

/// The next command after a grant that was not given.
fn grant(server: &ServerUrl, host: HostType, error: &OAuthError) -> Hint {
    let login = again(server);
    match error {
        OAuthError::Unsupported { what } if *what == "device flow" => {
            Hint::from(login.arg("--browser")).text(", or --token-stdin")
        }
        OAuthError::Unsupported { .. } => {
            Hint::from(login.arg("--device")).text(", or --token-stdin")
        }
        OAuthError::Refused { code, .. } => match code.as_str() {
            "device_flow_disabled" | "unauthorized_client" => check(host, server),
            "invalid_client" | "incorrect_client_credentials" => {
                let with_secret = login.args(["--client-id", "ID", "--client-secret-stdin"]);
                check(host, server)
                    .text("; of a confidential client give the secret: ")
                    .command(&with_secret)
            }
            "invalid_scope" => login.args(["--scopes", "SCOPES"]).into(),
            _ => login.into(),
        },
        OAuthError::Listen(_) => match hosts::endpoints(host, server) {
            Some(endpoints) if endpoints.device.is_none() => login.arg("--paste-token").into(),
            _ => login.arg("--device").into(),
        },
        OAuthError::Unattended {
            has_device_flow: true,
        } => Hint::from(login.arg("--device")).text(", or --token-stdin"),
        OAuthError::Unattended { .. } => login.arg("--token-stdin").into(),
        OAuthError::Issuer { .. } | OAuthError::Endpoint { .. } => "wit login --help".into(),
        OAuthError::Denied
        | OAuthError::Expired
        | OAuthError::ExpiredUnanswered(_)
        | OAuthError::State
        | OAuthError::NoRedirect
        | OAuthError::SlowDown { .. }
        | OAuthError::Ended { .. }
        | OAuthError::Api(_) => login.into(),
    }
}
