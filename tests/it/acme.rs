//! Certificates by ACME, from a real authority.

use std::process::Command;

#[test]
fn a_certificate_is_asked_for_shown_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acme/rehearse");
    let done = Command::new(script)
        .args([env!("CARGO_BIN_EXE_shifter").as_ref(), folder.path()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "new: the app by 2",
            "without TLS: 308",
            "a token of nobody: 308",
            "stored: verified 0",
            "folder: 700",
        ]
    );
}
