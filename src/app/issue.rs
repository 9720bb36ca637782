//! Creates a token: once, stored for git or revoked again, and searched for where the response was
//! lost.

use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::exec::journal::{Held, Journal};
use super::session::{ApiSession, GitSite};
use crate::api::lost::{self, Search};
use crate::api::promises::{BIND, Precision, require};
use crate::api::{ApiError, CreatedToken, NewToken, Token};
use crate::config::Paths;
use crate::credential::{AuthData, Credential, TokenInfo};
use crate::expiry::{DAY, Expiry, UnixTime, counted};
use crate::quote::{Suggestion, escaped};
use crate::store::{self, StoreError};

/// Default lifetime of a token, in days. One for git on this machine is renewed while git asks for it.
pub const DEFAULT_DAYS: u32 = 30;

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Name, scopes and lifetime.
    pub new: NewToken,
    /// The last day (UTC) on which it works, in the place of its days: how many those are is for the
    /// server's clock to say.
    pub last_day: Option<Date>,
    /// True if to put it where git finds it, at the site of the session.
    pub store: bool,
}

/// A token that was created.
#[derive(Debug)]
pub struct Issued {
    /// The token, and the only copy of its secret.
    pub created: CreatedToken,
    /// The stored token whose place it took.
    pub replaced: Option<Replaced>,
    /// When this machine is to replace and revoke it, where the host gives its tokens no expiry.
    pub replace_by: Option<Expiry>,
}

/// A token that is no longer stored.
#[derive(Debug)]
pub struct Replaced {
    /// The token that was stored before.
    pub token: TokenInfo,
    /// True if it still works; `None` for one of another account or server.
    pub works: Option<bool>,
    /// The command that revokes it.
    pub revoke: Suggestion,
}

/// Why there is no new token, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The last day is over, today, or more than a year ahead; with the server's time.
    #[error("--expires-on takes a date from tomorrow to a year ahead, not '{date}'")]
    BadDate {
        /// The date that was asked for.
        date: Date,
        /// The server's time.
        now: UnixTime,
    },
    /// The server gives no token that long, or none that expires.
    #[error("{}", lifetime(server, *longest))]
    Lifetime {
        /// Base URL of the server.
        server: String,
        /// Longest lifetime in days; `None` where its tokens never expire.
        longest: Option<u32>,
    },
    /// The token was to be stored for git, which is never given one there. Nothing was sent.
    #[error(
        "git is never given a token for {server}: plain http would show it to anybody on the way"
    )]
    NeverGiven {
        /// Base URL of the server.
        server: String,
    },
    /// It gives no token without an end. Nothing was sent.
    #[error("tokens of {server} have to expire")]
    EndRequired {
        /// Base URL of the server.
        server: String,
    },
    /// Names are unique there. Nothing was sent, or the host refused it.
    #[error("there is a token called '{}' already", escaped(name))]
    NameTaken {
        /// The name that was asked for.
        name: String,
        /// A name that is free.
        free: String,
    },
    /// The server is a git host whose API creates no tokens.
    #[error("{server} has no token API")]
    NoTokenApi {
        /// Base URL of the server.
        server: String,
    },
    /// The request never arrived, or the server could not be asked what it created.
    #[error("no token was created")]
    NotCreated(#[source] ApiError),
    /// The server created these, and the response with the secret was lost.
    #[error("the token was created, but its secret was lost")]
    SecretLost {
        /// Why the response was lost.
        #[source]
        error: ApiError,
        /// Revokes the tokens that were created.
        revoke: Suggestion,
    },
    /// The server may have created one of these; where there is none, it could not be asked.
    #[error("the token may have been created{}", listed(tokens))]
    Unclear {
        /// Why it is not known.
        #[source]
        error: Box<ApiError>,
        /// Candidates; empty where the server could not be asked.
        tokens: Vec<Token>,
        /// Revokes the only candidate, or lists where there are more or none.
        next: Suggestion,
    },
    /// The store failed once the token was created.
    #[error("the token was not stored ({})", end_of(*is_revoked, revoke))]
    NotStored {
        /// The store's error.
        #[source]
        error: StoreError,
        /// True if the new token was revoked again.
        is_revoked: bool,
        /// Revokes the new token.
        revoke: Suggestion,
    },
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
}

fn lifetime(server: &str, longest: Option<u32>) -> String {
    match longest {
        Some(days) => {
            let days = counted(i64::from(days), "day");
            format!("a token of {server} lives for {days} at most")
        }
        None => {
            format!("tokens of {server} never expire, and only a stored one is replaced in time")
        }
    }
}

fn listed(tokens: &[Token]) -> String {
    let ids: Vec<String> = tokens.iter().map(|one| escaped(&one.id)).collect();
    match ids.is_empty() {
        true => String::new(),
        false => format!(": {}", ids.join(" ")),
    }
}

fn end_of(is_revoked: bool, revoke: &Suggestion) -> String {
    match is_revoked {
        true => "the new token was revoked again".to_owned(),
        false => format!("the new token still works; to revoke it: {revoke}"),
    }
}

/// Creates a token, and stores it where that is asked for.
pub fn issue(paths: &Paths, session: &ApiSession, order: Order) -> Result<Issued, IssueError> {
    let promises = session.api.promises();
    let api = session.api.as_ref();
    require(api, promises.create, "create tokens")?;
    if order.store {
        require(
            api,
            promises.for_git,
            "keep a created token for git, which has its own",
        )?;
        if let Some(place) = session.place.as_ref()
            && !place.site.takes_tokens()
        {
            let server = place.server.to_string();
            return Err(IssueError::NeverGiven { server });
        }
    }
    if !order.new.repositories.is_empty() {
        require(api, promises.repositories, BIND)?;
    }
    let made = create(paths, session, order.new, order.last_day, order.store)?;
    let Made {
        created,
        before,
        replace_in,
    } = made;
    let replace_by = replace_in.map(|days| {
        let at = created.token.created.unwrap_or_else(|| session.now());
        Expiry(at.plus(i64::from(days) * DAY))
    });
    let replaced = match order.store {
        true => keep(paths, session, &created, replace_by)?,
        false => None,
    };
    let replaced = replaced.map(|token| judge(token, &before, session));
    Ok(Issued {
        created,
        replaced,
        replace_by,
    })
}

/// A token that was created, not stored yet.
struct Made {
    created: CreatedToken,
    /// The tokens of before, where they were listed.
    before: Vec<Token>,
    /// Days after which this machine is to replace it.
    replace_in: Option<u32>,
}

/// Creates once, and returns the tokens of before too. After a lost response it searches for the
/// token that the request may have created.
fn create(
    paths: &Paths,
    session: &ApiSession,
    mut new: NewToken,
    last_day: Option<Date>,
    store: bool,
) -> Result<Made, IssueError> {
    let promises = &session.api.promises();
    let told = |error| match error {
        ApiError::NotFound => IssueError::NoTokenApi {
            server: session.name.clone(),
        },
        other => IssueError::Api(other),
    };
    // None of these is one that got lost. A host that wants a one-time code for each call is not
    // asked: a name that is taken it refuses by itself.
    let before = match promises.list && !promises.asks_password {
        true => session.api.list().map_err(told)?,
        false => Vec::new(),
    };
    let taken = |name: &str| IssueError::NameTaken {
        name: name.to_owned(),
        free: promises.next_name(name),
    };
    if promises.unique_names && before.iter().any(|one| one.name == new.name) {
        return Err(taken(&new.name));
    }
    if let Some(date) = last_day {
        new.expires_in_days = Some(days_until(date, session.now())?);
    }
    let replace_in = match promises.expiry == Precision::None && store {
        true => new.expires_in_days.take(),
        false => None,
    };
    if promises.requires_end && new.expires_in_days.is_none() {
        let server = session.name.clone();
        return Err(IssueError::EndRequired { server });
    }
    let longest = promises.lifetime(new.expires_in_days);
    if new.expires_in_days != longest {
        let server = session.name.clone();
        return Err(IssueError::Lifetime { server, longest });
    }
    // Where this process is killed before it has the answer, nobody has the secret: the next command
    // revokes the token. Once there is an answer, what became of the token is told.
    let record = record(paths, session, &new);
    let answer = session.api.create(&new);
    if let Some(record) = record {
        // It was written just now into a directory of ours.
        let _ = record.clear();
    }
    let error = match answer {
        Err(error) if error.may_be_carried_out() => error,
        // Gitea and Forgejo: "access token name has been used already".
        Err(ApiError::Refused { message })
            if promises.unique_names && message.contains("used already") =>
        {
            return Err(taken(&new.name));
        }
        Err(ApiError::Refused { message }) => {
            // It tells the longest lifetime by refusing a longer one.
            let asked = new.expires_in_days;
            let longest = asked.and_then(|asked| session.api.longest_lifetime(asked, &message));
            return Err(match longest {
                Some(_) => IssueError::Lifetime {
                    server: session.name.clone(),
                    longest,
                },
                None => told(ApiError::Refused { message }),
            });
        }
        Err(error) => return Err(told(error)),
        Ok(created) => {
            return Ok(Made {
                created,
                before,
                replace_in,
            });
        }
    };
    let revoke = |tokens: &[Token]| {
        let ids = tokens.iter().map(|one| one.id.clone());
        session.suggest("wit token revoke").args(ids)
    };
    let ids: Vec<Uuid> = new.request_id.into_iter().collect();
    let is_known = |id: &str| before.iter().any(|one| one.id == id);
    let found = lost::search(session.api.as_ref(), &new.name, &ids, is_known);
    let tokens = match found {
        Ok(Search::Nothing) => return Err(IssueError::NotCreated(error)),
        Ok(Search::Ours(ours)) => {
            let revoke = revoke(&ours);
            return Err(IssueError::SecretLost { error, revoke });
        }
        Ok(Search::Unclear(tokens)) => tokens,
        Err(_) => Vec::new(),
    };
    let next = match tokens.len() {
        1 => revoke(&tokens),
        _ => session.suggest("wit token list"),
    };
    Err(IssueError::Unclear {
        error: Box::new(error),
        tokens,
        next,
    })
}

/// Records a request that is about to be sent, where the server keeps the ids of requests: it tells
/// nobody else's token from this one's otherwise. Without a record the token is created all the same.
fn record(paths: &Paths, session: &ApiSession, new: &NewToken) -> Option<Held> {
    let place = session.place.as_ref().filter(|_| !session.is_direct())?;
    // Known only once it was asked for the list.
    if !session.api.promises().request_ids {
        return None;
    }
    let now = UnixTime::now();
    let (server, account) = (place.server.to_string(), session.account.clone());
    let mut journal = Journal::new(server, account, new.name.clone(), now);
    journal.request_id = new.request_id?;
    journal.repositories.clone_from(&new.repositories);
    journal.ends = (new.expires_in_days).map(|days| now.plus(i64::from(days) * DAY));
    Held::begin(paths, journal).ok()
}

/// Whole days from now, by the server's clock, to a date, so that a token ends on that day (UTC) and
/// not after it.
fn days_until(date: Date, now: UnixTime) -> Result<u32, IssueError> {
    let day = |date: Date| i64::from(date.to_julian_day());
    let today = OffsetDateTime::from_unix_timestamp(now.0).map(|now| day(now.date()));
    let days = today.ok().map(|today| day(date) - today);
    match days.and_then(|days| u32::try_from(days).ok()) {
        Some(days @ 1..=365) => Ok(days),
        _ => Err(IssueError::BadDate { date, now }),
    }
}

/// Puts the token where git finds it; the token that it took the place of. A token that can't be
/// stored is revoked again.
fn keep(
    paths: &Paths,
    session: &ApiSession,
    created: &CreatedToken,
    replace_by: Option<Expiry>,
) -> Result<Option<TokenInfo>, IssueError> {
    let Some(place) = &session.place else {
        return Ok(None);
    };
    let credential = credential(session, place, created, replace_by);
    let infos = |entries: &[Credential]| -> Vec<TokenInfo> {
        let infos = entries.iter().filter_map(|entry| entry.token.clone());
        infos.collect()
    };
    let kept = store::update(session.store.as_ref(), paths, &place.site, |item| {
        let before = infos(&item.credentials.0);
        item.credentials.put(credential);
        let after = infos(&item.credentials.0);
        before.into_iter().find(|info| !after.contains(info))
    });
    kept.map_err(|error| IssueError::NotStored {
        error,
        is_revoked: session.api.revoke(&created.token.id).is_ok(),
        revoke: session.suggest("wit token revoke").arg(&created.token.id),
    })
}

/// A new token as it is stored.
pub(super) fn credential(
    session: &ApiSession,
    place: &GitSite,
    created: &CreatedToken,
    replace_by: Option<Expiry>,
) -> Credential {
    let token = &created.token;
    Credential {
        username: Some(session.account.clone().into_bytes()),
        path: None,
        auth: AuthData::Password(created.secret.clone()),
        expiry: token.expiry,
        refresh_token: None,
        sign_in: None,
        imported: false,
        token: Some(TokenInfo {
            replace_by,
            ..token.info(
                place.server.to_string(),
                &session.account,
                session.now(),
                session.api.clock_skew(),
            )
        }),
    }
}

/// Returns whether a token that is no longer stored still works, by the list of before.
fn judge(token: TokenInfo, before: &[Token], session: &ApiSession) -> Replaced {
    let is_here = |place: &super::session::GitSite| place.server.to_string() == token.server;
    let is_theirs = session.place.as_ref().is_some_and(is_here) && session.account == token.account;
    if !is_theirs {
        let (url, account) = (&token.server, &token.account);
        let revoke = "wit token revoke";
        let revoke = super::session::suggest(revoke, &session.config, url, account);
        return Replaced {
            works: None,
            revoke: revoke.arg(&token.id),
            token,
        };
    }
    let now = session.now();
    let works = |one: &Token| one.id == token.id && !one.is_expired(now);
    let promises = session.api.promises();
    let is_listed = match before.iter().any(works) {
        true => Some(true),
        // Another process on this machine may have created it meanwhile.
        false if promises.list && !promises.asks_password => {
            let all = session.api.list().ok();
            all.map(|all| all.iter().any(works))
        }
        false => None,
    };
    Replaced {
        works: is_listed,
        revoke: session.suggest("wit token revoke").arg(&token.id),
        token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_day_is_one_of_the_year_ahead() {
        // 2024-04-15, at ten.
        let now = UnixTime(1_713_175_200);
        let until = |days: i64| {
            let today = Date::from_calendar_date(2024, time::Month::April, 15).expect("a date");
            days_until(today + time::Duration::days(days), now)
        };
        assert_eq!(until(1).expect("days"), 1);
        assert_eq!(until(365).expect("days"), 365);
        for bad in [-1, 0, 366] {
            assert!(
                matches!(until(bad), Err(IssueError::BadDate { .. })),
                "{bad}"
            );
        }
    }
}
