//! Differences between operating systems: a file each. Everything else is the same
//! everywhere, or is one system's as a whole, as the keychains are.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as here;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

pub use here::{
    Owner, apart, file_number, give, give_dir, is_executable, is_root, is_runnable_by_all,
    is_shared, is_writable, kill_apart, lock_holder, mode_and_owner, only_owner_enters,
    only_owner_reads, own_user, owner, owner_of_dir, put_in_place, sync_dir,
};

#[cfg(feature = "cli")]
pub use here::{Signals, exit_code};
