//! What the planner never does, whatever it is shown.

mod arbitrary;
mod cluster;
#[path = "../shared/kstatus.rs"]
mod kstatus;
mod properties;
mod runs;
mod size;
