//! `wit status`: who is logged in where, and what this machine keeps.

use std::fmt::Write;

use serde_json::{Value, json};

mod host;

use anstyle::Style;

use super::output::{self, GOOD, WARNING, WRONG, escaped};
use super::session::{self, ServerArgs};
use super::{Context, Exit, store};
use crate::api::database;
use crate::api::server::ServerUrl;
use crate::app::exec;
use crate::app::git_trust;
use crate::app::rotations::Rotations;
use crate::app::session::Selection;
use crate::app::status::{self, Answer, ServerStatus};
use crate::app::stored::{self, Default, Entry, Source, State};
use crate::config::Config;
use crate::credential::{AuthData, Credential, Site, TokenInfo};
use crate::expiry::{CLOCK_MARGIN, DAY, Expiry, OVERDUE, SOON, UnixTime};
use crate::helper::renewal;
use crate::item::Item;
use crate::quote::Suggestion;
use crate::rotation::journal::Journal;
use crate::sign_in::HostType;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask no server whether it still accepts what is stored
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let meant = Selection::from(&args.server);
    let status = status::gather(&context.paths, &meant, args.offline)?;
    let mut report = Report {
        text: String::new(),
        attention: false,
        style: None,
        now: UnixTime::now(),
        context,
        config: &status.config,
        renews: status.renews,
        journals: &status.journals,
        rotations: &status.rotations,
        unrevoked: &status.unrevoked,
    };
    let mut documents = Vec::new();
    for server in &status.servers {
        let ServerStatus {
            url,
            item,
            answer,
            failure,
            is_direct,
        } = server;
        let known = session::known(&status.config, url);
        if let Some(host) = known.and_then(|known| HostType::parse(known.host_type.as_deref()?)) {
            let url = url.to_string();
            let has_failed = |entry: &Credential| report.has_failed(entry, &url);
            let renewals = host::Renewals {
                failure: failure.as_deref(),
                renews: report.renews,
                now: report.now,
            };
            let shown = host::show(&url, host, item, answer, &renewals, has_failed);
            report.line(format!("\n{url}"));
            report.attention |= shown.attention;
            shown.lines.into_iter().for_each(|line| report.line(line));
            let mut document = shown.document;
            let site = url_site(&url);
            let entries = site.map(|site| stored::of_item(&site, item, &status.config, report.now));
            let of_git: Vec<Entry> = entries.into_iter().flatten().filter(is_of_git).collect();
            for entry in &of_git {
                report.line(format!(
                    "  Also for git: {}, not renewed",
                    self::of_git(entry)
                ));
            }
            document["others"] = of_git.iter().map(store::list::document).collect();
            let theirs = |entry: &&Credential| entry.token.is_some() && entry.sign_in.is_none();
            let tokens = item.credentials.0.iter().filter(theirs);
            let tokens = tokens.map(|entry| report.token(&url, entry, item, answer, false));
            document["tokens"] = tokens.collect();
            report.left_over(&url, item);
            document["pending"] = item.pending.len().into();
            document["previous"] = item.previous.len().into();
            documents.push(document);
            continue;
        }
        documents.push(report.server(url, item, answer, *is_direct));
    }
    let untrusted = git_trust::untrusted(&status.config);
    for one in &untrusted {
        let (server, fix) = (&one.server, one.fix());
        report.line(format!(
            "\ngit does not trust the certificates of --ca-file for {server} yet: {fix}"
        ));
    }
    report.attention |= !status.unreadable.is_empty();
    let untrusted: Vec<&str> = untrusted.iter().map(|one| one.server.as_str()).collect();
    let (location, shown) = (&status.location, output::tilde(&status.location));
    if context.json {
        output::json(&json!({
            "store": status.store,
            "location": location,
            "attention": report.attention,
            "warning": status.half_direct,
            "servers": documents,
            "untrustedByGit": untrusted,
            "otherCredentials": status.others.len(),
            "others": status.others.iter().map(store::list::document).collect::<Vec<_>>(),
            "problems": status.unreadable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        let warning = status.half_direct.map(|warning| format!("{warning}.\n"));
        let text = format!(
            "Secrets are kept in {shown}.\n{}{}{}",
            warning.unwrap_or_default(),
            report.text,
            others(&status.others)
        );
        output::print(text.as_bytes())?;
        for problem in &status.unreadable {
            eprintln!("warning: {problem}");
        }
    }
    match report.attention {
        true => Ok(Exit::Attention),
        false => Ok(Exit::Done),
    }
}

/// The site of a server.
fn url_site(url: &str) -> Option<Site> {
    let url = session::parse_url(url).ok()?;
    session::site_of(&url).ok()
}

/// Returns whether an entry is neither of a login nor a token that `wit` created.
fn is_of_git(entry: &Entry) -> bool {
    entry.state == State::Current && matches!(entry.source, Source::Git | Source::Imported)
}

/// The lines about credentials for sites where nobody is logged in.
fn others(entries: &[Entry]) -> String {
    /// The most that are shown.
    const MAX_SHOWN: usize = 10;
    if entries.is_empty() {
        return String::new();
    }
    let mut sites: Vec<&Site> = entries.iter().map(|entry| &entry.site).collect();
    sites.dedup();
    let number = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let credentials = output::counted(number(entries.len()), "credential");
    let sites = output::counted(number(sites.len()), "site");
    let mut text =
        format!("\nFor git: {credentials} for {sites} without a login; nothing renews them\n");
    for entry in entries.iter().take(MAX_SHOWN) {
        let place = store::list::place(entry);
        let _ = writeln!(text, "  {place}: {}", of_git(entry));
    }
    if entries.len() > MAX_SHOWN {
        let more = entries.len() - MAX_SHOWN;
        let _ = writeln!(text, "  and {more} more: wit store list");
    }
    text
}

/// A credential that git or an import stored, in a few words.
fn of_git(entry: &Entry) -> String {
    let username = entry.username.as_deref().map(String::from_utf8_lossy);
    let username = username.map_or_else(|| "no username".to_owned(), |name| escaped(&name));
    let source = match entry.source {
        Source::Git => "from git",
        source => source.name(),
    };
    let expiry = match entry.left {
        Some(left) if left <= 0 => ", expired".to_owned(),
        Some(left) => format!(", expires in {}", output::span(left)),
        None => String::new(),
    };
    let default = match entry.default {
        Default::AmongOthers => "; answers git where it names no user",
        Default::Alone | Default::No => "",
    };
    format!("{username}, {source}{expiry}{default}")
}

struct Report<'a> {
    text: String,
    attention: bool,
    /// Of the next line.
    style: Option<Style>,
    now: UnixTime,
    context: &'a Context,
    config: &'a Config,
    /// True if tokens are renewed at all.
    renews: bool,
    journals: &'a [Journal],
    rotations: &'a Rotations,
    unrevoked: &'a [exec::journal::Journal],
}

impl Report<'_> {
    /// One server's part of both forms of the answer.
    fn server(&mut self, url: &ServerUrl, item: &Item, answer: &Answer, direct: bool) -> Value {
        let name = url.to_string();
        let server = name.as_str();
        self.line(format!("\n{server}"));
        if let Some(problem) = &answer.problem {
            self.line(format!("  Not checked: {}", output::redacted(problem)));
        }
        if let Some(skew) = answer.skew.filter(|skew| skew.abs() >= CLOCK_MARGIN) {
            self.attend(WARNING);
            let clock = output::clock(skew, server);
            self.line(format!("  {clock}: sudo timedatectl set-ntp true"));
        }
        let log_in = Suggestion::new("wit login").arg(server);
        let mut sessions = Vec::new();
        for session in item.sessions.iter().filter(|held| held.server == server) {
            let accepted = answer.sessions.get(&session.account).copied();
            let account = escaped(&session.account);
            let is_soon = is_within(session.expiry, OVERDUE, self.now);
            let state = self.state(session.expiry, is_soon, &log_in);
            match (accepted, state) {
                (Some(false), _) => {
                    self.attend(WRONG);
                    self.line(format!(
                        "  Logged in as {account}, but the server no longer accepts it: {log_in}"
                    ));
                }
                (_, state) => {
                    if accepted == Some(true) && self.style.is_none() {
                        self.style = Some(GOOD);
                    }
                    let state = state.map(|state| format!(", {state}")).unwrap_or_default();
                    self.line(format!("  Logged in as {account}{state}"));
                }
            }
            sessions.push(json!({
                "account": session.account,
                "expiresAt": session.expiry.map(|expiry| output::rfc3339(expiry.0)),
                "accepted": accepted,
            }));
        }
        if sessions.is_empty() && direct {
            self.line(format!("  Managed directly in {}", database::SERVER));
        } else if sessions.is_empty() {
            self.attend(WRONG);
            self.line(format!("  Not logged in: {log_in}"));
            if answer.problem.is_some() && item.entries().next().is_none() {
                let forget = Suggestion::new("wit logout").arg(server);
                self.line(format!("  To forget this server: {forget}"));
            }
        }
        let mut tokens = Vec::new();
        for entry in &item.credentials.0 {
            tokens.push(self.token(server, entry, item, answer, direct));
        }
        self.left_over(server, item);
        json!({
            "server": server,
            "checked": answer.is_complete && answer.problem.is_none(),
            "problem": answer.problem,
            "clockSkew": answer.skew,
            "sessions": sessions,
            "tokens": tokens,
            "pending": item.pending.len(),
            "previous": item.previous.len(),
        })
    }

    /// Returns whether a token that replaces itself is due and its last renewal did not succeed.
    fn has_failed(&self, entry: &Credential, server: &str) -> bool {
        let site = session::parse_url(server).and_then(|url| session::site_of(&url));
        let days = renewal::days(self.config);
        days.is_some_and(|days| renewal::is_due(entry, days, self.now))
            && site.is_ok_and(|site| renewal::has_failed(&self.context.paths, &site, self.now))
    }

    /// Rotations that are not finished, and tokens that they, or commands, have left behind.
    fn left_over(&mut self, server: &str, item: &Item) {
        for record in self.unrevoked.iter().filter(|one| one.server == server) {
            let revoke = session::suggest("wit token revoke", self.config, server, &record.account);
            let revoke = revoke.last(record.token_id.as_ref().unwrap_or(&record.name));
            let name = escaped(&record.name);
            self.attend(WARNING);
            self.line(format!(
                "  {name} was not revoked after its command: {revoke}"
            ));
        }
        let mut left_over = Vec::new();
        for entry in &item.previous {
            let id = entry.token.as_ref().map(|token| token.id.as_str());
            let Some(left) = id.and_then(|id| self.rotations.grace(id)) else {
                left_over.push(entry);
                continue;
            };
            let name = entry.token.as_ref().map(|token| escaped(&token.name));
            self.line(format!(
                "  {}{}: {}",
                shown_prefix(entry),
                name.unwrap_or_default(),
                output::replaced(left)
            ));
        }
        let pending: Vec<&Credential> = item.pending.iter().collect();
        let mut said = Vec::new();
        for (entries, what) in [(pending, "unfinished"), (left_over, "replaced")] {
            if let Some(command) = self.end_of(&entries) {
                self.attend(WARNING);
                said.push(command.to_string());
                self.line(format!(
                    "  {} {what}, to be ended: {command}",
                    entries.len()
                ));
            }
        }
        for journal in self.journals {
            if journal.server != server || !journal.is_due(self.now) {
                continue;
            }
            let resume = "wit token rotate --resume";
            let resume = session::suggest(resume, self.config, server, &journal.account);
            if !said.contains(&resume.to_string()) {
                self.attend(WARNING);
                self.line(format!("  A rotation is not finished: {resume}"));
                said.push(resume.to_string());
            }
        }
    }

    /// Command that ends tokens that a rotation has left behind; `None` where there are none.
    fn end_of(&self, entries: &[&Credential]) -> Option<Suggestion> {
        let infos: Vec<&TokenInfo> = (entries.iter())
            .filter_map(|entry| entry.token.as_ref())
            .collect();
        let first = infos.first()?;
        let command = |words| session::suggest(words, self.config, &first.server, &first.account);
        let mut journals = self.journals.iter();
        if journals.any(|journal| journal.server == first.server) {
            return Some(command("wit token rotate --resume"));
        }
        Some(command("wit token revoke").args(infos.iter().map(|info| info.id.clone())))
    }

    /// Why a token is not renewed when its time comes, and what to type then.
    fn hindrance(
        &self,
        token: &TokenInfo,
        is_signed_in: bool,
    ) -> Option<(&'static str, Suggestion)> {
        let server = &token.server;
        let mut rotate = Suggestion::new("wit token rotate").option("--server", server);
        let known = self.config.servers.get(server);
        if known.is_some_and(|known| known.account.as_ref() != Some(&token.account)) {
            rotate = rotate.option("--account", &token.account);
        }
        let site = session::parse_url(server).and_then(|url| session::site_of(&url));
        let paused = |site| renewal::is_paused(&self.context.paths, &site, self.now);
        let log_in = Suggestion::new("wit login").arg(server);
        let host = known.and_then(|known| HostType::parse(known.host_type.as_deref()?));
        match () {
            () if host == Some(HostType::Forgejo) => {
                Some(("the host requires your password", rotate))
            }
            () if !self.renews => Some(("renewal is switched off", rotate)),
            () if !is_signed_in => Some(("the login is over", log_in.and(rotate))),
            () if site.is_ok_and(paused) => Some(("the last renewal failed", log_in.and(rotate))),
            () => None,
        }
    }

    fn token(
        &mut self,
        server: &str,
        entry: &Credential,
        item: &Item,
        answer: &Answer,
        direct: bool,
    ) -> Value {
        // Sooner than it is known here, as where it was replaced or shortened elsewhere.
        let sooner = (entry.token.as_ref())
            .and_then(|token| answer.ends.get(&token.id))
            .filter(|end| entry.is_sooner(**end));
        let by_server = sooner.map(|end| Credential {
            expiry: Some(*end),
            ..entry.clone()
        });
        let entry = by_server.as_ref().unwrap_or(entry);
        let username = entry.username.as_deref().map(String::from_utf8_lossy);
        let accepted = (entry.token.as_ref())
            .filter(|token| token.server == server)
            .and_then(|token| answer.tokens.get(&token.id).copied());
        let is_signed_in = direct
            || entry.token.as_ref().is_some_and(|token| {
                let refused = answer.sessions.get(&token.account) == Some(&false);
                let mut sessions = item.sessions.iter();
                !refused
                    && sessions.any(|session| {
                        session.server == token.server
                            && session.account == token.account
                            && !is_within(session.expiry, 0, self.now)
                    })
            })
            || entry.token.as_ref().is_some_and(|token| {
                let held = item.sign_in(&token.server, Some(&token.account));
                held.is_some()
            });
        let hindrance = (entry.token.as_ref())
            .filter(|_| is_within(entry.replace_by(), SOON, self.now))
            .and_then(|token| self.hindrance(token, is_signed_in));
        // One that is renewed in time needs nobody, however short its life.
        let is_soon = match &entry.token {
            Some(_) if hindrance.is_none() => renewal::is_due(entry, OVERDUE / DAY, self.now),
            _ => is_within(entry.expiry, OVERDUE, self.now),
        };
        let create = match &entry.token {
            Some(token) => {
                let words = "wit token create";
                let create = session::suggest(words, self.config, &token.server, &token.account);
                match is_signed_in {
                    true => create,
                    false => Suggestion::new("wit login").arg(&token.server).and(create),
                }
            }
            None => session::suggest_create(self.config, item, server, None),
        };
        let mut state = match accepted {
            Some(false) => {
                self.attend(WRONG);
                let is_over = is_within(entry.expiry, 0, self.now);
                let words = if is_over {
                    "expired"
                } else {
                    "revoked at the server"
                };
                Some(format!("{words}: {create}"))
            }
            _ => self.state(entry.expiry, is_soon, &create),
        };
        if let Some((reason, command)) = hindrance.clone()
            && entry.expiry.is_some()
            && accepted != Some(false)
            && !is_within(entry.expiry, 0, self.now)
        {
            self.attend(WARNING);
            state = state.map(|state| {
                let words = state.split(':').next().unwrap_or_default();
                format!("{words}, not renewed since {reason}: {command}")
            });
        }
        if let Some(end) = sooner.filter(|_| accepted == Some(true)) {
            self.attend(WARNING);
            let left = output::span(end.left(self.now).max(0));
            let what = "replaced or shortened on another machine";
            state = Some(format!("{what}, ends in {left}: {create}"));
        }
        if state.is_none() && entry.token.is_some() {
            state = Some("never expires".to_owned());
            if let Some(by) = entry.replace_by() {
                state = Some(self.replaced_by(by, hindrance));
            }
        }
        let site = session::parse_url(server).and_then(|url| session::site_of(&url));
        if entry.token.is_some() && site.is_ok_and(|site| !site.takes_tokens()) {
            self.attend(WARNING);
            let never = "never given to git: plain http";
            state = Some(state.map_or(never.to_owned(), |state| format!("{never}, {state}")));
        }
        let name = match (&entry.token, &username) {
            (Some(token), _) => token.name.clone(),
            (None, Some(username)) => format!("password of {username}"),
            (None, None) => "credential without a name".into(),
        };
        let scopes = entry.token.as_ref().map(|token| token.scopes.as_slice());
        let list = scopes.map(|scopes| escaped(&scopes.join(", ")));
        let facts: Vec<String> = list.into_iter().chain(state).collect();
        let facts = match facts.is_empty() {
            true => String::new(),
            false => format!(": {}", facts.join(", ")),
        };
        self.line(format!(
            "  {}{}{facts}",
            shown_prefix(entry),
            escaped(&name)
        ));
        json!({
            "name": entry.token.as_ref().map(|token| &token.name),
            "id": entry.token.as_ref().map(|token| &token.id),
            "username": username,
            "tokenPrefix": prefix(entry),
            "scopes": scopes,
            "expiresAt": entry.expiry.map(|expiry| output::rfc3339(expiry.0)),
            "replaceBy": (entry.token.as_ref())
                .and_then(|token| token.replace_by)
                .map(|by| output::rfc3339(by.0)),
            "accepted": accepted,
        })
    }

    /// The words for a token that its host lets live for ever, and this machine replaces.
    fn replaced_by(&mut self, by: Expiry, hindrance: Option<(&'static str, Suggestion)>) -> String {
        let date = output::date(by.0);
        match hindrance {
            None => format!("never expires, replaced by {date}"),
            Some((reason, command)) => {
                self.attend(WARNING);
                format!("never expires, to be replaced by {date}, but {reason}: {command}")
            }
        }
    }

    /// In words when it ends, with the command to type where that is soon; `None` where no end is
    /// known.
    fn state(
        &mut self,
        expiry: Option<Expiry>,
        is_soon: bool,
        command: &Suggestion,
    ) -> Option<String> {
        let expiry = expiry?;
        let left = expiry.left(self.now);
        let words = if left <= 0 {
            format!("expired {}", output::ago(expiry.0, self.now))
        } else {
            format!("expires in {}", output::until_end(left))
        };
        if !is_soon {
            return Some(words);
        }
        self.attend(if left <= 0 { WRONG } else { WARNING });
        Some(format!("{words}: {command}"))
    }

    /// The next line says something that needs attention.
    fn attend(&mut self, style: Style) {
        self.attention = true;
        self.style = Some(style);
    }

    fn line(&mut self, line: String) {
        let line = match self.style.take() {
            Some(style) => output::styled(&line, style),
            None => line,
        };
        // Writing to a String can't fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Returns whether something ends within so many seconds, or has.
fn is_within(expiry: Option<Expiry>, seconds: i64, now: UnixTime) -> bool {
    expiry.is_some_and(|expiry| expiry.left(now) <= seconds)
}

/// The prefix as it stands before a name.
fn shown_prefix(entry: &Credential) -> String {
    let prefix = prefix(entry).map(|prefix| format!("{prefix}...  "));
    prefix.unwrap_or_default()
}

/// The 8 characters of a token that people see; of any other password, nothing.
fn prefix(entry: &Credential) -> Option<String> {
    let AuthData::Password(secret) = &entry.auth else {
        return None;
    };
    let text = secret.expose_str()?;
    let known = text.starts_with("wit_") && text.len() == 44;
    known.then(|| escaped(text.get(..8).unwrap_or_default()))
}
