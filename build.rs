//! Links the unwinder into the programs. Loading it as a shared library, `libgcc_s`, is an eighth of
//! what starting a program costs, and git starts the helper twice for each command.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let native = env::var_os("HOST") == env::var_os("TARGET");
    if !native || target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    // Where the C compiler has no such archive, the shared library does.
    let Ok(found) = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
    else {
        return;
    };
    let archive = String::from_utf8_lossy(&found.stdout);
    let archive = Path::new(archive.trim());
    if let Some(dir) = archive
        .parent()
        .filter(|_| archive.is_absolute() && archive.exists())
    {
        println!("cargo::rustc-link-search=native={}", dir.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
