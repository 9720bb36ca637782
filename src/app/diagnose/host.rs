//! A git host: whether it is there, and how its sign-ins are renewed.

use super::Finding;
use crate::api::ApiError;
use crate::api::http::Auth;
use crate::api::server::ServerUrl;
use crate::config::Config;
use crate::config::Paths;
use crate::credential::Credential;
use crate::expiry::UnixTime;
use crate::helper::refresh;
use crate::oauth::discovery;
use crate::oauth::{OAuthError, Reach};
use crate::sign_in::{HostType, SignIn, Upkeep};
use crate::store::{self, Store};

/// A git host, and what is stored for it.
#[derive(Debug)]
pub struct Facts {
    url: String,
    host: HostType,
    /// Whether it answers anything at all; no secret goes there.
    reached: Result<(), ApiError>,
    sign_ins: Vec<Held>,
    /// Why the last refresh failed, a moment ago.
    paused: Option<String>,
}

#[derive(Debug)]
struct Held {
    sign_in: SignIn,
    is_refreshable: bool,
    is_expired: bool,
}

impl Facts {
    /// `None` for a server that is no git host, of which another part asks.
    pub fn gather(
        server: &ServerUrl,
        config: &Config,
        store: Option<&dyn Store>,
        paths: &Paths,
        now: UnixTime,
    ) -> Option<Self> {
        let url = server.to_string();
        let known = config.servers.get(&url)?;
        let host = HostType::parse(known.host_type.as_deref()?)?;
        let reach = Reach {
            ca_file: known.ca_file.clone(),
            limit: None,
        };
        let site = server.site()?;
        let item = store.and_then(|store| store::load(store, &site).ok());
        let held = |entry: &Credential| {
            let sign_in = entry
                .sign_in
                .clone()
                .filter(|sign_in| sign_in.server == url)?;
            Some(Held {
                is_refreshable: entry.is_refreshable(),
                is_expired: entry.is_over(now),
                sign_in,
            })
        };
        let entries = item.iter().flat_map(|item| &item.credentials.0);
        Some(Facts {
            sign_ins: entries.filter_map(held).collect(),
            reached: match discovery::get(&server.at("/"), Auth::Nobody, &reach) {
                Ok(_) => Ok(()),
                Err(OAuthError::Api(error)) => Err(error),
                Err(_) => Ok(()),
            },
            paused: refresh::paused(paths, &site, now),
            host,
            url,
        })
    }
}

/// The findings about a git host.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let Facts { url, host, .. } = facts;
    let mut login = format!("wit login {url}");
    let mut findings = Vec::new();
    match &facts.reached {
        Ok(()) => findings.push(Finding::ok("server", format!("{url} answers ({host})"))),
        Err(error) => findings.push(
            Finding::wrong("server", error.to_string())
                .why("git can't reach it either, and no access token is refreshed")
                .cure("check the network and proxy, or --ca-file for a certificate of your own"),
        ),
    }
    if facts.sign_ins.is_empty() {
        findings.push(Finding::note(
            "login",
            format!("not logged in to {url}: {login}"),
        ));
    }
    for held in &facts.sign_ins {
        let sign_in = &held.sign_in;
        let who = sign_in.account.as_deref().unwrap_or("an unnamed account");
        login = format!("wit login {}", sign_in.login_words().join(" "));
        let finding = match &sign_in.upkeep {
            _ if sign_in.ended => {
                Finding::wrong("login", format!("the sign-in to {url} as {who} has ended"))
                    .why(match sign_in.upkeep {
                        Upkeep::Mint(_) => {
                            "the app's key was deleted, or it is not installed there any more"
                        }
                        _ => "the server did not renew it: it was revoked, or not used for long",
                    })
                    .cure(&login)
            }
            Upkeep::Refresh(_) if held.is_refreshable => Finding::ok(
                "login",
                format!("signed in to {url} as {who}, renewed automatically"),
            ),
            Upkeep::Mint(app) => Finding::ok(
                "login",
                format!(
                    "signed in to {url} as {who} by the app {} ({}), installed at {} ({}), renewed automatically",
                    app.slug, app.id, app.owner, app.installation
                ),
            ),
            _ if held.is_expired => {
                Finding::wrong("login", format!("the token of {who} for {url} has expired"))
                    .why("nothing renews it")
                    .cure(&login)
            }
            _ => Finding::ok("login", format!("signed in to {url} as {who}")),
        };
        findings.push(finding);
    }
    if let Some(reason) = &facts.paused {
        findings.push(
            Finding::wrong(
                "refresh",
                format!("the last refresh at {url} failed: {reason}"),
            )
            .why("git is given no access token until it succeeds")
            .cure(format!("wait a minute, or: {login}")),
        );
    }
    findings
}
