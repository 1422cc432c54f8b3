//! A release: rendered once from settings, runtime and image, then made so in the cluster and observed.

mod analysis;
mod batch;
mod beside;
pub mod config;
pub mod desired;
pub mod hours;
mod lost;
pub mod observe;
pub mod reconcile;
pub mod render;
mod render_error;
pub mod room;
pub mod runs;
pub mod scaler;
pub mod scaling;
mod steps;
mod template;
pub mod trial;
pub mod triggers;
mod trouble;
mod uses;
pub mod verdict;

pub use beside::{Found, found, is_beside};
pub use config::{ConfigFile, ConfigFiles, Contents, LARGEST_CONFIG, PlannedConfig, too_much};
pub use desired::{
    Children, Entrance, Footprint, Neighbour, Outside, Preview, Reach, Target, Trial, desired, open_ports,
    preview, written,
};
pub use lost::{lost_node, of_lost};
pub use observe::{Observed, Phase, current, down_since, late, late_since, observed};
pub use reconcile::{RolledOut, roll_out, seen_in, troubled, well_since};
pub use render::{Input, Rendered, render};
pub use render_error::RenderError;
pub use steps::{consumes, leave_room, pause, too_coarse, tried_beside};
pub use triggers::Sources;
pub use trouble::{Trouble, trouble};
