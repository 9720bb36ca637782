//! Kind of machine: WSL, a container, an SSH session, behind a proxy.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, quoted};

/// The variables that send https through a proxy.
pub const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Facts that the files below `/` and the environment tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    wsl: bool,
    container: bool,
    ssh: bool,
    session_bus: bool,
    /// The names of the variables that send requests through a proxy; a value may hold a password.
    proxies: Vec<&'static str>,
    /// `SSL_CERT_FILE`, and whether it can be read.
    certificates: Option<(PathBuf, bool)>,
}

impl Facts {
    /// `root` is `/`, and `variable` looks into the environment.
    pub fn gather(root: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).is_some();
        let kernel = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
        let kernel = kernel.to_ascii_lowercase();
        let bus =
            variable("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
        Facts {
            wsl: set("WSL_DISTRO_NAME") || kernel.contains("microsoft"),
            // Docker's mark, Podman's, and what systemd-nspawn and LXC set.
            container: root.join(".dockerenv").exists()
                || root.join("run/.containerenv").exists()
                || set("container"),
            ssh: set("SSH_CONNECTION"),
            session_bus: set("DBUS_SESSION_BUS_ADDRESS") || bus,
            proxies: PROXIES.into_iter().filter(|name| set(name)).collect(),
            certificates: variable("SSL_CERT_FILE").map(|path| {
                let path = PathBuf::from(path);
                let readable = fs::File::open(&path).is_ok();
                (path, readable)
            }),
        }
    }
}

/// `wants_keychain`: whether the keychain is the store, or would be chosen.
pub fn check(facts: &Facts, wants_keychain: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    // One fix is for all of them, and is said once.
    let mut is_fixed = !wants_keychain;
    let mut place = |check, what: &str, needs: &str, fix: &str| {
        findings.push(match std::mem::replace(&mut is_fixed, true) {
            true => Finding::note(check, what),
            false => Finding::note(check, what).why(needs).fix(fix),
        });
    };
    let file_store = "wit setup --store file";
    if cfg!(target_os = "linux") && !facts.session_bus && wants_keychain {
        let needs = "a keychain on Linux is reached by it";
        let what = "there is no D-Bus session bus";
        place("session-bus", what, needs, file_store);
    }
    if facts.ssh {
        let needs = "nothing on its screen can unlock a keychain";
        let what = "this is an SSH session";
        place("ssh", what, needs, "export WIT_STORE=file");
    }
    if facts.wsl {
        let needs = "it mostly has no Secret Service, and its keychain is not that of Windows";
        place("wsl", "this is WSL", needs, file_store);
    }
    if facts.container {
        let needs = "it mostly has no keychain, and what is stored may go with it";
        place("container", "this is a container", needs, file_store);
    }
    if !facts.proxies.is_empty() {
        let names = facts.proxies.join(" and ");
        findings.push(Finding::note(
            "proxy",
            format!("requests go through the proxy of {names}"),
        ));
    }
    match &facts.certificates {
        Some((path, false)) => findings.push(
            Finding::wrong(
                "certificates",
                format!("SSL_CERT_FILE names {}, which can't be read", quoted(path)),
            )
            .why("no https server can then be trusted")
            .fix("unset SSL_CERT_FILE"),
        ),
        Some((path, true)) => findings.push(Finding::note(
            "certificates",
            format!("certificates are trusted by {}", quoted(path)),
        )),
        None => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Facts {
        let root = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            fs::write(path, content).expect("written");
        }
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Facts::gather(root.path(), &variable)
    }

    const BUS: (&str, &str) = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1/bus");

    /// The names of the findings and what each would have one do.
    fn told(facts: &Facts, wants_keychain: bool) -> Vec<(&'static str, Option<String>)> {
        let findings = check(facts, wants_keychain);
        findings.into_iter().map(|f| (f.check, f.fix)).collect()
    }

    #[test]
    fn a_desktop_has_nothing_to_say() {
        let kernel = [("proc/sys/kernel/osrelease", "6.1.0-amd64\n")];
        assert_eq!(told(&facts(&kernel, &[BUS]), true), []);
    }

    #[test]
    fn wsl_is_known_by_its_kernel_and_by_its_variable() {
        let to_file = Some("wit setup --store file".to_owned());
        let kernel = [(
            "proc/sys/kernel/osrelease",
            "5.15.0-microsoft-standard-WSL2\n",
        )];
        assert_eq!(
            told(&facts(&kernel, &[BUS]), true),
            [("wsl", to_file.clone())]
        );
        let variable = [BUS, ("WSL_DISTRO_NAME", "Debian")];
        assert_eq!(told(&facts(&[], &variable), true), [("wsl", to_file)]);
        assert_eq!(told(&facts(&kernel, &[BUS]), false), [("wsl", None)]);
    }

    #[test]
    fn a_container_is_known_by_the_marks_of_docker_podman_and_others() {
        for mark in [".dockerenv", "run/.containerenv"] {
            let told = told(&facts(&[(mark, "")], &[BUS]), true);
            assert_eq!(
                told,
                [("container", Some("wit setup --store file".to_owned()))]
            );
        }
        let told = told(&facts(&[], &[BUS, ("container", "lxc")]), false);
        assert_eq!(told, [("container", None)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_ssh_session_and_a_missing_session_bus_are_told() {
        let remote = facts(&[], &[("SSH_CONNECTION", "192.0.2.1 5 192.0.2.2 22")]);
        let to_file = Some("wit setup --store file".to_owned());
        assert_eq!(
            told(&remote, true),
            [("session-bus", to_file), ("ssh", None)]
        );
        assert_eq!(told(&remote, false), [("ssh", None)]);
        let runtime = facts(&[("run/bus", "")], &[]);
        assert!(!runtime.session_bus, "only where XDG_RUNTIME_DIR says");
    }

    #[test]
    fn a_proxy_is_named_without_its_value() {
        let facts = facts(&[], &[BUS, ("HTTPS_PROXY", "http://me:pw@proxy:3128")]);
        let findings = check(&facts, true);
        assert_eq!(
            findings[0].what,
            "requests go through the proxy of HTTPS_PROXY"
        );
    }

    #[test]
    fn a_certificate_file_that_is_not_there_is_wrong() {
        let told = told(
            &facts(&[], &[BUS, ("SSL_CERT_FILE", "/nowhere.pem")]),
            false,
        );
        assert_eq!(
            told,
            [("certificates", Some("unset SSL_CERT_FILE".to_owned()))]
        );
    }
}
