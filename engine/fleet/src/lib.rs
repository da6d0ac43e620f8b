//! engine-fleet
