//! What is installed in a cluster: the chart, and `deploy/longtask.yaml`, which is rendered from it.
//!
//! Needs helm 4, helm-docs and promtool: `make tools` brings them, and `make test` finds them.

mod alerts;
mod dashboards;
mod metrics;
mod rendering;
mod rights;
mod snapshots;
mod support;
mod table;
mod values;
