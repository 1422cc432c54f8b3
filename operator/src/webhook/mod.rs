//! Notifications from outside. A request in, a look sooner out: it wakes what waits, and nothing that it says is believed.

mod events;
mod serve;

pub use events::Push;
pub use serve::{Hook, Token, WeakToken, router};
