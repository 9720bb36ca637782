//! `wit import`: what other helpers keep, taken as they keep it, and left there.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::git::libsecret_helper;
use crate::support::session::Session;
use crate::support::{HELPER, Home, WIT, feed, text};

fn wit(home: &Home, words: &[&str]) -> (Option<i32>, String) {
    let output = home.run(WIT, words, "");
    (
        output.status.code(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

fn get(home: &Home, asked: &str) -> String {
    let output = home.run(HELPER, &["get"], asked);
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// A file in the home that only its owner reads, as the helper makes it.
fn write(home: &Home, name: &str, content: &str) -> std::path::PathBuf {
    let path = home.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Has git-credential-store(1) itself write its file.
fn kept_by_git(home: &Home) {
    for entry in [
        "protocol=https\nhost=a.example\nusername=ada\npassword=p@ss:w/rd %41\n",
        "protocol=https\nhost=a.example\nusername=bob@mail\npassword=two\n",
        "protocol=https\nhost=b.example:8443\npath=team/a b.git\nusername=ada\npassword=three\n",
        "protocol=http\nhost=localhost:3000\nusername=\u{e9}\npassword=four\n",
    ] {
        let output = home.run("git", &["credential-store", "store"], entry);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn what_gits_store_wrote_is_answered_the_same() {
    let home = Home::new();
    kept_by_git(&home);
    let file = home.path().join(".git-credentials");
    let before = fs::read(&file).unwrap();
    let (code, said) = wit(&home, &["import", "store"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("Imported 4 credentials into encrypted files"),
        "{said}"
    );
    assert!(said.contains(&format!("rm {}", file.display())), "{said}");
    for password in ["p@ss", "two", "three", "four"] {
        assert!(!said.contains(password), "{said}");
    }
    for asked in [
        "protocol=https\nhost=a.example\nusername=ada\n",
        "protocol=https\nhost=a.example\nusername=bob@mail\n",
        "protocol=https\nhost=a.example\n",
        "protocol=https\nhost=b.example:8443\npath=team/a b.git\n",
        "protocol=http\nhost=localhost:3000\n",
        "protocol=https\nhost=b.example\n",
    ] {
        let git = text(&home.run("git", &["credential-store", "get"], asked).stdout);
        assert_eq!(sorted(&get(&home, asked)), sorted(&git), "{asked}");
    }
    assert_eq!(fs::read(&file).unwrap(), before, "the source is left alone");
    let (_, said) = wit(&home, &["import", "store"]);
    assert!(said.starts_with("Imported 0 credentials"), "{said}");
    assert!(said.contains("4 already stored."), "{said}");
}

fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<_> = answer.lines().collect();
    lines.sort();
    lines
}

#[test]
fn a_dry_run_says_the_same_and_keeps_nothing() {
    let home = Home::new();
    kept_by_git(&home);
    let (code, said) = wit(&home, &["import", "store", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 credentials would be imported."), "{said}");
    assert!(
        said.contains("https://b.example:8443/team/a b.git  ada"),
        "{said}"
    );
    assert!(!home.path().join(".local/share/wit").exists());
}

#[test]
fn a_differing_entry_stays_unless_forced_and_is_told() {
    let home = Home::new();
    kept_by_git(&home);
    let mine = "protocol=https\nhost=a.example\nusername=ada\npassword=mine\n";
    assert!(home.run(HELPER, &["store"], mine).status.success());
    let asked = "protocol=https\nhost=a.example\nusername=ada\n";
    let (code, said) = wit(&home, &["import", "store"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("Imported 3 credentials"), "{said}");
    assert!(
        said.contains("Skipped https://a.example  ada: another secret"),
        "{said}"
    );
    assert!(get(&home, asked).contains("password=mine\n"));
    assert!(!said.contains("rm "), "one is only there: {said}");
    assert!(said.contains("1 entry was not imported."), "{said}");
    let (code, said) = wit(&home, &["import", "store", "--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(get(&home, asked).contains("password=p@ss:w/rd %41\n"));
    assert!(said.contains("  rm "), "{said}");
}

#[test]
fn lines_that_are_no_credentials_are_told_by_number_and_never_shown() {
    let home = Home::new();
    let lines = [
        "# a comment",
        "",
        "hush-hush",
        "https://nopassword@a.example",
        "https://evil%0auser:hush@a.example",
        "https://cr%0duser:hush@a.example",
        "https://ada:first@a.example",
        "https://ada:hush-second@a.example",
    ];
    let file = write(&home, "elsewhere", &lines.join("\n"));
    let path = file.display().to_string();
    let (code, said) = wit(&home, &["import", "store", "--file", &path]);
    assert_eq!(code, Some(0), "{said}");
    for number in [3, 4, 5, 6, 8] {
        assert!(
            said.contains(&format!("elsewhere, line {number}: ")),
            "{said}"
        );
    }
    assert!(
        !said.contains("line 1:") && !said.contains("line 2:"),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
    assert!(!said.contains("rm "), "{said}");
    assert!(get(&home, "protocol=https\nhost=a.example\n").contains("password=first\n"));
}

#[test]
fn a_netrc_is_read_as_curl_and_gits_helper_read_it() {
    let home = Home::new();
    let before = "\
# mine
machine a.example login ada password one
machine a.example login bob
    password \"two \\\" words\" account x
machine b.example port 8443 protocol http login ada password three
macdef init
machine not.example login x password y

machine c.example password lonely
default login anonymous password hush
";
    let file = write(&home, ".netrc", before);
    let (code, said) = wit(&home, &["import", "netrc"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("Imported 3 credentials"), "{said}");
    let answers = |asked: &str, answer: &str| assert_eq!(get(&home, asked), answer);
    answers(
        "protocol=https\nhost=a.example\n",
        "username=ada\npassword=one\n",
    );
    answers(
        "protocol=https\nhost=a.example\nusername=bob\n",
        "username=bob\npassword=two \" words\n",
    );
    answers(
        "protocol=http\nhost=b.example:8443\n",
        "username=ada\npassword=three\n",
    );
    answers("protocol=https\nhost=not.example\n", "");
    assert!(
        said.contains("line 6: a macro") && said.contains("line 9: no username"),
        "{said}"
    );
    assert!(said.contains("line 10: a default for every host"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert_eq!(fs::read_to_string(file).unwrap(), before);
}

#[test]
fn the_source_may_go_only_where_every_word_was_accounted_for() {
    let home = Home::new();
    let entry = "machine a.example login ada password #one\r\n";
    write(
        &home,
        ".netrc",
        &format!("\u{feff}# mine\r\n{entry}{entry}"),
    );
    let (code, said) = wit(&home, &["import", "netrc"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("remove the lines from"), "{said}");
    let asked = "protocol=https\nhost=a.example\n";
    assert_eq!(get(&home, asked), "username=ada\npassword=#one\n");

    write(&home, ".netrc", &format!("{entry} hush"));
    let (_, said) = wit(&home, &["import", "netrc"]);
    assert!(said.contains("line 2: a word that is no keyword"), "{said}");
    assert!(said.contains("1 entry was not imported."), "{said}");
    assert!(!said.contains("remove") && !said.contains("hush"), "{said}");
}

#[test]
fn a_file_in_utf_16_is_named_and_its_hint_imports_it() {
    let home = Home::new();
    let text = "\u{feff}machine a.example login ada password one\n";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = home.path().join(".netrc");
    for bytes in [&bytes, &bytes[2..]] {
        fs::write(&file, bytes).unwrap();
        let (code, said) = wit(&home, &["import", "netrc"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("text in UTF-16"), "{said}");
        assert!(!home.path().join(".local/share/wit").exists());
    }
    fs::write(&file, bytes).unwrap();
    let (_, said) = wit(&home, &["import", "netrc"]);
    let hint = said
        .lines()
        .find_map(|line| line.strip_prefix("hint: "))
        .unwrap();
    let output = home.run("sh", &["-c", hint], "");
    assert!(output.status.success(), "{output:?}");
    let asked = "protocol=https\nhost=a.example\n";
    assert_eq!(get(&home, asked), "username=ada\npassword=one\n");
}

#[test]
fn a_mark_before_the_first_url_is_not_its_protocol() {
    let home = Home::new();
    let lines = "\u{feff}https://ada:one@a.example\n\u{feff}https://ada:two@b.example\n\
        1https://ada:hush@c.example\n https://ada:hush@d.example\nhttps://ada:a%0Db@e.example\n";
    write(&home, ".git-credentials", lines);
    let (code, said) = wit(&home, &["import", "store"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\n  https://a.example  ada\n"), "{said}");
    for line in 2..=5 {
        assert!(said.contains(&format!("line {line}: ")), "{said}");
    }
    assert!(said.contains("4 entries were not imported."), "{said}");
}

#[test]
fn without_a_file_it_says_where_it_looked() {
    let home = Home::new();
    let (code, said) = wit(&home, &["import", "netrc"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(".netrc") && said.contains("--file FILE"),
        "{said}"
    );
}

#[test]
fn what_gits_libsecret_helper_keeps_is_taken_and_its_hint_removes_it() {
    let session = Session::with_keyring();
    let mut home = Home::new();
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    let tools = tempfile::tempdir().unwrap();
    let program = libsecret_helper(tools.path());
    let program = program.to_str().unwrap();
    for entry in [
        "protocol=https\nhost=a.example:8443\npath=team/a.git\nusername=ada\npassword=one\n",
        "protocol=https\nhost=b.example\nusername=bob\npassword=two\n",
    ] {
        assert!(home.run(program, &["store"], entry).status.success());
    }
    // As git 2.41 and newer write it, and what a file manager keeps for itself.
    let tool = |label: &str, attributes: &[&str], secret: &str| {
        let mut command = home.command("secret-tool");
        command.args(["store", "--label", label]).args(attributes);
        let output = feed(command, secret.as_bytes());
        assert!(
            output.status.success(),
            "apt-get install libsecret-tools: {output:?}"
        );
    };
    tool(
        "Git: https://c.example/",
        &[
            "xdg:schema",
            "org.git.Password",
            "user",
            "carl",
            "protocol",
            "https",
            "server",
            "c.example",
        ],
        "three\npassword_expiry_utc=9999999999\noauth_refresh_token=again",
    );
    tool(
        "ftp on d.example",
        &[
            "xdg:schema",
            "org.gnome.keyring.NetworkPassword",
            "user",
            "d",
            "protocol",
            "ftp",
            "server",
            "d.example",
        ],
        "four",
    );

    let (code, said) = wit(&home, &["import", "libsecret"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("Imported 3 credentials"), "{said}");
    let asked = "protocol=https\nhost=a.example:8443\npath=team/a.git\n";
    assert_eq!(get(&home, asked), "username=ada\npassword=one\n");
    assert_eq!(
        get(&home, "protocol=https\nhost=b.example\n"),
        "username=bob\npassword=two\n"
    );
    assert_eq!(
        get(&home, "protocol=https\nhost=c.example\n"),
        "username=carl\npassword=three\npassword_expiry_utc=9999999999\noauth_refresh_token=again\n"
    );
    assert_eq!(get(&home, "protocol=ftp\nhost=d.example\n"), "");

    let theirs = "protocol=https\nhost=b.example\n";
    let kept = |asked| text(&home.run(program, &["get"], asked).stdout);
    assert!(kept(theirs).contains("password=two"), "it is left there");
    let hint = said
        .lines()
        .find(|line| line.contains("host=b.example"))
        .unwrap();
    let mut command = home.command("sh");
    let path = format!(
        "{}:{}",
        tools.path().display(),
        std::env::var("PATH").unwrap()
    );
    command.env("PATH", path).args(["-c", hint.trim()]);
    assert!(feed(command, b"").status.success());
    assert!(!kept(theirs).contains("password="));
}
