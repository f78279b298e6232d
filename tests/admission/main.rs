//! What a real API server makes of the definition: every manifest goes through kubectl, and what is checked is what a
//! user reads.
//!
//! Needs an API server of Kubernetes 1.33 or later, named by KUBECONFIG, and kubectl. Installs the definition of this
//! build. Its tasks are managed by nobody, so an operator that runs there leaves them alone.

mod accepted;
mod converted;
mod kubectl;
mod manifests;
mod merging;
mod reading;
mod refused;
mod sets;
mod templates;
mod unchanged;
mod updates;
