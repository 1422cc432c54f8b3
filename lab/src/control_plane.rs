//! `control_plane`
