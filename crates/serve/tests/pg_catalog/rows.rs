//! What the answers hold.
