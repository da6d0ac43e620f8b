//! The gateway's `data_dir`.
