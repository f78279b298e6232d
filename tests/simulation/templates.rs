//! A task that names a LongTaskTemplate: what users do to the template and to the task's input, and the invariants T1 and T2.
//!
//! Drawn from dice of their own. Only seeds that ask for it have such a task.

use std::collections::BTreeMap;

use longtask::{api::labels, start::definition::DEFINITION};
use serde_json::{Value, json};

use crate::{
    connection::Call,
    dice::Dice,
    judge::status_of,
    kubelet::PodLife,
    objects::{Answer, Kind, is_going},
    troubles::TASK,
    world::{Event, World},
};

/// The name of the one template.
pub(crate) const TEMPLATE: &str = "x";

/// The longest pause between two troubles of this sort, in milliseconds.
const PAUSE: u64 = 30_000;

/// What a seed has of templates.
pub(crate) struct Templates {
    dice: Dice,
    /// Whether the task names a template.
    pub(crate) is_thin: bool,
    /// The definition that the template has, or had when it was deleted.
    definition: Value,
    generation: i64,
    /// Every definition that the template ever had.
    editions: Vec<Value>,
    /// How often each task was filled in, by its UID.
    filled: BTreeMap<String, u64>,
    /// The input that each run began with, by the UID of the task and the number of the run.
    inputs: BTreeMap<(String, i64), Value>,
    /// How many inputs the user has thought of.
    thought_of: u64,
}

impl Templates {
    pub(crate) fn none() -> Self {
        Self {
            dice: Dice::from_seed(0),
            is_thin: false,
            definition: Value::Null,
            generation: 0,
            editions: Vec::new(),
            filled: BTreeMap::new(),
            inputs: BTreeMap::new(),
            thought_of: 0,
        }
    }

    pub(crate) fn draw(seed: u64) -> Self {
        Self { dice: Dice::from_seed(seed ^ 0x00c0_ffee_1dea_5eed), is_thin: true, ..Self::none() }
    }
}

impl World {
    /// The spec of a task that names the template, which has this definition from now on.
    pub(crate) fn as_thin(&mut self, mut spec: Value) -> Value {
        let fields = spec.as_object_mut().expect("an object");
        let restart = fields.remove("restart");
        self.templates.definition = spec;
        // Now and then the template comes later.
        if self.templates.dice.happens(700) || self.is_peace {
            self.write_template();
        }
        self.templates.thought_of += 1;
        json!({ "templateRef": { "name": TEMPLATE }, "input": { "n": self.templates.thought_of }, "restart": restart })
    }

    fn write_template(&mut self) {
        self.templates.generation += 1;
        let definition = self.templates.definition.clone();
        self.templates.editions.push(definition.clone());
        let metadata = json!({ "name": TEMPLATE, "generation": self.templates.generation });
        if self.store.get(Kind::Template, TEMPLATE).is_some() {
            let mut template = self.store.get(Kind::Template, TEMPLATE).cloned().expect("it is there");
            template["spec"] = definition;
            template["metadata"]["generation"] = json!(self.templates.generation);
            self.put(Kind::Template, TEMPLATE, template);
        } else {
            self.create(Kind::Template, TEMPLATE, json!({ "metadata": metadata, "spec": definition }));
        }
        self.tell("user", format!("writes the template, generation {}", self.templates.generation));
    }

    pub(crate) fn trouble_the_templates(&mut self) {
        if self.is_peace {
            return;
        }
        let pause = self.templates.dice.between(500, PAUSE);
        self.happen_in(pause, Event::TemplateTrouble);
        match self.templates.dice.between(0, 7) {
            0..=2 => {
                let duration = format!("{}s", self.templates.dice.between(5, 60));
                self.templates.definition["segment"]["duration"] = json!(duration);
                self.write_template();
            }
            3 if self.store.get(Kind::Template, TEMPLATE).is_some() => {
                self.tell("user", "deletes the template");
                self.remove(Kind::Template, TEMPLATE);
            }
            4 if self.store.get(Kind::Template, TEMPLATE).is_none() => self.write_template(),
            5 | 6 => {
                // As the definition has it, which overlooks this.
                self.edit("renames a key of the input", |spec| {
                    let input = spec["input"].as_object().cloned().unwrap_or_default();
                    let renamed = |(key, value): (String, Value)| {
                        (if key == "n" { "m".to_owned() } else { "n".to_owned() }, value)
                    };
                    spec["input"] = Value::Object(input.into_iter().map(renamed).collect());
                });
            }
            _ => {}
        }
    }

    /// What a restart says beside its token: the template as it is now, another input.
    pub(crate) fn with_template(&mut self, restart: &mut Value) -> Option<Value> {
        if !self.templates.is_thin {
            return None;
        }
        if self.templates.dice.happens(500) {
            restart["renew"] = json!(true);
        }
        let task = self.store.get(Kind::Task, TASK)?;
        let has_ended = status_of(task).phase.is_some_and(longtask::api::task::Phase::is_terminal);
        if !has_ended || self.templates.dice.happens(500) {
            return None;
        }
        self.templates.thought_of += 1;
        Some(json!({ "n": self.templates.thought_of }))
    }

    /// The template is there from now on.
    pub(crate) fn mend_the_templates(&mut self) {
        if self.templates.is_thin && self.store.get(Kind::Template, TEMPLATE).is_none() {
            self.write_template();
        }
    }

    /// The user writes the input back with which the run began.
    pub(crate) fn write_input_back(&mut self) {
        let Some(task) = self.store.get(Kind::Task, TASK) else { return };
        let key = (task["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), status_of(task).run.number);
        if let Some(input) = self.templates.inputs.get(&key).cloned() {
            self.edit("writes the input back", |spec| spec["input"] = input);
        }
    }

    /// A task is written as a whole: with the definition of its template, T1.
    pub(crate) fn replace_task(&mut self, call: &Call) -> Answer {
        let Some(before) = self.store.get(Kind::Task, &call.name).cloned() else {
            return crate::objects::failure(404, "NotFound", "not found");
        };
        let asked = &call.body["metadata"]["resourceVersion"];
        if !asked.is_null() && *asked != before["metadata"]["resourceVersion"] {
            return crate::objects::failure(409, "Conflict", "the object has been modified");
        }
        let mut after = before.clone();
        after["spec"] = call.body["spec"].clone();
        after["metadata"]["annotations"] = call.body["metadata"]["annotations"].clone();
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.judge_fill_in(&before, &after);
        (200, self.put(Kind::Task, &call.name, after))
    }

    fn judge_fill_in(&mut self, before: &Value, after: &Value) {
        let uid = before["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let renewed = |task: &Value| task["metadata"]["annotations"][labels::RENEWED_FOR].clone();
        let is_renewal = renewed(after) != renewed(before) && renewed(after) == after["spec"]["restart"]["token"];
        if before["spec"]["template"].is_object() && !is_renewal {
            self.accuse("T1: a task is filled in that has its definition".to_owned());
        }
        if !before["spec"]["template"].is_object() {
            let times = self.templates.filled.entry(uid).or_default();
            *times += 1;
            if *times > 1 {
                self.accuse("T1: a task is filled in twice".to_owned());
            }
        }
        let own = |task: &Value| {
            let mut spec = task["spec"].as_object().cloned().unwrap_or_default();
            spec.retain(|field, _| !DEFINITION.contains(&field.as_str()));
            spec
        };
        if own(before) != own(after) {
            self.accuse("T1: a field is changed that is the task's own".to_owned());
        }
        let mut definition = after["spec"].as_object().cloned().unwrap_or_default();
        definition.retain(|field, _| DEFINITION.contains(&field.as_str()));
        if !self.templates.editions.contains(&Value::Object(definition)) {
            self.accuse("T1: a task gets a definition that the template never had".to_owned());
        }
    }

    /// A status is written: a run may begin with it.
    pub(crate) fn note_input(&mut self, task: &Value, status: &Value) {
        let uid = task["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let run = status["run"]["number"].as_i64().unwrap_or(0);
        self.templates.inputs.entry((uid, run)).or_insert_with(|| task["spec"]["input"].clone());
    }

    /// T2: a pod has the input that its run began with.
    pub(crate) fn judge_input(&mut self, life: &PodLife, pod: &Value) {
        if !self.templates.is_thin {
            return;
        }
        let run = pod["metadata"]["labels"][labels::RUN].as_str().and_then(|run| run.parse().ok()).unwrap_or(0);
        let Some(known) = self.templates.inputs.get(&(life.task_uid.clone(), run)) else { return };
        let variables = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
        let given = variables.filter(|one| one["name"] == "LONGTASK_INPUT").find_map(|one| one["value"].as_str());
        if given != Some(known.to_string().as_str()) {
            self.accuse(format!("T2: {} is given {given:?}, and run {run} began with {known}", life.name));
        }
    }

    /// Whether users can edit the definition of the task: not before it has one.
    pub(crate) fn has_definition(&self) -> bool {
        let task = self.store.get(Kind::Task, TASK).filter(|task| !is_going(task));
        !self.templates.is_thin || task.is_some_and(|task| task["spec"]["template"].is_object())
    }
}
