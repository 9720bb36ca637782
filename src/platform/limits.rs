//! How often something may be tried. Each server counts for itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Weak;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Platform;
use super::refusal::Refusal;

/// Sign-ins tried in a row for one account, and then one a minute.
const FOR_ONE_ACCOUNT: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Sign-ins tried in a row from one address, and then one every two seconds.
const FROM_ONE_ADDRESS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
const EVERY_TWO_SECONDS: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
/// Requests to the API with one token in an hour, as on the platform.
const WITH_ONE_TOKEN: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
/// Requests of one network that are logged in a row, and then so many a second: a flood must not
/// push everything else out of the log.
const LOGGED_IN_A_ROW: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
const LOGGED_A_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// How often those are forgotten that no longer count.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What a password or a code is tried at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tried {
    /// The account of an id.
    Account(String),
    /// A name that no account has.
    Name(String),
    /// The devices that the account of an id could let in.
    Devices(String),
}

/// Who has tried what, and how often.
pub struct Limits {
    accounts: DefaultKeyedRateLimiter<Tried>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    log_lines: DefaultKeyedRateLimiter<IpAddr>,
    health_lines: DefaultDirectRateLimiter,
    tokens:
        RateLimiter<Uuid, DefaultKeyedStateStore<Uuid>, DefaultClock, StateInformationMiddleware>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limits")
    }
}

impl Default for Limits {
    fn default() -> Self {
        let accounts = Quota::per_minute(NonZeroU32::MIN).allow_burst(FOR_ONE_ACCOUNT);
        let addresses = Quota::per_minute(EVERY_TWO_SECONDS).allow_burst(FROM_ONE_ADDRESS);
        let log_lines = Quota::per_second(LOGGED_A_SECOND).allow_burst(LOGGED_IN_A_ROW);
        Limits {
            accounts: RateLimiter::keyed(accounts),
            addresses: RateLimiter::keyed(addresses),
            log_lines: RateLimiter::keyed(log_lines),
            health_lines: RateLimiter::direct(Quota::per_minute(NonZeroU32::MIN)),
            tokens: RateLimiter::keyed(Quota::per_hour(WITH_ONE_TOKEN)).with_middleware(),
        }
    }
}

impl Limits {
    /// Counts one try; 429 where there have been too many.
    pub fn sign_in(&self, tried: Tried, address: IpAddr) -> Result<(), Refusal> {
        self.address(address)?;
        self.account(tried)
    }

    /// The same where the address has been counted.
    pub fn account(&self, tried: Tried) -> Result<(), Refusal> {
        (self.accounts.check_key(&tried)).map_err(|early| too_many(&early))
    }

    /// Counts what costs the server as much as a sign-in, such as a new account.
    pub fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        (self.addresses.check_key(&network(address))).map_err(|early| too_many(&early))
    }

    /// Counts one request with a token, and says what is left.
    pub fn api(&self, token_id: Uuid) -> Result<Left, Refusal> {
        let counted = self.tokens.check_key(&token_id);
        let left = |requests| Left { requests };
        counted
            .map(|state| left(state.remaining_burst_capacity()))
            .map_err(|early| too_many(&early))
    }

    /// Decides if a request gets its line in the log. Of the probes of `/health` that went well
    /// one a minute does. The metrics count all.
    pub fn log_line(&self, route: &str, status: StatusCode, from: Option<IpAddr>) -> bool {
        if route == "/health" && status == StatusCode::OK {
            return self.health_lines.check().is_ok();
        }
        from.is_none_or(|from| self.log_lines.check_key(&network(from)).is_ok())
    }

    fn forget(&self) {
        self.log_lines.retain_recent();
        self.log_lines.shrink_to_fit();
        self.accounts.retain_recent();
        self.addresses.retain_recent();
        self.tokens.retain_recent();
        self.accounts.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.tokens.shrink_to_fit();
    }
}

/// What a token has left of its requests to the API.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    requests: u32,
}

impl Left {
    /// None.
    pub const NOTHING: Left = Left { requests: 0 };

    /// Says so as the platform does, with the time at which all are there again.
    pub fn write(self, headers: &mut HeaderMap) {
        let limit = WITH_ONE_TOKEN.get();
        let used = i64::from(limit - self.requests.min(limit));
        let full = OffsetDateTime::now_utc().unix_timestamp() + used * 3600 / i64::from(limit);
        headers.insert("x-ratelimit-limit", limit.into());
        headers.insert("x-ratelimit-remaining", self.requests.into());
        headers.insert("x-ratelimit-reset", HeaderValue::from(full));
    }
}

/// One person has a whole /64 of IPv6 addresses (RFC 6177), and one of IPv4.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

fn too_many<P: governor::clock::Reference>(early: &governor::NotUntil<P>) -> Refusal
where
    DefaultClock: Clock<Instant = P>,
{
    let wait = early.wait_time_from(DefaultClock::default().now());
    let mut refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TOO_MANY_REQUESTS",
        "Too many requests. Please try again later.",
    );
    refusal.retry_after = Some(wait.as_secs() + 1);
    refusal
}

/// Forgets who no longer counts, for as long as there is a platform: strangers must not be able to
/// fill its memory.
pub async fn forget(platform: Weak<Platform>) {
    loop {
        tokio::time::sleep(FORGOTTEN).await;
        match platform.upgrade() {
            Some(platform) => {
                platform.limits.forget();
                platform.git.turns.forget();
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let limits = Limits::default();
        let from = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let tried = (1..).find(|host| limits.address(from(*host)).is_err());
        assert_eq!(tried, Some(51));
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]);
        assert_eq!(network(mapped), IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn a_token_has_its_requests_and_then_waits() {
        let limits = Limits::default();
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let left = limits.api(one).expect("the first").requests;
        assert_eq!(left, 4_999);
        let refused = (0..6_000).find_map(|_| limits.api(one).err());
        let refused = refused.expect("an end");
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.retry_after, Some(1));
        assert!(limits.api(other).is_ok());
    }
}
