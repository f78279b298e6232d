//! How tasks name their queue, and a queue its tasks.

/// How many characters of a task's UID a queue keeps: enough to tell two tasks of the same name apart.
const SHORT: usize = 8;

/// A queue by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl QueueKey {
    /// The queue that a task of this namespace means: `name`, or `namespace/name`.
    pub fn meant_by(written: &str, namespace: &str) -> Self {
        let (namespace, name) = written.split_once('/').unwrap_or((namespace, written));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// The part of a task's UID that a queue keeps.
pub fn short_uid(uid: &str) -> &str {
    uid.get(..SHORT).unwrap_or(uid)
}

/// A task as a queue names it.
pub fn task_name(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_means_a_queue_of_the_tasks_own_namespace() {
        let key = |written: &str| {
            let QueueKey { namespace, name } = QueueKey::meant_by(written, "orders");
            (namespace, name)
        };
        assert_eq!(key("partner-api"), ("orders".into(), "partner-api".into()));
        assert_eq!(key("shared/partner-api"), ("shared".into(), "partner-api".into()));
    }

    #[test]
    fn a_uid_is_cut_and_a_short_one_stays() {
        assert_eq!((short_uid("1f0c9a2e-77aa"), short_uid("u1")), ("1f0c9a2e", "u1"));
    }
}
