//! Every test, in one program: it is linked once. What is shared lies in `support`; a file here
//! is a promise.

mod support;

mod abuse;
mod accounts;
mod api;
mod audit;
mod battery;
mod completions;
mod connections;
mod crash;
mod daemons;
mod database;
mod dependencies;
mod device;
mod direct;
mod doctor;
mod examples;
mod faults;
mod footprint;
mod forms;
mod help;
mod helper;
mod hostile;
mod hosting;
mod import;
mod install;
mod kill;
mod matching;
mod outputs;
#[cfg(target_os = "linux")]
mod owners;
mod package;
mod page;
mod passphrase;
mod platform;
mod prompt;
mod readme;
mod relocation;
mod repo;
mod request_id;
mod rotate;
mod rotation;
mod self_rotation;
mod setup;
mod sites;
mod soak;
mod stores;
mod terminal;
mod tls;
mod token;
mod trace;
mod transport;
mod up;
mod warnings;
