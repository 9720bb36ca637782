//! Create requests of a rotation whose responses are lost, while another machine of the account
//! creates tokens that look the same: none of those is ever revoked.

#![cfg(all(unix, feature = "platform"))]

use std::process::Output;

use serde_json::Value;

use crate::support::machine::{Machine, age_tokens};
use crate::support::platform::{PASSWORD, Server};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{HELPER, Home, WIT, done, refused, text, trpc, until_within};

/// Machine A behind a proxy, with a token `CI` that it keeps, and machine B of the same account.
struct Two {
    a: Machine,
    b: Home,
    proxy: Proxy,
}

impl Two {
    fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::to(&server.address);
        let a = Machine {
            url: proxy.url.clone(),
            server,
            home: Home::new(),
        };
        done(&a.sign_up("ada"));
        done(&a.wit(&["token", "create", "CI", "--store", "--expires", "30"]));
        let b = Home::new();
        log_in(&b, &format!("http://{}", a.server.address));
        Two { a, b, proxy }
    }

    /// The next create request has that fate.
    fn spoil_create(&self, fate: Fate) {
        spoil(&self.proxy, "POST /api/tokens ", fate);
    }

    /// B's new token: its secret and its id.
    fn b_creates(&self, days: &str) -> (String, String) {
        let create = ["token", "create", "CI", "--expires", days, "--json"];
        let made: Value = serde_json::from_str(&done(&self.b.run(WIT, &create, ""))).expect("JSON");
        let word = |name: &str| made[name].as_str().expect("text").to_owned();
        (word("token"), word("id"))
    }

    fn lives(&self, secret: &str) -> bool {
        self.a.server.bearing("GET", "/api/v1/user", secret).status == 200
    }
}

fn log_in(home: &Home, url: &str) {
    let login = ["login", url, "--username", "ada", "--password-stdin"];
    done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
}

fn spoil(proxy: &Proxy, request: &'static str, fate: Fate) {
    let mut spoilt = false;
    proxy.set(move |first| match first.starts_with(request) && !spoilt {
        true => {
            spoilt = true;
            fate
        }
        false => Fate::Forwarded,
    });
}

#[test]
fn a_token_whose_command_was_killed_before_the_answer_is_revoked_by_the_next() {
    let two = Two::new();
    two.spoil_create(Fate::Silence);
    let mut create = two.a.home.command(WIT);
    create.args(["token", "create", "seen by nobody"]);
    let mut create = create.spawn().expect("started");
    let names = || {
        let list = done(&two.b.run(WIT, &["token", "list", "--json"], ""));
        let list: Vec<Value> = serde_json::from_str(&list).expect("JSON");
        let names = list
            .iter()
            .map(|token| token["name"].as_str().unwrap_or_default().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    until_within(60, "the token is there", || {
        names() == ["CI", "seen by nobody"]
    });
    create.kill().expect("killed");
    create.wait().expect("over");
    two.a.wit(&["status"]);
    assert_eq!(names(), ["CI"]);
}

fn all_said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn another_machines_token_outlives_every_way_to_go_on() {
    let ways: [&[&str]; 4] = [
        &["--resume"],
        &["--abort"],
        &["CI"],
        &["CI", "--grace", "1h"],
    ];
    for fate in [Fate::CutBefore, Fate::CutAfter] {
        for way in ways {
            for days in ["30", "7"] {
                let what = format!("{fate:?} {way:?} {days}");
                let two = Two::new();
                two.spoil_create(fate);
                let grace: &[&str] = match way.contains(&"--grace") {
                    true => &["--grace", "1h"],
                    false => &[],
                };
                let lost = two.a.rotate(&[&["CI"], grace].concat());
                assert_eq!(lost.status.code(), Some(5), "{}", text(&lost.stderr));
                let (secret, id) = two.b_creates(days);
                let (later, _) = two.b_creates(days);
                let ended = two.a.rotate(way);
                assert!(ended.status.success(), "{what}: {}", text(&ended.stderr));
                assert!(two.lives(&secret) && two.lives(&later), "{what}");
                assert!(!all_said(&ended).contains(&id), "{what}");
                // What the request had created is revoked, and only then is something said of it.
                let revoked = fate == Fate::CutAfter;
                let said = text(&ended.stderr);
                assert_eq!(said.contains("Revoked "), revoked, "{what}: {said}");
                let in_grace = usize::from(way.contains(&"--grace"));
                assert_eq!(two.a.ids().len(), 3 + in_grace, "{what}");
            }
        }
    }
}

#[test]
fn what_was_revoked_is_in_the_document() {
    let two = Two::new();
    let old = two.a.ids().remove(0);
    two.spoil_create(Fate::CutAfter);
    two.a.rotate(&["CI"]);
    let lost = two.a.ids().into_iter().find(|id| *id != old);
    let document = two.a.json(&["token", "rotate", "--resume"]);
    let revoked = serde_json::json!([lost.expect("a token"), old]);
    assert_eq!(document["rotations"][0]["revoked"], revoked);
}

/// A home that is logged in to the platform, whose tRPC keeps no request ids.
fn on_the_platform() -> (Home, Proxy, crate::support::server::Server) {
    let server = trpc::platform();
    let proxy = Proxy::to(server.address());
    let home = Home::new();
    log_in(&home, &proxy.url);
    let create = ["token", "create", "CI", "--store", "--expires", "90"];
    done(&home.run(WIT, &create, ""));
    (home, proxy, server)
}

fn ids(home: &Home) -> Vec<String> {
    let list = done(&home.run(WIT, &["token", "list", "--json"], ""));
    let list: Vec<Value> = serde_json::from_str(&list).expect("JSON");
    let id = |token: &Value| token["id"].as_str().expect("an id").to_owned();
    list.iter().map(id).collect()
}

/// The command in a hint, as far as its explanation.
fn hinted(said: &str) -> Vec<String> {
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: "));
    let hint = hint.unwrap_or_else(|| panic!("no hint: {said}"));
    let parts = hint.split("; then ");
    parts
        .map(|part| part.split(", ").next().expect("a part").to_owned())
        .collect()
}

#[test]
fn where_the_server_keeps_no_request_ids_a_person_decides() {
    for (way, fate) in [
        ("--resume", Fate::CutBefore),
        ("--resume", Fate::CutAfter),
        ("--abort", Fate::CutBefore),
    ] {
        let (home, proxy, server) = on_the_platform();
        spoil(&proxy, "POST /trpc/tokens.create ", fate);
        let rotate =
            |arguments: &[&str]| home.run(WIT, &[&["token", "rotate"], arguments].concat(), "");
        refused(&rotate(&["CI"]), 5);
        let b = Home::new();
        log_in(&b, &server.url);
        done(&b.run(WIT, &["token", "create", "CI", "-q", "-e", "90"], ""));
        let before = ids(&home);
        // Not by somebody who does not read it.
        let daily = home.run(WIT, &["token", "rotate", "--due", "1", "--all"], "");
        assert_eq!(daily.status.code(), Some(3), "{}", text(&daily.stderr));
        let said = refused(&rotate(&[way]), 3);
        let candidates: Vec<&String> = (before.iter())
            .filter(|id| said.contains(&format!("\n  {id}  CI, created ")))
            .collect();
        assert_eq!(candidates.len(), before.len() - 1, "{said}");
        assert_eq!(ids(&home), before, "something was revoked");
        // Whoever knows them all goes on, and none of them is touched.
        let ended = done(&rotate(&[way]));
        assert!(!ended.is_empty());
        let after = ids(&home);
        for id in candidates {
            assert!(after.contains(id), "{way} {fate:?}");
        }
    }
}

#[test]
fn the_commands_that_a_person_is_told_revoke_the_lost_token_and_finish() {
    let (home, proxy, _server) = on_the_platform();
    let old = ids(&home);
    spoil(&proxy, "POST /trpc/tokens.create ", Fate::CutAfter);
    refused(&home.run(WIT, &["token", "rotate"], ""), 5);
    let said = refused(&home.run(WIT, &["token", "rotate"], ""), 3);
    for command in hinted(&said) {
        done(&home.run("sh", &["-c", &command], ""));
    }
    let after = ids(&home);
    assert_eq!(after.len(), 1);
    assert!(!old.contains(&after[0]), "not rotated");
}

#[test]
fn a_renewal_that_nobody_can_decide_revokes_nothing_and_says_so_once() {
    let (home, proxy, _server) = on_the_platform();
    let host = proxy.url.strip_prefix("http://").expect("http").to_owned();
    age_tokens(&home, &host, 85);
    let get = || {
        let request = format!("protocol=http\nhost={host}\n\n");
        home.run(HELPER, &["get"], &request)
    };
    spoil(&proxy, "POST /trpc/tokens.create ", Fate::CutAfter);
    let first = get();
    assert!(done(&first).contains("password=wit_"));
    let before = ids(&home);
    assert_eq!(before.len(), 2);
    forget_renewals(&home);
    let second = get();
    assert_eq!(done(&second), done(&first), "git gets the token that works");
    let said = text(&second.stderr);
    assert!(
        said.contains("was not renewed; you must decide: wit token rotate"),
        "{said}"
    );
    assert_eq!(ids(&home), before, "something was revoked");
    assert_eq!(text(&get().stderr), "", "said before");
    let command = said.split("decide: ").nth(1).expect("a command").trim();
    let shown = home.run("sh", &["-c", command], "");
    assert_eq!(shown.status.code(), Some(3), "{}", text(&shown.stderr));
}

/// As if the pause after a failed renewal, and the day of a warning, were over.
fn forget_renewals(home: &Home) {
    let dir = home.path().join(".local/state/wit/renewals");
    std::fs::remove_dir_all(dir).expect("removed");
}
