//! engine-chat
