//! The hands: all Kubernetes I/O.

pub mod leader;
