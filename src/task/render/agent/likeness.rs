//! What the agent's containers take over from the pod: its user, its restrictions, its quality of service.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Capabilities, Container, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::api::task::LongTask;

/// The user of the operator's image.
const IMAGE_USER: i64 = 65532;

/// All that Pod Security *restricted* asks for. As the program's user, so that the two can read each other's files; one that
/// is root makes a root of the agent, too.
pub(super) fn security_context(spec: &PodSpec, main: &str) -> SecurityContext {
    let of_main = spec.containers.iter().find(|container| container.name == main);
    let of_main = of_main.and_then(|main| main.security_context.as_ref());
    let of_pod = spec.security_context.as_ref();
    let user = of_main.and_then(|main| main.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user));
    let group = of_main.and_then(|main| main.run_as_group).or_else(|| of_pod.and_then(|pod| pod.run_as_group));
    SecurityContext {
        run_as_user: Some(user.unwrap_or(IMAGE_USER)),
        run_as_group: group.or_else(|| user.is_none().then_some(IMAGE_USER)),
        run_as_non_root: Some(user != Some(0)),
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

/// What the user says; else little, and such that the pod's quality of service stays what it is.
pub(super) fn resources(spec: &PodSpec, task: &LongTask) -> Option<ResourceRequirements> {
    if task.spec.agent.resources.is_some() {
        return task.spec.agent.resources.clone();
    }
    let saves = task.spec.checkpoint.store.is_some();
    let amounts = |amounts: &[(&str, &str)]| {
        let amounts = amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
        Some(amounts.collect::<BTreeMap<_, _>>())
    };
    let of = |requests: &[(&str, &str)], limits: &[(&str, &str)]| {
        Some(ResourceRequirements {
            requests: amounts(requests),
            limits: amounts(limits),
            ..ResourceRequirements::default()
        })
    };
    if spec.resources.is_some() {
        // Those of the pod must hold the sum of all containers, and decide alone.
        None
    } else if is_guaranteed(spec) {
        let all = if saves { [("cpu", "900m"), ("memory", "256Mi")] } else { [("cpu", "50m"), ("memory", "64Mi")] };
        of(&all, &all)
    } else if saves {
        of(&[("cpu", "100m"), ("memory", "256Mi")], &[("memory", "256Mi")])
    } else {
        of(&[("cpu", "10m"), ("memory", "32Mi")], &[("memory", "64Mi")])
    }
}

/// Whether the pod is of quality of service Guaranteed: all containers have limits of CPU and memory, and request no less.
fn is_guaranteed(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let has_equal = |container: &Container| {
        let Some(resources) = &container.resources else { return false };
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
            let request = resources.requests.as_ref().and_then(|requests| requests.get(name));
            limit.is_some() && request.is_none_or(|request| Some(request) == limit)
        })
    };
    all.into_iter().all(has_equal)
}
