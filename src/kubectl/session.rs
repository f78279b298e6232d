//! A connection to the cluster, and the calls that several verbs make.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use serde::de::DeserializeOwned;

use super::{
    args::ClusterArgs,
    error::{Error, is_object_missing},
};
use crate::{api::task::LongTask, clock::Clock};

/// A person waits: a cluster that is not there should be told of soon.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The most names that a message lists.
const MOST_NAMES: usize = 8;

/// The cluster, the namespace and the time.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) clock: Clock,
}

impl Session {
    /// Connects as kubectl would.
    pub(super) async fn connect(args: ClusterArgs, clock: Clock) -> Result<Self, Error> {
        let ClusterArgs { namespace, context, kubeconfig } = args;
        let mut config = match (kubeconfig, context) {
            (None, None) => Config::infer().await.map_err(|error| Error::NoCluster(Box::new(error)))?,
            (file, context) => {
                from_kubeconfig(file, context).await.map_err(|error| Error::Kubeconfig(Box::new(error)))?
            }
        };
        config.connect_timeout = Some(CONNECT_LIMIT);
        // Not tried again and again: a person is told at once, and knows better.
        config.default_retry = false;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))?;
        Ok(Self { client, namespace, clock })
    }

    /// An API of objects in the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The task of that name.
    pub(super) async fn task(&self, name: &str) -> Result<LongTask, Error> {
        self.object(name).await
    }

    /// The object of that name.
    pub(super) async fn object<K>(&self, name: &str) -> Result<K, Error>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        match self.api::<K>().get(name).await {
            Ok(object) => Ok(object),
            Err(error) if is_object_missing(&error) => Err(self.no_such_object::<K>(name).await),
            Err(error) => Err(Error::of_call(format!("get {} {name}", K::kind(&())))(error)),
        }
    }

    async fn no_such_object<K>(&self, name: &str) -> Error
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        // Only to be helpful: who may not list is told no names.
        let objects = self.api::<K>().list_metadata(&ListParams::default()).await;
        let names: Vec<_> = objects.iter().flatten().map(ResourceExt::name_any).collect();
        let others = match names.as_slice() {
            [] => format!("kubectl get {} -A lists those of all namespaces", K::plural(&())),
            few if few.len() <= MOST_NAMES => format!("there are {}", few.join(", ")),
            many => format!("there are {} and {} more", many[..MOST_NAMES].join(", "), many.len() - MOST_NAMES),
        };
        let (kind, namespace) = (K::kind(&()).into_owned(), self.namespace.clone());
        Error::NoSuchObject { kind, name: name.to_owned(), namespace, others }
    }
}

async fn from_kubeconfig(file: Option<std::path::PathBuf>, context: Option<String>) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    match file {
        Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await,
        None => Config::from_kubeconfig(&options).await,
    }
}
