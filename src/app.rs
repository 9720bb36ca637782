//! What `wit` does, for a program without a terminal too: it takes plain values, prints nothing, and
//! returns outcomes and errors of its own types.

pub mod diagnose;
pub mod git_config;
pub mod schedule;
pub mod setup_record;
