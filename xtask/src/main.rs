//! `cargo xtask`: demo, test, crds.
fn main() {}
