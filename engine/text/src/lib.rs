//! engine-text
