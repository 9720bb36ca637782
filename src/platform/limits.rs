//! Limits on how often something may be tried. Each server counts for itself.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, Weak};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Platform;
use super::lock::lock;
use super::refusal::Refusal;
use crate::database::accounts::User;

/// Sign-ins tried in a row with one name from one network, and then one a minute.
const WITH_ONE_NAME: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Sign-ins tried in a row with one name from all networks that have never signed in with it, and
/// then one a minute.
const WITH_ONE_NAME_BY_STRANGERS: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
/// Networks that are remembered for one name, and names that are remembered.
const MAX_KNOWN_NETWORKS: usize = 16;
const MAX_KNOWN_NAMES: usize = 100_000;
/// Sign-ins tried in a row from one network, and then one every two seconds.
const FROM_ONE_ADDRESS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
const EVERY_TWO_SECONDS: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
/// Failed sign-ins of one account that are written down in a row, and then one every ten minutes: no
/// stranger must be able to fill the database, nor to push everything else out of sight.
const FAILURES_IN_A_ROW: NonZeroU32 = NonZeroU32::new(5).expect("not zero");
const FAILURE_INTERVAL: Duration = Duration::from_secs(600);
/// Requests to the API with one token in an hour, as on the platform.
const WITH_ONE_TOKEN: NonZeroU32 = NonZeroU32::new(5_000).expect("not zero");
/// Requests of one network that are logged in a row, and then so many a second: a flood must not
/// push everything else out of the log.
const LOGGED_IN_A_ROW: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
const LOGGED_A_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// Interval at which those are forgotten that no longer count.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Counters of tries.
pub struct Limits {
    names_by_network: DefaultKeyedRateLimiter<(String, IpAddr)>,
    names: DefaultKeyedRateLimiter<String>,
    known: Mutex<HashMap<String, VecDeque<IpAddr>>>,
    /// Codes of devices and passwords of those who are signed in, by the id of the account.
    codes: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    failures: DefaultKeyedRateLimiter<String>,
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
        let one_a_minute = Quota::per_minute(NonZeroU32::MIN);
        let with_one_name = one_a_minute.allow_burst(WITH_ONE_NAME);
        let by_strangers = one_a_minute.allow_burst(WITH_ONE_NAME_BY_STRANGERS);
        let addresses = Quota::per_minute(EVERY_TWO_SECONDS).allow_burst(FROM_ONE_ADDRESS);
        let log_lines = Quota::per_second(LOGGED_A_SECOND).allow_burst(LOGGED_IN_A_ROW);
        let failures = Quota::with_period(FAILURE_INTERVAL)
            .expect("not zero")
            .allow_burst(FAILURES_IN_A_ROW);
        Limits {
            names_by_network: RateLimiter::keyed(with_one_name),
            names: RateLimiter::keyed(by_strangers),
            known: Mutex::default(),
            codes: RateLimiter::keyed(with_one_name),
            addresses: RateLimiter::keyed(addresses),
            failures: RateLimiter::keyed(failures),
            log_lines: RateLimiter::keyed(log_lines),
            health_lines: RateLimiter::direct(one_a_minute),
            tokens: RateLimiter::keyed(Quota::per_hour(WITH_ONE_TOKEN)).with_middleware(),
        }
    }
}

impl Limits {
    /// Counts one try at a password; 429 where there have been too many.
    ///
    /// The name counts as it was typed, and not the account that it is found to be of: else the
    /// limit would show which email belongs to which username. Each network has tries of its own, so
    /// that nobody can lock the owner out from elsewhere. Tries from many networks are slowed all
    /// together, except those of networks that have signed in with that name before.
    pub fn sign_in(&self, name: &str, address: IpAddr) -> Result<Tried, Refusal> {
        self.address(address)?;
        let (name, network) = (name.to_lowercase(), network(address));
        let own = (name, network);
        (self.names_by_network.check_key(&own)).map_err(|early| too_many(&early))?;
        let (name, network) = own;
        let known = lock(&self.known);
        if (known.get(&name)).is_some_and(|networks| networks.contains(&network)) {
            return Ok(Tried::Counted);
        }
        drop(known);
        match self.names.check_key(&name) {
            Ok(()) => Ok(Tried::Counted),
            Err(early) => Ok(Tried::ByStrangers(too_many(&early))),
        }
    }

    /// Remembers, for as long as the server runs, that a network has signed in to an account.
    pub fn signed_in(&self, user: &User, address: IpAddr) {
        let network = network(address);
        let mut known = lock(&self.known);
        for name in user.username.iter().chain([&user.email]) {
            let name = name.to_lowercase();
            if known.len() >= MAX_KNOWN_NAMES && !known.contains_key(&name) {
                return;
            }
            let networks = known.entry(name).or_default();
            networks.retain(|other| *other != network);
            networks.push_front(network);
            networks.truncate(MAX_KNOWN_NETWORKS);
        }
    }

    /// Counts one try at the code of a device, or at its own password, by a signed-in account.
    pub fn code(&self, user_id: &str, address: IpAddr) -> Result<(), Refusal> {
        self.address(address)?;
        let user_id = user_id.to_owned();
        (self.codes.check_key(&user_id)).map_err(|early| too_many(&early))
    }

    /// Decides if a failed sign-in of an account is written down.
    pub fn failed_sign_in(&self, user_id: &str) -> bool {
        self.failures.check_key(&user_id.to_owned()).is_ok()
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
        self.names_by_network.retain_recent();
        self.names.retain_recent();
        self.codes.retain_recent();
        self.addresses.retain_recent();
        self.failures.retain_recent();
        self.failures.shrink_to_fit();
        self.tokens.retain_recent();
        self.names_by_network.shrink_to_fit();
        self.names.shrink_to_fit();
        self.codes.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.tokens.shrink_to_fit();
    }
}

/// A try at a password that its own network may make.
#[derive(Debug)]
pub enum Tried {
    /// It may be made.
    Counted,
    /// It may be made only if the account has signed in from that network before, which its events tell
    /// beyond the life of the server. All others have made too many together.
    ByStrangers(Refusal),
}

/// Requests to the API that a token has left.
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
            Some(platform) => platform.limits.forget(),
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

    fn user(name: &str) -> User {
        User {
            id: name.to_owned(),
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            username: Some(name.to_owned()),
            suspended: false,
        }
    }

    fn from(network: u16) -> IpAddr {
        let [high, low] = network.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    #[test]
    fn tries_from_elsewhere_do_not_lock_the_owner_out() {
        let limits = Limits::default();
        assert!((0..11).any(|_| limits.sign_in("ada", from(1)).is_err()));
        assert!(limits.sign_in("ada", from(2)).is_ok());
        // By its other name the account is not counted.
        assert!(limits.sign_in("ada@example.com", from(1)).is_ok());
    }

    #[test]
    fn tries_from_many_networks_are_slowed_together_except_for_those_that_are_known() {
        let limits = Limits::default();
        limits.signed_in(&user("ada"), from(1));
        let may = |name: &str, network: u16| {
            matches!(limits.sign_in(name, from(network)), Ok(Tried::Counted))
        };
        assert!((100..300).any(|network| !may("Ada", network)));
        assert!(!may("ada", 301));
        assert!(may("ada", 1));
        assert!(may("ada@example.com", 301));
    }

    #[test]
    fn the_networks_of_one_name_that_are_remembered_are_bounded() {
        let limits = Limits::default();
        for network in 0..100 {
            limits.signed_in(&user("ada"), from(network));
        }
        let known = limits.known.lock().expect("no panic");
        assert_eq!(known["ada"].len(), MAX_KNOWN_NETWORKS);
        assert_eq!(known["ada"][0], from(99));
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
