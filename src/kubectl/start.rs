//! The verb `start`: a task from a LongTaskTemplate.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    io::{self, Read},
    time::Duration,
};

use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;
use tokio::time::{self, Instant};

use super::{
    args::StartArgs,
    change::FIELD_MANAGER,
    error::{Error, is_object_missing},
    print,
    session::Session,
    sets,
    watch::{End, wait_for_end},
};
use crate::{
    api::{
        labels,
        set::LongTaskSet,
        task::{LongTask, Phase},
        template::LongTaskTemplate,
    },
    contract::input::Input,
    start::{
        answer::Answer,
        create::create_as,
        definition::unfit_for_keys,
        input::{self, Unfit},
        name::{Key, task_name},
        task::{Invocation, pod_template, thin},
    },
};

/// Through which entry tasks are started here.
const ENTRY: &str = "kubectl";

/// How long an API server that gives no clear answer is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first and the longest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts a task, and with `--wait` waits for its end.
pub(super) async fn start(session: &Session, args: &StartArgs) -> Result<String, Error> {
    let input = input_of(args)?;
    let items = items_of(args)?;
    let template = template(session, &args.template).await?;
    let is_set = args.count.is_some() || items.is_some();
    if !is_set && args.parallel.is_some() {
        return Err(Error::WrongRequest("--parallel goes with --count or --items".to_owned()));
    }
    // What each item adds to the input is checked by the operator, before the first member.
    check(&template, input.as_ref().filter(|_| items.is_none()), args.key.is_some() && !is_set, items.is_some())?;
    let key = args.key.clone().unwrap_or_else(random);
    let key = Key { entry: ENTRY, scope: "", key: &key };
    if is_set {
        return start_set(session, args, key, input, items).await;
    }
    let invocation = Invocation {
        name: task_name(&session.namespace, &args.template, key),
        namespace: session.namespace.clone(),
        input,
        labels: BTreeMap::from([(labels::STARTED_BY.to_owned(), ENTRY.to_owned())]),
        ..Invocation::default()
    };
    let task = thin(&args.template, invocation);
    let name = task.name_any();
    let how = said(&name, create_patiently(session, &ApiResource::erase::<LongTask>(&()), &task).await)?;
    let line = format!("longtask.longtask.dev/{name} {how}\n");
    if !args.wait {
        return Ok(line);
    }
    print(&line)?;
    wait(session, &name).await
}

/// Starts a set, and with `--wait` waits for its end.
async fn start_set(
    session: &Session,
    args: &StartArgs,
    key: Key<'_>,
    input: Option<Input>,
    items: Option<Vec<Value>>,
) -> Result<String, Error> {
    let set = sets::of_start(&session.namespace, args, key, input, items);
    let name = set.name_any();
    let kind = ApiResource::erase::<LongTaskSet>(&());
    let answer = create_patiently(session, &kind, &set).await;
    let how = if answer == Answer::Started { "created" } else { said(&name, answer)? };
    let line = format!("longtaskset.longtask.dev/{name} {how}\n");
    if !args.wait {
        return Ok(line);
    }
    print(&line)?;
    sets::wait(session, &name).await
}

/// The items that the arguments describe, if they do.
fn items_of(args: &StartArgs) -> Result<Option<Vec<Value>>, Error> {
    let Some(given) = &args.items else { return Ok(None) };
    let text = match given.strip_prefix('@') {
        Some(file) => fs::read(file).map_err(|source| Error::Read { file: file.to_owned(), source })?,
        None => given.as_bytes().to_vec(),
    };
    // A list is read as an input that has it under one key.
    let wrong = |problem: String| Error::WrongRequest(format!("--items: {problem}"));
    let mut read = input::parse(&text).map_err(|invalid| wrong(invalid.to_string()))?;
    match read.remove("value") {
        Some(Value::Array(items)) if read.is_empty() && items.iter().all(Value::is_object) => Ok(Some(items)),
        _ => Err(wrong("write a list of objects, such as [{\"file\": \"a.mp4\"}]".to_owned())),
    }
}

/// The input that the arguments describe, if they describe one.
fn input_of(args: &StartArgs) -> Result<Option<Input>, Error> {
    let text = match args.input.as_deref() {
        None => None,
        Some("-") => {
            let mut text = Vec::new();
            let read = io::stdin().read_to_end(&mut text);
            read.map_err(|source| Error::Read { file: "standard input".to_owned(), source })?;
            Some(text)
        }
        Some(given) => Some(match given.strip_prefix('@') {
            Some(file) => fs::read(file).map_err(|source| Error::Read { file: file.to_owned(), source })?,
            None => given.as_bytes().to_vec(),
        }),
    };
    let read = text.map(|text| input::parse(&text)).transpose();
    let mut input = read.map_err(|invalid| Error::WrongRequest(format!("--input: {invalid}")))?;
    for argument in &args.arg {
        let value = Value::String(argument.value.clone());
        input.get_or_insert_default().insert(argument.name.clone(), value);
    }
    Ok(input)
}

async fn template(session: &Session, name: &str) -> Result<LongTaskTemplate, Error> {
    let since = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match session.api::<LongTaskTemplate>().get(name).await {
            Ok(template) => return Ok(template),
            Err(error) => error,
        };
        if is_object_missing(&error) {
            let namespace = &session.namespace;
            return Err(Error::WrongRequest(format!(
                "there is no LongTaskTemplate {name} in namespace {namespace}; `kubectl get longtasktemplates` lists those that \
                 there are"
            )));
        }
        let may_pass = match &error {
            kube::Error::Api(status) => status.code == 429 || status.code >= 500,
            _ => true,
        };
        if !may_pass || since.elapsed() >= PATIENCE {
            return Err(Error::of_call(format!("get LongTaskTemplate {name}"))(error));
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the template can be started so. A wrong input is the caller's fault, an unfit template is not.
fn check(template: &LongTaskTemplate, input: Option<&Input>, has_key: bool, has_items: bool) -> Result<(), Error> {
    if let Some(unfit) = unfit_for_keys(template).filter(|_| has_key) {
        return Err(Error::NotNow(unfit));
    }
    if has_items {
        return Ok(());
    }
    let pod = pod_template(template).and_then(|pod| pod.spec);
    match input::check(input, template.spec.input_schema.as_ref(), pod.as_ref()) {
        Ok(()) => Ok(()),
        Err(Unfit::Input(invalid)) => Err(Error::WrongRequest(format!("the input is not valid: {invalid}"))),
        Err(unfit @ Unfit::Schema(_)) => Err(Error::NotNow(unfit.to_string())),
    }
}

/// Creates the task. As long as nobody knows whether it was created, or an earlier one of that name is going, the same create
/// is sent again.
async fn create_patiently(session: &Session, kind: &ApiResource, task: &DynamicObject) -> Answer {
    let since = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = create_as(&session.client, kind, task, FIELD_MANAGER).await;
        let is_clear = !matches!(answer, Answer::Unknown(_) | Answer::BeingDeleted);
        if is_clear || since.elapsed() >= PATIENCE {
            return answer;
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What became of the request, in words.
fn said(name: &str, answer: Answer) -> Result<&'static str, Error> {
    match answer {
        Answer::Started => Ok("started"),
        Answer::StartedBefore => Ok("started before"),
        Answer::KeyReused => Err(Error::WrongRequest(format!(
            "the key was used before, for another input: it has made {name}; choose another key, or give the same input"
        ))),
        Answer::NameTaken => Err(Error::NotNow(format!(
            "there is a LongTask {name} that was not started so; delete it, or choose another key"
        ))),
        Answer::BeingDeleted => Err(Error::NotNow(format!(
            "{name}, which this key has made before, is being deleted; try again when it is gone"
        ))),
        Answer::QuotaExceeded(words) | Answer::Refused(words) | Answer::NotFound(words) => {
            Err(Error::Call { what: format!("create LongTask {name}"), answer: words })
        }
        Answer::Unknown(words) => Err(Error::Call {
            what: format!("create LongTask {name}"),
            answer: format!("{words}; whether it was created is not known: the same command with the same --key tells"),
        }),
    }
}

/// Waits until the task has ended; an error unless it has succeeded.
async fn wait(session: &Session, name: &str) -> Result<String, Error> {
    wait_for_end(session, name, name, |task: LongTask| {
        let status = task.status?;
        let phase = status.phase.filter(|phase| phase.is_terminal())?;
        Some(End { is_success: phase == Phase::Succeeded, phase: phase.into(), reason: status.reason })
    })
    .await
}

/// A key that nobody else has.
fn random() -> String {
    // The standard library seeds its hash maps from the system's randomness.
    let draw = |of: u8| RandomState::new().hash_one(of);
    format!("{:016x}{:016x}", draw(1), draw(2))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::{
        super::args::{NAME, Plugin, Verb},
        *,
    };

    fn arguments(words: &[&str]) -> StartArgs {
        match Plugin::try_parse_from([NAME, "start", "x"].iter().chain(words)).expect("the arguments parse").verb {
            Verb::Start(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn input(words: &[&str]) -> Option<Value> {
        input_of(&arguments(words)).expect("an input").map(Value::Object)
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn template(spec: Value) -> LongTaskTemplate {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": "x" }, "spec": spec,
        }))
        .expect("a template")
    }

    #[test]
    fn an_input_is_given_as_json_or_key_by_key() {
        assert_eq!(input(&[]), None);
        assert_eq!(
            input(&["--input", r#"{"file": "a", "n": 1}"#, "--arg", "file=b=c"]),
            Some(json!({ "file": "b=c", "n": 1 }))
        );
        assert_eq!(input(&["--arg", "n=1"]), Some(json!({ "n": "1" })), "always a text");
        assert_eq!(input(&["--input", "[1]"]), Some(json!({ "value": [1] })));
    }

    #[test]
    fn items_are_a_list_of_objects() {
        let items = |text: &str| items_of(&arguments(&["--items", text]));
        assert_eq!(items(r#"[{"f": 1}, {"f": 2}]"#).expect("items"), Some(vec![json!({ "f": 1 }), json!({ "f": 2 })]));
        assert_eq!(items_of(&arguments(&[])).expect("none"), None);
        for wrong in [r#"{"f": 1}"#, "[1]", "[", r#"{"value": [{}], "b": 1}"#] {
            assert_eq!(items(wrong).expect_err("no list of objects").exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn what_is_the_callers_fault_has_an_exit_code_of_its_own() {
        let wrong = |error: Error| error.exit_code();
        let asks = template(json!({ "inputSchema": { "required": ["file"] } }));
        assert_eq!(wrong(input_of(&arguments(&["--input", "{"])).expect_err("no JSON")), 2);
        assert_eq!(wrong(check(&asks, None, false, false).expect_err("no file")), 2);
        assert_eq!(wrong(said("x-1", Answer::KeyReused).expect_err("another input")), 2);
        assert_eq!(
            wrong(
                check(&template(json!({ "inputSchema": { "type": 1 } })), None, false, false).expect_err("no schema")
            ),
            1
        );
        let short = template(json!({ "ttlAfterFinished": "5m" }));
        assert_eq!(wrong(check(&short, None, true, false).expect_err("a short window")), 1);
        assert!(check(&short, None, false, false).is_ok(), "without a key there is no window");
        for answer in [
            Answer::NameTaken,
            Answer::BeingDeleted,
            Answer::QuotaExceeded("q".into()),
            Answer::Refused("no".into()),
            Answer::NotFound("n".into()),
            Answer::Unknown("?".into()),
        ] {
            assert_eq!(wrong(said("x-1", answer).expect_err("not started")), 1);
        }
        assert_eq!(said("x-1", Answer::Started).expect("started"), "started");
        assert_eq!(said("x-1", Answer::StartedBefore).expect("started"), "started before");
    }

    #[test]
    fn no_two_keys_that_nobody_chose_are_the_same() {
        assert_ne!(random(), random());
    }
}
