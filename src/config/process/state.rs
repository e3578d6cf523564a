//! `state`: the folder of the journal and of the admin socket.

use crate::config::parse::raw::Text;
use crate::config::parse::value::{Check, file_path};
use std::path::{Path, PathBuf};

pub(crate) fn state(raw: &Text, dir: &Path) -> Check<PathBuf> {
    match raw {
        Some(text) => file_path("state", text, dir),
        None => Ok(usual_state()),
    }
}

/// The state folder of a configuration without `state`.
pub(crate) fn usual_state() -> PathBuf {
    default_state(|name| std::env::var_os(name), ours)
}

/// `/var/lib/shifter` where it was made for us, else the user's own state folder, else here.
fn default_state(
    var: impl Fn(&str) -> Option<std::ffi::OsString>,
    ours: impl Fn(&Path) -> bool,
) -> PathBuf {
    let system = Path::new("/var/lib/shifter");
    if ours(system) {
        return system.to_owned();
    }
    let absolute = |name| {
        var(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| PathBuf::from(".shifter"), |base| base.join("shifter"))
}

/// Whether the user of this process owns a folder.
fn ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.uid());
    path.is_dir() && owner(path).is_some_and(|uid| owner(Path::new("/proc/self")) == Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_the_first_that_fits() {
        let var = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).into())
            }
        };
        let state = |set, ours: bool| default_state(var(set), |_| ours);
        assert_eq!(
            state(&[("HOME", "/h")], true),
            Path::new("/var/lib/shifter")
        );
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")], false),
            Path::new("/x/shifter")
        );
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "x")], false),
            Path::new("/h/.local/state/shifter")
        );
        assert_eq!(state(&[], false), Path::new(".shifter"));
    }
}
