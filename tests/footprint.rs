//! What the shipped helper is made of, seen in the release build.

use std::process::Command;

use crate::support::{Home, done, feed, release, text};

/// Words that stand in a program's strings where the library is linked in.
const NETWORK: [&str; 7] = [
    "reqwest", "rustls", "hyper", "tokio", "HTTP/1.1", "sqlx", "clap",
];

fn holds(program: &[u8], word: &str) -> bool {
    program
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

#[test]
fn the_helper_holds_no_network_code_no_runtime_and_no_clap() {
    let release = release();
    let helper = std::fs::read(release.join("git-credential-wit")).unwrap();
    let wit = std::fs::read(release.join("wit")).unwrap();
    for word in NETWORK {
        // The front end shows that the word would be found.
        assert!(holds(&wit, word), "{word} says nothing");
        assert!(!holds(&helper, word), "{word} is linked into the helper");
    }
    assert!(helper.len() <= 2_500_000, "{} bytes", helper.len());
    let libraries = Command::new("ldd")
        .arg(release.join("git-credential-wit"))
        .output()
        .unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    for library in libraries.lines() {
        let expected = ["linux-vdso", "libc.so", "ld-linux"];
        assert!(
            expected.iter().any(|name| library.contains(name)),
            "{library}"
        );
    }
}

/// Counts repeat exactly where times do not. The ceilings are generous: twice what was counted.
fn assert_few(home: &Home, most_instructions: u64, most_system_calls: usize) {
    let helper = release().join("git-credential-wit");
    let helper = helper.to_str().unwrap();
    let entry = "protocol=https\nhost=example.com\nusername=alice\npassword=one\n";
    done(&home.run(helper, &["store"], entry));
    let counted = |program: &str, options: &[&str]| {
        let mut command = home.command(program);
        command.args(options).args([helper, "get"]);
        let output = feed(command, b"protocol=https\nhost=example.com\n");
        assert!(done(&output).contains("password=one"));
        text(&output.stderr)
    };

    let said = counted(
        "valgrind",
        &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
    );
    let instructions: u64 = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.parse().ok())
        .unwrap_or_else(|| panic!("no count in {said}"));
    assert!(
        instructions <= most_instructions,
        "{instructions} instructions"
    );

    let calls = counted("strace", &["-f"]).lines().count();
    assert!(calls <= most_system_calls, "{calls} system calls");
}

#[test]
fn a_get_takes_few_instructions_and_few_system_calls() {
    assert_few(&Home::new(), 3_600_000, 132);
}

#[cfg(target_os = "linux")]
#[test]
fn a_get_from_the_secret_service_does_too() {
    let session = crate::support::session::Session::with_keyring();
    let mut home = Home::new();
    home.set("WIT_STORE", "keychain");
    home.set("DBUS_SESSION_BUS_ADDRESS", session.address());
    assert_few(&home, 7_200_000, 152);
}
