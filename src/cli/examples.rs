//! Examples of each command: one to three, shown by `--help` and in
//! the man pages, narrow enough for 80 columns. The tests run each of them.

// Some are of commands that not every build has.
#![cfg_attr(not(all(feature = "platform", unix)), allow(dead_code))]

pub const WIT: &str = "\
Examples:
  # Sign in, let git ask wit, and give it a token
  wit login https://wit.example.com
  wit setup
  wit token create --expires 30

  # Show what is stored and logged in, and find problems
  wit status
  wit doctor";

pub const HELP: &str = "\
Examples:
  wit help token create";

pub const VERSION: &str = "\
Examples:
  wit version";

pub const LOGIN: &str = "\
Examples:
  # Sign in by a browser, on this machine or any other
  wit login https://wit.example.com

  # At GitHub, with a token that you create on the page that opens
  wit login https://github.com --paste-token

  # Create an account, in a script: the password is in a file
  wit login https://wit.example.com --sign-up --email grace@example.com \\
    --username grace --password-stdin < password";

pub const LOGOUT: &str = "\
Examples:
  # End the session; tokens that git uses keep working
  wit logout

  # Also revoke the tokens that this machine stores, without a prompt
  wit logout --revoke --yes";

pub const STATUS: &str = "\
Examples:
  wit status

  # In a script: exit code 3 where something needs attention
  wit status --json > status.json";

pub const TOKEN: &str = "\
Examples:
  # Give git on this machine a token for 30 days
  wit token create --expires 30

  # List the tokens of your account, and revoke one
  wit token list
  wit token revoke CI";

pub const TOKEN_CREATE: &str = "\
Examples:
  # For git on this machine, kept in its store
  wit token create --expires 30

  # For a job that only reads, printed once
  wit token create nightly --scopes repo:read --expires 30

  # The same, into a secret of GitHub Actions without being shown
  wit token create nightly -s repo:read -e 30 -q |
    gh secret set WIT_TOKEN";

pub const TOKEN_EXEC: &str = "\
Examples:
  # git inside the command uses this token only
  wit token exec -- git ls-remote https://wit.example.com/ada/hello.git

  # A token that may push, for two hours at most
  wit token exec -s write --for 2h -- \\
    git push https://wit.example.com/ada/hello.git HEAD";

pub const TOKEN_LIST: &str = "\
Examples:
  wit token list

  # Those that expire within two weeks; exit code 3 where there is one
  wit token list --expiring 14";

pub const TOKEN_RENAME: &str = "\
Examples:
  wit token rename CI nightly

  # A note on it, which the server's page shows too
  wit token rename CI --description 'runs on the build machine'";

pub const TOKEN_REVOKE: &str = "\
Examples:
  # By its name, its prefix or its id
  wit token revoke CI

  # One that has leaked, given by its value alone
  wit token revoke --token-stdin < leaked";

pub const TOKEN_ROTATE: &str = "\
Examples:
  # Replace the token that git on this machine uses
  wit token rotate

  # Hand a new one to GitHub Actions; the old one works for an hour more
  wit token rotate CI --deliver 'gh secret set WIT_TOKEN' --grace 1h

  # For cron: all tokens of this machine that expire within a week
  wit token rotate --due 7 --all";

pub const TOKEN_PRUNE: &str = "\
Examples:
  # List expired tokens
  wit token prune --expired --dry-run

  # Revoke tokens that were not used for 90 days
  wit token prune --unused 90";

pub const TOKEN_AUDIT: &str = "\
Examples:
  # Exit code 3 where something is found
  wit token audit

  # Who did what with your tokens, and from where
  wit token audit --events";

pub const TOKEN_SCOPES: &str = "\
Examples:
  wit token scopes";

pub const TOKEN_PRINT: &str = "\
Examples:
  # Hand it to a program that reads it from its stdin
  wit token print | gh secret set WIT_TOKEN

  # The one for another server, into a file that only you can read
  (umask 077 && wit token print https://wit.example.com > token)";

pub const REPO: &str = "\
Examples:
  # Create one, and clone it
  wit repo create demo
  git clone https://wit.example.com/ada/demo.git

  # See all of yours
  wit repo list";

pub const REPO_CREATE: &str = "\
Examples:
  # Only you can see it
  wit repo create demo

  # Anyone can read it; push there what you have
  wit repo create site --public
  git push https://wit.example.com/ada/site.git HEAD

  # For a history of git init --object-format=sha256
  wit repo create next --object-format sha256";

pub const REPO_LIST: &str = "\
Examples:
  wit repo list

  # For a script: name, URL, and who can see it
  wit repo list --json > repositories.json";

pub const REPO_RENAME: &str = "\
Examples:
  wit repo rename hello world

  # And then in each clone of it
  git remote set-url origin https://wit.example.com/ada/world.git";

pub const REPO_EDIT: &str = "\
Examples:
  # Hide it from all but you
  wit repo edit hello --private

  # Show it to everybody
  wit repo edit hello --public

  # Clones start on another branch from now on
  wit repo edit hello --default-branch trunk";

pub const REPO_SHARE: &str = "\
Examples:
  # Bob may fetch and push
  wit repo share hello --with bob --role write

  # Take that back
  wit repo share hello --with bob --remove

  # List who has access
  wit repo share hello";

pub const REPO_DELETE: &str = "\
Examples:
  # It asks first
  wit repo delete hello

  # In a script
  wit repo delete hello --yes";

pub const ACCOUNT: &str = "\
Examples:
  wit account show

  # A laptop was lost: find its sign-in, or end all others
  wit account sign-ins
  wit account sign-out --others";

pub const ACCOUNT_SHOW: &str = "\
Examples:
  wit account show";

pub const ACCOUNT_PASSWORD: &str = "\
Examples:
  # Asks for the old password, then twice for the new one
  wit account password

  # In a script: the old one and the new one, on a line each
  wit account password --password-stdin < passwords";

pub const ACCOUNT_EMAIL: &str = "\
Examples:
  # It asks for your password
  wit account email ada@new.example

  # In a script
  wit account email ada@new.example --password-stdin < password";

pub const ACCOUNT_SIGN_INS: &str = "\
Examples:
  wit account sign-ins";

pub const ACCOUNT_SIGN_OUT: &str = "\
Examples:
  # All but the sign-in that asks; with an id, only that one
  wit account sign-out --others

  # All, this one too
  wit account sign-out --all";

pub const SETUP: &str = "\
Examples:
  # git asks wit about every site
  wit setup

  # git asks wit about one server, and no other helper there
  wit setup --host https://wit.example.com

  # What would run wit up as a service; without --dry-run it does
  wit setup --server --no-sign-up --dry-run";

pub const DOCTOR: &str = "\
Examples:
  wit doctor

  # For a bug report: there is no secret in it
  wit doctor --json > report.json";

pub const STORE: &str = "\
Examples:
  # See where secrets are stored
  wit store

  # Move them all into the keychain, and keep them there from now on
  wit store move file keychain";

pub const STORE_LIST: &str = "\
Examples:
  wit store list

  # In a script
  wit store list --json > stored.json";

pub const STORE_ERASE: &str = "\
Examples:
  # It asks first, at a terminal
  wit store erase https://git.example.com

  # In a script, and of one account alone
  wit store erase https://git.example.com --username ada --yes";

pub const STORE_MOVE: &str = "\
Examples:
  wit store move file keychain

  # Back, and what the keychain holds goes before what the files hold
  wit store move keychain file --force";

pub const STORE_PROTECT: &str = "\
Examples:
  # It asks for a new passphrase, twice
  wit store protect

  # In a script: the passphrase is the first line of a file
  wit store protect --passphrase-stdin < passphrase";

pub const STORE_UNPROTECT: &str = "\
Examples:
  wit store unprotect

  # Change the passphrase
  wit store unprotect && wit store protect";

pub const IMPORT: &str = "\
Examples:
  # See what would be taken from ~/.git-credentials, then take it
  wit import store --dry-run
  wit import store

  # What Git Credential Manager, gh or glab keeps, in the same way
  wit import gh --dry-run

  # A netrc file that is not in its usual place
  wit import netrc --file other-netrc";

pub const UNLOCK: &str = "\
Examples:
  # For 8 hours; it asks for the passphrase
  wit unlock

  # For a working day, with the passphrase from a file
  wit unlock --for 10h --passphrase-stdin < passphrase";

pub const LOCK: &str = "\
Examples:
  wit lock";

#[cfg(feature = "platform")]
pub const UP: &str = "\
Examples:
  # For this machine, at http://127.0.0.1:3000
  wit up

  # With a first account, whose random password is written to a file
  wit up --user ada

  # For other machines, with TLS
  wit up --listen 0.0.0.0 --port 443 --tls-cert wit.pem --tls-key wit.key";

#[cfg(feature = "platform")]
pub const UP_BACKUP: &str = "\
Examples:
  wit up backup wit.backup

  # Through a pipe: to another machine, or to be encrypted
  wit up backup - | cat >wit.backup";

#[cfg(feature = "platform")]
pub const UP_CHECK: &str = "\
Examples:
  wit up check

  # Each night, without reading every object
  wit up check --quick";

#[cfg(feature = "platform")]
pub const UP_RELOAD: &str = "\
Examples:
  wit up reload";

#[cfg(feature = "platform")]
pub const UP_RESTORE: &str = "\
Examples:
  # On a new machine
  wit up restore wit.backup
  wit up

  # Replace the existing data, which is moved aside
  wit down
  wit up restore wit.backup --force";

#[cfg(feature = "platform")]
pub const DOWN: &str = "\
Examples:
  wit down

  # The one with another data directory
  wit down --data-dir ~/other";

#[cfg(feature = "platform")]
pub const USER: &str = "\
Examples:
  wit user list

  # Somebody forgot a password
  wit user reset-password ada";

#[cfg(feature = "platform")]
pub const USER_LIST: &str = "\
Examples:
  wit user list";

#[cfg(feature = "platform")]
pub const USER_INVITE: &str = "\
Examples:
  # A link for anybody, for a week
  wit user invite

  # For one email, for a day
  wit user invite --email grace@example.com --expires 1";

#[cfg(feature = "platform")]
pub const USER_RESET_PASSWORD: &str = "\
Examples:
  # A random one is set, and shown once
  wit user reset-password ada

  # One of your choice
  wit user reset-password ada --password-stdin <password";

#[cfg(feature = "platform")]
pub const USER_SUSPEND: &str = "\
Examples:
  wit user suspend ada --reason 'lost laptop'";

#[cfg(feature = "platform")]
pub const USER_RESTORE: &str = "\
Examples:
  wit user restore ada";

#[cfg(feature = "platform")]
pub const USER_DELETE: &str = "\
Examples:
  # It asks first
  wit user delete ada

  # In a script
  wit user delete ada --yes";
