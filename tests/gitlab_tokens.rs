//! GitLab's tokens: a pasted one that replaces itself, whose family must never be ended by us.

#![cfg(feature = "platform")]

use std::process::{Output, Stdio};
use std::time::Instant;

use crate::support::forge::{Forge, Kind};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{HELPER, Home, WIT, done, kill_within, refused, text};
use serde_json::Value;

/// What the person pastes.
const SCOPES: [&str; 3] = ["write_repository", "self_rotate", "read_user"];

struct Setup {
    forge: Forge,
    home: Home,
    /// What was pasted.
    token: String,
    /// Where wit and git find the host.
    url: String,
    scopes: &'static [&'static str],
}

impl Setup {
    /// A token that is due, signed in with.
    fn due() -> Self {
        Self::at(None)
    }

    /// The same by way of a proxy, or below a path.
    fn at(url: Option<&dyn Fn(&Forge) -> String>) -> Self {
        Self::with(url, &SCOPES)
    }

    fn with(url: Option<&dyn Fn(&Forge) -> String>, scopes: &'static [&'static str]) -> Self {
        let forge = Forge::start(Kind::Gitlab);
        let mut home = Home::new();
        home.set("WIT_SETTLE_TIMEOUT", "0.2");
        let url = url.map_or(forge.url.clone(), |url| url(&forge));
        let mut setup = Setup {
            forge,
            home,
            token: String::new(),
            url,
            scopes,
        };
        setup.paste();
        setup
    }

    /// Signs in with a new token that is due.
    fn paste(&mut self) {
        self.token = self.forge.person_creates(self.scopes);
        self.forge.with(|state| state.ages(&self.token, 100, 3));
        let login = ["login", &self.url, "--host-type", "gitlab", "--token-stdin"];
        let said = done(&self.home.run(WIT, &login, &format!("{}\n", self.token)));
        assert!(said.contains("it replaces itself before that"), "{said}");
    }

    fn wit(&self, arguments: &[&str]) -> Output {
        self.home.run(WIT, arguments, "")
    }

    fn site(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        format!("{scheme}://{}", rest.split('/').next().expect("a host"))
    }

    /// What the helper starts while git waits.
    fn renew(&self) -> Output {
        self.wit(&["token", "renew", "--site", &self.site()])
    }

    /// The password that git is given, if any.
    fn given(&self) -> Option<String> {
        let site = self.site();
        let (scheme, host) = site.split_once("://").expect("a site");
        let request = format!("protocol={scheme}\nhost={host}\n\n");
        let answer = done(&self.home.run(HELPER, &["get"], &request));
        let mut lines = answer.lines();
        let password = lines.find_map(|line| line.strip_prefix("password="));
        password.map(str::to_owned)
    }

    fn lives(&self, token: &str) -> bool {
        self.forge.with(|state| state.tokens[token].alive)
    }

    fn rotations(&self) -> usize {
        self.forge.with(|state| state.gitlab.rotations)
    }

    fn status(&self) -> (Option<i32>, Value) {
        let output = self.wit(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (
            output.status.code(),
            status["servers"][0]["signIns"][0].clone(),
        )
    }

    /// Nobody has ended a family, and no journal is left.
    fn assert_tidy(&self, what: &str) {
        assert_eq!(self.forge.with(|state| state.gitlab.reused), 0, "{what}");
        let journals = self.home.path().join(".local/state/wit/rotations");
        let entries = std::fs::read_dir(journals).into_iter().flatten().flatten();
        let mut left: Vec<_> = entries.map(|entry| entry.path()).collect();
        // What a killed process was writing is swept away later.
        left.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

#[test]
fn git_gets_a_token_that_has_replaced_itself_before_its_end() {
    let setup = Setup::due();
    let (_, before) = setup.status();
    assert_eq!(before["renewed"], true);
    let given = setup.given().expect("a token");
    assert_ne!(given, setup.token);
    assert!(setup.lives(&given) && !setup.lives(&setup.token));
    assert_eq!(setup.given(), Some(given.clone()), "it is not due again");
    assert_eq!(setup.rotations(), 1);
    setup.assert_tidy("renewed");
    // As long as the old one lived: 103 days.
    let (code, after) = setup.status();
    assert_eq!(code, Some(0), "{after}");
    let new = setup.forge.with(|state| {
        let id = state.tokens[&given].id;
        state.gitlab.details[&id].clone()
    });
    let end = new.expires.expect("an end");
    assert_eq!((end - new.created.date()).whole_days(), 103);
    assert_eq!(after["expiresAt"], format!("{end}T00:00:00Z"));
    let shown = text(&setup.wit(&["status"]).stdout);
    assert!(shown.contains("replaces itself before"), "{shown}");
}

#[test]
fn many_gits_at_once_make_one_rotation() {
    let setup = Setup::due();
    let ask = |_| {
        let command = format!("{}/ada/hello.git", setup.url);
        let helper = format!("credential.helper={HELPER}");
        let git = [
            "-c",
            "credential.helper=",
            "-c",
            &helper,
            "ls-remote",
            &command,
        ];
        let output = setup.home.run("git", &git, "");
        (output.status.success(), text(&output.stderr))
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let gits: Vec<_> = (0..32).map(|n| scope.spawn(move || ask(n))).collect();
        gits.into_iter()
            .map(|git| git.join().expect("an end"))
            .collect()
    });
    let failed: Vec<_> = ended.iter().filter(|(good, _)| !good).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(setup.rotations(), 1);
    setup.assert_tidy("many");
}

#[test]
fn a_gitlab_below_a_path_is_asked_there() {
    let setup = Setup::at(Some(&|forge| format!("{}/gitlab", forge.url)));
    let given = setup.given().expect("a token");
    assert!(given != setup.token && setup.lives(&given));
    let seen = setup.forge.server.seen();
    let is_rotation = |request: &&String| request.starts_with("POST ");
    let sent: Vec<_> = seen.iter().filter(is_rotation).collect();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("POST /gitlab/api/v4/personal_access_tokens/self/rotate "));
}

#[test]
fn each_request_failing_in_turn_ends_no_family() {
    let fates = [
        Fate::Refused(500),
        Fate::Refused(401),
        Fate::Refused(403),
        Fate::Refused(429),
        Fate::CutBefore,
        Fate::CutAfter,
    ];
    let mut lost = 0;
    for fate in fates {
        for number in 0.. {
            let proxy = std::cell::OnceCell::new();
            let by_proxy = |forge: &Forge| {
                let proxy = proxy.get_or_init(|| Proxy::to(forge.server.address()));
                proxy.url.clone()
            };
            let setup = Setup::at(Some(&by_proxy));
            let proxy = proxy.get().expect("a proxy");
            proxy.take_seen();
            proxy.spoil(number, fate);
            let spoilt = setup.renew();
            let count = proxy.take_seen().len();
            proxy.set(|_| Fate::Forwarded);
            if spoilt.status.success() && count <= number {
                break;
            }
            let what = format!("{fate:?} of request {number}: {}", text(&spoilt.stderr));
            let is_lost = setup.status().1["ended"] == true;
            lost += usize::from(is_lost);
            if is_lost {
                assert_eq!(spoilt.status.code(), Some(1), "{what}");
                assert_eq!(fate, Fate::CutAfter, "{what}");
                assert_eq!(setup.status().0, Some(3), "{what}");
                assert_eq!(setup.given(), None, "{what}");
                setup.assert_tidy(&what);
                continue;
            }
            let again = setup.renew();
            assert!(again.status.success(), "{what}\n{}", text(&again.stderr));
            let given = setup.given().expect("a token");
            assert!(setup.lives(&given), "{what}");
            assert_eq!(setup.rotations(), 1, "{what}");
            setup.assert_tidy(&what);
        }
    }
    assert_eq!(lost, 1, "the answer that nobody received");
}

#[test]
fn what_was_lost_is_said_and_a_new_token_helps() {
    let forge_url = |forge: &Forge| Proxy::to(forge.server.address());
    let proxy = std::cell::OnceCell::new();
    let by_proxy = |forge: &Forge| proxy.get_or_init(|| forge_url(forge)).url.clone();
    let mut setup = Setup::at(Some(&by_proxy));
    let proxy = proxy.get().expect("a proxy");
    proxy.set(|first| match first.starts_with("POST ") {
        true => Fate::CutAfter,
        false => Fate::Forwarded,
    });
    let said = refused(&setup.renew(), 1);
    assert!(
        said.contains("its answer with the new one was lost"),
        "{said}"
    );
    assert!(
        said.contains("/-/user_settings/personal_access_tokens"),
        "{said}"
    );
    assert_eq!(
        proxy
            .take_seen()
            .iter()
            .filter(|seen| seen.starts_with("POST "))
            .count(),
        1
    );
    let shown = setup.wit(&["status"]);
    assert_eq!(shown.status.code(), Some(3));
    let site = setup.site();
    let request = format!(
        "protocol=http\nhost={}\n\n",
        site.trim_start_matches("http://")
    );
    let get = setup.home.run(HELPER, &["get"], &request);
    assert!(
        text(&get.stderr).contains("its answer with the new one was lost"),
        "{}",
        text(&get.stderr)
    );
    proxy.set(|_| Fate::Forwarded);
    setup.paste();
    assert_eq!(setup.status().1["ended"], false);
    assert!(setup.lives(&setup.given().expect("a token")));
    setup.assert_tidy("signed in anew");
}

#[test]
fn a_crash_at_each_step_ends_no_family() {
    for (point, is_kept) in [
        ("journal-creating", true),
        ("created", false),
        ("stored", true),
        ("journal-delivering", true),
        ("journal-revoking", true),
        ("revoked", true),
        ("tidied", true),
        ("cleared", true),
    ] {
        let mut setup = Setup::due();
        setup.home.set("WIT_CRASH_AT", point);
        let crashed = setup.renew();
        assert_eq!(crashed.status.code(), None, "{point}");
        setup.home.set("WIT_CRASH_AT", "");
        if point != "cleared" {
            let shown = setup.wit(&["status"]);
            assert_eq!(shown.status.code(), Some(3), "{point}");
            let shown = text(&shown.stdout);
            assert!(
                shown.contains("not finished: wit token rotate --resume"),
                "{shown}"
            );
        }
        if !is_kept {
            assert_eq!(setup.renew().status.code(), Some(1), "{point}");
            assert_eq!(setup.status().0, Some(3), "{point}");
            setup.assert_tidy(point);
            continue;
        }
        let resumed = setup.wit(&["token", "rotate", "--resume"]);
        assert!(
            resumed.status.success(),
            "{point}: {}",
            text(&resumed.stderr)
        );
        let given = setup.given().expect("a token");
        assert!(setup.lives(&given), "{point}");
        assert_eq!(setup.rotations(), 1, "{point}");
        setup.assert_tidy(point);
    }
}

const DUE_NEVER: [&str; 6] = ["token", "rotate", "--due", "7", "--expires", "never"];

#[test]
fn the_command_delivers_the_new_token_and_can_not_take_it_back() {
    let setup = Setup::due();
    let said = refused(&setup.wit(&["token", "rotate", "--scopes", "api"]), 2);
    assert!(said.contains("keeps its scopes"), "{said}");
    let said = refused(&setup.wit(&["token", "rotate", "--grace", "1h"]), 1);
    assert!(said.contains("grace"), "{said}");
    for never in [&["token", "rotate", "--expires", "never"][..], &DUE_NEVER] {
        let said = refused(&setup.wit(never), 2);
        assert!(said.contains("have to expire"), "{said}");
    }
    assert_eq!(setup.rotations(), 0);
    let failed = setup.wit(&["token", "rotate", "--deliver", "false"]);
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(5), "{said}");
    assert!(said.contains("the old one has ended"), "{said}");
    let stored = setup.given().expect("a token");
    assert!(setup.lives(&stored) && stored != setup.token);
    let abort = setup.wit(&["token", "rotate", "--abort"]);
    assert_eq!(abort.status.code(), Some(5), "{}", text(&abort.stderr));
    assert!(
        text(&abort.stderr).contains("has ended"),
        "{}",
        text(&abort.stderr)
    );
    let resumed = setup.wit(&["token", "rotate", "--resume", "--deliver", "cat >new"]);
    let said = text(&resumed.stderr);
    assert!(said.contains("does not have the new token"), "{said}");
    done(&resumed);
    let new = std::fs::read_to_string(setup.home.path().join("new")).expect("delivered");
    assert_eq!(new.trim(), stored);
    assert_eq!(setup.rotations(), 1);
    setup.assert_tidy("delivered");
}

#[test]
fn what_is_done_every_day_covers_it() {
    let setup = Setup::due();
    let due = ["token", "rotate", "--due", "7", "--all"];
    done(&setup.wit(&due));
    done(&setup.wit(&due));
    assert_eq!(setup.rotations(), 1);
    assert!(setup.lives(&setup.given().expect("a token")));
}

#[test]
fn a_copy_that_is_stored_for_a_path_is_replaced_too() {
    let setup = Setup::due();
    let login = [
        "login",
        &setup.url,
        "--host-type",
        "gitlab",
        "--token-stdin",
        "--path",
        "ada/work",
    ];
    done(&setup.home.run(WIT, &login, &format!("{}\n", setup.token)));
    done(&setup.wit(&["token", "rotate"]));
    let host = setup.site().replace("http://", "");
    let request = format!("protocol=http\nhost={host}\npath=ada/work\n\n");
    let answer = done(&setup.home.run(HELPER, &["get"], &request));
    let given = setup.given().expect("a token");
    assert!(answer.contains(&given) && setup.lives(&given), "{answer}");
    assert_eq!(setup.rotations(), 1);
}

#[test]
fn a_token_that_was_revoked_elsewhere_asks_for_nothing() {
    let setup = Setup::due();
    setup.forge.with(|state| {
        let token = state.tokens.get_mut(&setup.token).expect("known");
        token.alive = false;
    });
    let said = refused(&setup.wit(&["token", "rotate"]), 1);
    assert!(said.contains("the server refuses the old token"), "{said}");
    let seen = setup.forge.server.seen();
    assert!(!seen.iter().any(|seen| seen.starts_with("POST ")));
    setup.assert_tidy("refused");
}

#[test]
fn the_servers_longest_lifetime_is_learnt_from_its_refusal() {
    for (lived, most, rotated) in [
        (103, 365, 103),
        (400, 365, 365),
        (103, 60, 60),
        (400, 60, 60),
    ] {
        let setup = Setup::due();
        setup.forge.with(|state| {
            state.ages(&setup.token, lived - 3, 3);
            state.gitlab.max_days = most;
        });
        // The lifetime that was stored is that of the login.
        let login = [
            "login",
            &setup.url,
            "--host-type",
            "gitlab",
            "--token-stdin",
        ];
        done(&setup.home.run(WIT, &login, &format!("{}\n", setup.token)));
        let given = setup.given().expect("a token");
        assert_ne!(given, setup.token, "{lived} {most}");
        let days = setup.forge.with(|state| {
            let detail = state.gitlab.details[&state.tokens[&given].id].clone();
            (detail.expires.expect("an end") - detail.created.date()).whole_days()
        });
        assert_eq!(days, rotated, "{lived} {most}");
        setup.assert_tidy("within the maximum");
    }
}

#[test]
fn a_refusal_is_said_and_changes_nothing() {
    let legacy = "400 Bad request - Rotation of legacy personal access tokens is disabled. \
                  Use a fine-grained token instead.";
    for (status, why, said) in [
        (
            400,
            legacy,
            "Rotation of legacy personal access tokens is disabled",
        ),
        (405, "405 Method Not Allowed", "405 Method Not Allowed"),
    ] {
        let setup = Setup::due();
        setup
            .forge
            .with(|state| state.gitlab.refuses_rotation = Some((status, why)));
        let told = refused(&setup.renew(), 1);
        assert!(told.contains(said), "{told}");
        assert_eq!(setup.given(), Some(setup.token.clone()));
        let seen = setup.forge.server.seen();
        let sent = seen.iter().filter(|seen| seen.starts_with("POST "));
        assert_eq!(sent.count(), 1, "it is not tried in vain");
        setup.assert_tidy("refused");
        let shown = setup.wit(&["status"]);
        assert_eq!(shown.status.code(), Some(3));
        let shown = text(&shown.stdout);
        assert!(shown.contains("the last renewal failed"), "{shown}");
    }
}

#[test]
fn a_token_of_an_unknown_account_is_meant_by_its_username() {
    let setup = Setup::with(None, &["write_repository", "self_rotate"]);
    done(&setup.wit(&["token", "rotate", "--due", "7", "--all"]));
    assert_eq!(setup.rotations(), 1);
    done(&setup.wit(&["token", "rotate", "--account", "oauth2"]));
    assert_eq!(setup.rotations(), 2);
    refused(&setup.wit(&["token", "rotate", "--account", "eve"]), 4);
    let failed = setup.wit(&["token", "rotate", "--deliver", "exit 3"]);
    let said = refused(&failed, 5);
    let hint = said
        .lines()
        .find_map(|line| line.split_once("wit token rotate"));
    let (_, options) = hint.expect("a hint");
    let mut resume = vec!["token", "rotate"];
    resume.extend(options.split(' ').filter(|word| !word.is_empty()));
    resume.extend(["--deliver-file", "new"]);
    done(&setup.wit(&resume));
    assert_eq!(setup.rotations(), 3);
    setup.assert_tidy("resumed");
    done(&setup.wit(&["logout", &setup.url, "--account", "oauth2"]));
    assert_eq!(setup.given(), None);
}

#[test]
fn an_answer_that_is_lost_while_git_asks_is_said_and_git_gets_nothing() {
    let proxy = std::cell::OnceCell::new();
    let by_proxy = |forge: &Forge| {
        let proxy = proxy.get_or_init(|| Proxy::to(forge.server.address()));
        proxy.url.clone()
    };
    let setup = Setup::at(Some(&by_proxy));
    let proxy = proxy.get().expect("a proxy");
    proxy.set(|first| match first.starts_with("POST ") {
        true => Fate::CutAfter,
        false => Fate::Forwarded,
    });
    let host = setup.site().replace("http://", "");
    let request = format!("protocol=http\nhost={host}\n\n");
    let get = setup.home.run(HELPER, &["get"], &request);
    assert_eq!(text(&get.stdout), "");
    let said = text(&get.stderr);
    assert!(!said.contains("expires in"), "{said}");
    let shown = setup.wit(&["status"]);
    assert_eq!(shown.status.code(), Some(3));
    for said in [said, text(&shown.stdout)] {
        for words in [
            "was lost",
            "/-/user_settings/personal_access_tokens",
            "--paste-token",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    setup.assert_tidy("lost");
}

#[test]
fn git_is_told_that_a_token_was_refused() {
    let setup = Setup::due();
    setup.forge.with(|state| {
        let token = state.tokens.get_mut(&setup.token).expect("known");
        token.alive = false;
    });
    let host = setup.site().replace("http://", "");
    let request = format!("protocol=http\nhost={host}\n\n");
    let said = text(&setup.home.run(HELPER, &["get"], &request).stderr);
    assert!(said.contains("the server refuses the token"), "{said}");
    assert!(!said.contains("expires in"), "{said}");
}

/// All rounds together, and how many machines share them.
const ROUNDS: usize = 200;
const WORKERS: usize = 8;

/// Kills rotations of one machine's token. Returns how many were killed before their end, and how
/// many new tokens nobody received.
fn kill(number: usize) -> (usize, usize) {
    let mut setup = Setup::due();
    // Any sequence will do; this one differs by worker and repeats exactly.
    let mut random = fastrand::Rng::with_seed(number as u64);
    let begun = Instant::now();
    done(&setup.wit(&["token", "rotate"]));
    let mut usual = begun.elapsed();
    let (mut killed, mut lost) = (0, 0);
    for round in 0..ROUNDS / WORKERS {
        let what = format!("worker {number}, round {round}");
        let mut rotation = (setup.home.command(WIT).args(["token", "rotate"]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        killed += usize::from(kill_within(&mut rotation, usual, &mut random));
        let begun = Instant::now();
        let again = setup.wit(&["token", "rotate"]);
        if again.status.success() {
            usual = (usual * 3 + begun.elapsed().min(usual * 2)) / 4;
        } else {
            let said = text(&again.stderr);
            assert!(
                said.contains("its answer with the new one was lost"),
                "{what}: {said}"
            );
            assert_eq!(setup.status().0, Some(3), "{what}");
            lost += 1;
            setup.paste();
        }
        let given = setup.given().expect("a token");
        assert!(setup.lives(&given), "{what}");
        setup.assert_tidy(&what);
    }
    (killed, lost)
}

#[test]
fn rotations_that_are_killed_lose_at_most_what_nobody_received() {
    let ended: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|n| scope.spawn(move || kill(n))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("an end"))
            .collect()
    });
    let killed: usize = ended.iter().map(|(killed, _)| killed).sum();
    let lost: usize = ended.iter().map(|(_, lost)| lost).sum();
    println!("{ROUNDS} rounds, {killed} killed before their end, {lost} tokens lost");
    assert!(
        killed > ROUNDS / 2,
        "only {killed} were killed before their end"
    );
    // The time from the host's answer to the one write.
    assert!(lost < killed / 4, "{lost} of {killed}");
}
