//! Windows. Who may read a file is inherited from the person's own profile, in which all of ours lie.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// CREATE_NO_WINDOW of winbase.h: a console of its own that nobody sees.
const NO_WINDOW: u32 = 0x0800_0000;
/// ERROR_ACCESS_DENIED and ERROR_SHARING_VIOLATION of winerror.h.
const IN_USE: [i32; 2] = [5, 32];
/// Longest time to try to replace a file that another program has open, such as one that looks for
/// viruses.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Has `options` make files that only their owner can read.
pub fn only_owner_reads(_: &mut OpenOptions) {}

/// Has `builder` make directories that only their owner can enter.
pub fn only_owner_enters(_: &mut DirBuilder) {}

/// Gives a whole file its name, in the place of what had it.
pub fn put_in_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    // Closes it: its lock would keep readers out. Not tempfile's own renaming, which fails while
    // anybody reads the old file.
    let whole = file.into_temp_path();
    let begun = Instant::now();
    loop {
        match fs::rename(&whole, path) {
            Err(error)
                if error
                    .raw_os_error()
                    .is_some_and(|code| IN_USE.contains(&code))
                    && begun.elapsed() < REPLACE_TIMEOUT =>
            {
                std::thread::sleep(POLL_INTERVAL);
            }
            other => return other,
        }
    }
}

/// Nothing to do: the file system's own journal has it.
pub fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Never: see above.
pub fn is_shared(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// There are no such numbers.
pub fn mode_and_owner(_: &Path) -> Option<(u32, u32)> {
    None
}

/// There is no such number.
pub fn own_user() -> u32 {
    0
}

/// There is no such user.
pub fn is_root() -> bool {
    false
}

/// A user and a group by their numbers, which there are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

/// Not asked for where nobody is root.
pub fn owner_of_dir(_: &Path) -> Option<Owner> {
    None
}

/// Nothing to do.
pub fn give(_: &File, _: Owner) -> io::Result<()> {
    Ok(())
}

/// Nothing to do.
pub fn give_dir(_: &Path, _: Owner) -> io::Result<()> {
    Ok(())
}

/// There is no such number.
pub fn owner(_: &File) -> io::Result<u32> {
    Ok(0)
}

/// Not looked at: no other user's home is meant by the environment of Windows.
pub fn is_writable(_: &Path) -> bool {
    true
}

/// There is none that costs no handle.
pub fn file_number(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Returns whether there is such a file: its name says whether it is a program.
pub fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Not known.
pub fn is_runnable_by_all(_: &Path) -> bool {
    false
}

/// Has a command run apart from this process: a Ctrl-C here is none there.
pub fn apart(command: &mut Command) {
    command.creation_flags(NO_WINDOW);
}

/// The children of a process are not known; it itself is killed by its parent.
pub fn kill_apart(_: Option<u32>) {}

/// The system does not say.
pub fn lock_holder(_: &Path) -> Option<u32> {
    None
}

/// Signals for a command that runs in the place of this process. Windows has none: a Ctrl-C ends both.
#[cfg(feature = "cli")]
pub struct Signals;

#[cfg(feature = "cli")]
impl Signals {
    /// Nothing to catch.
    pub fn catch() -> io::Result<Self> {
        Ok(Signals)
    }

    /// None.
    pub fn caught(&mut self) -> Option<i32> {
        None
    }

    /// Waits for the end of the command.
    pub fn wait(
        &mut self,
        child: &mut std::process::Child,
    ) -> io::Result<std::process::ExitStatus> {
        child.wait()
    }
}

/// The exit code of a command, as far as one byte holds it.
#[cfg(feature = "cli")]
pub fn exit_code(status: std::process::ExitStatus) -> u8 {
    let code = status.code().unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
