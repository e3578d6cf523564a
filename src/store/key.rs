//! The key that signs shifter's cookies: random, generated once, kept in the state folder.
//!
//! It has a file that no other user may read: with the key one can forge cookies.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Length of a generated key in bytes.
const LENGTH: usize = 32;

/// Its file in the state folder: lower-case hexadecimal digits and a line end.
const FILE: &str = "cookie.key";

/// The key for cookies; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LENGTH]);

impl Key {
    /// A random key for the lifetime of this process.
    pub fn random() -> Key {
        Key(rand::random())
    }

    /// The key of this folder, generated when there is none; no other process may generate it at the same time.
    ///
    /// # Errors
    /// When it cannot be read or written; [`ErrorKind::InvalidData`] when the file is no key.
    pub fn kept(folder: &Path) -> io::Result<Key> {
        match Key::found(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = Key::random();
                key.keep(folder)?;
                Ok(key)
            }
            found => found,
        }
    }

    /// The key of this folder.
    ///
    /// # Errors
    /// When there is none, or it cannot be read; [`ErrorKind::InvalidData`] when the file is no key.
    pub fn found(folder: &Path) -> io::Result<Key> {
        let text = fs::read_to_string(folder.join(FILE))?;
        Key::read(text.trim_end()).ok_or(ErrorKind::InvalidData.into())
    }

    /// Writes it in place of the folder's key, if there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        let (path, fresh) = (folder.join(FILE), folder.join("cookie.key.new"));
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        let mut text = String::new();
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(fresh, path)?;
        File::open(folder)?.sync_all()
    }

    /// The key itself, for the one place that needs it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    fn read(text: &str) -> Option<Key> {
        let digit = |at: usize| char::from(*text.as_bytes().get(at)?).to_digit(16);
        let mut key = [0; LENGTH];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::try_from(digit(2 * at)? * 16 + digit(2 * at + 1)?).ok()?;
        }
        (text.len() == 2 * LENGTH).then_some(Key(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = Key::kept(folder.path()).unwrap();
        assert_eq!(Key::kept(folder.path()).unwrap(), first);
        assert_ne!(Key::random(), first);
        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{first:?}"), "Key(***)");
        for damaged in ["", "00", &"g".repeat(64), &"0".repeat(65), "\u{fffd}"] {
            fs::write(&path, damaged).unwrap();
            let refused = Key::kept(folder.path()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData, "{damaged}");
        }
        first.keep(folder.path()).unwrap();
        assert_eq!(Key::kept(folder.path()).unwrap(), first);
    }
}
