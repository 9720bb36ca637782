//! Library of `git-credential-wit` and `wit`.
//!
//! Parse at the edge, decide in pure code, act at the edge. Who may use whom:
//!
//! | module | may use |
//! |---|---|
//! | [`secret`], [`expiry`], [`quote`], [`system`], [`files`], [`names`] | nothing of ours |
//! | [`duration`] | quote; times as people type them |
//! | [`config`] | system, files; the only reader of directories, config file, environment |
//! | [`trace`] | config, system; used by whatever takes steps |
//! | [`process`] | trace; child processes that have to end in time |
//! | [`interactive`] | config, process; whether somebody may be asked something |
//! | [`progress`] | config, trace; used by whatever waits long, and only `wit` lets it be shown |
//! | [`sign_in`] | secret, expiry; types, and words about them |
//! | [`credential`] | secret, expiry, sign_in |
//! | [`item`] | secret, expiry, sign_in, credential |
//! | [`store`] | secret, expiry, system, files, config, trace, interactive, process, credential, item |
//! | [`helper`] | secret, expiry, system, files, config, trace, interactive, process, sign_in, credential, item, store; never `api`, `cli`, `platform` |
//! | [`import`] | secret, expiry, system, files, config, process, credential, item, store, helper |
//! | [`database`] | secret, expiry, names, config, trace; the tables that `api` and `platform` share |
//! | [`api`] | secret, expiry, quote, names, config, trace, progress, credential, database |
//! | [`oauth`] | secret, expiry, quote, config, trace, progress, sign_in, credential, item, store, api |
//! | [`hosts`] | secret, expiry, quote, names, config, trace, progress, sign_in, credential, item, store, api, oauth |
//! | [`rotation`] | secret, expiry, quote, system, files, config, trace, process, sign_in, credential, item, store, api |
//! | [`app`] | secret, expiry, quote, names, system, files, config, trace, interactive, process, progress, sign_in, credential, item, store, helper, import, api, oauth, hosts, rotation; never `cli` |
//! | [`platform`] | secret, expiry, quote, names, system, files, config, trace, process, database |
//! | [`cli`] | all of them; the only printer |
//!
//! `tests/layers.rs` holds the code to it.
//!
//! The helper is `secret` to `helper` and nothing else: without any feature there is no more. `cli` adds
//! [`api`], [`cli`] and what they use, `direct` [`database`], `platform` [`platform`].

#[cfg(feature = "cli")]
pub mod api;
#[cfg(feature = "cli")]
pub mod app;
#[cfg(feature = "cli")]
#[allow(
    missing_docs,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "for the program alone, and its printer"
)]
pub mod cli;
pub mod config;
pub mod credential;
#[cfg(feature = "direct")]
#[allow(missing_docs, reason = "not all fields are described yet")]
pub mod database;
#[cfg(feature = "cli")]
pub mod duration;
pub mod expiry;
pub mod files;
pub mod helper;
#[cfg(feature = "cli")]
pub mod hosts;
#[cfg(feature = "cli")]
pub mod import;
pub mod interactive;
pub mod item;
#[cfg(feature = "cli")]
pub mod names;
#[cfg(feature = "cli")]
pub mod oauth;
#[cfg(all(feature = "platform", unix))]
#[allow(missing_docs, reason = "for the program alone")]
pub mod platform;
pub mod process;
#[cfg(feature = "cli")]
pub mod progress;
#[cfg(feature = "cli")]
pub mod quote;
#[cfg(feature = "cli")]
pub mod rotation;
pub mod secret;
pub mod sign_in;
pub mod store;
pub mod system;
pub mod trace;
