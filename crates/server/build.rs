//! Copies the built console to where it is embedded from. Without one, the folder is empty: the
//! build needs no npm.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let built = here.join("../../console/dist");
    let place = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("console");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    println!("cargo::rerun-if-changed=build.rs");
    // A folder that is not there would have the build run each time.
    let watched = if built.exists() {
        built.clone()
    } else {
        here.join("../../console")
    };
    if watched.exists() {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
    if built.exists() {
        copy(&built, &place)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
