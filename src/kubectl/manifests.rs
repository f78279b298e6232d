//! The verbs that make manifests: `create` from flags, `convert` from a Job.

use std::{fs, io, path::Path};

use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Map, Value, json};

use super::{
    args::{ConvertArgs, CreateArgs, DryRun, Format},
    error::Error,
    job::{self, Converted},
    session::Session,
    steer::FIELD_MANAGER,
};
use crate::api::LongTask;

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

/// The Jobs of a file as tasks, and what is to be told beside that.
pub(super) fn convert(args: &ConvertArgs) -> Result<(String, Vec<String>), Error> {
    let file = args.filename.display().to_string();
    let yaml = read(&args.filename).map_err(|source| Error::Read { file: file.clone(), source })?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&yaml).map_err(|error| Error::Manifest(format!("{file}: not YAML: {error}")))?;
    let (mut manifests, mut notes) = (Vec::new(), Vec::new());
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        if document["kind"] != "Job" || document["apiVersion"] != "batch/v1" {
            notes.push(format!("{file}: left out {}: only batch/v1 Jobs are converted", document["kind"]));
            continue;
        }
        let job: Job = serde_path_to_error::deserialize(document)
            .map_err(|error| Error::Manifest(format!("{file}: {}: {}", error.path(), error.inner())))?;
        let Converted { task, notes: told } = job::convert(job)?;
        let text = written(&task, args.output)?;
        match args.output {
            // Where the reader of the manifest sees it.
            Format::Yaml => {
                let comments: String = told.iter().flat_map(|note| ["# ", note, "\n"]).collect();
                manifests.push(comments + &text);
            }
            Format::Json => {
                notes.extend(told);
                manifests.push(text);
            }
        }
    }
    if manifests.is_empty() {
        return Err(Error::Manifest(format!("{file}: there is no batch/v1 Job in it")));
    }
    let between = match args.output {
        Format::Yaml => "---\n",
        Format::Json => "",
    };
    Ok((manifests.join(between), notes))
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

/// The text of a file; `-` is standard input.
fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::kubectl::args::{NAME, Plugin, Verb};

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
