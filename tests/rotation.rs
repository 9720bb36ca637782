//! Whatever breaks and wherever: afterwards one live token of the name, the stored one, nothing
//! pending, no journal; and at no moment none that works.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use uuid::Uuid;
use wit::api::promises::{Precision, Promises, SelfRotation};
use wit::api::{Account, ApiError, CreatedToken, NewToken, Reason, Scope, Token, TokenApi};
use wit::config::Paths;
use wit::credential::{AuthData, Credential, Site, TokenInfo};
use wit::expiry::{Expiry, UnixTime};
use wit::item::Item;
use wit::rotation::deliver::{DeliveryError, Receiver};
use wit::rotation::{Outcome, Plan, RotationError, Rotator, journal};
use wit::secret::Secret;
use wit::store::{self, Store, StoreError};

const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: i64 = 86_400;
const SERVER: &str = "https://git.example.org";

/// What goes wrong at one API call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Failed,
    Lost,
    LostBeforeItArrived,
    Unreachable,
    Unauthorized,
    Limited,
}

const FAULTS: [Fault; 6] = [
    Fault::Failed,
    Fault::Lost,
    Fault::LostBeforeItArrived,
    Fault::Unreachable,
    Fault::Unauthorized,
    Fault::Limited,
];

/// The server, the store and the receivers of one test, with what is to break.
struct World {
    dir: tempfile::TempDir,
    tokens: RefCell<Vec<(Token, Secret)>>,
    items: RefCell<Option<Secret>>,
    received: RefCell<Vec<(Receiver, Secret)>>,
    refusing: RefCell<Vec<Receiver>>,
    /// Events so far, and the one at which the process dies.
    events: Cell<usize>,
    dies_at: Cell<Option<usize>>,
    calls: Cell<usize>,
    fails_at: Cell<Option<(usize, Fault)>>,
    store_fails_at: Cell<Option<usize>>,
    writes: Cell<usize>,
    clock: Cell<UnixTime>,
    made: Cell<u32>,
    stored: bool,
    /// Whether it may be that nothing works: a person has revoked it.
    free: Cell<bool>,
    /// Whether the server keeps request ids, and those that it has created a token for.
    keeps_ids: Cell<bool>,
    promises: RefCell<Promises>,
    request_ids: RefCell<Vec<Uuid>>,
    /// The ids of the tokens that the rotator says it has revoked.
    revoked: RefCell<Vec<String>>,
    /// Server clock minus this machine's, in seconds.
    skew: Cell<i64>,
    /// The end that the server was told for the old token, where it takes one.
    shortened: Cell<Option<Expiry>>,
    shortens: Cell<bool>,
}

struct Crash;

impl World {
    fn new(stored: bool) -> Self {
        let world = World {
            dir: tempfile::tempdir().expect("a directory"),
            tokens: RefCell::default(),
            items: RefCell::default(),
            received: RefCell::default(),
            refusing: RefCell::default(),
            events: Cell::new(0),
            dies_at: Cell::new(None),
            calls: Cell::new(0),
            fails_at: Cell::new(None),
            store_fails_at: Cell::new(None),
            writes: Cell::new(0),
            clock: Cell::new(NOW),
            made: Cell::new(0),
            stored,
            free: Cell::new(false),
            keeps_ids: Cell::new(true),
            promises: RefCell::new(Promises::PLATFORM),
            request_ids: RefCell::default(),
            revoked: RefCell::default(),
            skew: Cell::new(0),
            shortened: Cell::new(None),
            shortens: Cell::new(false),
        };
        // Somebody else's token of the same name and scopes, older than the rotation.
        world.make("laptop", &["repo:read"], Some(90), NOW.plus(-40 * DAY));
        let (old, secret) = world.make("laptop", &["repo:read"], Some(30), NOW.plus(-29 * DAY));
        if stored {
            let item = Item {
                credentials: wit::credential::Credentials(vec![entry(&old, secret)]),
                ..Item::default()
            };
            *world.items.borrow_mut() = Some(item.encode(&site()));
        }
        world
    }

    fn make(
        &self,
        name: &str,
        scopes: &[&str],
        days: Option<u32>,
        at: UnixTime,
    ) -> (Token, Secret) {
        let number = self.made.get() + 1;
        self.made.set(number);
        let secret = Secret::from(format!("wit_{number:040x}"));
        let token = Token {
            id: format!("id-{number}"),
            name: name.to_owned(),
            prefix: "wit_0000".to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            created: Some(at),
            last_used: None,
            expiry: days.map(|days| {
                let Expiry(end) = Expiry(at.plus(i64::from(days) * DAY));
                match self.promises.borrow().expiry {
                    Precision::Date => Expiry(UnixTime(end.0.div_euclid(DAY) * DAY)),
                    _ => Expiry(end),
                }
            }),
            request_id: None,
            replaced_by: None,
            suffix: String::new(),
            repositories: Vec::new(),
        };
        self.tokens
            .borrow_mut()
            .push((token.clone(), secret.clone()));
        (token, secret)
    }

    fn paths(&self) -> Paths {
        Paths::below(self.dir.path())
    }

    fn server_time(&self) -> UnixTime {
        self.clock.get().plus(self.skew.get())
    }

    /// Another machine of the account creates a token that is like the rotation's in everything.
    fn another_creates(&self) -> String {
        let (token, _) = self.make("laptop", &["repo:read"], Some(30), self.server_time());
        token.id
    }

    fn has(&self, id: &str) -> bool {
        self.tokens.borrow().iter().any(|(token, _)| token.id == id)
    }

    fn journal(&self) -> journal::Journal {
        let mut all = journal::all(&self.paths()).expect("journals");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn item(&self) -> Item {
        let items = self.items.borrow();
        items.as_ref().map_or(Item::default(), |bytes| {
            Item::decode(&site(), bytes).expect("an item")
        })
    }

    fn is_live(&self, secret: &Secret) -> bool {
        self.tokens.borrow().iter().any(|(_, live)| live == secret)
    }

    /// One moment: something that works must be at hand, and the process may die here.
    fn event(&self) {
        if self.free.get() {
            return;
        }
        let item = self.item();
        let works = if self.stored {
            let entry = item.credentials.0.first().expect("an entry");
            self.is_live(entry.auth.secret())
        } else {
            // The receiver holds what it got last, or still the old one.
            match self.received.borrow().last() {
                Some((_, token)) => self.is_live(token),
                None => self
                    .tokens
                    .borrow()
                    .iter()
                    .any(|(token, _)| token.id == "id-2"),
            }
        };
        assert!(works, "a moment without a working token");
        let number = self.events.get();
        self.events.set(number + 1);
        if self.dies_at.get() == Some(number) {
            self.dies_at.set(None);
            resume_unwind(Box::new(Crash));
        }
    }

    /// One API call, with its fault.
    fn call<T>(&self, act: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
        self.event();
        let number = self.calls.get();
        self.calls.set(number + 1);
        let server = SERVER.to_owned();
        let reason = Reason::from("cut");
        match self.fails_at.get() {
            Some((at, fault)) if at == number => match fault {
                Fault::Failed => Err(ApiError::Failed { status: 500 }),
                Fault::Lost => {
                    let _ = act();
                    Err(ApiError::Lost { server, reason })
                }
                Fault::LostBeforeItArrived => Err(ApiError::Lost { server, reason }),
                Fault::Unreachable => Err(ApiError::Unreachable { server, reason }),
                Fault::Unauthorized => Err(ApiError::Unauthorized),
                Fault::Limited => Err(ApiError::Limited {
                    unavailable: None,
                    retry_after: None,
                }),
            },
            _ => {
                let answer = act();
                self.event();
                answer
            }
        }
    }

    fn run<T>(&self, act: impl FnOnce(&Rotator) -> T) -> Result<T, Crash> {
        let paths = self.paths();
        let rotator = Rotator {
            api: self,
            store: self,
            paths: &paths,
            now: &|| self.clock.get(),
            deliver: &|receiver, token| {
                if self.refusing.borrow().contains(receiver) {
                    return Err(DeliveryError("no".to_owned()));
                }
                let got = (receiver.clone(), token.clone());
                self.received.borrow_mut().push(got);
                Ok(())
            },
            reached: &|_| self.event(),
            revoked: &|id, _| self.revoked.borrow_mut().push(id.to_owned()),
            lock_timeout: Duration::ZERO,
        };
        catch_unwind(AssertUnwindSafe(|| act(&rotator))).map_err(|cause| {
            match cause.downcast::<Crash>() {
                Ok(crash) => *crash,
                Err(other) => resume_unwind(other),
            }
        })
    }

    fn plan(&self) -> Plan {
        let site = site();
        let rotation = format!("rotation-{}", self.calls.get());
        let item = self.item();
        match item.credentials.0.first() {
            Some(entry) => Plan::of_stored(rotation, &site, entry).expect("made by wit"),
            None => {
                let tokens = self.tokens.borrow();
                let (old, _) = tokens
                    .iter()
                    .find(|(token, _)| token.id == "id-2")
                    .expect("it");
                let mut plan = Plan::of_listed(rotation, &site, SERVER.into(), "me".into(), old);
                plan.deliver = vec![Receiver::Print];
                plan
            }
        }
    }

    fn is_rotated(&self) -> bool {
        self.tokens
            .borrow()
            .iter()
            .all(|(token, _)| token.id != "id-2")
    }

    /// What a person does: types the command again until it says that it is done.
    fn rotate_until_done(&self) {
        for _ in 0..6 {
            let unfinished = journal::all(&self.paths()).expect("journals");
            let _ = match unfinished.first() {
                Some(journal) => self.run(|rotator| rotator.resume(journal)),
                None if self.is_rotated() => return,
                None => {
                    let plan = self.plan();
                    self.run(|rotator| rotator.start(&plan))
                }
            };
        }
        panic!("never done");
    }

    fn assert_tidy(&self, what: &str) {
        let item = self.item();
        assert!(
            item.pending.is_empty(),
            "{what}: pending {:?}",
            item.pending
        );
        assert!(
            item.previous.is_empty(),
            "{what}: previous {:?}",
            item.previous
        );
        assert!(
            journal::all(&self.paths()).expect("journals").is_empty(),
            "{what}: a journal"
        );
        let tokens = self.tokens.borrow();
        let live: Vec<_> = tokens
            .iter()
            .filter(|(token, _)| token.id != "id-1")
            .collect();
        assert_eq!(live.len(), 1, "{what}: {live:?}");
        assert_eq!(tokens.len(), 2, "{what}: somebody else's token is gone");
        let holder = if self.stored {
            item.credentials.0[0].auth.secret().clone()
        } else {
            self.received.borrow().last().expect("received").1.clone()
        };
        assert_eq!(
            live[0].1, holder,
            "{what}: the live token is not the kept one"
        );
    }
}

fn site() -> Site {
    Site::new(b"https", b"git.example.org").expect("a site")
}

fn entry(token: &Token, secret: Secret) -> Credential {
    Credential {
        username: Some(b"me".to_vec()),
        path: None,
        auth: AuthData::Password(secret),
        expiry: token.expiry,
        refresh_token: None,
        sign_in: None,
        imported: false,
        token: Some(TokenInfo {
            server: SERVER.to_owned(),
            id: token.id.clone(),
            name: token.name.clone(),
            account: "me".to_owned(),
            scopes: token.scopes.clone(),
            repositories: token.repositories.clone(),
            created: token.created.unwrap_or(UnixTime(0)),
            replace_by: None,
            clock_skew: 0,
        }),
    }
}

impl TokenApi for World {
    fn form(&self) -> wit::api::Form {
        wit::api::Form::Rest
    }

    fn promises(&self) -> Promises {
        Promises {
            request_ids: self.keeps_ids.get(),
            shorten: true,
            self_rotation: SelfRotation::WithOverlap,
            ..self.promises.borrow().clone()
        }
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        self.call(|| {
            let request_id = new.request_id.filter(|_| self.keeps_ids.get());
            if let Some(id) = request_id {
                if self.request_ids.borrow().contains(&id) {
                    let message = "this token was created before".to_owned();
                    return Err(ApiError::Refused { message });
                }
                self.request_ids.borrow_mut().push(id);
            }
            let scopes: Vec<&str> = new.scopes.iter().map(String::as_str).collect();
            let (mut token, secret) =
                self.make(&new.name, &scopes, new.expires_in_days, self.server_time());
            token.request_id = request_id;
            self.tokens
                .borrow_mut()
                .last_mut()
                .expect("it")
                .0
                .request_id = request_id;
            Ok(CreatedToken { token, secret })
        })
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        self.call(|| {
            Ok(self
                .tokens
                .borrow()
                .iter()
                .map(|(token, _)| token.clone())
                .collect())
        })
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        self.call(|| {
            let mut tokens = self.tokens.borrow_mut();
            let before = tokens.len();
            tokens.retain(|(token, _)| token.id != id);
            if tokens.len() == before {
                return Err(ApiError::NotFound);
            }
            Ok(())
        })
    }

    fn verify(&self, secret: &Secret) -> Result<Account, ApiError> {
        self.call(|| {
            let mut tokens = self.tokens.borrow_mut();
            let found = tokens.iter_mut().find(|(_, live)| live == secret);
            let (token, _) = found.ok_or(ApiError::Unauthorized)?;
            token.last_used = Some(self.server_time());
            Ok(Account {
                id: "account".to_owned(),
                username: Some("me".to_owned()),
                email: "me@example.org".to_owned(),
            })
        })
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        Ok(Vec::new())
    }

    fn shorten(&self, _: &str, at: Expiry) -> Result<(), ApiError> {
        self.call(|| match self.shortens.get() {
            true => {
                self.shortened.set(Some(at));
                Ok(())
            }
            false => Err(ApiError::Unsupported { what: "shorten" }),
        })
    }

    fn clock_skew(&self) -> Option<i64> {
        (self.calls.get() > 0).then(|| self.skew.get())
    }
}

impl Store for World {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self, _: &Site) -> Result<Option<Secret>, StoreError> {
        Ok(self.items.borrow().clone())
    }

    fn write(&self, _: &Site, item: &Secret) -> Result<(), StoreError> {
        self.change(Some(item.clone()))
    }

    fn delete(&self, _: &Site) -> Result<(), StoreError> {
        self.change(None)
    }

    fn sites(&self) -> Result<Vec<Site>, StoreError> {
        Ok(vec![site()])
    }

    fn set_aside(&self, _: &Site) -> Result<String, StoreError> {
        panic!("nothing here is damaged")
    }
}

impl World {
    fn change(&self, item: Option<Secret>) -> Result<(), StoreError> {
        self.event();
        let number = self.writes.get();
        self.writes.set(number + 1);
        if self.store_fails_at.get() == Some(number) {
            let reason = "no bus".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        *self.items.borrow_mut() = item;
        self.event();
        Ok(())
    }
}

#[test]
fn a_rotation_leaves_the_new_token_alone_in_the_old_ones_place() {
    let world = World::new(true);
    let plan = world.plan();
    let Ok(Ok(Outcome::Rotated { new_id, expiry })) = world.run(|rotator| rotator.start(&plan))
    else {
        panic!("not rotated");
    };
    world.assert_tidy("rotated");
    // As another process had planned it at the same time.
    let late = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(late, Ok(Err(RotationError::Replaced))));
    let item = world.item();
    let stored = &item.credentials.0[0];
    let info = stored.token.as_ref().expect("token info");
    assert_eq!(info.id, new_id);
    assert_eq!(info.name, "laptop");
    assert_eq!(info.scopes, ["repo:read"]);
    assert_eq!(stored.username.as_deref(), Some(&b"me"[..]));
    assert_eq!(expiry, Some(Expiry(NOW.plus(30 * DAY))));
    assert_eq!(stored.expiry, expiry);
}

#[test]
fn a_crash_at_any_moment_is_mended_by_a_re_run() {
    for stored in [true, false] {
        let mut moment = 0;
        loop {
            let world = World::new(stored);
            let plan = world.plan();
            world.dies_at.set(Some(moment));
            if world.run(|rotator| rotator.start(&plan)).is_ok() {
                break;
            }
            world.rotate_until_done();
            world.assert_tidy(&format!("stored {stored}, died at {moment}"));
            moment += 1;
        }
        assert!(moment > 20, "only {moment} moments");
    }
}

#[test]
fn a_second_crash_while_mending_is_mended_too() {
    let mut moments = 0;
    for first in 0..60 {
        // Each fsync costs: every seventh moment, each time other ones.
        for second in (first % 7..60).step_by(7) {
            let world = World::new(true);
            let plan = world.plan();
            world.dies_at.set(Some(first));
            if world.run(|rotator| rotator.start(&plan)).is_ok() {
                assert!(moments > 100, "only {moments} moments");
                return;
            }
            world.dies_at.set(Some(world.events.get() + second));
            world.rotate_until_done();
            world.assert_tidy(&format!("died at {first}, then after {second}"));
            moments += 1;
        }
    }
    panic!("a rotation has more moments than are tried here");
}

#[test]
fn a_server_that_fails_at_any_call_is_survived() {
    for fault in FAULTS {
        for stored in [true, false] {
            for at in 0..12 {
                let world = World::new(stored);
                world.fails_at.set(Some((at, fault)));
                world.rotate_until_done();
                world.assert_tidy(&format!("{fault:?} at call {at}, stored {stored}"));
            }
        }
    }
}

#[test]
fn a_failing_call_and_a_crash_together_are_survived() {
    for fault in FAULTS {
        for at in 0..6 {
            for moment in (at..40).step_by(6) {
                let world = World::new(true);
                world.fails_at.set(Some((at, fault)));
                world.dies_at.set(Some(moment));
                world.rotate_until_done();
                world.assert_tidy(&format!("{fault:?} at call {at}, died at {moment}"));
            }
        }
    }
}

#[test]
fn a_store_that_fails_at_any_write_is_survived() {
    for stored in [true, false] {
        for at in 0..8 {
            let world = World::new(stored);
            world.store_fails_at.set(Some(at));
            world.rotate_until_done();
            world.assert_tidy(&format!("write {at} failed, stored {stored}"));
        }
    }
}

#[test]
fn an_abort_gives_the_old_token_back_from_wherever_it_still_can() {
    let mut undone = 0;
    for moment in 0.. {
        let world = World::new(true);
        let plan = world.plan();
        world.dies_at.set(Some(moment));
        if world.run(|rotator| rotator.start(&plan)).is_ok() {
            break;
        }
        let Some(journal) = journal::all(&world.paths()).expect("journals").pop() else {
            continue;
        };
        match world.run(|rotator| rotator.abort(&journal)) {
            Ok(Ok(outcome)) => {
                assert_eq!(outcome, Outcome::Undone);
                world.assert_tidy(&format!("aborted at {moment}"));
                let item = world.item();
                let info = item.credentials.0[0].token.clone().expect("token info");
                assert_eq!(info.id, "id-2", "aborted at {moment}");
                undone += 1;
            }
            Ok(Err(RotationError::TooLateToAbort(_))) => {
                world.rotate_until_done();
                world.assert_tidy(&format!("too late at {moment}"));
            }
            other => panic!("at {moment}: {:?}", other.ok()),
        }
    }
    assert!(undone > 10, "only {undone}");
}

#[test]
fn a_failed_receiver_keeps_the_old_token_alive_and_is_the_only_one_asked_again() {
    let world = World::new(true);
    let (good, bad) = (
        Receiver::Command("good".into()),
        Receiver::Command("bad".into()),
    );
    let mut plan = world.plan();
    plan.deliver = vec![bad.clone(), good.clone()];
    world.refusing.borrow_mut().push(bad.clone());
    let started = world.run(|rotator| rotator.start(&plan));
    let Ok(Err(RotationError::Undelivered { failed, .. })) = started else {
        panic!("delivered");
    };
    assert_eq!(failed.len(), 1);
    assert!(!world.is_rotated());
    let journal = journal::all(&world.paths()).expect("journals").remove(0);
    let aborted = world.run(|rotator| rotator.abort(&journal));
    assert!(matches!(aborted, Ok(Err(RotationError::TooLateToAbort(_)))));

    world.refusing.borrow_mut().clear();
    world.rotate_until_done();
    world.assert_tidy("delivered at the second try");
    let asked: Vec<Receiver> = world
        .received
        .borrow()
        .iter()
        .map(|(receiver, _)| receiver.clone())
        .collect();
    assert_eq!(asked, [good, bad]);
}

/// A rotation of which one receiver has the new token and the other not.
fn half_delivered(stored: bool, grace: Duration) -> (World, journal::Journal) {
    let world = World::new(stored);
    let (good, bad) = (
        Receiver::Command("good".into()),
        Receiver::Command("bad".into()),
    );
    let mut plan = world.plan();
    plan.deliver = vec![good, bad.clone()];
    plan.grace = grace;
    world.refusing.borrow_mut().push(bad);
    let started = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(
        started,
        Ok(Err(RotationError::Undelivered { .. }))
    ));
    let journal = journal::all(&world.paths()).expect("journals").remove(0);
    (world, journal)
}

#[test]
fn the_old_token_is_kept_where_somebody_has_revoked_the_new_one() {
    for (stored, grace) in [(true, 0), (false, 0), (true, 3600), (false, 3600)] {
        let (world, mut journal) = half_delivered(stored, Duration::from_secs(grace));
        let new_id = journal.new_id.clone().expect("a new token");
        let is_new = |(token, _): &(Token, Secret)| token.id == new_id;
        world.tokens.borrow_mut().retain(|token| !is_new(token));
        // Only the receiver that has it is asked for now, so that there is nothing to deliver.
        journal.redirect(&[]);
        journal.save(&world.paths()).expect("saved");
        world.free.set(true);
        let resumed = world.run(|rotator| rotator.resume(&journal));
        assert!(matches!(resumed, Ok(Err(RotationError::NewGone))));
        assert!(!world.is_rotated());
        let aborted = world.run(|rotator| rotator.abort(&journal));
        assert!(matches!(aborted, Ok(Ok(Outcome::Undone))));
        assert!(!world.is_rotated());
        assert_eq!(journal::all(&world.paths()).expect("journals"), []);
        let item = world.item();
        assert!(item.pending.is_empty() && item.previous.is_empty());
        let info = item.credentials.0.first().and_then(|one| one.token.clone());
        let stored_id = info.map(|info| info.id);
        assert_eq!(stored_id.as_deref(), stored.then_some("id-2"));
    }
}

#[test]
fn a_rotation_whose_two_tokens_are_gone_can_be_forgotten() {
    let (world, journal) = half_delivered(true, Duration::ZERO);
    world.free.set(true);
    world.tokens.borrow_mut().clear();
    let aborted = world.run(|rotator| rotator.abort(&journal));
    assert!(matches!(aborted, Ok(Err(RotationError::Missing))));
    assert_eq!(journal::all(&world.paths()).expect("journals"), []);
    assert!(world.item().is_empty());
}

#[test]
fn a_grace_ends_as_it_was_told_though_the_new_token_was_rotated_since() {
    let world = World::new(true);
    let mut plan = world.plan();
    plan.grace = Duration::from_secs(3600);
    let first = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(first, Ok(Ok(Outcome::InGrace { .. }))));
    let grace = journal::all(&world.paths()).expect("journals").remove(0);
    let plan = world.plan();
    let second = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(second, Ok(Ok(Outcome::Rotated { .. }))));
    world.clock.set(NOW.plus(3600));
    let ended = world.run(|rotator| rotator.end_grace(&grace));
    assert!(matches!(ended, Ok(Ok(Outcome::Rotated { .. }))));
    world.assert_tidy("both are over");
}

#[test]
fn what_has_replaced_itself_is_not_taken_back() {
    let world = World::new(false);
    let mut plan = world.plan();
    plan.by_itself = true;
    plan.deliver = vec![Receiver::Command("bad".into())];
    world.refusing.borrow_mut().push(plan.deliver[0].clone());
    let started = world.run(|rotator| rotator.start(&plan));
    let Ok(Err(error)) = started else {
        panic!("delivered");
    };
    assert!(error.to_string().contains("ends by itself"), "{error}");
    let journal = journal::all(&world.paths()).expect("journals").remove(0);
    let aborted = world.run(|rotator| rotator.abort(&journal));
    assert!(matches!(aborted, Ok(Err(RotationError::TooLateToAbort(_)))));
    assert_eq!(world.tokens.borrow().len(), 3, "the new one lives");
    world.refusing.borrow_mut().clear();
    world.rotate_until_done();
    world.assert_tidy("finished");
}

#[test]
fn a_store_that_takes_nothing_is_noticed_before_a_token_replaces_itself() {
    // The first write tries the store, the third is to keep the new token.
    for (write, tokens) in [(0, 2), (2, 3)] {
        let world = World::new(false);
        world.store_fails_at.set(Some(write));
        let mut plan = world.plan();
        plan.by_itself = true;
        let started = world.run(|rotator| rotator.start(&plan));
        assert!(matches!(started, Ok(Err(RotationError::Store(_)))));
        assert_eq!(world.tokens.borrow().len(), tokens, "write {write}");
    }
}

#[test]
fn the_old_token_lives_until_the_grace_is_over() {
    let world = World::new(true);
    let mut plan = world.plan();
    plan.grace = Duration::from_secs(3600);
    let Ok(Ok(outcome)) = world.run(|rotator| rotator.start(&plan)) else {
        panic!("not rotated");
    };
    assert!(matches!(outcome, Outcome::InGrace { until, .. } if until == NOW.plus(3600)));
    let journal = journal::all(&world.paths()).expect("journals").remove(0);
    world.clock.set(NOW.plus(3599));
    assert!(!journal.is_due(world.clock.get()));
    let _ = world.run(|rotator| rotator.resume(&journal));
    assert!(!world.is_rotated());
    world.clock.set(NOW.plus(3600));
    world.rotate_until_done();
    world.assert_tidy("after the grace");
}

/// A rotation whose create request, the third call, had this fate.
fn lost(fault: Fault, keeps_ids: bool, grace: u64) -> World {
    let world = World::new(true);
    world.keeps_ids.set(keeps_ids);
    let mut plan = world.plan();
    plan.grace = Duration::from_secs(grace);
    world.fails_at.set(Some((2, fault)));
    let started = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(started, Ok(Err(RotationError::Api { .. }))));
    world
}

#[test]
fn what_another_machine_creates_meanwhile_outlives_every_end_of_a_rotation() {
    for fault in [Fault::Lost, Fault::LostBeforeItArrived, Fault::Failed] {
        for grace in [0, 3600] {
            for abort in [false, true] {
                let what = format!("{fault:?}, grace {grace}, abort {abort}");
                let world = lost(fault, true, grace);
                let others = world.another_creates();
                let journal = world.journal();
                let ended = world.run(|rotator| match abort {
                    true => rotator.abort(&journal),
                    false => rotator.resume(&journal),
                });
                assert!(matches!(ended, Ok(Ok(_))), "{what}");
                let later = world.another_creates();
                world.clock.set(NOW.plus(4000));
                for journal in journal::all(&world.paths()).expect("journals") {
                    let ended = world.run(|rotator| rotator.end_grace(&journal));
                    assert!(matches!(ended, Ok(Ok(_))), "{what}");
                }
                assert!(world.has(&others) && world.has(&later), "{what}");
                let revoked = world.revoked.borrow();
                assert!(!revoked.contains(&others) && !revoked.contains(&later));
                for id in [others, later] {
                    world
                        .tokens
                        .borrow_mut()
                        .retain(|(token, _)| token.id != id);
                }
                world.assert_tidy(&what);
            }
        }
    }
}

#[test]
fn a_lost_token_is_revoked_and_that_is_told() {
    let world = lost(Fault::Lost, true, 0);
    world.rotate_until_done();
    world.assert_tidy("found by its request id");
    assert_eq!(*world.revoked.borrow(), ["id-3", "id-2"]);
}

#[test]
fn a_request_that_arrives_late_creates_no_second_token() {
    let world = lost(Fault::LostBeforeItArrived, true, 0);
    let journal = world.journal();
    let late = NewToken {
        name: journal.name.clone(),
        scopes: journal.scopes.clone(),
        repositories: Vec::new(),
        expires_in_days: journal.expires_in_days,
        request_id: journal.request_ids.last().copied(),
        replaces: None,
    };
    world.rotate_until_done();
    let error = world.create(&late).expect_err("it was created before");
    assert!(matches!(error, ApiError::Refused { .. }));
    world.assert_tidy("once");
}

#[test]
fn a_request_that_arrives_between_the_search_and_the_retry_is_found_next_time() {
    let world = lost(Fault::LostBeforeItArrived, true, 0);
    // As if the server had carried the first request out just after the search.
    let id = world.journal().request_ids[0];
    world.request_ids.borrow_mut().push(id);
    let journal = world.journal();
    let refused = world.run(|rotator| rotator.resume(&journal));
    assert!(matches!(refused, Ok(Err(RotationError::Api { .. }))));
    world.another_creates();
    world
        .tokens
        .borrow_mut()
        .last_mut()
        .expect("it")
        .0
        .request_id = Some(id);
    world.rotate_until_done();
    world.assert_tidy("found");
}

#[test]
fn without_request_ids_a_person_decides_and_nothing_else_is_revoked() {
    for fault in [Fault::Lost, Fault::LostBeforeItArrived] {
        for abort in [false, true] {
            let what = format!("{fault:?}, abort {abort}");
            let world = lost(fault, false, 0);
            world.another_creates();
            let candidates = world.tokens.borrow().len() - 2;
            let run = |world: &World| {
                let journal = world.journal();
                world.run(|rotator| match abort {
                    true => rotator.abort(&journal),
                    false => rotator.resume(&journal),
                })
            };
            // However often nobody answers.
            for _ in 0..2 {
                let Ok(Err(RotationError::Unclear { tokens, .. })) = run(&world) else {
                    panic!("{what}: went on");
                };
                assert_eq!(tokens.len(), candidates, "{what}");
                assert!(world.revoked.borrow().is_empty(), "{what}");
            }
            let Ok(Err(RotationError::Unclear { tokens, .. })) = run(&world) else {
                panic!("{what}: went on");
            };
            let journal = world.journal();
            let told = world.run(|rotator| rotator.leave_alone(&journal, &tokens));
            assert!(matches!(told, Ok(Ok(()))), "{what}");
            assert!(matches!(run(&world), Ok(Ok(_))), "{what}");
            assert!(tokens.iter().all(|token| world.has(&token.id)), "{what}");
            assert!(journal::all(&world.paths()).expect("journals").is_empty());
        }
    }
}

#[test]
fn no_failure_and_no_crash_costs_another_machine_its_token_where_there_are_no_request_ids() {
    for fault in FAULTS {
        for at in 0..12 {
            let world = World::new(true);
            world.keeps_ids.set(false);
            world.fails_at.set(Some((at, fault)));
            let plan = world.plan();
            let _ = world.run(|rotator| rotator.start(&plan));
            let others = world.another_creates();
            for _ in 0..6 {
                let left = journal::all(&world.paths()).expect("journals");
                let Some(journal) = left.first() else { break };
                let resumed = world.run(|rotator| rotator.resume(journal));
                if let Ok(Err(RotationError::Unclear { tokens, .. })) = resumed {
                    let _ = world.run(|rotator| rotator.leave_alone(journal, &tokens));
                }
            }
            assert!(world.has(&others), "{fault:?} at call {at}");
            assert!(journal::all(&world.paths()).expect("journals").is_empty());
        }
    }
}

/// A rotation in its grace of an hour, begun with that skew.
fn in_grace(skew: i64) -> World {
    let world = World::new(true);
    world.skew.set(skew);
    world.shortens.set(true);
    let mut plan = world.plan();
    plan.grace = Duration::from_secs(3600);
    let started = world.run(|rotator| rotator.start(&plan));
    let Ok(Ok(Outcome::InGrace { until, .. })) = started else {
        panic!("not rotated");
    };
    let hour_later = world.server_time().plus(3600);
    assert_eq!(until, hour_later, "skew {skew}");
    assert_eq!(world.shortened.get(), Some(Expiry(hour_later)), "{skew}");
    world
}

#[test]
fn a_grace_is_by_the_servers_clock_however_wrong_this_machines_is() {
    for skew in [3_660, -3_660, 20 * DAY, -20 * DAY] {
        let world = in_grace(skew);
        let journal = world.journal();
        for (passed, due) in [(0, false), (3_500, false), (3_600, true)] {
            world.clock.set(NOW.plus(passed));
            assert_eq!(journal.is_due(world.clock.get()), due, "{skew} {passed}");
        }
        world.rotate_until_done();
        world.assert_tidy("after the grace");
    }
}

#[test]
fn a_clock_that_was_set_right_during_a_grace_neither_shortens_nor_lengthens_it() {
    for skew in [3_660, -3_660, 20 * DAY, -20 * DAY] {
        let world = in_grace(skew);
        // The clock is set: it shows now what the server's does.
        let set = |passed: i64| {
            world.skew.set(0);
            world.clock.set(NOW.plus(skew + passed));
        };
        set(1_800);
        let journal = world.journal();
        let ended = world.run(|rotator| rotator.resume(&journal));
        assert!(matches!(ended, Ok(Ok(Outcome::InGrace { .. }))), "{skew}");
        assert!(!world.is_rotated(), "{skew}");
        set(3_600);
        let journal = world.journal();
        assert!(journal.is_due(world.clock.get()), "{skew}");
        world.rotate_until_done();
        world.assert_tidy("after the grace");
    }
}

#[test]
fn an_end_further_ahead_than_it_can_be_is_looked_at() {
    let world = in_grace(0);
    let mut journal = world.journal();
    journal.revoke_at = Some(NOW.plus(20 * DAY));
    journal.save(&world.paths()).expect("saved");
    assert!(journal.is_due(NOW));
    world.rotate_until_done();
    world.assert_tidy("it was over");
}

#[test]
fn a_journal_of_the_first_format_is_finished_by_the_servers_clock() {
    let world = in_grace(-20 * DAY);
    let dir = world.dir.path().join("state/rotations");
    let file = std::fs::read_dir(dir).expect("there").next().expect("one");
    let file = file.expect("a file").path();
    let text = std::fs::read_to_string(&file).expect("a journal");
    let mut old: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    old["version"] = 1.into();
    old.as_object_mut()
        .expect("an object")
        .remove("request_ids");
    // As this machine's clock showed them.
    for name in ["started", "sent"] {
        old[name] = NOW.0.into();
    }
    old["revoke_at"] = NOW.plus(3_600).0.into();
    std::fs::write(&file, old.to_string()).expect("written");
    let journal = world.journal();
    assert_eq!(journal.revoke_at, Some(NOW.plus(3_600 - 20 * DAY)));
    assert!(!journal.is_due(NOW) && journal.is_due(NOW.plus(3_600)));
    world.clock.set(NOW.plus(3_600));
    world.rotate_until_done();
    world.assert_tidy("after the grace");
    let old = serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    assert_eq!(old["version"], 2, "what is older would search by name");
}

#[test]
fn a_lost_create_of_a_journal_of_the_first_format_is_a_persons_decision() {
    let world = lost(Fault::Lost, true, 0);
    let mut journal = world.journal();
    journal.request_ids.clear();
    journal.save(&world.paths()).expect("saved");
    let resumed = world.run(|rotator| rotator.resume(&journal));
    let Ok(Err(error @ RotationError::Unclear { .. })) = resumed else {
        panic!("nobody is asked");
    };
    let said = error.to_string();
    let first = said.lines().next().expect("a sentence");
    assert!(
        first.contains("from it, or from another machine,"),
        "{said}"
    );
    assert!(world.has("id-3"));
}

#[test]
fn nothing_is_done_where_nothing_can_be() {
    let world = World::new(true);
    for number in 0..48 {
        world.make(&format!("other {number}"), &["repo:read"], None, NOW);
    }
    let plan = world.plan();
    let full = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(full, Ok(Err(RotationError::Full(50)))));
    let world = World::new(true);
    let mut plan = world.plan();
    plan.stored = false;
    let nowhere = world.run(|rotator| rotator.start(&plan));
    assert!(matches!(nowhere, Ok(Err(RotationError::NoReceiver))));
    assert!(journal::all(&world.paths()).expect("journals").is_empty());
}

#[test]
fn what_a_host_does_not_promise_is_refused_before_anything_is_sent() {
    for (create, revoke_others) in [(false, true), (true, false)] {
        let world = World::new(true);
        *world.promises.borrow_mut() = Promises {
            create,
            revoke_others,
            ..Promises::PLATFORM
        };
        let plan = world.plan();
        let started = world.run(|rotator| rotator.start(&plan));
        let Ok(Err(error)) = started else {
            panic!("started");
        };
        assert!(error.to_string().contains("this server can't"), "{error}");
        assert_eq!(world.calls.get(), 0);
        assert!(journal::all(&world.paths()).expect("journals").is_empty());
    }
}

#[test]
fn a_host_with_unique_names_and_no_expiry_is_rotated_all_the_same() {
    let world = World::new(true);
    *world.promises.borrow_mut() = Promises {
        expiry: Precision::None,
        unique_names: true,
        max_tokens: None,
        ..Promises::PLATFORM
    };
    world.rotate_until_done();
    world.assert_tidy("rotated");
    let item = world.item();
    let info = item.credentials.0[0].token.clone().expect("token info");
    assert!(info.name.starts_with("laptop ("), "{}", info.name);
    assert_eq!(item.credentials.0[0].expiry, None);
}

#[test]
fn a_host_that_keeps_dates_is_not_told_that_its_token_is_another() {
    let world = World::new(true);
    *world.promises.borrow_mut() = Promises {
        expiry: Precision::Date,
        ..Promises::PLATFORM
    };
    // Created in the afternoon, its end is a midnight.
    world
        .clock
        .set(UnixTime(NOW.0.div_euclid(DAY) * DAY + 15 * 3_600));
    world.rotate_until_done();
    world.assert_tidy("rotated");
}

#[test]
fn the_journal_holds_no_secret() {
    for moment in 0..40 {
        let world = World::new(true);
        let plan = world.plan();
        world.dies_at.set(Some(moment));
        let _ = world.run(|rotator| rotator.start(&plan));
        for file in std::fs::read_dir(world.dir.path().join("state/rotations"))
            .into_iter()
            .flatten()
        {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            assert!(!text.contains("wit_0"), "{text}");
        }
    }
    // The doubles hold secrets where the test looks.
    assert!(
        store::load(&World::new(true), &site())
            .expect("loads")
            .credentials
            .0
            .len()
            == 1
    );
}
