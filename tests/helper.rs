//! The real helper, run by itself and by real git.

use std::io::Write;
use std::process::Stdio;

use crate::support::git::Git;
use crate::support::{HELPER, Home, done, feed, gits, refused, text, until};

const SITE: &str = "protocol=https\nhost=example.com\n";

fn site(rest: &str) -> String {
    format!("{SITE}{rest}")
}

#[test]
fn an_unknown_operation_is_silent_and_reads_nothing() {
    let home = Home::new();
    let mut command = home.command(HELPER);
    // An inherited stdin that nobody closes would block a helper that reads it.
    let mut child = command
        .arg("future")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
}

#[test]
fn a_blank_line_ends_the_request_also_where_more_could_come() {
    let home = Home::new();
    home.run(HELPER, &["store"], &site("username=alice\npassword=one\n"));
    let mut command = home.command(HELPER);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(site("\n").as_bytes()).unwrap();
    until("it answers", || child.try_wait().unwrap().is_some());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "username=alice\npassword=one\n");
}

#[test]
fn a_stderr_that_nobody_reads_costs_no_answer() {
    let mut home = Home::new();
    home.run(HELPER, &["store"], &site("username=alice\npassword=one\n"));
    // Something to say, and nobody to say it to.
    home.set("WIT_TRACE", "/nowhere/trace");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command(HELPER);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(SITE.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "username=alice\npassword=one\n");
}

#[test]
fn a_miss_says_nothing_and_leaves_nothing_behind() {
    let mut home = Home::new();
    for store in ["file", "auto"] {
        home.set("WIT_STORE", store);
        let output = home.run(HELPER, &["get"], SITE);
        assert!(output.status.success(), "{output:?}");
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_environments_token_wins_and_is_never_stored() {
    let mut home = Home::new();
    home.set("WIT_TOKEN", "wit_0123456789");
    home.set("WIT_URL", "https://example.com");
    for git in gits() {
        let git = Git::new(&home, &git);
        let answer = git.fill(SITE).unwrap();
        assert!(answer.contains("password=wit_0123456789\n"));
        git.approve(&site("username=token\npassword=wit_0123456789\n"));
        assert_eq!(git.fill("protocol=https\nhost=example.org\n"), None);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_environments_url_is_one_url_and_names_one_host() {
    let mut home = Home::new();
    home.set("WIT_TOKEN", "wit_0123456789");
    for url in [
        "https://example.org\nhost=example.com",
        "https://example.org\nurl=https://example.com",
        "https://example.org\\@example.com",
        "https://example.org@example.com",
        "https://example%2ecom",
        "https://exam\tple.com",
        "https:// example.com",
    ] {
        home.set("WIT_URL", url);
        let answer = home.run(HELPER, &["get"], SITE);
        assert_eq!(done(&answer), "", "{url:?}");
        if url.contains(|c: char| c.is_whitespace()) {
            let list = home.run(crate::support::WIT, &["token", "list"], "");
            let said = refused(&list, 2);
            assert!(said.contains("bad server URL"), "{url:?}: {said}");
        }
    }
    home.set("WIT_URL", "");
    let answer = home.run(HELPER, &["get"], SITE);
    assert_eq!(done(&answer), "");
    let said = text(&answer.stderr);
    assert!(
        said.contains("WIT_TOKEN is ignored: WIT_URL is not set"),
        "{said}"
    );
    assert_eq!(text(&home.run(HELPER, &["erase"], SITE).stderr), "");
    for url in ["example.com", "http://example.com", "ftp://example.com"] {
        home.set("WIT_URL", url);
        let answer = home.run(HELPER, &["get"], SITE);
        assert_eq!(done(&answer), "", "{url:?}");
        let said = text(&answer.stderr);
        assert!(
            said.contains("WIT_TOKEN is ignored: WIT_URL"),
            "{url:?}: {said}"
        );
    }
    for url in ["https://example.com/", "https://example.com\n"] {
        home.set("WIT_URL", url);
        let answer = done(&home.run(HELPER, &["get"], SITE));
        assert!(answer.contains("password=wit_0123456789\n"), "{url:?}");
    }
}

#[test]
fn a_line_end_after_the_environments_token_is_none_of_it_and_another_is_told() {
    let mut home = Home::new();
    home.set("WIT_URL", "https://example.com");
    for end in ["\n", "\r\n", "\n\n"] {
        home.set("WIT_TOKEN", format!("wit_0123456789{end}"));
        let answer = done(&home.run(HELPER, &["get"], SITE));
        assert_eq!(answer, "username=token\npassword=wit_0123456789\n");
    }
    home.set("WIT_TOKEN", "wit_0123456789\nwit_0123456789");
    let told = refused(&home.run(HELPER, &["get"], SITE), 1);
    assert!(told.contains("WIT_TOKEN can't be given to git"), "{told}");
    assert!(!told.contains("0123"), "{told}");
    home.set("WIT_TOKEN", "\n");
    assert_eq!(done(&home.run(HELPER, &["get"], SITE)), "");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_too_large_for_its_store_is_told_with_one_that_takes_it() {
    let mut home = Home::new();
    home.set("WIT_STORE", "keyutils");
    let large = site(&format!(
        "username=alice\npassword={}\n",
        "x".repeat(60_000)
    ));
    let told = refused(&home.run(HELPER, &["store"], &large), 1);
    assert!(told.contains("the store takes at most"), "{told}");
    assert!(told.ends_with("wit store move keyutils file\n"), "{told}");
}

#[test]
fn many_processes_storing_at_once_lose_nothing() {
    let home = Home::new();
    let children: Vec<_> = (0..64)
        .map(|number| {
            let mut command = home.command(HELPER);
            command.arg("store");
            std::thread::spawn(move || {
                let input = site(&format!("username=user{number}\npassword=p{number}\n"));
                feed(command, input.as_bytes())
            })
        })
        .collect();
    for child in children {
        let output = child.join().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for number in 0..64 {
        let output = home.run(HELPER, &["get"], &site(&format!("username=user{number}\n")));
        let expected = format!("username=user{number}\npassword=p{number}\n");
        assert_eq!(text(&output.stdout), expected);
    }
}

#[cfg(all(unix, feature = "platform"))]
#[test]
fn a_token_that_was_replaced_meanwhile_is_not_put_in_the_place_of_its_successor() {
    use crate::support::machine::Machine;
    let machine = Machine::with_a_token();
    let url = format!("url={}\n", machine.url);
    let kept = || {
        let server = &machine.json(&["status"])["servers"][0];
        (server["tokens"].as_array().expect("a list").iter())
            .map(|token| token["id"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    for program in gits() {
        let git = Git::new(&machine.home, &program);
        for grace in ["1h", "0s"] {
            let old = git.fill(&url).expect("a token");
            done(&machine.rotate(&["--grace", grace]));
            let (new, ids) = (git.fill(&url), kept());
            assert_ne!(new.as_ref(), Some(&old));
            // Without the state[] that a newer git brings back.
            let old: String = (old.lines())
                .filter(|line| !line.starts_with("state[]"))
                .map(|line| format!("{line}\n"))
                .collect();
            git.approve(&old);
            assert_eq!(git.fill(&url), new, "{program}, grace {grace}");
            assert_eq!(kept(), ids);
            assert!(ids.iter().all(Option::is_some), "{ids:?}");
        }
        // Another password is one that a person has typed.
        let other = format!("{url}username=ada\npassword=typed\n");
        git.approve(&other);
        assert!(git.fill(&url).expect("one").contains("password=typed\n"));
        git.reject(&other);
        done(&machine.wit(&["token", "create", "laptop", "--store", "--expires", "90"]));
    }
}

#[test]
fn a_damaged_item_that_is_set_aside_is_told_with_its_new_place() {
    let home = Home::new();
    let entry = site("username=alice\npassword=one\n");
    done(&home.run(HELPER, &["store"], &entry));
    let store = home.path().join(".local/share/wit/store");
    let item = (std::fs::read_dir(&store).unwrap())
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "age"))
        .unwrap();
    std::fs::write(&item, "torn").unwrap();
    let output = home.run(HELPER, &["store"], &entry);
    assert!(output.status.success());
    let told = text(&output.stderr);
    let place = told.trim_end().rsplit_once(": ").unwrap().1;
    assert_eq!(std::fs::read(place).unwrap(), b"torn", "{told}");
    assert!(
        told.contains("https://example.com: the stored item is damaged"),
        "{told}"
    );
    assert!(done(&home.run(HELPER, &["get"], SITE)).contains("password=one"));
}

#[cfg(target_os = "linux")]
#[test]
fn two_first_writes_at_once_are_both_kept() {
    let home = Home::new();
    let identity = home.path().join(".local/share/wit/store/identity.txt");
    let log = home.path().join("log");
    // The one is held up just after it has seen that there is no identity yet.
    let mut command = home.command("strace");
    command
        .args([
            "-e",
            "trace=openat",
            "-e",
            "inject=openat:delay_exit=2s:when=1",
        ])
        .args([
            "-P",
            identity.to_str().unwrap(),
            "-o",
            log.to_str().unwrap(),
        ])
        .args([HELPER, "store"]);
    let first = std::thread::spawn(move || {
        feed(command, site("username=alice\npassword=one\n").as_bytes())
    });
    until("strace (apt-get install strace) has held it up", || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ENOENT"))
    });
    let other = "protocol=https\nhost=example.org\n";
    let entry = format!("{other}username=bob\npassword=two\n");
    done(&home.run(HELPER, &["store"], &entry));
    done(&first.join().unwrap());
    assert!(done(&home.run(HELPER, &["get"], SITE)).contains("password=one"));
    assert!(done(&home.run(HELPER, &["get"], other)).contains("password=two"));
}

#[test]
fn the_config_files_lock_is_not_waited_for_without_end() {
    let mut home = Home::new();
    // The first write chooses the store.
    home.set("WIT_STORE", "auto");
    let dir = home.path().join(".config/wit");
    std::fs::create_dir_all(&dir).unwrap();
    let lock = std::fs::File::create(dir.join(".lock")).unwrap();
    lock.lock().unwrap();
    let begun = std::time::Instant::now();
    let entry = site("username=alice\npassword=one\n");
    let told = refused(&home.run(HELPER, &["store"], &entry), 1);
    assert!(
        told.contains("another process held the config file's lock"),
        "{told}"
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    drop(lock);
    done(&home.run(HELPER, &["store"], &entry));
}

#[test]
fn nothing_that_is_stored_can_be_read_in_a_file_or_by_others() {
    let home = Home::new();
    home.run(
        HELPER,
        &["store"],
        &site("username=alice\npassword=hunter2\n"),
    );
    let mut files = Vec::new();
    walk(home.path(), &mut files);
    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(7).any(|window| window == b"hunter2"),
            "{file:?}"
        );
    }
}

fn walk(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The file with the key of `state[]`, made by a `get`.
fn state_key(home: &Home) -> std::path::PathBuf {
    let request = site("capability[]=state\n\n");
    done(&home.run(HELPER, &["get"], &request));
    home.path().join(".local/state/wit/state-key")
}

#[test]
fn a_state_key_without_room_is_not_there_at_all() {
    let home = Home::new();
    home.run(HELPER, &["store"], &site("username=alice\npassword=one\n"));
    let state = home.path().join(".local/state/wit");
    let _ = std::fs::remove_dir_all(&state);
    std::fs::create_dir_all(&state).expect("made");
    // The directories that it needs have room, and not a byte more.
    let script = "mount -t tmpfs -o size=4k none .local/state/wit && \
                  head -c 4096 /dev/zero >.local/state/wit/full && \
                  printf 'protocol=https\\nhost=example.com\\ncapability[]=state\\n\\n' | \
                  git-credential-wit get >got; ls -A .local/state/wit >left; exit 0";
    let output = home.run("unshare", &["-rm", "sh", "-c", script], "");
    let said = text(&output.stderr);
    if said.contains("unshare") || said.contains("mount:") {
        // No such right here, as in many containers.
        return;
    }
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).expect("read");
    assert!(read("got").contains("password=one"), "{said}");
    assert!(!read("left").contains("state-key"), "{}", read("left"));
}

#[test]
fn a_torn_state_key_is_replaced() {
    let home = Home::new();
    home.run(HELPER, &["store"], &site("username=alice\npassword=one\n"));
    let key = state_key(&home);
    assert_eq!(std::fs::read(&key).expect("a key").len(), 32);
    std::fs::write(&key, "").expect("torn");
    state_key(&home);
    assert_eq!(std::fs::read(&key).expect("a key").len(), 32);
}
