//! The chart on a real cluster: install, upgrade, rollback and uninstall under running tasks, the operator's rights, and
//! what the API server says to all of it: `make chart`.
//!
//! The operator that is installed works on the whole cluster. So the stories follow each other, and no other test may
//! run on the cluster at the same time. They need helm, kubectl, and the images of `make images`.

#[path = "../chart/table.rs"]
mod table;

mod lifecycle;
mod one_namespace;
mod queues;
mod rights;
mod support;
mod templates;
