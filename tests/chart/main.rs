//! What is installed in a cluster: the chart, and `deploy/longtask.yaml`, which is rendered from it.
//!
//! Needs helm 4 and helm-docs: `make tools` builds them into a folder that `make test` has on its PATH.

mod rendering;
mod rights;
mod snapshots;
mod support;
mod values;
