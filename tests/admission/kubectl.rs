//! kubectl, and a namespace to work in.

use std::{
    env,
    io::Write,
    process::{self, Command, Stdio},
    sync::LazyLock,
};

use longtask::api::crd;

/// The least that a task needs, below `spec`.
pub(crate) const TEMPLATE: &str = "template: {spec: {containers: [{name: main, image: registry.example/x}]}}";

/// What kubectl answered.
pub(crate) struct Answer {
    pub(crate) is_ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// What kubectl printed; fails the test when it reported an error.
    pub(crate) fn expect_ok(self) -> String {
        assert!(self.is_ok, "it failed: {}", self.err);
        self.out
    }
}

/// Runs kubectl in the tests' namespace.
pub(crate) fn kubectl(arguments: &[&str], input: &str) -> Answer {
    let namespace = NAMESPACE.as_str();
    run(&[&["--namespace", namespace], arguments].concat(), input)
}

/// `kubectl apply` that changes nothing.
pub(crate) fn try_apply(manifest: &str) -> Answer {
    kubectl(&["apply", "--dry-run=server", "-f", "-"], manifest)
}

/// The manifest of a task that nobody manages.
pub(crate) fn task(name: &str, spec: &str) -> String {
    let managed_by = if spec.contains("managedBy") { "" } else { "managedBy: tests.longtask.dev/nobody" };
    let template = if spec.contains("template:") { "" } else { TEMPLATE };
    let lines = [managed_by, template].into_iter().chain(spec.lines()).filter(|line| !line.is_empty());
    let spec = lines.collect::<Vec<_>>().join("\n  ");
    format!("apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

/// A namespace of one test's own, which ends with the test.
pub(crate) struct Namespace(String);

impl Namespace {
    /// A namespace in which no pod can be made: an operator that runs there can do nothing with the tasks.
    pub(crate) fn without_pods(purpose: &str) -> Self {
        let namespace = Self(format!("{}-{purpose}", NAMESPACE.as_str()));
        create_namespace(&namespace.0);
        namespace.kubectl(&["create", "quota", "no-pods", "--hard=pods=0"], "").expect_ok();
        namespace
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Answer {
        run(&[&["--namespace", &self.0], arguments].concat(), input)
    }
}

impl Drop for Namespace {
    /// What cannot be deleted now goes with the next run of the tests.
    fn drop(&mut self) {
        run(&["delete", "namespace", &self.0, "--wait=false"], "");
    }
}

/// What marks a namespace of these tests.
const LABEL: &str = "longtask.dev/tests=admission";

/// A new namespace for each run of the tests. The last run's is deleted, since no test knows that it is the last one.
static NAMESPACE: LazyLock<String> = LazyLock::new(|| {
    assert!(
        env::var_os("KUBECONFIG").is_some(),
        "set KUBECONFIG to a cluster to test against; make cluster-up starts one"
    );
    let definition = crd::yaml().expect("the definition");
    let install = ["apply", "--server-side", "--force-conflicts", "--field-manager=longtask-tests", "-f", "-"];
    run(&install, &definition).expect_ok();
    for resource in crd::RESOURCES {
        let name = format!("crd/{resource}.longtask.dev");
        run(&["wait", "--for=condition=Established", &name, "--timeout=30s"], "").expect_ok();
    }
    run(&["delete", "longtasks", "--all-namespaces", "--selector", LABEL, "--wait=false"], "").expect_ok();
    run(&["delete", "namespace", "--selector", LABEL, "--wait=false"], "").expect_ok();
    let name = format!("longtask-admission-{}", process::id());
    create_namespace(&name);
    name
});

fn create_namespace(name: &str) {
    run(&["create", "namespace", name], "").expect_ok();
    run(&["label", "namespace", name, LABEL], "").expect_ok();
}

fn run(arguments: &[&str], input: &str) -> Answer {
    pipe(Command::new("kubectl").args(arguments), input)
}

/// Runs a program to its end with that input.
pub(crate) fn pipe(program: &mut Command, input: &str) -> Answer {
    let mut program =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it is installed");
    program.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    let output = program.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { is_ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}
