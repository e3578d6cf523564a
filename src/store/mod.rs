//! The state shared by both planes: the routing table in memory, its counts, and the journal on disk.
//!
//! The store is the only thing between the data plane and the control plane. The control plane
//! publishes a table and reads counts; the data plane follows the table and counts.

mod answers;
mod baseline;
pub mod clock;
pub mod contents;
mod damage;
pub mod groups;
pub mod journal;
pub mod key;
pub mod lock;
pub mod note_kind;
pub mod request_token;
pub mod saved;
mod shard;
pub mod shared_state;
mod soundness;
pub mod users;
mod voices;
pub mod window;

pub use clock::Clock;
pub use journal::Journal;
pub use key::Key;
pub use lock::FolderLock;
pub use note_kind::NoteKind;
pub use shared_state::SharedState;
