//! The projects and groups of GitLab that tokens are bound to, and their roles there.

use std::fmt;

/// A project or group, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A project, such as `ada/hello`.
    Project(String),
    /// A group, such as `acme/tools`.
    Group(String),
}

impl Place {
    /// Reads what [`Place::locator`] writes: `ada/hello` for a project, `group:acme/tools` for a
    /// group.
    pub fn parse(text: &str) -> Option<Self> {
        let (path, is_group) = match text.strip_prefix("group:") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let is_name = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
        };
        if path.len() > 255 || !path.split('/').all(is_name) {
            return None;
        }
        match is_group {
            true => Some(Place::Group(path.to_owned())),
            false if path.contains('/') => Some(Place::Project(path.to_owned())),
            false => None,
        }
    }

    /// One word, as ids of tokens, journals and the store have it.
    pub fn locator(&self) -> String {
        match self {
            Place::Project(path) => path.clone(),
            Place::Group(path) => format!("group:{path}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Project(path) => write!(f, "project {path}"),
            Place::Group(path) => write!(f, "group {path}"),
        }
    }
}

/// A role in a project or group, as `access_level` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLevel {
    /// Sees issues; reads no code of a private project.
    Guest = 10,
    /// Plans; reads no code of a private project.
    Planner = 15,
    /// Reads code.
    Reporter = 20,
    /// Pushes to branches that are not protected.
    Developer = 30,
    /// Pushes to protected branches, and manages the project.
    Maintainer = 40,
    /// Everything, the project's deletion included.
    Owner = 50,
}

impl AccessLevel {
    /// The names, in rising order.
    pub const NAMES: [&str; 6] = [
        "guest",
        "planner",
        "reporter",
        "developer",
        "maintainer",
        "owner",
    ];

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "guest" => AccessLevel::Guest,
            "planner" => AccessLevel::Planner,
            "reporter" => AccessLevel::Reporter,
            "developer" => AccessLevel::Developer,
            "maintainer" => AccessLevel::Maintainer,
            "owner" => AccessLevel::Owner,
            _ => return None,
        })
    }

    /// The number that the API has for it.
    pub fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_of_plain_names() {
        for good in [
            "ada/hello",
            "acme/tools/cli",
            "group:acme",
            "group:acme/tools",
        ] {
            assert_eq!(Place::parse(good).expect("a place").locator(), good);
        }
        for bad in [
            "",
            "ada",
            "ada/",
            "../x",
            "ada/a b",
            "group:",
            "group:a//b",
            "ada/x?y",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
