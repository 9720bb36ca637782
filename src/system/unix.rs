//! Linux and macOS.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use tempfile::NamedTempFile;

#[cfg(feature = "cli")]
mod signals;
#[cfg(feature = "cli")]
pub use signals::{Signals, exit_code};

/// Has `options` make files that only their owner can read.
pub fn only_owner_reads(options: &mut OpenOptions) {
    options.mode(0o600);
}

/// Has `builder` make directories that only their owner can enter.
pub fn only_owner_enters(builder: &mut DirBuilder) {
    builder.mode(0o700);
}

/// Gives a whole file its name, in the place of what had it.
pub fn put_in_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    Ok(file.persist(path).map(drop)?)
}

/// Makes what was renamed or removed in a directory last.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// True for an open file that others than its owner can read or change.
pub fn is_shared(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.mode() & 0o077 != 0)
}

/// A file's mode and its owner's number; `None` where it is not there.
pub fn mode_and_owner(path: &Path) -> Option<(u32, u32)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.mode(), metadata.uid()))
}

/// The number of the user that this process runs as.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// True where this process runs as root.
pub fn is_root() -> bool {
    own_user() == 0
}

/// The owner of a directory, for whom root makes files in it; `None` where that is root.
pub fn owner_of_dir(dir: &Path) -> Option<Owner> {
    let metadata = fs::metadata(dir).ok()?;
    let (user, group) = (metadata.uid(), metadata.gid());
    (user != 0).then_some(Owner { user, group })
}

/// A user and a group by their numbers: neither need have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The number of the user.
    pub user: u32,
    /// The number of the group.
    pub group: u32,
}

/// Gives an open file that root has created to `owner`.
///
/// If that can't be done the file stays root's: in a container without the right to (user
/// namespaces, a dropped CAP_CHOWN), and on a file system that keeps no owners.
pub fn give(file: &File, owner: Owner) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match fchown(file, Some(owner.user), Some(owner.group)) {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {
            Ok(())
        }
        given => given,
    }
}

/// The same for a directory that root has just made. Its parent may be another user's, who could
/// have put something else there: a link is not followed, and what is not root's stays as it is.
pub fn give_dir(dir: &Path, owner: Owner) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let made = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(dir)?;
    match made.metadata()?.uid() {
        0 => give(&made, owner),
        _ => Ok(()),
    }
}

/// The owner of an open file.
pub fn owner(file: &File) -> io::Result<u32> {
    Ok(file.metadata()?.uid())
}

/// True where this process may create files in a directory.
pub fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The number of a file within its file system, and of that; the same for each name of one file.
pub fn file_number(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

/// True for a file that anybody at all may run.
pub fn is_executable(path: &Path) -> bool {
    has_bits(path, 0o111)
}

/// True where every user may run a program and enter the directories above it.
pub fn is_runnable_by_all(program: &Path) -> bool {
    program.ancestors().all(|path| has_bits(path, 0o001))
}

fn has_bits(path: &Path, bits: u32) -> bool {
    path.metadata()
        .is_ok_and(|file| file.permissions().mode() & bits != 0)
}

/// Has a command run apart from this process: a Ctrl-C here is none there.
pub fn apart(command: &mut Command) {
    command.process_group(0);
}

/// Kills what was started [`apart`], and what that has started. `None` is a process that has ended.
pub fn kill_apart(id: Option<u32>) {
    let id = id.and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(Pid::from_raw) {
        // Nothing left to kill is what is wanted.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

/// The process that holds the lock of a file, by proc_locks(5):
/// `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE`. `None` where the system does not say.
pub fn lock_holder(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let same = fields.get(5)?.rsplit(':').next()? == inode;
        (same && fields[1] == "FLOCK").then(|| fields[4].parse().ok())?
    })
}
