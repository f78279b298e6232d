//! The control plane that is measured on: the local cluster's, without its kubelet, with kwok in its place.
//!
//! Controller manager and scheduler are started anew with the limits of a large cluster. When the rig is dropped, they
//! and kwok end, and the local cluster starts again without any objects: ten thousand pods are gone in seconds instead of
//! minutes, and the next run finds an empty store and a young API server, as this one did.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequest,
        core::v1::{Namespace, Node, Secret, ServiceAccount},
        rbac::v1::ClusterRoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};

use crate::{argo, figures::Process, operator::LISTEN};

/// The local cluster's own places, as in `tests/cluster`.
const STATE: &str = "/var/lib/longtask-cluster";
const OBJECTS: &str = "/var/lib/longtask-cluster/etcd";
const RUN: &str = "/run/longtask-cluster";
const STAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/cluster/stages.yaml");
const CLUSTER_TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/cluster");
/// How many nodes kwok plays.
const NODES: usize = 50;
/// Selects them.
const NODES_OF_KWOK: &str = "bench.longtask.dev/node=kwok";
/// The namespace that the operator's account is in.
pub(crate) const OPERATOR_NAMESPACE: &str = "bench-operator";

/// The image with the agent: the operator's, which `make bench` puts on the node.
const AGENT_IMAGE: &str = "localhost/longtask:dev";
/// Where reports are taken.
const REPORTS_PORT: u16 = 18443;

/// The limits that every client of the control plane has, ours and the peers' alike.
const LIMITS: [&str; 2] = ["--kube-api-qps=1000", "--kube-api-burst=1000"];
/// For the Job controller, as a large cluster would set it.
const WORKERS: &str = "--concurrent-job-syncs=50";

/// The local cluster of the tests.
pub(crate) struct Local {
    pub(crate) client: Client,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

/// The same, taken apart.
pub(crate) struct Rig {
    pub(crate) client: Client,
    local: Local,
    manager: Vec<String>,
    /// Ended, in this order, when the rig goes.
    running: Vec<Running>,
}

/// A program that ends with its owner.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        variables: &[(&str, &str)],
        log: &Path,
        kubeconfig: &Path,
    ) -> Result<Self> {
        let log = fs::File::create(log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", kubeconfig).envs(variables.iter().copied()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(Self { child: command.spawn().with_context(|| format!("start {}", program.display()))? })
    }

    pub(crate) fn process(&self) -> Process {
        Process { id: self.child.id() }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Local {
    /// The local cluster, up, with the definition of this build.
    pub(crate) async fn up() -> Result<Self> {
        let kubeconfig = PathBuf::from(env::var("KUBECONFIG").context("KUBECONFIG")?);
        let config = Kubeconfig::read_from(&kubeconfig)?;
        let is_local = config.current_context.as_deref() == Some("longtask-cluster");
        ensure!(is_local, "benchmarks run on the local cluster only, whose objects they remove (make cluster-up)");
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench"));
        fs::create_dir_all(&folder)?;
        cluster_tool(&["up"])?;
        let local = Self { client: Client::try_default().await?, folder, kubeconfig };
        local.install_definition().await?;
        Ok(local)
    }

    /// The operator, with the rights of whoever runs the benchmark.
    pub(crate) fn start_operator(&self) -> Result<Running> {
        self.start_operator_as(&self.kubeconfig, &[])
    }

    /// The same, which takes reports of programs that run.
    pub(crate) async fn start_operator_with_reports(&self) -> Result<Running> {
        self.start_operator_as(&self.kubeconfig, &self.taking_reports().await?)
    }

    /// The controller of Argo Workflows, with the same rights.
    pub(crate) fn start_argo(&self) -> Result<Running> {
        argo::start(&self.kubeconfig, &self.log("argo"))
    }

    fn start_operator_as(&self, kubeconfig: &Path, more: &[String]) -> Result<Running> {
        let line = ["run", "--listen", LISTEN, "--log=warn"].map(str::to_owned);
        let program = Path::new(env!("CARGO_BIN_EXE_longtask"));
        Running::start(program, &[&line, more].concat(), &[], &self.log("longtask"), kubeconfig)
    }

    /// What an operator is told that takes reports, at an address of the node.
    async fn taking_reports(&self) -> Result<Vec<String>> {
        let node = Api::<Node>::all(self.client.clone()).get("local").await?;
        let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
        let node = addresses.into_iter().find(|address| address.type_ == "InternalIP").context("it has an address")?;
        let address = format!("{}:{REPORTS_PORT}", node.address);
        Ok(vec![
            format!("--agent-image={AGENT_IMAGE}"),
            format!("--reports-listen={address}"),
            format!("--reports-address={address}"),
        ])
    }

    fn start(&self, name: &str, line: &[String]) -> Result<Running> {
        Running::start(Path::new(&line[0]), &line[1..], &[], &self.log(name), &self.kubeconfig)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    async fn install_definition(&self) -> Result<()> {
        let templates = include_str!("../../crds/longtask.dev_longtasktemplates.yaml");
        define(&self.client, "longtasktemplates.longtask.dev", templates).await?;
        let sets = include_str!("../../crds/longtask.dev_longtasksets.yaml");
        define(&self.client, "longtasksets.longtask.dev", sets).await?;
        let queues = include_str!("../../crds/longtask.dev_taskqueues.yaml");
        define(&self.client, "taskqueues.longtask.dev", queues).await?;
        let text = include_str!("../../crds/longtask.dev_longtasks.yaml");
        define(&self.client, "longtasks.longtask.dev", text).await
    }
}

impl Rig {
    /// Takes the local cluster over.
    pub(crate) async fn set_up() -> Result<Self> {
        let local = Local::up().await?;
        let (manager, scheduler) = (command_line("kube-controller-manager")?, command_line("kube-scheduler")?);
        for component in ["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"] {
            cluster_tool(&["stop", component])?;
        }
        let mut rig = Self { client: local.client.clone(), local, manager, running: Vec::new() };
        rig.leave_the_real_node_out().await?;
        let scheduler = with(&scheduler, &LIMITS);
        rig.run("kube-scheduler", &scheduler)?;
        rig.start_kwok().await?;
        rig.make_operators_account().await?;
        Ok(rig)
    }

    /// kube-controller-manager, with the Job controller at its best; `false` leaves that one out.
    pub(crate) fn start_controller_manager(&self, with_jobs: bool) -> Result<Running> {
        let mut line = with(&self.manager, &LIMITS);
        line.push(WORKERS.into());
        if !with_jobs {
            line.push("--controllers=*,-job-controller".into());
        }
        self.local.start("kube-controller-manager", &line)
    }

    /// The operator, under a service account.
    pub(crate) fn start_operator(&self) -> Result<Running> {
        self.start_operator_with(&[])
    }

    /// The same, which takes reports of programs that run. Each has the certificate authority of the one before.
    pub(crate) async fn start_operator_with_reports(&self, live_writes: u32) -> Result<Running> {
        let authority: Secret = serde_json::from_value(json!({ "metadata": { "name": "longtask-reports-ca" } }))?;
        create_unless_there(Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE), &authority).await?;
        let mut more = self.local.taking_reports().await?;
        more.extend([format!("--lease-namespace={OPERATOR_NAMESPACE}"), format!("--live-writes={live_writes}")]);
        self.start_operator_with(&more)
    }

    fn start_operator_with(&self, more: &[String]) -> Result<Running> {
        let mut line = vec!["--concurrency=50".to_owned(), LIMITS[0].to_owned()];
        line.extend(more.iter().cloned());
        if let Ok(tried) = env::var("BENCH_OPERATOR_ARGUMENTS") {
            line.extend(tried.split_whitespace().map(str::to_owned));
        }
        self.local.start_operator_as(&self.operators_kubeconfig(), &line)
    }

    /// The controller of Argo Workflows, under the same account.
    pub(crate) fn start_argo(&self) -> Result<Running> {
        argo::start(&self.operators_kubeconfig(), &self.local.log("argo"))
    }

    /// The time that API server and etcd have used of all processors together.
    pub(crate) fn cpu_of_control_plane() -> Result<Duration> {
        Ok(Self::component("kube-apiserver")?.cpu()? + Self::component("etcd")?.cpu()?)
    }

    fn component(name: &str) -> Result<Process> {
        let text = fs::read_to_string(format!("{RUN}/{name}.pid"))?;
        let id = text.split_whitespace().next().context("a pid file has a pid")?;
        Ok(Process { id: id.parse()? })
    }

    fn run(&mut self, name: &str, line: &[String]) -> Result<()> {
        let running = self.local.start(name, line)?;
        self.running.push(running);
        Ok(())
    }

    async fn leave_the_real_node_out(&self) -> Result<()> {
        let cordon = Patch::Merge(json!({ "spec": { "unschedulable": true } }));
        Api::<Node>::all(self.client.clone()).patch("local", &PatchParams::default(), &cordon).await?;
        Ok(())
    }

    async fn start_kwok(&mut self) -> Result<()> {
        // What a run that was cut off has left: the leases of its kwok go with the nodes.
        kubectl(&["delete", "nodes", "-l", NODES_OF_KWOK])?;
        let kwok = kwok()?;
        let selector = format!("--manage-nodes-with-label-selector={NODES_OF_KWOK}");
        let line = [kwok.as_str(), "--manage-all-nodes=false", &selector, "--config", STAGES];
        self.run("kwok", &line.map(str::to_owned))?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        for number in 0..NODES {
            let name = format!("kwok-{number}");
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": name, "labels": { "bench.longtask.dev/node": "kwok" } },
            });
            nodes.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(node)).await?;
        }
        let ready = ListParams::default().labels(NODES_OF_KWOK);
        until("all nodes are ready", Duration::from_mins(2), async || {
            let is_ready = |node: &Node| {
                let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
                conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
            };
            Ok(nodes.list(&ready).await?.iter().filter(|node| is_ready(node)).count() == NODES)
        })
        .await?;
        Ok(())
    }

    /// As an administrator the operator would be exempt from the API server's flow control, which the Job controller
    /// is not.
    async fn make_operators_account(&self) -> Result<()> {
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": OPERATOR_NAMESPACE } }))?;
        create_unless_there(Api::all(self.client.clone()), &namespace).await?;
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "operator" } }))?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        create_unless_there(accounts.clone(), &account).await?;
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": { "name": OPERATOR_NAMESPACE },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": OPERATOR_NAMESPACE }],
        }))?;
        create_unless_there(Api::all(self.client.clone()), &binding).await?;
        let request: TokenRequest =
            serde_json::from_value(json!({ "spec": { "audiences": [], "expirationSeconds": 6 * 3600 } }))?;
        let answer = accounts.create_token_request("operator", &PostParams::default(), &request).await?;
        let token = answer.status.context("a token")?.token;
        let mut config = Kubeconfig::read_from(&self.local.kubeconfig)?;
        for user in &mut config.auth_infos {
            user.auth_info = Some(serde_json::from_value(json!({ "token": token }))?);
        }
        fs::write(self.operators_kubeconfig(), serde_json::to_vec(&config)?)?;
        Ok(())
    }

    fn operators_kubeconfig(&self) -> PathBuf {
        self.local.folder.join("operator.kubeconfig")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.running.clear();
        let undone = cluster_tool(&["down"])
            .and_then(|()| fs::remove_dir_all(OBJECTS).with_context(|| OBJECTS.to_owned()))
            .and_then(|()| cluster_tool(&["up"]));
        if let Err(failure) = undone {
            eprintln!("could not put the cluster back in order: {failure:#}; `make cluster-purge cluster-up` does");
        }
    }
}

/// Waits until it is so, for as long as that may take.
pub(crate) async fn until(what: &str, limit: Duration, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so().await? {
        ensure!(began.elapsed() < limit, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Deletes a namespace and all that is in it, and waits until it is gone.
pub(crate) async fn delete_namespace(client: &Client, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    if api.get_opt(name).await?.is_some() {
        api.delete(name, &DeleteParams::default()).await?;
        until("the namespace is gone", Duration::from_mins(20), async || Ok(api.get_opt(name).await?.is_none()))
            .await?;
    }
    Ok(())
}

/// Makes a definition what its manifest says, and waits until it is served.
pub(crate) async fn define(client: &Client, name: &str, manifest: &str) -> Result<()> {
    let definition: Value = serde_saphyr::from_str(manifest)?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(definition)).await?;
    await_condition(api, name, conditions::is_crd_established()).await?;
    Ok(())
}

pub(crate) async fn create_unless_there<K>(api: Api<K>, object: &K) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    match api.create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(|_| ()).map_err(Into::into),
    }
}

/// `make bench` builds it.
fn kwok() -> Result<String> {
    env::var("KWOK").context("KWOK names the program that plays the kubelet; `make bench` sets it")
}

/// How a component of the local cluster was started.
fn command_line(component: &str) -> Result<Vec<String>> {
    let line = fs::read_to_string(format!("/proc/{}/cmdline", Rig::component(component)?.id))?;
    let line: Vec<_> = line.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    ensure!(line.len() > 2 && Path::new(STATE).is_dir(), "{component} does not run");
    Ok(line)
}

fn with(line: &[String], more: &[&str]) -> Vec<String> {
    line.iter().cloned().chain(more.iter().map(|&word| word.to_owned())).collect()
}

fn cluster_tool(arguments: &[&str]) -> Result<()> {
    output(Command::new(CLUSTER_TOOL).args(arguments)).map(|_| ())
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    output(Command::new("kubectl").args(arguments))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
