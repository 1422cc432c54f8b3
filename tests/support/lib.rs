//! What the whole-flow tests share.
