//! The name of a state folder: what it makes elsewhere is marked with it, and nobody else's is touched.

use std::fs;
use std::io;
use std::path::Path;

/// Hexadecimal digits of a name.
const DIGITS: usize = 16;

/// The folder's name, made when it has none.
///
/// # Errors
/// When it can neither be read nor written.
pub fn instance(folder: &Path) -> io::Result<String> {
    let path = folder.join("instance");
    if let Ok(text) = fs::read_to_string(&path) {
        let name = text.trim();
        if name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(name.to_owned());
        }
    }
    let name = random();
    // All of it or nothing: half a name would be another one.
    let fresh = folder.join("instance.new");
    fs::write(&fresh, &name)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, &path)?;
    Ok(name)
}

/// A name that no folder has.
pub fn random() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_name_and_a_damaged_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let name = instance(folder.path()).unwrap();
        assert_eq!(instance(folder.path()).unwrap(), name);
        fs::write(folder.path().join("instance"), "half").unwrap();
        let other = instance(folder.path()).unwrap();
        assert_ne!(other, name);
        assert_eq!(other.len(), DIGITS);
    }
}
