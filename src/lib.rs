//! What is behind `git-credential-wit` and `wit`.
//!
//! Parse at the edge, decide in pure code, act at the edge. Who may use whom:
//!
//! | module | may use |
//! |---|---|
//! | [`secret`], [`expiry`], [`quote`] | nothing of ours |
//! | [`trace`] | config; whoever takes steps uses it |
//! | [`process`] | trace; child processes that have to end in time |
//! | [`progress`] | config, trace; whoever waits long uses it, and only `wit` lets it be shown |
//! | [`sign_in`] | secret, expiry; types only |
//! | [`credential`], [`item`] | secret, expiry, sign_in |
//! | [`system`] | nothing of ours; what differs between operating systems |
//! | [`files`] | nothing of ours; the one reader of the files that we keep |
//! | [`config`] | system, files; the only reader of directories, config file, environment |
//! | [`interactive`] | config |
//! | [`store`] | credential, item, config |
//! | [`helper`] | credential, item, store: never `api`, `cli`, `platform` |
//! | [`import`] | credential, item, store, the helper's wire |
//! | [`names`] | nothing of ours; what server and `wit` both hold names to |
//! | [`database`] | secret, expiry, names; the tables that `api` and `platform` share |
//! | [`api`] | database, credential, config |
//! | [`hosts`], [`oauth`] | api, config, sign_in, store: what git hosts are like, and signing in to them |
//! | [`rotation`] | api, store |
//! | [`app`] | all of these: what `wit` does, without a terminal |
//! | [`platform`] | database, config |
//! | [`cli`] | all of them; the only printer |
//!
//! The helper is `secret` to `helper` and nothing else: without any feature there is no more. `cli` adds
//! [`api`], [`cli`] and what they use, `direct` [`database`], `platform` [`platform`].

#[cfg(feature = "cli")]
pub mod api;
#[cfg(feature = "cli")]
pub mod app;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod credential;
#[cfg(feature = "direct")]
pub mod database;
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
pub mod platform;
#[cfg(feature = "cli")]
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
