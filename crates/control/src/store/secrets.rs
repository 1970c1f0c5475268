//! Secrets: one file of mode 0600 for each secret variable of an instance.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::fault::{Class, Fault};
use model::ids::{InstanceName, VariableName};
use model::instance::Instance;
use model::secret::Secret;
use model::spec::Value;

use crate::home::{Home, cannot, make_private};

/// Writes those that are new or have changed.
pub(super) fn write(home: &Home, instance: &Instance) -> Result<(), Fault> {
    for (variable, value) in &instance.values {
        let Value::Secret(secret) = value else {
            continue;
        };
        let path = home.secret(&instance.name, variable);
        let is_there = fs::read_to_string(&path).is_ok_and(|text| text == secret.expose());
        if !is_there {
            if let Some(folder) = path.parent() {
                make_private(folder)?;
            }
            replace(&path, secret).map_err(|error| cannot("write", &path, &error))?;
        }
    }
    Ok(())
}

/// Through a new file and a rename, so that a crash or a full disk never leaves half a secret.
fn replace(path: &Path, secret: &Secret) -> std::io::Result<()> {
    let new = path.with_extension("new");
    // A file that was left over may have been made with another mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(secret.expose().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Reads one.
pub(super) fn read(
    home: &Home,
    name: &InstanceName,
    variable: &VariableName,
) -> Result<Secret, Fault> {
    let path = home.secret(name, variable);
    fs::read_to_string(&path).map(Secret::new).map_err(|error| {
        Fault::new(
            "SY4013",
            Class::Failed,
            format!("the secret {variable} of instance {name} cannot be read"),
        )
        .with_cause(format!("{}: {error}", path.display()))
        .with_help("put the file back; the servers still know the old password")
    })
}

/// Removes all of an instance's.
pub(super) fn remove(home: &Home, name: &InstanceName) -> Result<(), Fault> {
    let folder = home.instance(name).join("secrets");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(cannot("remove", &folder, &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The file with the password of applications, where they need one.
#[must_use]
pub fn password_file(home: &Home, instance: &Instance) -> Option<PathBuf> {
    let application = instance.spec.application.as_ref()?;
    variable_of(&instance.values, &application.password)
        .map(|variable| home.secret(&instance.name, variable))
}

fn variable_of<'v>(
    values: &'v BTreeMap<VariableName, Value>,
    secret: &Secret,
) -> Option<&'v VariableName> {
    values
        .iter()
        .find(|(_, value)| matches!(value, Value::Secret(it) if it == secret))
        .map(|(variable, _)| variable)
}
