//! What one account may keep on a server.

#![cfg(feature = "platform")]

use serde_json::json;

use crate::support::platform::Server;
use crate::support::{Home, text};

#[test]
fn an_account_has_only_so_many_repositories_however_fast_it_asks() {
    let server = Server::start_with(Home::new(), &["--max-repositories", "3"]);
    let session = server.sign_up("ada");
    let create = |name: &str| {
        let body = json!({ "name": name });
        server.post("/api/repos", &session, body)
    };
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let create = &create;
        let all: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || create(&format!("r{number}")).status))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    assert!(
        statuses.iter().all(|status| [201, 403].contains(status)),
        "{statuses:?}"
    );
    let count = || {
        let listed = server.bearing("GET", "/api/repos", &session);
        listed.json().as_array().expect("a list").len()
    };
    let kept = statuses.iter().filter(|status| **status == 201).count();
    assert!(kept <= 3 && count() == kept, "{statuses:?}");
    while count() < 3 {
        assert_eq!(create(&format!("more{}", count())).status, 201);
    }
    let refused = create("fourth");
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(refused.json()["code"], "QUOTA_EXCEEDED");
    // What was refused is not left on the disk.
    let on_disk = std::fs::read_dir(server.data_dir().join("repositories")).expect("it exists");
    assert_eq!(on_disk.count(), 3);
    // Another account has its own.
    let other = server.sign_up("bob");
    server.repository(&other, "first", false);
    // And what is deleted makes room.
    let name = server.bearing("GET", "/api/repos", &session).json()[0]["name"].clone();
    let path = format!("/api/repos/{}", name.as_str().expect("a name"));
    assert_eq!(server.bearing("DELETE", &path, &session).status, 200);
    assert_eq!(create("fourth").status, 201);
}

/// A commit with so many bytes that can't be compressed.
fn commit_noise(server: &Server, name: &str, bytes: usize) {
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(bytes)
        .collect();
    let path = server.home.path().join("work").join(name);
    std::fs::write(path, noise).expect("written");
    for arguments in [
        &["-C", "work", "add", name][..],
        &["-C", "work", "commit", "-q", "-m", name],
    ] {
        assert!(server.git(arguments).status.success());
    }
}

#[test]
fn the_repositories_of_an_account_take_only_so_much_disk() {
    let server = Server::start_with(Home::new(), &["--max-disk", "3M"]);
    let session = server.sign_up("ada");
    server.repository(&session, "demo", false);
    server.repository(&session, "other", false);
    let secret = server.secret(&session, &["repo:write"]);
    let remote = |name: &str| server.remote("ada", &secret, &format!("/ada/{name}.git"));
    server.work("work");
    let push = |name: &str| server.git(&["-C", "work", "push", "-q", &remote(name), "main"]);
    commit_noise(&server, "small", 1 << 20);
    let pushed = push("demo");
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));

    // One push too large for what is left, whatever it is called.
    commit_noise(&server, "large", 4 << 20);
    let pushed = push("demo");
    assert!(!pushed.status.success());
    let said = text(&pushed.stderr);
    for part in [
        "were left: ",
        "more than the 3.0 MiB that this server allows",
        "delete one, or ask the server's operator (`wit up --max-disk`)",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let heads = server.git(&["ls-remote", &server.url("/ada/demo.git"), "main"]);
    let head = text(&server.git(&["-C", "work", "rev-parse", "HEAD"]).stdout);
    assert!(!text(&heads.stdout).contains(head.trim()));

    // Small ones, until all of it is taken; the other repository counts as well.
    assert!(
        server
            .git(&["-C", "work", "reset", "-q", "--hard", "HEAD~"])
            .status
            .success()
    );
    let full = (0..4).find_map(|number| {
        commit_noise(&server, &format!("more{number}"), 900 << 10);
        let pushed = push("other");
        (!pushed.status.success()).then(|| text(&pushed.stderr))
    });
    let full = full.expect("an end");
    let refused = push("demo");
    assert!(!refused.status.success(), "{full}");
}

#[test]
fn a_full_account_is_told_by_git_what_to_do() {
    let server = Server::start_with(Home::new(), &["--max-disk", "64K"]);
    let session = server.sign_up("ada");
    server.repository(&session, "demo", false);
    let filler = server.only_repository().join("filler");
    std::fs::write(&filler, vec![1; 1 << 17]).expect("written");
    let secret = server.secret(&session, &["repo:write"]);
    server.work("work");
    let remote = server.remote("ada", &secret, "/ada/demo.git");
    let push = || server.git(&["-C", "work", "push", "-q", &remote, "main"]);
    let refused = push();
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(
        said.contains("more than the 64.0 KiB that this server allows"),
        "{said}"
    );
    let create = server.post("/api/repos", &session, json!({ "name": "second" }));
    assert_eq!(create.json()["code"], "QUOTA_EXCEEDED", "{}", create.body);
}

#[test]
fn a_proxy_that_is_known_tells_whose_request_it_passes_on() {
    let server = Server::start_with(Home::new(), &["--proxy", "127.0.0.9"]);
    server.sign_up("ada");
    let wrong = json!({ "username": "ada", "password": "wrong horse" }).to_string();
    let sign_in = |source: [u8; 4], client: &str| {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", client),
        ];
        let path = "/api/auth/sign-in/username";
        server
            .request_from(source, "POST", path, &headers, &wrong)
            .status
    };
    let proxy = [127, 0, 0, 9];
    let tried: Vec<u16> = (0..11).map(|_| sign_in(proxy, "192.0.2.1")).collect();
    assert_eq!(tried.last(), Some(&429));
    assert_eq!(sign_in(proxy, "192.0.2.2"), 401);
    // What the client itself wrote before the proxy's entry counts for nothing.
    assert_eq!(sign_in(proxy, "192.0.2.3, 192.0.2.1"), 429);
    // Nobody else is believed.
    let tried: Vec<u16> = (0..11)
        .map(|number| sign_in([127, 0, 0, 8], &format!("192.0.2.{}", 100 + number)))
        .collect();
    assert_eq!(tried.last(), Some(&429));
}
