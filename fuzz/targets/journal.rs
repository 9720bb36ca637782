//! The journal of a rotation, whatever has become of it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wit::config::Paths;
use wit::expiry::UnixTime;
use wit::rotation::journal;

static HOME: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    // In memory where there is such a place: a journal is synced to its disk.
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let home = home.unwrap();
    let dir = Paths::below(home.path()).state_dir().join("rotations");
    std::fs::create_dir_all(dir).unwrap();
    home
});

fuzz_target!(|text: &[u8]| {
    let paths = Paths::below(HOME.path());
    std::fs::write(paths.state_dir().join("rotations/x.json"), text).unwrap();
    for journal in journal::all(&paths).unwrap_or_default() {
        let _ = (journal.site(), journal.is_due(UnixTime(0)));
        let _ = journal.is_meant_by("x123");
        journal.save(&paths).unwrap();
        assert_eq!(journal::all(&paths).unwrap(), [journal]);
    }
});
