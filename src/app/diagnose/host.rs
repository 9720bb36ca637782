//! A git host: whether it is there, and how its sign-ins are renewed.

use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::api::ApiError;
use crate::api::http::Client;
use crate::api::server::ServerUrl;
use crate::config::Config;
use crate::config::Paths;
use crate::credential::Credential;
use crate::expiry::UnixTime;
use crate::helper::refresh;
use crate::sign_in::{HostType, SignIn, Upkeep};
use crate::store::{self, Store};

/// Time limit for the host's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A git host, and what is stored for it.
#[derive(Debug)]
pub struct Facts {
    url: String,
    host: HostType,
    /// True if it answers anything at all; no secret goes there.
    reached: Result<(), ApiError>,
    sign_ins: Vec<Held>,
    /// True if it is known what is stored.
    is_read: bool,
    /// Why the last refresh failed.
    failure: Option<String>,
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
        let site = server.site()?;
        let item = store.and_then(|store| store::load(store, &site).ok());
        let held = |entry: &Credential| {
            let sign_in = entry
                .sign_in
                .clone()
                .filter(|sign_in| sign_in.server == url)?;
            Some(Held {
                is_refreshable: entry.is_refreshable(),
                is_expired: entry.is_expired(now),
                sign_in,
            })
        };
        let entries = item.iter().flat_map(|item| &item.credentials.0);
        Some(Facts {
            sign_ins: entries.filter_map(held).collect(),
            is_read: item.is_some(),
            reached: reached(server, known.ca_file.as_deref()),
            failure: refresh::last_failure(paths, &site),
            host,
            url,
        })
    }
}

/// Returns whether a server answers anything at all. What it is asked for does not matter.
fn reached(server: &ServerUrl, ca_file: Option<&Path>) -> Result<(), ApiError> {
    let client = Client::trusting(server, false, ca_file)?.within(ANSWER_TIMEOUT);
    match client.head("/") {
        Err(
            error @ (ApiError::Unreachable { .. }
            | ApiError::Lost { .. }
            | ApiError::PlainHttp { .. }),
        ) => Err(error),
        _ => Ok(()),
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
                .fix("check the network and proxy, or --ca-file for a certificate of your own"),
        ),
    }
    if facts.sign_ins.is_empty() && facts.is_read {
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
                    .fix(&login)
            }
            Upkeep::Refresh(_) if held.is_expired && facts.failure.is_some() => {
                let reason = facts.failure.as_deref().unwrap_or_default();
                let what = format!("the access of {who} to {url} has expired: {reason}");
                Finding::wrong("login", what)
                    .why("the server did not renew it; wit status tries again")
                    .fix(&login)
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
                    .fix(&login)
            }
            _ => Finding::ok("login", format!("signed in to {url} as {who}")),
        };
        findings.push(finding);
    }
    findings
}
