//! The verb `create`: a manifest from flags.

use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Map, Value, json};

use super::{
    args::{CreateArgs, DryRun, Format},
    change::FIELD_MANAGER,
    error::Error,
    session::Session,
};
use crate::api::task::LongTask;

/// The task that the flags describe.
pub(super) fn task_of(args: &CreateArgs) -> Value {
    let CreateArgs {
        name,
        image,
        segment,
        grace_period,
        active_time,
        wall_time,
        failures,
        env,
        suspend,
        dry_run: _,
        output: _,
        command,
    } = args;
    let some = |entries: Vec<(&str, Option<Value>)>| -> Option<Value> {
        let given: Map<_, _> = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        (!given.is_empty()).then_some(Value::Object(given))
    };
    let env: Vec<_> = env.iter().map(|variable| json!({ "name": variable.name, "value": variable.value })).collect();
    let container = some(vec![
        ("name", Some(json!("main"))),
        ("image", Some(json!(image))),
        ("command", (!command.is_empty()).then(|| json!(command))),
        ("env", (!env.is_empty()).then(|| json!(env))),
    ]);
    let spec = some(vec![
        (
            "segment",
            some(vec![("duration", segment.map(|d| json!(d))), ("gracePeriod", grace_period.map(|d| json!(d)))]),
        ),
        (
            "limits",
            some(vec![("activeTime", active_time.map(|d| json!(d))), ("wallTime", wall_time.map(|d| json!(d)))]),
        ),
        ("retry", failures.map(|failures| json!({ "budgets": { "failures": failures } }))),
        ("suspend", suspend.then_some(json!(true))),
        ("template", Some(json!({ "spec": { "containers": [container] } }))),
    ]);
    json!({
        "apiVersion": LongTask::api_version(&()),
        "kind": LongTask::kind(&()),
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// Creates the task that the flags describe.
pub(super) async fn create(session: &Session, args: &CreateArgs) -> Result<String, Error> {
    let name = &args.name;
    // As the user said it, and not with this program's defaults: those are the API server's to fill in.
    let object: DynamicObject = serde_json::from_value(task_of(args))?;
    let tasks: Api<DynamicObject> =
        Api::namespaced_with(session.client.clone(), &session.namespace, &ApiResource::erase::<LongTask>(&()));
    let is_dry = args.dry_run == DryRun::Server;
    let params = PostParams { dry_run: is_dry, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let created = tasks.create(&params, &object).await.map_err(Error::of_call(format!("create LongTask {name}")))?;
    if let Some(format) = args.output {
        return written(&serde_json::to_value(&created)?, format);
    }
    let dry = if is_dry { " (server dry run)" } else { "" };
    Ok(format!("longtask.longtask.dev/{} created{dry}\n", created.name_any()))
}

/// A manifest as text.
pub(super) fn written(manifest: &Value, format: Format) -> Result<String, Error> {
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(manifest)? + "\n"),
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(manifest).map_err(|error| Error::Manifest(error.to_string()))?;
            Ok(yaml.trim_end().to_owned() + "\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{NAME, Plugin, Verb},
        *,
    };

    fn described(flags: &[&str]) -> Value {
        let words = [NAME, "create"].iter().chain(flags);
        match Plugin::try_parse_from(words).expect("the flags parse").verb {
            Verb::Create(args) => task_of(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_manifest_from_flags_says_only_what_was_given() {
        let least = json!({
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": { "name": "import" },
            "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "i:1" }] } } },
        });
        assert_eq!(described(&["import", "--image", "i:1"]), least);
    }

    #[test]
    fn every_flag_has_its_field() {
        let flags = [
            "import",
            "--image=i:1",
            "--segment=15m",
            "--grace-period=45s",
            "--active-time=2h",
            "--wall-time=72h",
            "--failures=-1",
            "-e",
            "A=1",
            "-e",
            "B=x=y",
            "--suspend",
            "--",
            "sh",
            "-c",
            "run --fast",
        ];
        assert_eq!(
            described(&flags)["spec"],
            json!({
                "segment": { "duration": "15m", "gracePeriod": "45s" },
                "limits": { "activeTime": "2h", "wallTime": "72h" },
                "retry": { "budgets": { "failures": -1 } },
                "suspend": true,
                "template": { "spec": { "containers": [{
                    "name": "main",
                    "image": "i:1",
                    "command": ["sh", "-c", "run --fast"],
                    "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "x=y" }],
                }] } },
            })
        );
    }
}
