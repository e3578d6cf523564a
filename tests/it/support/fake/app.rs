//! The app of the test images as a program of this host, compiled once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

const SOURCE: &str = "tests/images/app.rs";

/// Where the program is.
pub static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    for source in [SOURCE, "tests/images/websocket.rs"] {
        std::fs::read_to_string(source).unwrap().hash(&mut hasher);
    }
    let folder = std::env::temp_dir().join(format!("shifter-test-app-{:016x}", hasher.finish()));
    let program = folder.join("app");
    if program.exists() {
        return program;
    }
    std::fs::create_dir_all(&folder).unwrap();
    // Several tests may begin at once: the last one's takes the place of an equal one.
    let own = folder.join(format!("app-{}", std::process::id()));
    let mut rustc = Command::new("rustc");
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "-C",
        "target-feature=+crt-static",
    ]);
    let done = rustc.arg("-o").arg(&own).arg(SOURCE).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    std::fs::rename(own, &program).unwrap();
    program
});
