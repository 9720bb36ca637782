//! Abilities of a host's token API. Callers decide from them before anything is sent,
//! never from an error.

use uuid::Uuid;

use super::{ApiError, TokenApi};
use crate::expiry::{DAY, Expiry, UnixTime};

/// Abilities that one host promises to this login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Tokens can be created.
    pub create: bool,
    /// The account's tokens can be listed.
    pub list: bool,
    /// Any token of the account can be revoked by its id.
    pub revoke_others: bool,
    /// A token can revoke itself: [`super::TokenApi::revoke_by_secret`] works.
    pub revoke_itself: bool,
    /// Precision of a token's expiry.
    pub expiry: Precision,
    /// A token without an end is not given: one of the host's choice takes its place.
    pub requires_end: bool,
    /// Longest lifetime of a token, in days.
    pub max_lifetime_days: Option<u32>,
    /// Most tokens of an account, expired ones included.
    pub max_tokens: Option<usize>,
    /// Two tokens of an account can't have the same name.
    pub unique_names: bool,
    /// True if a token can replace itself.
    pub self_rotation: SelfRotation,
    /// A token can be asked about itself: its id, scopes and expiry.
    pub describes_itself: bool,
    /// [`super::NewToken::request_id`] is kept and listed. Where that is learnt from what the server
    /// lists, it holds for the last answer of [`super::TokenApi::list`].
    pub request_ids: bool,
    /// A token's end can be brought forward.
    pub shorten: bool,
    /// A token's name and description can be changed.
    pub change: bool,
    /// A token can be bound to repositories ([`super::NewToken::repositories`]).
    pub repositories: bool,
    /// A created token can be stored for git, beside or in the place of the sign-in.
    pub for_git: bool,
    /// The host wants the account's password for each of these calls, so that a person has to be
    /// there.
    pub asks_password: bool,
}

/// Precision with which a token's expiry can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Tokens never expire.
    None,
    /// At the end, or the beginning, of a day.
    Date,
    /// At a second, as the platform and GitHub Apps have it.
    Second,
}

/// Fate of a token that replaces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfRotation {
    /// It can't.
    None,
    /// The old one lives on for a while.
    WithOverlap,
    /// The old one ends at once: there is no grace, and what is not delivered is lost.
    WithoutOverlap,
}

impl Promises {
    /// The platform, over its own API.
    pub const PLATFORM: Promises = Promises {
        create: true,
        list: true,
        revoke_others: true,
        revoke_itself: false,
        expiry: Precision::Second,
        requires_end: false,
        max_lifetime_days: Some(365),
        max_tokens: Some(50),
        unique_names: false,
        self_rotation: SelfRotation::None,
        describes_itself: false,
        request_ids: false,
        shorten: false,
        change: false,
        repositories: false,
        for_git: true,
        asks_password: false,
    };

    /// A host that does nothing of all this.
    pub const NOTHING: Promises = Promises {
        create: false,
        list: false,
        revoke_others: false,
        expiry: Precision::None,
        max_lifetime_days: None,
        max_tokens: None,
        ..Promises::PLATFORM
    };

    /// Sentence about a token that has replaced itself.
    pub fn old_ends(&self) -> &'static str {
        match self.self_rotation {
            // `OVERLAP` in `database::family`.
            SelfRotation::WithOverlap => {
                "the old one ends by itself, ten minutes after it was replaced"
            }
            SelfRotation::None | SelfRotation::WithoutOverlap => "the old one has ended",
        }
    }

    /// The days that a token can be asked to live where `days` were wanted; `None` for no end.
    pub fn lifetime(&self, days: Option<u32>) -> Option<u32> {
        if self.expiry == Precision::None {
            return None;
        }
        let days = days?.max(1);
        Some(self.max_lifetime_days.map_or(days, |max| days.min(max)))
    }

    /// Returns whether a token that was created then, with this expiry, is one for which `days` were asked.
    pub fn is_lifetime(
        &self,
        days: Option<u32>,
        created: UnixTime,
        expiry: Option<Expiry>,
    ) -> bool {
        match self.expiry {
            Precision::None => true,
            Precision::Second => lifetime_in_days(created, expiry) == days,
            Precision::Date => {
                let day = |at: UnixTime| at.0.div_euclid(DAY);
                match (days, expiry) {
                    (None, None) => true,
                    // A day may begin or end with it.
                    (Some(days), Some(Expiry(at))) => {
                        let lived = day(at) - day(created);
                        (i64::from(days) - 1..=i64::from(days) + 1).contains(&lived)
                    }
                    _ => false,
                }
            }
        }
    }

    /// The name for the successor of a token of that name: another generation, such as
    /// `laptop (3f2a)`, where names are unique.
    pub fn next_name(&self, name: &str) -> String {
        if !self.unique_names {
            return name.to_owned();
        }
        generation(stem(name))
    }
}

/// A name for one more token of that stem: `laptop (3f2a)`.
pub fn generation(stem: &str) -> String {
    let stem: String = stem.chars().take(MAX_STEM).collect();
    let random = Uuid::new_v4().simple().to_string();
    format!("{} ({})", stem.trim_end(), &random[..4])
}

/// Longest part of a name before its generation, in characters.
const MAX_STEM: usize = 90;

/// A name without its generation.
pub fn stem(name: &str) -> &str {
    let is_generation = |text: &str| {
        let digits = text.strip_suffix(')').unwrap_or_default();
        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match name.rsplit_once(" (") {
        Some((stem, generation)) if is_generation(generation) && !stem.is_empty() => stem,
        _ => name,
    }
}

/// What [`require`] refuses where tokens can't be bound to the repositories of the command line.
pub const BIND: &str = "bind tokens to repositories";

/// The host's [`TokenApi::refusal`] where something is not promised; `what` goes on from "can't".
pub fn require(api: &dyn TokenApi, promised: bool, what: &'static str) -> Result<(), ApiError> {
    match promised {
        true => Ok(()),
        false => Err(api.refusal(what)),
    }
}

/// The lifetime that a token was made with, in whole days.
pub fn lifetime_in_days(created: UnixTime, expiry: Option<Expiry>) -> Option<u32> {
    let Expiry(end) = expiry?;
    let days = match end.0.rem_euclid(DAY) {
        // The end is a date: by the clock, a token that was created after noon lived a day less.
        0 => end.0.div_euclid(DAY) - created.0.div_euclid(DAY),
        _ => end.since(created).saturating_add(DAY / 2) / DAY,
    };
    u32::try_from(days.max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-04-15, at ten.
    const CREATED: UnixTime = UnixTime(1_713_175_200);

    fn promises(expiry: Precision) -> Promises {
        Promises {
            expiry,
            ..Promises::PLATFORM
        }
    }

    #[test]
    fn a_lifetime_is_compared_as_exactly_as_the_host_keeps_it() {
        let end = |seconds: i64| Some(Expiry(CREATED.plus(seconds)));
        let midnight = end(30 * DAY - 10 * 3_600);
        let fits = |precision, expiry| promises(precision).is_lifetime(Some(30), CREATED, expiry);
        assert!(fits(Precision::Second, end(30 * DAY)));
        assert!(!fits(Precision::Second, end(29 * DAY)));
        assert!(fits(Precision::Date, midnight), "created after noon or not");
        assert!(fits(Precision::Date, end(30 * DAY)));
        assert!(!fits(Precision::Date, end(7 * DAY)));
        assert!(!fits(Precision::Date, None));
        assert!(fits(Precision::None, None));
    }

    #[test]
    fn a_lifetime_is_what_the_host_can_give() {
        let second = promises(Precision::Second);
        assert_eq!(second.lifetime(Some(400)), Some(365));
        assert_eq!(second.lifetime(Some(30)), Some(30));
        assert_eq!(second.lifetime(None), None);
        assert_eq!(promises(Precision::None).lifetime(Some(30)), None);
    }

    #[test]
    fn each_generation_of_a_unique_name_differs_in_its_last_word() {
        let unique = Promises {
            unique_names: true,
            ..Promises::PLATFORM
        };
        let first = unique.next_name("git on vm");
        let second = unique.next_name(&first);
        for name in [&first, &second] {
            assert_eq!(stem(name), "git on vm", "{name}");
            assert_eq!(name.len(), "git on vm (3f2a)".len(), "{name}");
        }
        assert_eq!(stem("laptop (work)"), "laptop (work)");
        assert_eq!(stem(" (3f2a)"), " (3f2a)");
        assert!(unique.next_name(&"ü".repeat(255)).chars().count() <= 100);
        assert_eq!(Promises::PLATFORM.next_name("laptop"), "laptop");
    }
}
