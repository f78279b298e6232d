//! What tells objects apart, and readings of the same object.

use kube::{
    ResourceExt,
    runtime::reflector::{Lookup, ObjectRef},
};

/// An object by namespace and name: whichever of that name, past or present.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ObjectKey {
    pub(crate) fn of(object: &impl ResourceExt) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }

    /// The reference by which a controller of that kind knows the object.
    pub(crate) fn to_ref<K: Lookup<DynamicType = ()>>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl<K: Lookup> From<&ObjectRef<K>> for ObjectKey {
    fn from(object: &ObjectRef<K>) -> Self {
        Self { namespace: object.namespace.clone().unwrap_or_default(), name: object.name.clone() }
    }
}

/// What tells a newer reading from an older one: resourceVersions of one resource are in order (KEP-5504).
pub(crate) fn version(object: &impl ResourceExt) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}
