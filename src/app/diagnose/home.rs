//! The home directory: whose it is.

use std::path::PathBuf;

use super::{Finding, quoted};
use crate::config;
use crate::process;
use crate::system;

/// A home directory that belongs to another user, as after a `su` or `sudo` that keeps `HOME`.
#[derive(Debug)]
pub struct Facts {
    home: PathBuf,
    /// The owner's name, or number.
    owner: String,
    /// True for root, which works there for its owner.
    is_root: bool,
    /// The home that the system has for the user of this process.
    own: Option<String>,
}

impl Facts {
    /// `None` where the home is this user's own, or can be worked in all the same.
    pub fn gather() -> Option<Self> {
        let home = PathBuf::from(config::variable("HOME")?);
        let (_, owner) = system::mode_and_owner(&home)?;
        let user = system::own_user();
        let is_root = system::is_root();
        if owner == user || !is_root && system::is_writable(&home) {
            return None;
        }
        let own = account(user).map(|account| account.home);
        Some(Facts {
            own: own.filter(|own| !own.is_empty() && own.as_str() != home.as_os_str()),
            owner: account(owner).map_or_else(|| format!("user {owner}"), |owner| owner.name),
            is_root,
            home,
        })
    }

    /// Returns whether nothing else can be told before that is fixed: all of it is somebody else's.
    pub fn is_in_the_way(&self) -> bool {
        !self.is_root
    }
}

struct Account {
    name: String,
    home: String,
}

/// A user of this system, by getent(1); `None` for a number without a name.
fn account(user: u32) -> Option<Account> {
    let output = process::run("getent", &["passwd", &user.to_string()], "").ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let mut fields = line.trim_end().split(':');
    Some(Account {
        name: fields.next().filter(|name| !name.is_empty())?.to_owned(),
        home: fields.nth(4)?.to_owned(),
    })
}

/// The finding about it.
pub fn check(facts: &Facts) -> Finding {
    let what = format!("HOME, {}, belongs to {}", quoted(&facts.home), facts.owner);
    let finding = match facts.is_root {
        true => Finding::note("home", what)
            .why("what root creates there is given to its owner; sudo -H works in root's own home"),
        false => Finding::wrong("home", what)
            .why("a su or sudo that keeps HOME leads there; su - and sudo -H do not"),
    };
    match &facts.own {
        Some(own) => finding.fix(format!("export HOME={}", quoted(own))),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_home_is_left_for_ones_own() {
        let mut facts = Facts {
            home: "/home/ada".into(),
            owner: "ada".to_owned(),
            is_root: false,
            own: Some("/home/bob".to_owned()),
        };
        let finding = check(&facts);
        assert_eq!(finding.what, "HOME, /home/ada, belongs to ada");
        assert_eq!(finding.fix.as_deref(), Some("export HOME=/home/bob"));
        facts.own = None;
        assert_eq!(check(&facts).fix, None);
    }
}
