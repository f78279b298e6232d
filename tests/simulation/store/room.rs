//! A task's place in the store.

use std::{collections::BTreeSet, sync::Arc};

use longtask::contract::agent::{MANIFEST, SaveName, StoreSettings};
use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    open::Opened,
    way::{Load, Way},
};

/// Whose saves they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// A task's place in a store.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    store: Arc<Way>,
    url: String,
    task: Task,
}

impl Task {
    pub(crate) fn of(settings: &StoreSettings) -> Self {
        let StoreSettings { namespace, name, uid, .. } = settings.clone();
        Self { namespace, name, uid }
    }
}

impl Room {
    pub(crate) fn new(opened: &Opened, url: &str, task: &Task) -> Self {
        let url = format!("{}/{}/{}/{}", url.trim_end_matches('/'), task.namespace, task.name, task.uid);
        Self { store: Arc::clone(&opened.store), url, task: task.clone() }
    }

    pub(crate) fn url_of_store<'a>(uri: &'a str, task: &Task) -> Option<&'a str> {
        let name = SaveName::in_uri(uri, &task.uid)?;
        uri.strip_suffix(&format!("/{}/{}/{}/{name}/{MANIFEST}", task.namespace, task.name, task.uid))
    }

    pub(crate) fn store(&self) -> &Arc<Way> {
        &self.store
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    pub(crate) fn uri(&self, save: &SaveName) -> String {
        format!("{}/{save}/{MANIFEST}", self.url)
    }

    pub(crate) fn manifest(&self, save: &SaveName) -> String {
        self.uri(save)
    }

    pub(crate) fn files(&self, save: &SaveName) -> String {
        format!("{}/{save}/files", self.url)
    }

    pub(crate) fn file(&self, save: &SaveName, path: &str) -> String {
        format!("{}/{path}", self.files(save))
    }

    pub(crate) async fn begin(&self, attempt: i64) -> Result<(), Failure> {
        self.store.put(&self.beginning(attempt), Vec::new(), Load::Little).await
    }

    pub(crate) async fn has_begun_after(&self, attempt: i64) -> Result<bool, Failure> {
        Ok(self.begun().await?.iter().any(|begun| *begun > attempt))
    }

    pub(crate) async fn forget_beginnings_before(&self, attempt: i64) -> Result<(), Failure> {
        for begun in self.begun().await?.into_iter().filter(|begun| *begun < attempt) {
            self.store.delete(&self.beginning(begun)).await?;
        }
        Ok(())
    }

    fn beginning(&self, attempt: i64) -> String {
        format!("{}/begun/{attempt}", self.url)
    }

    async fn begun(&self) -> Result<Vec<i64>, Failure> {
        let notes = self.store.list(&format!("{}/begun", self.url)).await?;
        Ok(notes.iter().filter_map(|note| note.rsplit('/').next()?.parse().ok()).collect())
    }

    /// Not all at once: directories of pods first, and then what is in each.
    pub(crate) async fn saves(&self) -> Result<BTreeSet<SaveName>, Failure> {
        let mut saves = BTreeSet::new();
        for of_pod in self.store.directories(&self.url).await? {
            let numbers = self.store.directories(&format!("{}/{of_pod}", self.url)).await?;
            saves.extend(numbers.iter().filter_map(|number| format!("{of_pod}/{number}").parse::<SaveName>().ok()));
        }
        Ok(saves)
    }

    /// Its manifest goes first.
    pub(crate) async fn remove(&self, save: &SaveName) -> Result<(), Failure> {
        self.store.delete(&self.manifest(save)).await?;
        for file in self.store.list(&format!("{}/{save}", self.url)).await? {
            self.store.delete(&file).await?;
        }
        Ok(())
    }
}
