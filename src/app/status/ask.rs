//! Asks all servers at once whether they still accept what this machine stores for them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::http::Client;
use crate::api::server::ServerUrl;
use crate::api::{ApiError, Token, TokenApi, login, self_token};
use crate::app::session::{self, Selection};
use crate::config::Config;
use crate::credential::{AuthData, Credential, TokenInfo};
use crate::expiry::{Expiry, UnixTime};
use crate::hosts::account;
use crate::item::{Item, Session};
use crate::oauth::{OAuthError, Reach};
use crate::progress;
use crate::secret::Secret;
use crate::sign_in::{HostType, Upkeep};

/// Time limit for all servers together: they are asked at the same time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that one server is asked about.
pub struct Question {
    server: ServerUrl,
    config: Config,
    meant: Selection,
    /// Those that have not expired by this machine's clock.
    sessions: Vec<Session>,
    tokens: Vec<Stored>,
    /// Type, if it is not a wit server.
    host: Option<HostType>,
    sign_ins: Vec<SignedIn>,
}

/// An access token, or one that was created elsewhere, of a sign-in at a git host.
struct SignedIn {
    /// The number of its entry in the item.
    number: usize,
    secret: Secret,
    is_pasted: bool,
}

/// A token that git is given.
struct Stored {
    id: String,
    account: String,
    secret: Secret,
}

impl Question {
    pub fn new(server: &ServerUrl, item: &Item, config: &Config, meant: &Selection) -> Self {
        let (name, now) = (server.to_string(), UnixTime::now());
        let is_alive = |session: &&Session| {
            session.server == name && session.expiry.is_none_or(|expiry| !expiry.is_expired(now))
        };
        Question {
            server: server.clone(),
            config: config.clone(),
            meant: meant.clone(),
            sessions: item.sessions.iter().filter(is_alive).cloned().collect(),
            tokens: (item.credentials.0.iter())
                .filter_map(|entry| stored(entry, &name))
                .collect(),
            host: session::known(config, server)
                .and_then(|known| HostType::parse(known.host_type.as_deref()?)),
            sign_ins: (item.credentials.0.iter().enumerate())
                .filter_map(|(number, entry)| signed_in(number, entry, &name, now))
                .collect(),
        }
    }
}

fn stored(entry: &Credential, server: &str) -> Option<Stored> {
    // A git host is not asked.
    let is_theirs = |token: &&TokenInfo| token.server == server && entry.sign_in.is_none();
    let token = entry.token.as_ref().filter(is_theirs)?;
    let AuthData::Password(secret) = &entry.auth else {
        return None;
    };
    Some(Stored {
        id: token.id.clone(),
        account: token.account.clone(),
        secret: secret.clone(),
    })
}

fn signed_in(number: usize, entry: &Credential, server: &str, now: UnixTime) -> Option<SignedIn> {
    let sign_in = entry.sign_in.as_ref()?;
    if sign_in.server != server || sign_in.ended || entry.is_expired(now) {
        return None;
    }
    let AuthData::Password(secret) = &entry.auth else {
        return None;
    };
    Some(SignedIn {
        number,
        secret: secret.clone(),
        is_pasted: !entry.is_refreshable() && !matches!(sign_in.upkeep, Upkeep::Refresh(_)),
    })
}

/// Answer of a server, as far as it came in time.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Server clock minus this machine's, in seconds.
    pub skew: Option<i64>,
    /// True if the session of an account is accepted.
    pub sessions: BTreeMap<String, bool>,
    /// True if the token of an id is accepted.
    pub tokens: BTreeMap<String, bool>,
    /// When the token of an id ends, as the server has it.
    pub ends: BTreeMap<String, Expiry>,
    /// True if the token of a sign-in is accepted, by the number of its entry.
    pub sign_ins: BTreeMap<usize, bool>,
    /// Why something was not checked.
    pub problem: Option<String>,
    /// True if all was asked.
    pub is_complete: bool,
}

/// Asks each question, all of them at once. A server that takes longer is not waited for.
pub fn all(questions: Vec<Question>) -> Vec<Answer> {
    let late = || Answer {
        problem: Some(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        ..Answer::default()
    };
    let mut answers: Vec<Answer> = questions.iter().map(|_| late()).collect();
    let mut left = questions.len();
    let (send, receive) = mpsc::channel();
    let end = Instant::now() + ANSWER_TIMEOUT;
    progress::during("Asking the servers", || {
        for (number, question) in questions.into_iter().enumerate() {
            let send = send.clone();
            // Not joined: one that is too slow ends with the program.
            thread::spawn(move || ask(&question, &Progress { number, send }));
        }
        drop(send);
        while left > 0
            && let Ok((number, answer)) =
                receive.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            let answer: Answer = answer;
            left -= usize::from(answer.is_complete);
            let problem = match answer.is_complete {
                true => answer.problem,
                false => answer.problem.or(late().problem),
            };
            if let Some(known) = answers.get_mut(number) {
                *known = Answer { problem, ..answer };
            }
        }
    });
    answers
}

struct Progress {
    number: usize,
    send: Sender<(usize, Answer)>,
}

impl Progress {
    /// That nobody waits any more is no failure.
    fn tell(&self, answer: &Answer) {
        let _ = self.send.send((self.number, answer.clone()));
    }
}

fn ask(question: &Question, progress: &Progress) {
    let mut answer = Answer::default();
    if let Err(error) = check(question, &mut answer, progress) {
        answer.problem = Some(error.to_string());
    }
    answer.is_complete = true;
    progress.tell(&answer);
}

fn check(question: &Question, answer: &mut Answer, progress: &Progress) -> Result<(), ApiError> {
    let Question { server, config, .. } = question;
    if let Some(host) = question.host {
        return check_host(question, host, answer, progress);
    }
    if session::is_direct(config, server)
        && let Ok(Some((direct, account))) = session::direct()
    {
        note(question, answer, &account, &direct.list()?);
    }
    if question.sessions.is_empty() && question.tokens.is_empty() {
        return clock(question, answer);
    }
    let client = match session::client(config, server, &question.meant) {
        Ok(client) => Rc::new(client.within(ANSWER_TIMEOUT)),
        Err(error) => {
            clock(question, answer)?;
            return Err(error);
        }
    };
    // One that is unknown is told by the commands that need it.
    let form = session::form(config, server).unwrap_or(None);
    for session in &question.sessions {
        let listed = login::token_api(&client, &session.token, form).and_then(|api| api.list());
        answer.skew = client.clock_skew();
        match listed {
            Ok(tokens) => {
                answer.sessions.insert(session.account.clone(), true);
                note(question, answer, &session.account, &tokens);
            }
            Err(ApiError::Unauthorized) => {
                answer.sessions.insert(session.account.clone(), false);
            }
            Err(error) => return Err(error),
        }
        progress.tell(answer);
    }
    // Only these are asked about by themselves: that counts as a use of the token.
    for token in &question.tokens {
        if answer.tokens.contains_key(&token.id) {
            continue;
        }
        let accepted = is_accepted(&client, &token.secret);
        answer.skew = client.clock_skew();
        let is_accepted = accepted?;
        answer.tokens.insert(token.id.clone(), is_accepted);
        // A server that does not speak of it says nothing new.
        if is_accepted && let Ok(own) = self_token::describe(&client, &token.secret) {
            (answer.ends).extend(own.token.expiry.map(|end| (token.id.clone(), end)));
        }
        progress.tell(answer);
    }
    Ok(())
}

/// Asks a git host about the token of each sign-in.
fn check_host(
    question: &Question,
    host: HostType,
    answer: &mut Answer,
    progress: &Progress,
) -> Result<(), ApiError> {
    clock(question, answer)?;
    let server = &question.server;
    let known = session::known(&question.config, server);
    let ca_file = known.and_then(|known| known.ca_file.clone());
    let reach = Reach {
        ca_file: question.meant.ca_file.clone().or(ca_file),
        limit: Some(ANSWER_TIMEOUT),
    };
    for SignedIn {
        number,
        secret,
        is_pasted,
    } in &question.sign_ins
    {
        match account::accepts(host, server, secret, *is_pasted, &reach) {
            Ok(Some(is_accepted)) => {
                answer.sign_ins.insert(*number, is_accepted);
            }
            Ok(None) => {
                let why = "it does not say whether it accepts the token";
                answer.problem = Some(why.to_owned());
            }
            Err(OAuthError::Api(error)) => return Err(error),
            Err(error) => answer.problem = Some(error.to_string()),
        }
        progress.tell(answer);
    }
    for token in &question.tokens {
        if let Ok(Some(is_accepted)) = account::accepts(host, server, &token.secret, true, &reach) {
            answer.tokens.insert(token.id.clone(), is_accepted);
            progress.tell(answer);
        }
    }
    Ok(())
}

/// Notes which of an account's stored tokens the server still has.
fn note(question: &Question, answer: &mut Answer, account: &str, listed: &[Token]) {
    for token in question
        .tokens
        .iter()
        .filter(|token| token.account == account)
    {
        let found = listed.iter().find(|one| one.id == token.id);
        answer.tokens.insert(token.id.clone(), found.is_some());
        let end = found.and_then(|one| one.expiry);
        answer.ends.extend(end.map(|end| (token.id.clone(), end)));
    }
}

fn is_accepted(client: &Client, token: &Secret) -> Result<bool, ApiError> {
    match client.get("/api/v1/user", Some(token))?.done() {
        // One without `user:read` is known, and may not read who it is of.
        Ok(()) | Err(ApiError::Forbidden { .. }) => Ok(true),
        Err(ApiError::Unauthorized) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The server's clock, which every answer tells. No secret goes along.
fn clock(question: &Question, answer: &mut Answer) -> Result<(), ApiError> {
    let meant = Selection {
        allow_http: true,
        ..question.meant.clone()
    };
    let client = session::client(&question.config, &question.server, &meant)?;
    let client = client.within(ANSWER_TIMEOUT);
    let told = client.head("/");
    answer.skew = client.clock_skew();
    match told {
        Err(error @ (ApiError::Unreachable { .. } | ApiError::Lost { .. })) => Err(error),
        _ => Ok(()),
    }
}
