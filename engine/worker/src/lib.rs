//! One partition: a scheduler, a paged cache of keys and values, a model and a sampler.
//!
//! [`Core`] is all of it. A step reads `plan -> forward -> sample -> commit`.

mod args;
mod clock;
mod constraint;
mod core;
mod embed;
mod event;
mod kv;
mod model;
mod rehearsal;
mod request;
mod sampler;
mod scheduler;
mod sequence;
mod serve;
mod trace;

pub use args::{WorkerArgs, WorkerKind};
pub use constraint::{Grammars, Guide};
pub use core::{Core, CoreCard, CoreConfig, Load};
pub use embed::{EmbedConfig, EmbedCore};
pub use engine_kernels::{Activations, DeviceName};
pub use event::{CoreEvent, SequenceKey};
pub use kv::BLOCK_TOKENS;
pub use model::{LoadError, LoadProgress, PackedDir};
pub use rehearsal::{Answer, Ask, Rehearsal, Stage, StepCosts};
pub use serve::run;
