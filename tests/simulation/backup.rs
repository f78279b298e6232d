//! A user who saves the task, and later writes it back as it was: its status then knows less than the cluster has.

use serde_json::json;

use crate::{
    objects::{Kind, is_going},
    troubles::TASK,
    world::World,
};

impl World {
    pub(crate) fn back_up(&mut self) {
        self.saved = self.store.get(Kind::Task, TASK).filter(|task| !is_going(task)).cloned();
    }

    /// Specification and status, as tools for backups do. The task may be another one by then.
    pub(crate) fn write_back(&mut self) {
        let task = self.store.get(Kind::Task, TASK).filter(|task| !is_going(task)).cloned();
        let (Some(saved), Some(mut task)) = (self.saved.take(), task) else { return };
        if self.is_peace || saved["status"].is_null() || task["status"].is_null() {
            return;
        }
        self.tell("user", "writes the task back as it was saved");
        self.judge_write_back(&task);
        self.excuse_saves(&saved);
        task["spec"] = saved["spec"].clone();
        task["status"] = saved["status"].clone();
        task["metadata"]["generation"] = json!(task["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        self.put(Kind::Task, TASK, task);
    }
}
