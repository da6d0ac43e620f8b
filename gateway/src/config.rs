//! What the operator wrote: one file, one commented struct.
//!
//! Every file is read whole, refused with file, line and a hint when anything in it is wrong,
//! and never half used. What comes out of here has been checked: nobody checks again.

mod document;
mod error;
mod limits;
mod memory;
mod model;
mod models_file;
mod name;
mod partition;
mod policies_folder;
mod zone;

pub use document::Document;
pub use error::ConfigError;
pub use limits::LimitsConfig;
pub use memory::KvMemory;
pub use model::{ModelConfig, Piece, Source};
pub use models_file::ModelsConfig;
pub use name::Name;
pub use partition::{Device, Kind, PartitionConfig, Threads};
pub use policies_folder::load_policies;
pub use zone::ZoneConfig;
