//! A release: rendered once from settings, runtime and image, then made so in the cluster and observed.

mod batch;
pub mod config;
pub mod desired;
pub mod observe;
pub mod reconcile;
pub mod render;
mod render_error;
pub mod runs;
mod template;
mod trouble;
mod uses;

pub use config::{ConfigFile, ConfigFiles, Contents, LARGEST_CONFIG, PlannedConfig, too_much};
pub use desired::{
    Children, Entrance, Footprint, Neighbour, Outside, Reach, Target, desired, open_ports, written,
};
pub use observe::{Observed, Phase, down_since, late, late_since, observed, spare};
pub use reconcile::{RolledOut, roll_out, troubled, well_since};
pub use render::{Input, Rendered, render};
pub use render_error::RenderError;
pub use trouble::{Trouble, trouble};
