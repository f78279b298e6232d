//! The operator may do what `docs/security.md` says, and no more. The table there is the one list of its rights: a call
//! that is not in it fails in a real cluster, and a right that nothing needs does not belong into it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    support::{named, objects, rendered, strings},
    table::{self, Place},
};

const WITHOUT_REPORTS: [Place; 3] = [Place::Watched, Place::WatchedToFillIn, Place::Own];
const EVERYWHERE: [Place; 5] =
    [Place::Watched, Place::WatchedToFillIn, Place::Own, Place::ClusterForReports, Place::OwnForReports];

/// The rules of a role as lines like those of the table.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("a role has rules") {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let names: Vec<_> = strings(&rule["resourceNames"]).map(|name| format!(" {name}")).collect();
                let names = if names.is_empty() { vec![String::new()] } else { names };
                for verb in strings(&rule["verbs"]) {
                    let group = if group.is_empty() { String::new() } else { format!("{group}/") };
                    rights.extend(names.iter().map(|name| format!("{verb} {group}{resource}{name}")));
                }
            }
        }
    }
    rights
}

/// The rights of all roles that are bound to the operator's service account.
fn operator_rights(objects: &[Value]) -> BTreeSet<String> {
    let bindings =
        objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")));
    bindings
        .filter(|binding| binding["kind"] != "ValidatingAdmissionPolicyBinding")
        .flat_map(|binding| {
            assert_eq!(binding["subjects"][0]["name"], "longtask");
            assert_eq!(binding["subjects"][0]["namespace"], "longtask-system");
            let role = &binding["roleRef"];
            let (kind, name) = (role["kind"].as_str().expect("a kind"), role["name"].as_str().expect("a name"));
            rights(named(objects, kind, name))
        })
        .collect()
}

#[test]
fn the_operator_may_do_what_the_table_says_and_no_more() {
    assert_eq!(operator_rights(&objects(&rendered(&[]))), table::documented(&EVERYWHERE));
    let without = objects(&rendered(&["reports.enabled=false"]));
    assert_eq!(operator_rights(&without), table::documented(&WITHOUT_REPORTS));
}

#[test]
fn an_operator_that_fills_nothing_in_may_not_update_tasks() {
    let objects = objects(&rendered(&["reports.enabled=false", "operator.fillIn=false"]));
    assert_eq!(operator_rights(&objects), table::documented(&[Place::Watched, Place::Own]));
    let args = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(strings(args).any(|arg| arg == "--no-fill-in"), "{args}");
    let policies = objects.iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicy");
    let names: Vec<_> = policies.map(|policy| policy["metadata"]["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["longtask-operator-creates"], "it updates none, and creates the members of sets");
}

#[test]
fn no_right_is_a_wildcard() {
    for right in table::documented(&EVERYWHERE) {
        assert!(!right.contains('*'), "{right}");
    }
}

#[test]
fn with_one_namespace_no_right_reaches_beyond_it() {
    let objects = objects(&rendered(&["watch.namespace=team-a"]));
    assert_eq!(operator_rights(&objects), table::documented(&WITHOUT_REPORTS));
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap_or_default().starts_with("ClusterRole")));
    assert_eq!(named(&objects, "Role", "longtask")["metadata"]["namespace"], "team-a");
    assert_eq!(named(&objects, "RoleBinding", "longtask")["metadata"]["namespace"], "team-a");
    assert_eq!(named(&objects, "Role", "longtask-lease")["metadata"]["namespace"], "longtask-system");
    let args = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(strings(args).any(|arg| arg == "--namespace=team-a"), "{args}");
}

/// `admin` has what `edit` has, and `edit` what `view` has, by the cluster's own aggregation.
#[test]
fn those_who_view_or_edit_a_namespace_may_do_the_same_with_its_tasks() {
    let objects = objects(&rendered(&[]));
    let verbs = |role: &Value| strings(&role["rules"][0]["verbs"]).map(str::to_owned).collect::<Vec<_>>();
    let view = named(&objects, "ClusterRole", "longtask-view");
    assert_eq!(view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    assert_eq!(verbs(view), ["get", "list", "watch"]);
    let edit = named(&objects, "ClusterRole", "longtask-edit");
    for role in ["edit", "admin"] {
        assert_eq!(edit["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{role}")], "true");
    }
    assert_eq!(verbs(edit), ["create", "update", "patch", "delete", "deletecollection"]);
    let (read, written) = (&view["rules"][0]["resources"], &edit["rules"][0]["resources"]);
    assert_eq!(*read, serde_json::json!(["longtasks", "longtasktemplates", "longtasksets", "taskqueues"]));
    assert_eq!(
        *written,
        serde_json::json!(["longtasks", "longtasktemplates", "longtasksets"]),
        "nobody but the operator writes a status"
    );
    assert!(
        rights(edit).contains("create longtask.dev/longtasktemplates/start"),
        "else admissionPolicies.startRight locks them out"
    );
}

/// The limit of a partner is not each team's to raise.
#[test]
fn only_an_admin_may_change_a_queue() {
    let objects = objects(&rendered(&[]));
    let change = "update longtask.dev/taskqueues";
    assert!(!rights(named(&objects, "ClusterRole", "longtask-edit")).contains(change));
    let admin = named(&objects, "ClusterRole", "longtask-admin");
    assert!(rights(admin).contains(change));
    let labels = &admin["metadata"]["labels"];
    assert_eq!(labels["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
    assert_eq!(labels["rbac.authorization.k8s.io/aggregate-to-edit"], serde_json::Value::Null);
}
