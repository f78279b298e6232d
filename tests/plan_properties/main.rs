//! What the planner never does, whatever it is shown.

mod arbitrary;
mod cluster;
mod properties;
mod runs;
mod size;
