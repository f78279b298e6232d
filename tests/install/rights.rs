//! What the API server lets the operator and users do.

use std::{collections::BTreeSet, time::Duration};

use super::{
    support::{Namespace, Release, SYSTEM, eventually, kubectl, run},
    table::{Place, documented},
};

/// What a service account may do in a namespace, in the words of the table in `docs/security.md`.
fn can_do(account: &str, namespace: &str) -> BTreeSet<String> {
    let account = format!("--as=system:serviceaccount:{SYSTEM}:{account}");
    let list = kubectl(&["auth", "can-i", "--list", "--no-headers", "--namespace", namespace, &account]);
    list.lines().flat_map(rights_in).collect()
}

/// A line has a resource, URLs, names and verbs: `leases.coordination.k8s.io  []  [longtask]  [get update]`.
fn rights_in(line: &str) -> Vec<String> {
    let (resource, lists) = line.split_once('[').expect("three lists in brackets");
    let lists: Vec<_> = lists.split('[').map(|list| list.trim_end().trim_end_matches(']')).collect();
    let [_, names, verbs] = lists[..] else { panic!("three lists in brackets: {line}") };
    let (kind, part) = resource.trim().split_once('/').map_or((resource.trim(), ""), |(kind, part)| (kind, part));
    let (plural, group) = kind.split_once('.').unwrap_or((kind, ""));
    let mut right = if group.is_empty() { plural.to_owned() } else { format!("{group}/{plural}") };
    if !part.is_empty() {
        right = format!("{right}/{part}");
    }
    let names: Vec<_> = names.split_whitespace().map(|name| format!(" {name}")).collect();
    let names = if names.is_empty() { vec![String::new()] } else { names };
    verbs
        .split_whitespace()
        .flat_map(|verb| names.iter().map(|name| format!("{verb} {right}{name}")).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_operator_may_do_what_the_table_says_and_nothing_else() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-rights");
    let in_cluster = [Place::Watched, Place::WatchedToFillIn, Place::ClusterForReports];
    let in_own = [in_cluster.as_slice(), &[Place::Own, Place::OwnForReports]].concat();
    for (place, expected) in [(SYSTEM, documented(&in_own)), (namespace.name.as_str(), documented(&in_cluster))] {
        // What everybody may do who is logged in.
        let anybody = can_do("default", place);
        let operator: BTreeSet<_> = can_do("longtask", place).difference(&anybody).cloned().collect();
        assert_eq!(operator, expected, "in {place}");
    }
}

#[test]
fn viewers_read_tasks_editors_write_them_and_nobody_writes_a_status() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-users");
    for role in ["view", "edit", "admin"] {
        let (binding, user) = (format!("is-{role}"), format!("--user={role}er"));
        let role = format!("--clusterrole={role}");
        kubectl(&["create", "rolebinding", &binding, &role, &user, "--namespace", &namespace.name]);
    }
    let may = |user: &str, verb: &str, part: &str| {
        let (user, part) = (format!("--as={user}"), format!("--subresource={part}"));
        let question = ["auth", "can-i", verb, "longtasks.longtask.dev", &user, &part, "--namespace", &namespace.name];
        run("kubectl", &question).status.success()
    };
    // A controller of the cluster adds our roles to its own, one after the other.
    let may_all = |user: &str, verbs: &[&str]| verbs.iter().all(|verb| may(user, verb, ""));
    eventually("the roles are aggregated", Duration::from_secs(30), || {
        let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
        (may_all("viewer", &all[..3]) && may_all("editer", &all) && may_all("adminer", &all)).then_some(())
    });
    assert!(!may("somebody", "get", ""));
    for verb in ["create", "update", "patch", "delete"] {
        assert!(!may("viewer", verb, ""), "{verb}");
    }
    for user in ["viewer", "editer", "adminer"] {
        assert!(!may(user, "update", "status"), "{user}");
    }
}
