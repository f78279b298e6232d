//! Where a story happens: a namespace of its own, an operator of its own, and a record of all that goes on.

use std::{
    cell::{Cell, RefCell},
    env, fs,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Output},
    thread,
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Node, Pod, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    sync::{OnceCell, RwLock},
    time::{Instant, sleep, timeout},
};

use super::{
    admission::remove_obstacles_of_killed_runs,
    journal::Journal,
    operator::OperatorProcess,
    outage::has_local_cluster,
    record::{Record, Recorder, Sightings},
    relay::Relay,
    task::{Change, Task, definition},
};

const DEFINITIONS: [&str; 4] = [
    include_str!("../../../crds/longtask.dev_longtasks.yaml"),
    include_str!("../../../crds/longtask.dev_longtasktemplates.yaml"),
    include_str!("../../../crds/longtask.dev_longtasksets.yaml"),
    include_str!("../../../crds/longtask.dev_taskqueues.yaml"),
];
const TOUR: &str = "make cluster-up starts one and says how to point KUBECONFIG at it";
/// Limits are for a machine that does nothing else; one that also compiles is slower.
pub(super) const PATIENCE: u32 = 3;
/// How long the pods of a story that is over may take to go.
const CLOSING_LIMIT: Duration = Duration::from_secs(20);

/// Label of a story's namespace and obstacles: the run of the tests that they belong to.
pub(crate) const RUN_LABEL: &str = "longtask.dev/e2e";

/// Stories that disturb or measure the whole cluster have it for themselves.
static CLUSTER: RwLock<()> = RwLock::const_new(());
static DEFINITION_INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A place for one story.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) record: Record,
    recorder: Recorder,
    operator: RefCell<Option<OperatorProcess>>,
    /// How many operators were started so far.
    operators: Cell<u32>,
    /// What operators of this story are told beside the usual.
    arguments: RefCell<Vec<String>>,
    /// Where the operator takes reports, if it does.
    reports: Cell<Option<SocketAddr>>,
    folder: PathBuf,
}

/// The image of the operator, with the agent.
const OPERATOR_IMAGE: &str = "localhost/longtask:dev";
/// The Secret with the certificate authority of reports.
pub(super) const AUTHORITY: &str = "longtask-reports-ca";

/// Tells a story in a lab, beside others.
pub(crate) async fn story(tell: impl AsyncFnOnce(&Lab)) {
    let _beside_others = CLUSTER.read().await;
    tell_in_lab(tell).await;
}

/// Tells a story beside others, whose operator takes reports of programs that run.
pub(crate) async fn story_of_reports(tell: impl AsyncFnOnce(&Lab)) {
    let _beside_others = CLUSTER.read().await;
    tell_in(Lab::open_for_reports().await, tell).await;
}

/// Likewise, and the way from the agents to the operator can be cut.
pub(crate) async fn story_of_relayed_reports(tell: impl AsyncFnOnce(&Lab, &Relay)) {
    let _beside_others = CLUSTER.read().await;
    let lab = Lab::open().await;
    let (agents, operator) = (lab.free_address().await, lab.free_address().await);
    lab.keep_authority().await;
    lab.take_reports(operator, agents);
    let relay = Relay::start(agents, operator).await;
    tell_in(lab, async |lab| tell(lab, &relay).await).await;
}

/// Tells a story while no other one runs.
pub(crate) async fn story_alone(tell: impl AsyncFnOnce(&Lab)) {
    let _alone = CLUSTER.write().await;
    tell_in_lab(tell).await;
}

/// Tells a story, alone, that takes a part of the cluster out of service; its operator takes reports of programs that run.
/// On another cluster than the local one it is skipped, which is said.
pub(crate) async fn story_of_an_outage(tell: impl AsyncFnOnce(&Lab)) {
    let _alone = CLUSTER.write().await;
    if has_local_cluster() {
        tell_in(Lab::open_for_reports().await, tell).await;
    }
}

/// Tells a story, beside others, for which a setting of the node is changed. On another cluster than the local one it is
/// skipped, which is said.
pub(crate) async fn story_of_the_node(tell: impl AsyncFnOnce(&Lab)) {
    let _beside_others = CLUSTER.read().await;
    if has_local_cluster() {
        tell_in(Lab::open_for_reports().await, tell).await;
    }
}

async fn tell_in_lab(tell: impl AsyncFnOnce(&Lab)) {
    tell_in(Lab::open().await, tell).await;
}

async fn tell_in(lab: Lab, tell: impl AsyncFnOnce(&Lab)) {
    lab.start_operator();
    tell(&lab).await;
    lab.close().await;
}

impl Lab {
    async fn open() -> Self {
        let client = connect().await;
        DEFINITION_INSTALLED.get_or_init(|| install_definition(&client)).await;
        let namespace = namespace_name();
        let metadata = ObjectMeta {
            name: Some(namespace.clone()),
            labels: Some([(RUN_LABEL.to_owned(), this_run())].into()),
            ..ObjectMeta::default()
        };
        let object = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("create the story's namespace");
        let folder = journals_folder().join(&namespace);
        fs::create_dir_all(&folder).expect("create the folder of the journals");
        // Programs run as nonroot, and each creates its journal.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open the folder to programs");
        let (record, recorder) = Recorder::start(&client, &namespace).await;
        Self {
            client,
            namespace,
            record,
            recorder,
            operator: RefCell::default(),
            operators: Cell::new(0),
            arguments: RefCell::default(),
            reports: Cell::default(),
            folder,
        }
    }

    /// A lab whose operator takes reports of programs that run.
    async fn open_for_reports() -> Self {
        let lab = Self::open().await;
        let address = lab.free_address().await;
        lab.keep_authority().await;
        lab.take_reports(address, address);
        lab
    }

    /// Lets everything go, and fails if the record shows that an invariant did not hold.
    async fn close(self) {
        self.stop_all_pods().await;
        self.delete_namespace().await;
        self.check_invariants();
        fs::remove_dir_all(&self.folder).expect("remove the folder of the journals");
    }

    fn check_invariants(&self) {
        let mut violations = self.record.look(Sightings::violations);
        violations.extend(self.journals().flat_map(|journal| journal.overlaps()));
        assert!(violations.is_empty(), "invariants did not hold:\n{}", violations.join("\n"));
        self.recorder.assert_alive();
    }

    /// With the operator at work, or nobody would release the pods.
    async fn stop_all_pods(&self) {
        // Sets first: they would make their members again.
        let sets: Api<longtask::api::set::LongTaskSet> = self.api();
        sets.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("delete all sets");
        let tasks: Api<longtask::api::task::LongTask> = self.api();
        tasks.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("delete all tasks");
        let released = |seen: &Sightings| seen.held_pods().is_empty().then_some(());
        self.until("no pod is held by the operator's finalizer", CLOSING_LIMIT, released).await;
    }

    async fn delete_namespace(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let deleted = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
        assert!(deleted.is_ok() || is_not_found(deleted.as_ref().err()), "delete the namespace: {deleted:?}");
    }

    /// An API of objects in the story's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    // === the operator

    pub(crate) fn start_operator(&self) {
        let before = self.operator.replace(Some(self.new_operator(&["--leader-elect=off"])));
        assert!(before.is_none(), "the operator runs already");
    }

    /// Starts another operator process over the story's namespace.
    pub(crate) fn new_operator(&self, arguments: &[&str]) -> OperatorProcess {
        let number = self.operators.get() + 1;
        self.operators.set(number);
        let own = self.arguments.borrow();
        let all: Vec<_> = own.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        OperatorProcess::start(&self.namespace, self.log_of_operator(number), &all)
    }

    /// Has the operators of this story keep the certificate authority of reports in the story's namespace.
    pub(crate) async fn keep_authority(&self) {
        let metadata = ObjectMeta { name: Some(AUTHORITY.into()), ..ObjectMeta::default() };
        let authority = Secret { metadata, ..Secret::default() };
        self.api::<Secret>().create(&PostParams::default(), &authority).await.expect("make an empty Secret");
    }

    /// Has the operators of this story take reports at one address, and agents post them to another one.
    fn take_reports(&self, at: SocketAddr, posted_to: SocketAddr) {
        *self.arguments.borrow_mut() = self.taking_reports(at, &[posted_to]);
        self.reports.set(Some(at));
    }

    /// What an operator is told that takes reports at one address, while agents post them to these.
    pub(crate) fn taking_reports(&self, at: SocketAddr, posted_to: &[SocketAddr]) -> Vec<String> {
        let posted_to: Vec<_> = posted_to.iter().map(SocketAddr::to_string).collect();
        vec![
            format!("--agent-image={OPERATOR_IMAGE}"),
            format!("--reports-listen={at}"),
            format!("--reports-address={}", posted_to.join(",")),
            format!("--lease-namespace={}", self.namespace),
        ]
    }

    /// Where the operator takes reports.
    pub(super) fn reports_address(&self) -> SocketAddr {
        self.reports.get().expect("a story of reports")
    }

    /// An address of the node that pods can reach, and that is free now. An operator waits for it should somebody take it in
    /// between.
    pub(crate) async fn free_address(&self) -> SocketAddr {
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await.expect("list nodes");
        let addresses =
            nodes.iter().flat_map(|node| node.status.iter()).flat_map(|status| status.addresses.iter().flatten());
        let internal = addresses.filter(|address| address.type_ == "InternalIP").map(|address| &address.address).next();
        let node: IpAddr = internal.and_then(|address| address.parse().ok()).expect("a node with an address");
        let listener = TcpListener::bind((node, 0)).expect("the node is this machine");
        listener.local_addr().expect("it listens")
    }

    fn log_of_operator(&self, number: u32) -> PathBuf {
        self.folder.join(format!("operator-{number}.log"))
    }

    /// Sends SIGKILL to the operator, and returns when it is dead.
    pub(crate) async fn kill_operator(&self) {
        let operator = self.operator.take().expect("the operator runs");
        operator.kill().await;
    }

    /// Waits until the operator works.
    pub(crate) async fn operator_is_ready(&self) {
        let operator = self.operator.take().expect("the operator runs");
        operator.is_ready().await;
        self.operator.replace(Some(operator));
    }

    /// Write requests to the API server that the operator has sent, by verb and resource, events left out.
    pub(crate) async fn operators_writes(&self) -> Vec<(String, u64)> {
        let operator = self.operator.take().expect("the operator runs");
        let writes = operator.writes().await;
        self.operator.replace(Some(operator));
        writes
    }

    /// How often the operator has looked at a task.
    pub(crate) async fn operators_reconciles(&self) -> u64 {
        let operator = self.operator.take().expect("the operator runs");
        let reconciles = operator.reconciles().await;
        self.operator.replace(Some(operator));
        reconciles
    }

    /// How many reports the operator has answered in this way.
    pub(crate) async fn operators_answers(&self, result: &str) -> u64 {
        let operator = self.operator.take().expect("the operator runs");
        let answers = operator.answers(result).await;
        self.operator.replace(Some(operator));
        answers
    }

    /// What the operators of the story have logged.
    pub(crate) fn operators_log(&self) -> String {
        let logs = (1..=self.operators.get()).map(|number| fs::read_to_string(self.log_of_operator(number)));
        logs.map(|log| log.expect("the operator's log")).collect()
    }

    // === tasks

    /// Creates a task from a manifest.
    pub(crate) async fn submit(&self, manifest: Value) -> Task<'_> {
        Task::create(self, manifest).await
    }

    /// Writes a template whose tasks run the program with these arguments, in the place of the one of that name if there is one.
    pub(crate) async fn write_template(&self, name: &str, arguments: &[&str], changes: Value) {
        let template = json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": name },
            "spec": definition(arguments, self).and(changes),
        });
        let params = PatchParams::apply("longtask-e2e").force();
        self.templates().patch(name, &params, &Patch::Apply(&template)).await.expect("write the template");
    }

    pub(crate) async fn delete_template(&self, name: &str) {
        self.templates().delete(name, &DeleteParams::default()).await.expect("delete the template");
    }

    /// The templates of the story, with all their fields.
    pub(crate) fn templates(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<longtask::api::template::LongTaskTemplate>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// The tasks of the story, with all their fields.
    pub(crate) fn raw_tasks(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<longtask::api::task::LongTask>(&());
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Changes the definitions of the resources, for a story that has the cluster for itself.
    pub(crate) async fn change_definitions(&self, change: impl Fn(&mut Value)) {
        apply_definitions(&self.client, change).await;
    }

    /// Writes a manifest into a file, for kubectl.
    pub(crate) fn file(&self, name: &str, manifest: &Value) -> String {
        let path = self.folder.join(name);
        fs::write(&path, manifest.to_string()).expect("write a manifest");
        path.display().to_string()
    }

    /// Creates a pod that no task owns.
    pub(crate) async fn create_pod(&self, pod: Value) {
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        self.api().create(&PostParams::default(), &pod).await.expect("create somebody's pod");
    }

    /// Waits until the API server would take such a pod. Its admission reads priority classes from a cache that lags
    /// behind what was just created, and it tells nobody when it has caught up, so this asks often.
    pub(crate) async fn until_pods_are_admitted(&self, pod: &Value) {
        let pods: Api<Pod> = self.api();
        let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let limit = Duration::from_secs(15) * PATIENCE;
        let deadline = Instant::now() + limit;
        while let Err(refusal) = pods.create(&dry_run, &pod).await {
            assert!(Instant::now() < deadline, "the pod is not admitted within {limit:?}: {refusal}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The journal that the program of a task writes.
    pub(crate) fn journal(&self, task: &str) -> Journal {
        Journal::at(self.folder.join(format!("{task}.jsonl")))
    }

    fn journals(&self) -> impl Iterator<Item = Journal> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).map(Journal::at)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a file beside the journals, which programs can wait for.
    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.folder.join(name), "").expect("tell the programs");
    }

    // === waiting

    /// Waits until `question` has an answer; asks again at everything that happens to a task or pod of the story.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        question: impl FnMut(&Sightings) -> Option<T>,
    ) -> T {
        let limit = limit * PATIENCE;
        match timeout(limit, self.record.answer(question)).await {
            Ok(answer) => answer,
            Err(elapsed) => panic!("waited {limit:?} in vain until {what}: {elapsed}"),
        }
    }

    /// Runs kubectl in the story's namespace.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("kubectl");
        command.args(["--namespace", &self.namespace]).args(arguments).kill_on_drop(true);
        timeout(Duration::from_secs(90), command.output()).await.expect("kubectl ends").expect("kubectl is installed")
    }

    /// What kubectl prints; it must succeed.
    pub(crate) async fn kubectl_output(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments).await;
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- what was seen\n{}", self.record.look(Sightings::summary));
            for journal in self.journals() {
                eprintln!("--- {}\n{}", journal.path().display(), journal.summary());
            }
            for number in 1..=self.operators.get() {
                let log = fs::read_to_string(self.log_of_operator(number)).unwrap_or_default();
                eprintln!("--- operator-{number}.log\n{log}");
            }
            eprintln!("--- disk\n{}", free_space(&self.folder));
            eprintln!("--- kept: namespace {}, {}", self.namespace, self.folder.display());
        }
    }
}

/// Journals and logs on a full disk lack lines, and the program and the operator go on.
fn free_space(at: &Path) -> String {
    let df = process::Command::new("df").arg("-h").arg(at).output();
    df.map_or_else(|error| format!("df: {error}"), |df| String::from_utf8_lossy(&df.stdout).into_owned())
}

async fn connect() -> Client {
    assert!(env::var_os("KUBECONFIG").is_some(), "these tests need a cluster: set KUBECONFIG; {TOUR}");
    let mut config = Config::infer().await.unwrap_or_else(|error| panic!("KUBECONFIG cannot be used: {error}"));
    config.connect_timeout = Some(Duration::from_secs(5));
    let client = Client::try_from(config).expect("the kubeconfig makes a client");
    let version = timeout(Duration::from_secs(20), client.apiserver_version()).await;
    assert!(matches!(version, Ok(Ok(_))), "the cluster in KUBECONFIG does not answer ({version:?}); {TOUR}");
    client
}

async fn install_definition(client: &Client) {
    refuse_another_operator(client).await;
    remove_obstacles_of_killed_runs(client).await;
    apply_definitions(client, |_| {}).await;
}

async fn apply_definitions(client: &Client, change: impl Fn(&mut Value)) {
    for definition in DEFINITIONS {
        let mut definition: Value = serde_saphyr::from_str(definition).expect("the definition parses");
        change(&mut definition);
        let definition: CustomResourceDefinition = serde_json::from_value(definition).expect("a definition");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let name = definition.name_any();
        let params = PatchParams::apply("longtask-e2e").force();
        definitions.patch(&name, &params, &Patch::Apply(&definition)).await.expect("apply the definition");
        let established = await_condition(definitions, &name, conditions::is_crd_established());
        let ended = timeout(Duration::from_secs(30), established).await.expect("the definition is established in time");
        ended.expect("the definition is established");
    }
}

/// An operator over all namespaces would work on the tasks of these tests as well.
async fn refuse_another_operator(client: &Client) {
    let all: Api<Deployment> = Api::all(client.clone());
    let labelled = ListParams::default().labels("app.kubernetes.io/name=longtask");
    for deployment in all.list(&labelled).await.expect("list deployments") {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
        assert_eq!(
            replicas, 0,
            "an operator runs in this cluster: kubectl -n {namespace} scale deploy/{name} --replicas=0"
        );
    }
}

/// On the node's file system, where the programs' journals are written, and on this machine, where they are read: with
/// the local cluster that is the same; with kind, mount this folder into the node under the same path.
fn journals_folder() -> PathBuf {
    env::var_os("LONGTASK_E2E_FOLDER").map_or_else(|| env::temp_dir().join("longtask-e2e"), PathBuf::from)
}

/// The test's name as far as it fits, and something that tells two runs apart.
fn namespace_name() -> String {
    let thread = thread::current();
    let test = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or("story").replace('_', "-");
    let short: String = test.chars().take(44).collect();
    let suffix = RandomState::new().hash_one(process::id()) & 0xff_ffff;
    format!("e2e-{}-{suffix:06x}", short.trim_end_matches('-'))
}

/// Names this run of the tests: what an earlier one left behind is none of its business.
pub(crate) fn this_run() -> String {
    format!("run-{}-{}", machine(), process::id())
}

/// Whether this names a run that was on this machine and is not any more.
pub(super) fn has_run_ended(run: &str) -> bool {
    let process = run.strip_prefix(&format!("run-{}-", machine()));
    process.is_some_and(|process| !Path::new("/proc").join(process).exists())
}

/// The machine as it is since it was booted, in a few letters.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a Linux machine");
    boot.chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

pub(crate) fn is_not_found(error: Option<&kube::Error>) -> bool {
    matches!(error, Some(kube::Error::Api(status)) if status.code == 404)
}
