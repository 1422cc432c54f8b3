//! One operator at a time writes: the one that holds the Lease. The others stand by, and one of them takes over.
//!
//! The rules are those of client-go's [leader election](https://pkg.go.dev/k8s.io/client-go/tools/leaderelection):
//! `candidate` has them, `lead` asks the API server, and a [`Mandate`] is what each write is asked for.

mod candidate;
mod lead;
mod mandate;

pub use lead::{GATE, Lost, Standing};
pub use mandate::{Mandate, NotLeading};
