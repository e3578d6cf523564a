//! The analysis of one rollout: the loop around the state machine, the judges, probes and sources.
//!
//! The product, `plan`, `replay`, `calibrate`, the simulations and the statistics all run this code, so a figure that is
//! measured on simulated traffic is a figure of what ships.
//!
//! - [`RecordedLine`]: one recorded input of the analysis. What is recorded can be judged again.
//! - [`Evidence`]: the judges of users' requests and of probes, and the latency limits of a share.
//! - [`Harm`]: whether green harms blue: suspicion and switchback.
//! - [`Trial`]: a rollout with its evidence, its sources and its verdict.
//! - [`Course`]: a whole rollout on simulated seconds.
//! - [`replay()`]: recorded lines judged again.
//! - [`EvidenceKind`]: what recordings of older builds cannot have.

mod course;
mod evidence;
mod fair;
mod harm;
mod kinds;
mod line;
mod replay;
mod trial;

pub use course::{Course, End, World};
pub use evidence::{Evidence, Past, Share};
use fair::Fair;
pub use harm::{Harm, STAKE};
pub use kinds::{EvidenceKind, EvidenceKinds, lacking, words_on};
pub use line::RecordedLine;
pub use replay::{Again, Difference, Replay, replay};
pub use trial::Trial;
