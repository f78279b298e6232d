//! Running helm and kubectl, and waiting.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The namespace of the release, as the README has it.
pub(crate) const SYSTEM: &str = "longtask-system";
/// The image of `tests/e2e/program`.
const PROGRAM: &str = "localhost/longtask-e2e-program:dev";

/// The release's namespace, and the image of `make images`.
const COMMON: &[&str] = &[
    "--namespace",
    SYSTEM,
    "--wait",
    "--timeout=2m",
    "--set=image.repository=localhost/longtask",
    "--set=image.tag=dev",
];

/// The cluster has room for one operator.
static CLUSTER: Mutex<()> = Mutex::new(());

pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.unwrap_or_else(|error| panic!("run {program}: {error}. `make tools` brings it"))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn helm(arguments: &[&str]) -> String {
    succeed("helm", arguments)
}

pub(crate) fn kubectl(arguments: &[&str]) -> String {
    succeed("kubectl", arguments)
}

/// An object, or a list, as JSON.
pub(crate) fn get(arguments: &[&str]) -> Value {
    let text = kubectl(&[&["get", "--output=json"], arguments].concat());
    serde_json::from_str(&text).expect("kubectl prints JSON")
}

pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// Applies a manifest; the answer is kubectl's.
pub(crate) fn apply(manifest: &Value, more: &[&str]) -> Output {
    let file = scratch("manifest.json");
    fs::write(&file, manifest.to_string()).expect("write a manifest");
    run("kubectl", &[&["apply", "--filename", file.to_str().expect("UTF-8")], more].concat())
}

/// A file of this run.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("longtask-install-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("make a folder");
    folder.join(name)
}

/// Asks until there is an answer. For what kubectl cannot wait for.
pub(crate) fn eventually<T>(what: &str, within: Duration, mut question: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(began.elapsed() < within, "waited {within:?} in vain until {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// The chart, installed in a cluster without another operator; uninstalled when dropped.
pub(crate) struct Release {
    /// Its name, and that of its objects.
    name: &'static str,
    _alone: MutexGuard<'static, ()>,
}

impl Release {
    /// Installs a chart with these settings beside those that the images need.
    pub(crate) fn install(chart: &str, settings: &[&str]) -> Self {
        let alone = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        let others = get(&["deployments", "--all-namespaces", "--selector=app.kubernetes.io/name=longtask"]);
        assert_eq!(items(&others).count(), 0, "an operator is installed in this cluster already: helm uninstall it");
        // The definition may be there already, from other tests.
        let release = Self { name: "longtask", _alone: alone };
        let install = ["install", release.name, chart, "--create-namespace", "--take-ownership"];
        helm(&[&install, COMMON, &set(settings)].concat());
        release
    }

    /// After an uninstall: the definition that was kept is the release's own.
    pub(crate) fn install_again(&self) {
        helm(&[&["install", self.name, "charts/longtask"], COMMON].concat());
    }

    pub(crate) fn upgrade(&self, chart: &str, settings: &[&str]) {
        helm(&[&["upgrade", self.name, chart], COMMON, &set(settings)].concat());
    }

    /// Back to the revision before.
    pub(crate) fn roll_back(&self) {
        helm(&["rollback", self.name, "--namespace", SYSTEM, "--wait", "--timeout=2m"]);
    }

    /// The names of the operator's pods that are not on their way out.
    pub(crate) fn pods(&self) -> Vec<String> {
        let instance = format!("--selector=app.kubernetes.io/instance={}", self.name);
        let pods = get(&["pods", "--namespace", SYSTEM, &instance]);
        let staying = items(&pods).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        staying.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// The pod that holds the lease.
    pub(crate) fn leader(&self) -> String {
        let lease = get(&["lease", self.name, "--namespace", SYSTEM]);
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holder.split('_').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs =
                ["logs", "--namespace", SYSTEM, "--selector=app.kubernetes.io/name=longtask", "--tail=40", "--prefix"];
            eprintln!("{}", String::from_utf8_lossy(&run("kubectl", &logs).stdout));
        }
        run("helm", &["uninstall", self.name, "--namespace", SYSTEM, "--ignore-not-found", "--wait"]);
    }
}

fn set<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|setting| ["--set", *setting]).collect()
}

/// A namespace for tasks; deleted when dropped, before the operator is, which has to let its pods go.
pub(crate) struct Namespace<'a> {
    pub(crate) name: String,
    _release: &'a Release,
    watch: Child,
    seen: PathBuf,
}

impl<'a> Namespace<'a> {
    pub(crate) fn create(release: &'a Release, name: &str) -> Self {
        // A run that was cut off has left it behind, with tasks whose pods the operator lets go.
        kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=120s"]);
        kubectl(&["create", "namespace", name]);
        let seen = scratch(&format!("{name}.pods"));
        // Each pod that ever is: one that was made a second time under the same name has another UID.
        let columns = "--output=custom-columns=NAME:.metadata.name,UID:.metadata.uid";
        let watch = Command::new("kubectl")
            .args(["get", "pods", "--namespace", name, "--watch", "--no-headers", columns])
            .stdout(File::create(&seen).expect("make a file"))
            .stderr(Stdio::null())
            .spawn()
            .expect("start kubectl");
        Self { name: name.to_owned(), _release: release, watch, seen }
    }

    /// Creates a task that works through so many steps of a second, five in a segment.
    pub(crate) fn start_chain(&self, name: &str, steps: u32) {
        let output = apply(&chain(name, steps), &["--namespace", &self.name]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Waits until the task's attempt of that number runs.
    pub(crate) fn until_attempt(&self, task: &str, number: i64) {
        eventually(&format!("attempt {number} of {task} runs"), Duration::from_secs(90), || {
            let attempt = &get(&["longtask", task, "--namespace", &self.name])["status"]["currentAttempt"];
            (attempt["number"].as_i64()? >= number && attempt["state"] == "Running").then_some(())
        });
    }

    /// The number of the task's latest attempt.
    pub(crate) fn attempt(&self, task: &str) -> i64 {
        let task = get(&["longtask", task, "--namespace", &self.name]);
        task["status"]["currentAttempt"]["number"].as_i64().unwrap_or(0)
    }

    /// Waits until the task is done, and checks that each of its attempts was made once, ran alone and was counted.
    pub(crate) fn succeeds(&self, task: &str) {
        kubectl(&["wait", "longtask", task, "--namespace", &self.name, "--for=condition=Complete", "--timeout=120s"]);
        let status = get(&["longtask", task, "--namespace", &self.name])["status"].clone();
        let selector = format!("--selector=longtask.dev/task={task}");
        let pods = get(&["pods", "--namespace", &self.name, &selector]);
        let mut runs: Vec<_> = items(&pods).map(run_of).collect();
        runs.sort();
        let numbers: Vec<_> = runs.iter().map(|(number, ..)| *number).collect();
        let last = status["currentAttempt"]["number"].as_i64().expect("a number");
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "every attempt has its pod");
        assert_eq!(status["totals"]["attempts"], last, "every attempt was counted once: {status:#}");
        assert_eq!(status["totals"]["failures"], 0, "{status:#}");
        for pair in runs.windows(2) {
            let ((earlier, _, ended), (later, started, _)) = (&pair[0], &pair[1]);
            assert!(ended <= started, "attempts {earlier} and {later} ran at the same time: {ended} > {started}");
        }
        let seen = fs::read_to_string(&self.seen).expect("what the watch has seen");
        let pods = seen.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let made: BTreeSet<_> =
            pods.filter(|(pod, _)| is_pod_of(pod, task)).map(|(pod, uid)| (pod, uid.trim())).collect();
        assert_eq!(made.len(), numbers.len(), "each pod was made once: {made:?}");
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // An error would mean that it has ended already.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        if thread::panicking() {
            let tasks = run("kubectl", &["get", "longtasks,pods", "--namespace", &self.name, "--output=yaml"]);
            eprintln!("{}", String::from_utf8_lossy(&tasks.stdout));
        }
        run("kubectl", &["delete", "longtasks", "--all", "--namespace", &self.name, "--timeout=60s"]);
        run("kubectl", &["delete", "namespace", &self.name, "--timeout=60s"]);
    }
}

/// The manifest of a task that works through so many steps of a second, five in a segment.
pub(crate) fn chain(name: &str, steps: u32) -> Value {
    let arguments = [format!("--steps={steps}"), "--step-time=1s".to_owned()];
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
        "spec": {
            "segment": { "duration": "5s", "gracePeriod": "5s" }, "podHistoryLimit": 100,
            "template": { "spec": { "containers": [{ "name": "main", "image": PROGRAM, "args": arguments }] } },
        },
    })
}

/// The first manifest of the README, with a program that this cluster has.
pub(crate) fn first_manifest() -> Value {
    let readme = fs::read_to_string("README.md").expect("README.md");
    let (_, after) = readme.split_once("```yaml\n").expect("a manifest");
    let (manifest, _) = after.split_once("```").expect("the end of the manifest");
    let mut task: Value = serde_saphyr::from_str(manifest).expect("YAML");
    let container = &mut task["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!(PROGRAM);
    container["args"] = json!(["--steps=3", "--step-time=1s"]);
    task
}

/// A pod's attempt, and when its program began and ended.
fn run_of(pod: &Value) -> (i64, String, String) {
    let number = pod["metadata"]["labels"]["longtask.dev/attempt"].as_str().expect("a label");
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    let time = |field: &str| ended[field].as_str().unwrap_or_else(|| panic!("it has ended: {pod:#}")).to_owned();
    (number.parse().expect("a number"), time("startedAt"), time("finishedAt"))
}

/// Whether a pod is an attempt of the task: its name is the task's and a number.
fn is_pod_of(pod: &str, task: &str) -> bool {
    pod.rsplit_once('-').is_some_and(|(owner, number)| owner == task && number.parse::<i64>().is_ok())
}
