//! The contract that is checked in is the one that the code has.

use std::path::PathBuf;

#[test]
fn the_checked_in_contract_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let current = server::contract::text();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == current,
        "docs/openapi.json is old; UPDATE_OPENAPI=1 rewrites it"
    );
}
