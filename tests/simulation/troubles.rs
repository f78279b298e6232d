//! What users do to a task, and what happens to its pods and to the operators.

use std::sync::atomic::Ordering;

use longtask::api::labels;
use serde_json::{Value, json};

use crate::{
    judge::status_of,
    kubelet::{NODE_GRACE, Node, disrupt},
    objects::{Kind, is_going, is_terminal},
    world::{Event, World},
};

/// The name of the one task.
pub(crate) const TASK: &str = "t";

impl World {
    /// The user applies the manifest, unless the task is there.
    pub(crate) fn apply_manifest(&mut self) {
        if self.store.get(Kind::Task, TASK).is_some() {
            if !self.is_peace || self.store.get(Kind::Task, TASK).is_some_and(is_going) {
                self.happen_in(2000, Event::Apply);
            }
            return;
        }
        let budget = |dice: &mut crate::dice::Dice| dice.one_of(&[-1_i64, 1, 3, 6]);
        let dice = &mut self.dice;
        let spec = json!({
            "segment": {
                "duration": format!("{}s", dice.between(5, 60)),
                "gracePeriod": format!("{}s", dice.one_of(&[2, 10, 30])),
                "startTimeout": format!("{}s", dice.one_of(&[20, 60])),
            },
            "retry": {
                "budgets": {
                    "failures": budget(dice), "stalls": budget(dice), "startFailures": budget(dice),
                    "interruptions": dice.one_of(&[-1_i64, -1, 20]),
                },
                "backoff": { "initial": "5s", "max": "60s", "jitter": dice.one_of(&["None", "Equal", "Full", "Additive"]) },
            },
            "podHistoryLimit": dice.between(1, 3),
            "failurePolicy": { "onExhausted": dice.one_of(&["Fail", "Hold"]) },
            "limits": if dice.happens(150) { json!({ "activeTime": "100s", "wallTime": "600s" }) } else { json!({}) },
            "restart": { "token": "0" },
            "template": { "spec": { "containers": [{ "name": "main", "image": "i" }] } },
        });
        let mut spec = spec;
        // A copy of it would outlast the peace.
        if self.policies.has_ttl() && !self.is_peace && !self.templates.is_thin {
            (spec["ttlAfterFinished"], spec["ttlAfterFailed"]) = (json!("10s"), json!("10s"));
        }
        self.mail.ask_for(&mut spec);
        if self.templates.is_thin {
            spec = self.as_thin(spec);
        }
        self.tell("user", format!("applies {spec}"));
        self.create(Kind::Task, TASK, json!({ "metadata": { "name": TASK }, "spec": spec }));
        // What is refused of the task before it has to be told by this one anew (seed 5478).
        self.disturb();
    }

    /// The user edits the spec; a change is a new generation.
    pub(crate) fn edit(&mut self, what: &str, change: impl FnOnce(&mut Value)) {
        let Some(mut task) = self.store.get(Kind::Task, TASK).cloned() else { return };
        let before = task["spec"].clone();
        change(&mut task["spec"]);
        if task["spec"] != before {
            self.tell("user", what);
            task["metadata"]["generation"] = json!(task["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            self.put(Kind::Task, TASK, task);
        }
    }

    /// Another run of a task that has ended, or the release of one that is held.
    fn restart(&mut self) {
        let token = self.tokens.to_string();
        self.tokens += 1;
        let from = self.dice.one_of(&["Latest", "Latest", "Beginning"]);
        let mut restart = json!({ "token": token, "from": from });
        let input = self.with_template(&mut restart);
        self.edit(&format!("restarts: {restart}"), |spec| {
            spec["restart"] = restart;
            spec["cancel"] = json!(false);
            if let Some(input) = input {
                spec["input"] = input;
            }
        });
    }

    pub(crate) fn make_trouble(&mut self) {
        if self.is_peace {
            return;
        }
        if self.now() >= self.weather.peace_at {
            return self.make_peace();
        }
        let pause = self.dice.between(200, self.weather.pause);
        self.happen_in(pause, Event::Trouble);
        let newest = self.store.all(Kind::Pod).filter(|pod| !is_terminal(pod)).last().cloned();
        match self.dice.between(0, 29) {
            0..=4 => self.edit_something(),
            5 => self.delete_the_task(),
            6..=9 => self.trouble_an_operator(),
            10 => {
                let pods: Vec<_> = self.store.all(Kind::Pod).map(|pod| pod["metadata"]["name"].clone()).collect();
                let name = pods.first().and_then(Value::as_str).unwrap_or_default().to_owned();
                self.tell("user", format!("deletes the oldest pod {name}"));
                self.delete_pod(&name, &Value::Null);
            }
            _ => {
                if let Some(pod) = newest {
                    self.trouble_a_pod(&pod);
                }
            }
        }
    }

    /// As clean-ups of finished pods do, whether or not anybody has looked at them.
    pub(crate) fn clean_up(&mut self) {
        let Some(pause) = self.policies.clean_up.filter(|_| !self.is_peace) else { return };
        self.happen_in(pause, Event::CleanUp);
        let ended = self.store.all(Kind::Pod).filter(|pod| is_terminal(pod) && !is_going(pod));
        let ended: Vec<_> = ended.map(|pod| pod["metadata"]["name"].clone()).collect();
        for name in ended.iter().filter_map(Value::as_str) {
            self.tell("cleaner", format!("deletes {name}, which has ended"));
            self.delete_pod(name, &Value::Null);
        }
    }

    fn edit_something(&mut self) {
        let task = self.store.get(Kind::Task, TASK).cloned().unwrap_or_default();
        match self.dice.between(0, 11) {
            0..=4 => {
                let suspends = task["spec"]["suspend"] != true;
                self.edit(if suspends { "suspends" } else { "resumes" }, |spec| spec["suspend"] = json!(suspends));
            }
            5 if task["spec"]["cancel"] != true => self.edit("cancels", |spec| spec["cancel"] = json!(true)),
            6..=8 if !self.has_definition() => {}
            6 | 7 => {
                let duration = format!("{}s", self.dice.between(5, 60));
                self.edit(&format!("sets duration {duration}"), |spec| spec["segment"]["duration"] = json!(duration));
            }
            8 => self.edit("edits the template", |spec| {
                spec["template"]["metadata"]["labels"]["edited"] = json!("yes");
            }),
            _ => self.restart(),
        }
    }

    fn delete_the_task(&mut self) {
        let policy = self.dice.one_of(&["Background", "Background", "Foreground", "Orphan"]);
        self.tell("user", format!("deletes the task, {policy}"));
        self.delete_task(TASK, &json!({ "propagationPolicy": policy }));
        let pause = self.dice.between(0, 10_000);
        self.happen_in(pause, Event::Apply);
    }

    fn trouble_an_operator(&mut self) {
        let slot = usize::try_from(self.dice.between(0, self.slots.len() as u64 - 1)).expect("small");
        match self.dice.between(0, 5) {
            0 | 1 => self.crash(slot, "for no reason"),
            2 => {
                let until = self.now() + self.dice.between(500, 30_000);
                self.tell("network", format!("op-{slot} is cut off until {until}"));
                self.slots[slot].cut_off_until = until;
                self.disturb_until(until);
            }
            3 if self.weather.has_wrong_clocks => {
                let ahead = i64::try_from(self.dice.between(0, 60_000)).expect("small") - 30_000;
                self.tell("clock", format!("op-{slot} is ahead by {ahead} ms"));
                self.slots[slot].ahead.store(ahead, Ordering::Relaxed);
                self.disturb();
            }
            _ => {
                self.tell("apiserver", "forgets its history");
                self.store.oldest = self.store.version;
                self.disturb();
                self.store.changed.notify_waiters();
            }
        }
    }

    fn trouble_a_pod(&mut self, pod: &Value) {
        let text = |field: &str| pod["metadata"][field].as_str().expect("text").to_owned();
        let (name, uid) = (text("name"), text("uid"));
        let has_node = pod["spec"]["nodeName"].is_string();
        let node = self.lives.get(&uid).map_or(Node::Works, |life| life.node);
        match self.dice.between(0, 9) {
            0 | 1 => {
                // No longer than the grace of the pod itself: see README.md.
                let grace = self.dice.one_of(&[None, Some(0), Some(1)]);
                self.tell("user", format!("deletes {name} with grace {grace:?}"));
                self.delete_pod(&name, &grace.map_or(Value::Null, |grace| json!({ "gracePeriodSeconds": grace })));
            }
            2 | 3 if has_node => {
                let reason = self.dice.one_of(&["EvictionByEvictionAPI", "PreemptionByScheduler"]);
                self.tell("cluster", format!("{reason} of {name}"));
                let (mut pod, now) = (pod.clone(), json!(self.stamp()));
                disrupt(&mut pod["status"], reason, &now);
                self.put(Kind::Pod, &name, pod);
                self.delete_pod(&name, &Value::Null);
            }
            4 if has_node => {
                self.tell("kubelet", format!("evicts {name}"));
                self.evict_by_kubelet(&uid);
            }
            5 | 6 if has_node && node == Node::Works => {
                let (node, back) = (self.dice.one_of(&[Node::CutOff, Node::Down]), self.dice.between(2000, 90_000));
                self.tell("node", format!("of {name} is {node:?} for {back} ms"));
                let life = self.lives.get_mut(&uid).expect("a pod");
                (life.node, life.was_away) = (node, true);
                self.happen_in(NODE_GRACE, Event::NodeSilent(uid.clone()));
                self.happen_in(back, Event::KubeletBack(uid));
            }
            7 if has_node && node == Node::Works => {
                self.tell("node", format!("of {name} is lost"));
                let life = self.lives.get_mut(&uid).expect("a pod");
                (life.node, life.was_away) = (Node::Lost, true);
                self.happen_in(NODE_GRACE, Event::NodeSilent(uid.clone()));
                let noticed = self.dice.between(20_000, 120_000);
                self.happen_in(noticed, Event::PodGc(uid));
            }
            _ => {}
        }
    }

    /// From now on nothing goes wrong any more, and the user wants the task to end.
    fn make_peace(&mut self) {
        self.tell("world", "peace");
        self.is_peace = true;
        self.mend_the_mail();
        self.mend_the_store();
        self.mend_the_templates();
        let uids: Vec<_> = self.lives.keys().cloned().collect();
        for uid in uids {
            self.happen_in(0, Event::KubeletBack(uid));
        }
        for slot in &mut self.slots {
            slot.cut_off_until = 0;
            slot.ahead.store(0, Ordering::Relaxed);
        }
        self.apply_manifest();
        let is_thin = self.templates.is_thin;
        self.edit("resumes, for good", |spec| {
            spec["suspend"] = json!(false);
            if is_thin && !spec["template"].is_object() {
                return;
            }
            for ttl in ["ttlAfterFinished", "ttlAfterFailed"] {
                spec.as_object_mut().expect("an object").remove(ttl);
            }
        });
    }

    /// Whether the task has ended, and no restart is pending.
    pub(crate) fn is_over(&self) -> bool {
        let task = self.store.get(Kind::Task, TASK).filter(|task| !is_going(task));
        task.is_some_and(|task| {
            let status = status_of(task);
            let is_terminal = status.phase.is_some_and(longtask::api::task::Phase::is_terminal);
            is_terminal && task["spec"]["restart"]["token"].as_str() == status.run.restart_token.as_deref()
        })
    }

    /// Does what a task that cannot go on by itself asks for.
    pub(crate) fn help(&mut self) {
        let Some(task) = self.store.get(Kind::Task, TASK) else { return };
        match task["status"]["reason"].as_str() {
            Some("Held") => self.restart(),
            Some("InputChanged") => self.write_input_back(),
            Some("NameTaken") => {
                let task = task["metadata"]["uid"].clone();
                let others =
                    self.store.all(Kind::Pod).filter(|pod| pod["metadata"]["labels"][labels::TASK_UID] != task);
                let others: Vec<_> = others.map(|pod| pod["metadata"]["name"].clone()).collect();
                self.tell("user", "deletes the pods that an earlier task has left");
                for name in others {
                    self.delete_pod(name.as_str().expect("a name"), &Value::Null);
                }
            }
            _ => {}
        }
    }
}
