//! The definition of the resource: what is committed is what the types say, and it has the shape that `kubectl apply`
//! and `kubectl explain` need.

use std::fs;

use longtask::api::{
    crd,
    task::{CheckpointPolicy, ClaimRetentionPolicy, FailurePolicy, Limits, Reporting, Retry, Segment},
};
use serde::Serialize;
use serde_json::{Value, json};

/// Where the definition of a resource is committed.
fn committed(resource: &str) -> String {
    format!("crds/longtask.dev_{resource}.yaml")
}

/// What a plain `kubectl apply` can carry in the annotation that it leaves behind.
const LARGEST_ANNOTATION: usize = 262_144;

fn definition() -> Value {
    serde_json::to_value(crd::definition().expect("the definition")).expect("JSON")
}

fn template_definition() -> Value {
    serde_json::to_value(crd::template_definition().expect("the definition")).expect("JSON")
}

fn version() -> Value {
    definition()["spec"]["versions"][0].take()
}

fn schema() -> Value {
    version()["schema"]["openAPIV3Schema"].take()
}

fn template() -> Value {
    schema()["properties"]["spec"]["properties"]["template"].take()
}

/// Calls `look` with the path and the schema of every field, the root's path being empty.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let separator = if path.is_empty() { "" } else { "." };
        walk(&format!("{path}{separator}{name}"), property, look);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&format!("{path}{mark}"), &schema[key], look);
        }
    }
}

fn paths_where(schema: &Value, is_wrong: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    walk("", schema, &mut |path, schema| {
        if is_wrong(path, schema) {
            found.push(path.to_owned());
        }
    });
    found
}

/// Whether a field of ours, in a definition without a pod template, has no words that explain it.
fn is_mute(path: &str, schema: &Value) -> bool {
    let is_standard = path.split('.').next().is_some_and(|root| ["apiVersion", "kind", "metadata"].contains(&root));
    let is_plain_element = path.ends_with("[]");
    let has_words = schema["description"].as_str().is_some_and(|words| words.split_whitespace().count() >= 2);
    !has_words && !is_standard && !is_plain_element
}

/// Whether a field is below the pod template, which has core's schema and not ours.
fn is_below_template(path: &str) -> bool {
    path.starts_with("spec.template.") || path.starts_with("spec.volumeClaimTemplates[]")
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    for resource in crd::RESOURCES {
        let file = committed(resource);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let generated = crd::yaml_of(resource).expect("YAML").expect("a resource");
        assert!(text == generated, "{file} is out of date: run make generate");
    }
}

fn queue_definition() -> Value {
    serde_json::to_value(crd::queue_definition().expect("the definition")).expect("JSON")
}

#[test]
fn a_queue_is_explained_has_no_null_and_prints_its_columns() {
    let definition = queue_definition();
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    assert_eq!(paths_where(schema, is_mute), [""; 0]);
    assert_eq!(paths_where(schema, |_, schema| schema.get("nullable").is_some()), [""; 0]);
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| column["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(columns, ["Active", "Waiting", "Wait", "Breaker", "Age", "Suspended"]);
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(["tq"]));
    let spec = &schema["properties"]["spec"];
    assert_eq!(spec["required"], json!(["maxActive"]));
    let defaults: Vec<_> = ["holdWhileWaiting", "suspend", "rate", "aging", "allowedNamespaces"]
        .iter()
        .map(|field| spec["properties"][field]["default"].clone())
        .collect();
    assert_eq!(json!(defaults), json!([false, false, null, null, null]));
    assert_eq!(spec["properties"]["rate"]["properties"]["burst"]["default"], json!(1));
}

fn set_definition() -> Value {
    serde_json::to_value(crd::set_definition().expect("the definition")).expect("JSON")
}

#[test]
fn a_set_is_explained_has_no_null_and_prints_its_columns() {
    let definition = set_definition();
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    assert_eq!(paths_where(schema, is_mute), [""; 0]);
    assert_eq!(paths_where(schema, |_, schema| schema.get("nullable").is_some()), [""; 0]);
    let is_unsigned = |_: &str, schema: &Value| schema["format"].as_str().is_some_and(|f| f.starts_with("uint"));
    assert_eq!(paths_where(schema, is_unsigned), [""; 0]);
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| {
            format!("{} {}", column["name"].as_str().unwrap_or_default(), column["priority"].as_i64().unwrap_or(0))
        })
        .collect();
    assert_eq!(
        columns,
        ["Phase 0", "Progress 0", "Active 0", "Failed 0", "Age 0", "Template 1", "Parallel 1", "ETA 1", "Reason 1"]
    );
    let selectable = json!([{ "jsonPath": ".status.phase" }, { "jsonPath": ".status.reason" }, { "jsonPath": ".spec.templateRef.name" }]);
    assert_eq!(version["selectableFields"], selectable);
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(["lts"]));
    let defaults: Vec<_> =
        ["batch", "maxParallel", "tolerateFailed", "taskHistoryLimit", "suspend", "cancel", "managedBy"]
            .iter()
            .map(|field| schema["properties"]["spec"]["properties"][field]["default"].clone())
            .collect();
    assert_eq!(json!(defaults), json!([1, 10, 0, 10, false, false, "longtask.dev/operator"]));
}

#[test]
fn a_plain_kubectl_apply_can_carry_each_definition() {
    for definition in [definition(), template_definition(), set_definition(), queue_definition()] {
        let size = definition.to_string().len();
        assert!(size < LARGEST_ANNOTATION, "{size} bytes as JSON");
    }
}

/// As a file, too: what reads the file by lines, or stores it whole, need not know that its indentation is nothing.
#[test]
fn each_definition_leaves_room_in_its_file() {
    for resource in crd::RESOURCES {
        let size = crd::yaml_of(resource).expect("YAML").expect("a resource").len();
        assert!(size + 8 * 1024 < LARGEST_ANNOTATION, "{resource}: {size} bytes as YAML");
    }
}

/// What a LongTaskTemplate has of a LongTask, and what not.
#[test]
fn a_template_has_the_definition_of_a_task_and_its_rules() {
    let version = template_definition()["spec"]["versions"][0].take();
    let of_template = &version["schema"]["openAPIV3Schema"];
    let (spec, of_task) = (&of_template["properties"]["spec"], schema()["properties"]["spec"].take());
    for (field, schema) in spec["properties"].as_object().expect("fields") {
        let is_same = *schema == of_task["properties"][field];
        assert!(is_same || field == "inputSchema", "{field}");
    }
    assert_eq!(spec["required"], json!(["template"]));
    assert_eq!(of_template["properties"].get("status"), None);
    assert_eq!(version.get("subresources"), None);
    let paths: Vec<_> = spec["x-kubernetes-validations"]
        .as_array()
        .expect("rules")
        .iter()
        .map(|rule| rule["fieldPath"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        paths,
        [
            ".segment.container",
            ".checkpoint.store",
            ".checkpoint.staleAfter",
            ".checkpoint.staleAfter",
            ".checkpoint.staleAfter",
            ".segment.heartbeatTimeout",
            ".kueue.quota",
            ".volumeClaimTemplates",
            ".limits.deadline",
        ]
    );
    let columns = version["additionalPrinterColumns"].as_array().expect("columns");
    let columns: Vec<_> = columns.iter().map(|column| column["jsonPath"].as_str().unwrap_or_default()).collect();
    assert_eq!(columns, [".spec.template.spec.containers[0].image", ".spec.queueName", ".metadata.creationTimestamp"]);
}

#[test]
fn no_field_is_nullable() {
    assert_eq!(paths_where(&schema(), |_, schema| schema.get("nullable").is_some()), [""; 0]);
}

#[test]
fn no_number_has_a_format_that_kubernetes_does_not_know() {
    let is_unsigned = |_: &str, schema: &Value| schema["format"].as_str().is_some_and(|f| f.starts_with("uint"));
    assert_eq!(paths_where(&schema(), is_unsigned), [""; 0]);
}

#[test]
fn every_field_of_ours_is_explained() {
    let is_mute = |path: &str, schema: &Value| {
        let is_standard = path.split('.').next().is_some_and(|root| ["apiVersion", "kind", "metadata"].contains(&root));
        // The elements of a list of numbers or names need no words beside the list's own.
        let is_plain_element = path.ends_with("[]") && schema["type"] != "object";
        // "The rule." under the name `rule` would explain nothing.
        let has_words = schema["description"].as_str().is_some_and(|words| words.split_whitespace().count() >= 3);
        let is_cores = is_below_template(path) || path.starts_with("spec.agent.resources.");
        !has_words && !is_standard && !is_plain_element && !is_cores
    };
    assert_eq!(paths_where(&schema(), is_mute), [""; 0]);
}

#[test]
fn an_optional_word_is_explained_by_its_field_and_not_by_its_type() {
    let status = schema()["properties"]["status"].take();
    for (field, words) in [
        ("/properties/phase", "For people; machines read the conditions."),
        ("/properties/currentAttempt/properties/cutBy", "The limit that cuts its segment short"),
    ] {
        let explained = status.pointer(field).and_then(|schema| schema["description"].as_str()).expect(field);
        assert!(explained.contains(words), "{field}: {explained}");
    }
}

#[test]
fn the_template_has_none_of_cores_descriptions() {
    let speaks = |path: &str, schema: &Value| is_below_template(path) && schema.get("description").is_some();
    assert_eq!(paths_where(&schema(), speaks), [""; 0]);
    assert!(template()["description"].as_str().expect("its own words").contains("kubectl explain pod.spec"));
}

#[test]
fn the_template_merges_lists_by_the_keys_of_core() {
    let template = template();
    let spec = &template["properties"]["spec"]["properties"];
    let keys_of = |list: &Value| (list["x-kubernetes-list-type"].clone(), list["x-kubernetes-list-map-keys"].clone());
    let by = |keys: &[&str]| (json!("map"), json!(keys));
    assert_eq!(keys_of(&spec["volumes"]), by(&["name"]));
    for containers in ["containers", "initContainers"] {
        assert_eq!(keys_of(&spec[containers]), by(&["name"]), "{containers}");
        let container = &spec[containers]["items"]["properties"];
        assert_eq!(keys_of(&container["env"]), by(&["name"]), "{containers}");
        assert_eq!(keys_of(&container["volumeMounts"]), by(&["mountPath"]), "{containers}");
        assert_eq!(keys_of(&container["ports"]), (json!("atomic"), Value::Null), "{containers}");
    }
}

#[test]
fn nothing_in_a_list_has_a_default() {
    let is_filled_in = |path: &str, schema: &Value| path.contains("[]") && schema.get("default").is_some();
    assert_eq!(paths_where(&schema(), is_filled_in), [""; 0]);
}

#[test]
fn defaults_appear_when_their_parent_is_absent() {
    fn has_default_below(schema: &Value) -> bool {
        let mut properties = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
        properties.any(|property| property.get("default").is_some() || has_default_below(property))
    }
    let is_deaf = |path: &str, schema: &Value| {
        let is_ours = path.contains('.') || path == "spec";
        // What has a required field cannot default to nothing: a restart, which has its token.
        is_ours
            && schema.get("required").is_none()
            // A spec needs a template, or the name of one.
            && path != "spec"
            && !path.contains("template")
            && has_default_below(schema)
            && schema.get("default") != Some(&json!({}))
    };
    assert_eq!(paths_where(&schema(), is_deaf), [""; 0]);
}

#[test]
fn the_server_fills_in_the_same_defaults_as_the_operator_knows() {
    fn filled_in(schema: &Value) -> Value {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let defaulted = properties.filter_map(|(name, property)| {
            let default = property.get("default")?;
            Some((name.clone(), if default.is_object() { filled_in(property) } else { default.clone() }))
        });
        Value::Object(defaulted.collect())
    }
    fn known(default: impl Serialize) -> Value {
        serde_json::to_value(default).expect("JSON")
    }
    let expected = json!({
        "segment": known(Segment::default()),
        "reporting": known(Reporting::default()),
        "persistentVolumeClaimRetentionPolicy": known(ClaimRetentionPolicy::default()),
        "limits": known(Limits::default()),
        "checkpoint": known(CheckpointPolicy::default()),
        "retry": known(Retry::default()),
        "failurePolicy": known(FailurePolicy::default()),
        "suspend": false,
        "cancel": false,
        "podHistoryLimit": 3,
        "managedBy": "longtask.dev/operator",
    });
    assert_eq!(filled_in(&schema()["properties"]["spec"]), expected);
}

#[test]
fn a_rule_has_room_for_every_reason() {
    let rule = schema()["properties"]["spec"]["properties"]["failurePolicy"]["properties"]["rules"]["items"].take();
    let reasons = &rule["properties"]["onReasons"];
    let number = reasons["items"]["enum"].as_array().expect("the reasons").len();
    assert!(reasons["maxItems"].as_u64().is_some_and(|room| room >= number as u64), "{number} reasons");
}

#[test]
fn cancel_says_how_it_is_taken_back() {
    let spec = schema()["properties"]["spec"].take();
    let words = spec["properties"]["cancel"]["description"].as_str().expect("words");
    assert!(words.contains("taken back only together with a new `restart.token`"), "{words}");
}

#[test]
fn kubectl_get_prints_the_columns() {
    let version = version();
    let columns: Vec<_> = version["additionalPrinterColumns"].as_array().expect("columns").iter().collect();
    let printed = |priority| {
        let of_priority = columns.iter().filter(|column| column["priority"].as_i64().unwrap_or(0) == priority);
        of_priority
            .map(|column| {
                let text = |key: &str| column[key].as_str().unwrap_or_default();
                format!("{} {} {}", text("name"), text("type"), text("jsonPath"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        printed(0),
        [
            "Phase string .status.phase",
            "Segment integer .status.segment",
            "Progress string .status.progress.summary",
            "Checkpoint date .status.checkpoint.recordTime",
            "Retries integer .status.retries",
            "Age date .metadata.creationTimestamp",
        ]
    );
    assert_eq!(
        printed(1),
        [
            "Attempt integer .status.currentAttempt.number",
            "Pod string .status.currentAttempt.podName",
            "Next string .status.nextAttemptTime",
            "Reason string .status.reason",
        ]
    );
}

#[test]
fn tasks_can_be_selected_by_phase_reason_template_and_queue() {
    let selectable = json!([{ "jsonPath": ".status.phase" }, { "jsonPath": ".status.reason" }, { "jsonPath": ".spec.templateRef.name" }, { "jsonPath": ".spec.queueName" }]);
    assert_eq!(version()["selectableFields"], selectable);
}

#[test]
fn the_resource_has_its_names_and_a_status_of_its_own() {
    let definition = definition();
    assert_eq!(definition["metadata"]["name"], "longtasks.longtask.dev");
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    assert_eq!(
        definition["spec"]["names"],
        json!({
            "kind": "LongTask", "plural": "longtasks", "singular": "longtask", "shortNames": ["lt"],
            "categories": ["all"],
        })
    );
    assert_eq!(version()["subresources"], json!({ "status": {} }));
}
