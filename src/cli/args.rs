//! The arguments. The `--help` texts are the manual.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use tracing_subscriber::EnvFilter;

/// What the program was asked to do.
#[derive(Debug, Parser)]
#[command(name = "longtask", version, about, long_about = LONG_ABOUT, disable_help_subcommand = true)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "Long-running work on Kubernetes as a chain of time-limited pods.

`longtask run` is the operator: it watches LongTask objects and runs each as a chain of pods that resume from the last \
checkpoint. `longtask crd` prints the definitions of the resources, for `kubectl apply -f -`. `longtask \
simulate` tries a task's failure policy without a cluster.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator, inside the cluster or from a workstation.
    #[command(long_about = LONG_RUN, after_long_help = AFTER_RUN)]
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    ///
    /// `longtask crd | kubectl apply -f -` installs or upgrades them.
    Crd {
        /// Only the definition of this resource. Default: of all.
        resource: Option<CrdResource>,
    },
    /// Try a task's failure policy: what the operator would do if attempts ended as a script says.
    #[command(long_about = LONG_SIMULATE, after_long_help = AFTER_SIMULATE)]
    Simulate(SimulateArgs),
    /// Print the version.
    Version,
}

/// A resource that the program defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CrdResource {
    /// The definition of LongTask.
    Longtasks,
    /// The definition of LongTaskTemplate.
    Longtasktemplates,
    /// The definition of LongTaskSet.
    Longtasksets,
    /// The definition of TaskQueue.
    Taskqueues,
}

impl CrdResource {
    /// The plural by which the API server knows it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Longtasks => "longtasks",
            Self::Longtasktemplates => "longtasktemplates",
            Self::Longtasksets => "longtasksets",
            Self::Taskqueues => "taskqueues",
        }
    }
}

const LONG_RUN: &str = "Run the operator, inside the cluster or from a workstation.

It connects by the usual rules: the kubeconfig named by KUBECONFIG, else ~/.kube/config, else the service account of \
the pod it runs in. It then waits until its resources are installed, takes the lease if there are replicas to \
agree with, and works until SIGTERM or SIGINT.

Every option can be given as an environment variable as well; the option wins.";

const AFTER_RUN: &str = "\
HTTP endpoints, all on --listen:
  /livez    200 while the program works; 503 once a watch has been failing for 5 minutes. A reason to restart it
  /readyz   200 when it works or stands by for the lease; 503 with a line that names what it waits for
  /metrics  Prometheus text format, names begin with longtask_; /metrics/tasks has figures of single tasks and sets,
            see --task-metrics

Exit codes:
  0  stopped on request: reconciles in flight were finished (at most 10s) and the lease was released
  1  could not start, or lost the lease; the log's last line says why. Start it again
  2  the arguments are wrong

Durations are written 10s, 1m or 1m30s.";

const LONG_SIMULATE: &str =
    "Try a task's failure policy: what the operator would do if attempts ended as a script says.

The operator's own planner answers, in virtual time: no cluster, no pod, no waiting. Printed are every attempt, its \
outcome, what follows and when, what is counted in a row, and where that leaves the task.

  longtask simulate -f task.yaml --script 'fail:1*3,oom,evict,75,done'";

const AFTER_SIMULATE: &str = "\
The script has one word for each attempt, separated by commas:
  done             the program exits with 0
  75, 1, ...       it exits with this code
  fail, fail:CODE  it exits with 1, or this code
  error:CODE       it reports error.code CODE and exits with 1
  permanent        it reports error.permanent and exits with 1; permanent:CODE with a code as well
  oom              it is killed because it is out of memory
  storage          it is evicted for going over its own limit of local storage
  timeout          it runs to its time limit
  hang             it gives no sign of life any more: with reporting.mode Live, until segment.heartbeatTimeout;
                   otherwise it runs to its time limit
  evict, pressure, preempt, delete, lost, unknown
                   it is interrupted: by the eviction API, by the kubelet of a node that is short of memory, by a pod of
                   higher priority, by a delete, by the loss of its node, for a reason that nobody knows
  reject           the kubelet has no room for the pod (OutOfcpu)
  image, config    its image cannot be pulled, a secret is missing: until segment.startTimeout
  starterror       the command does not exist
  init             an init container fails
  unreadable       with checkpoint.store, the checkpoint to resume from cannot be read: the attempt does not start
  nostart:REASON   it does not start, for a reason that onReasons can name, such as CrashLoopBackOff
  suspend, cancel  the user sets spec.suspend or spec.cancel while it runs
and for a task that is suspended, held or has ended:
  resume, restart  the user sets spec.suspend to false, or a new spec.restart.token

Behind a word:
  @DURATION        the program runs that long first. Default 1m, or a second less than the segment if that is shorter.
                   resume, restart: the user waits that long first, default 1m
  +progress        it gets one step beyond the checkpoint that it was given, and reports that
  +after:DURATION  it asks for that delay: resumeAfter, or retryAfter of an error
  *N               N times; * alone: until the task ends, for the last word

The validation rules of the API server are not applied; `kubectl apply --dry-run=server` applies them.

Exit codes:
  0  the simulation was made, whatever became of the task
  1  the output could not be written
  2  the arguments or the manifest are wrong";

/// Options of `longtask simulate`, as typed.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The manifest of the task, or - for standard input.
    ///
    /// It may have other objects beside the one LongTask.
    #[arg(long, short, value_name = "FILE")]
    pub filename: PathBuf,

    /// How the attempts end, one word for each.
    ///
    /// Such as 'fail:1*3,oom,evict,75,done'. When the task wants another attempt than the script has, the simulation
    /// ends there. The words are listed below.
    #[arg(long, value_name = "WORDS")]
    pub script: String,

    /// The UID of the task, from which the jitter of delays is drawn.
    ///
    /// A real task has a UID of its own, and so other delays within the same bounds.
    #[arg(long, value_name = "UID", default_value = "simulated")]
    pub uid: String,

    /// When the task is applied, for specs with a deadline: RFC 3339, such as 2026-11-25T06:00:00Z. Default: now.
    #[arg(long, value_name = "TIME")]
    pub start: Option<Timestamp>,

    /// Stop after this many attempts.
    #[arg(long, value_name = "N", default_value = "1000")]
    pub max_attempts: NonZeroU32,

    /// Print the events that the operator would publish as well.
    #[arg(long)]
    pub events: bool,

    /// How to print: a table for people, or a JSON object per line.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: Output,
}

/// How a simulation is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// A table, then where the task stands.
    Text,
    /// One JSON object per line; its kind says what it is.
    Json,
}

/// Options of `longtask run`, as typed.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Watch this namespace only. Default: all namespaces.
    ///
    /// With one namespace a Role there is enough; no ClusterRole is needed.
    #[arg(long, short, env = "LONGTASK_OPERATOR_NAMESPACE", value_name = "NAME", help_heading = "Cluster")]
    pub(super) namespace: Option<String>,

    /// Use this context of the kubeconfig. Default: its current context.
    #[arg(long, env = "LONGTASK_OPERATOR_CONTEXT", value_name = "NAME", help_heading = "Cluster")]
    pub(super) context: Option<String>,

    /// Send at most this many requests per second to the API server. Default: no limit.
    ///
    /// Without a limit the API server's own priority and fairness decide. Lease renewals are never held back.
    #[arg(long, env = "LONGTASK_OPERATOR_KUBE_API_QPS", value_name = "N", help_heading = "Cluster")]
    pub(super) kube_api_qps: Option<NonZeroU32>,

    /// The former name of --kube-api-qps, for one version.
    #[arg(long, env = "LONGTASK_OPERATOR_API_QPS", value_name = "N", hide = true)]
    pub(super) api_qps: Option<NonZeroU32>,

    /// Reconcile at most this many tasks at the same time.
    ///
    /// One task is never reconciled twice at once. Each reconcile mostly waits for the API server, so more than the
    /// number of cores is useful.
    #[arg(long, env = "LONGTASK_OPERATOR_CONCURRENCY", value_name = "N", default_value = "32")]
    pub(super) concurrency: NonZeroU16,

    /// Show figures of at most this many tasks, and of as many sets, by name, on /metrics/tasks. 0: none.
    ///
    /// Each task has twelve series, each set four. Those that have not ended come first.
    #[arg(long, env = "LONGTASK_OPERATOR_TASK_METRICS", value_name = "N", default_value = "0")]
    pub(super) task_metrics: u16,

    /// Take reports of programs here while they run; only while leading. Without --reports-address, nowhere.
    #[arg(
        long,
        env = "LONGTASK_OPERATOR_REPORTS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8443",
        help_heading = "Reports"
    )]
    pub(super) reports_listen: SocketAddr,

    /// The addresses at which agents in task pods reach --reports-listen, the best one first.
    ///
    /// Such as 10.0.0.7:8443,longtask-reports.longtask-system.svc:8443. Without one, tasks with `reporting.mode` Live are
    /// read when their attempts end.
    #[arg(
        long,
        env = "LONGTASK_OPERATOR_REPORTS_ADDRESS",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        help_heading = "Reports"
    )]
    pub(super) reports_address: Vec<String>,

    /// The image with the agent, `longtask-agent`, for the pods of tasks with `reporting.mode` Live. Default: none.
    #[arg(long, env = "LONGTASK_OPERATOR_AGENT_IMAGE", value_name = "IMAGE", help_heading = "Reports")]
    pub(super) agent_image: Option<String>,

    /// Do not fill in tasks that name a LongTaskTemplate: they wait. The operator then needs no right to update longtasks.
    #[arg(long, env = "LONGTASK_OPERATOR_NO_FILL_IN")]
    pub(super) no_fill_in: bool,

    /// Write at most this many statuses per second for reports, of all tasks together.
    ///
    /// With more programs that report, each is written less often: 1500 every 30 seconds, 10000 every 200.
    #[arg(
        long,
        env = "LONGTASK_OPERATOR_LIVE_WRITES",
        value_name = "N",
        default_value = "50",
        help_heading = "Reports"
    )]
    pub(super) live_writes: NonZeroU32,

    /// Serve /livez, /readyz and /metrics here.
    #[arg(long, env = "LONGTASK_OPERATOR_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub(super) listen: SocketAddr,

    /// Serve /log-filter here, on a loopback address. Default: not at all.
    ///
    /// GET tells which log lines are written, PUT changes it: `curl -X PUT -d info,longtask=debug
    /// localhost:8081/log-filter`, in a cluster behind `kubectl port-forward`.
    #[arg(
        long, env = "LONGTASK_OPERATOR_ADMIN_LISTEN", value_name = "ADDRESS:PORT", value_parser = loopback,
        help_heading = "Logs"
    )]
    pub(super) admin_listen: Option<SocketAddr>,

    /// How log lines look. Default: text when standard error is a terminal, else json.
    ///
    /// json: one object per line; lines about a task carry its name, namespace, uid, segment, attempt and trace.
    #[arg(long, env = "LONGTASK_OPERATOR_LOG_FORMAT", value_name = "FORMAT", help_heading = "Logs")]
    pub(super) log_format: Option<LogFormat>,

    /// Which log lines to write: a level, or levels by module.
    ///
    /// error, warn, info, debug or trace, optionally with exceptions: `info,longtask=debug`.
    #[arg(
        long, env = "LONGTASK_OPERATOR_LOG", value_name = "FILTER", default_value = "info", value_parser = log_filter,
        help_heading = "Logs"
    )]
    pub(super) log: String,

    /// Send traces to the OpenTelemetry collector at this address, by OTLP over HTTP. Default: to none.
    ///
    /// Such as http://collector.observability:4318; /v1/traces is appended. A run of a task is a trace, an attempt a
    /// span, with the identifiers that its program got as TRACEPARENT. Without TLS: a collector in the same cluster.
    #[allow(rustdoc::bare_urls, reason = "the text of --help, where brackets are noise")]
    #[arg(
        long, env = "LONGTASK_OPERATOR_OTLP_ENDPOINT", value_name = "URL", value_parser = collector,
        help_heading = "Traces"
    )]
    pub(super) otlp_endpoint: Option<String>,

    /// Send one of this many reconciles as a span. 0: none.
    #[arg(
        long,
        env = "LONGTASK_OPERATOR_TRACE_ONE_RECONCILE_IN",
        value_name = "N",
        default_value = "100",
        help_heading = "Traces"
    )]
    pub(super) trace_one_reconcile_in: u32,

    #[command(flatten)]
    pub(super) lease: LeaseArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Leader election")]
pub(super) struct LeaseArgs {
    /// Whether replicas agree on one that works, by a Lease object. Default: auto.
    ///
    /// auto: on inside a cluster, where a rollout always has two replicas for a while; off on a workstation, where the
    /// operator starts at once and needs no rights on leases. Two operators that both work do no harm to a task, since
    /// every step is fenced by the task's resourceVersion, but they waste each other's requests.
    #[arg(
        long, env = "LONGTASK_OPERATOR_LEADER_ELECT", value_name = "WHEN", num_args = 0..=1,
        default_missing_value = "on"
    )]
    pub(super) leader_elect: Option<LeaderElection>,

    /// The former name of --leader-elect, for one version.
    #[arg(long, env = "LONGTASK_OPERATOR_LEADER_ELECTION", value_name = "WHEN", hide = true)]
    pub(super) leader_election: Option<LeaderElection>,

    /// Name of the Lease.
    #[arg(long, env = "LONGTASK_OPERATOR_LEASE_NAME", value_name = "NAME", default_value = "longtask-operator")]
    pub(super) lease_name: String,

    /// Namespace of the Lease. Default: the pod's own namespace, or that of the kubeconfig's context.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    pub(super) lease_namespace: Option<String>,

    /// Who this replica is, as shown by `kubectl get lease`. Default: the host name.
    ///
    /// A random suffix is appended, so that no two processes ever share an identity.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub(super) lease_identity: Option<String>,

    /// A lease that is not renewed lasts this long.
    ///
    /// This, plus one retry, is the longest pause after a replica was killed. Whole seconds.
    #[arg(
        long, env = "LONGTASK_OPERATOR_LEASE_DURATION", value_name = "DURATION", default_value = "10s",
        value_parser = duration
    )]
    pub(super) lease_duration: Duration,

    /// Give up leadership when no renewal has succeeded for this long.
    ///
    /// Shorter than the lease's duration: what is left is the safety margin between the old leader and the new one.
    #[arg(
        long, env = "LONGTASK_OPERATOR_LEASE_RENEW_DEADLINE", value_name = "DURATION", default_value = "7s",
        value_parser = duration
    )]
    pub(super) lease_renew_deadline: Duration,

    /// How often the leader renews and the others look whether it still does. At least 1s.
    #[arg(
        long, env = "LONGTASK_OPERATOR_LEASE_RETRY_PERIOD", value_name = "DURATION", default_value = "2s",
        value_parser = duration
    )]
    pub(super) lease_retry_period: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people, with colours on a terminal.
    Text,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum LeaderElection {
    Auto,
    // As the components of Kubernetes have it.
    #[value(alias = "true")]
    On,
    #[value(alias = "false")]
    Off,
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| "write a duration such as 10s, 1m or 1m30s".to_owned())
}

/// Whoever reaches it may use it, so it must not be reached from elsewhere.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write an address and a port such as 127.0.0.1:8081")?;
    let is_loopback = address.ip().is_loopback();
    is_loopback.then_some(address).ok_or_else(|| "must be a loopback address such as 127.0.0.1:8081".to_owned())
}

fn collector(text: &str) -> Result<String, String> {
    let is_plain = text.is_empty() || text.starts_with("http://");
    is_plain.then(|| text.to_owned()).ok_or_else(|| "write an address such as http://collector:4318".to_owned())
}

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A program in a task's pod must be able to run the operator's binary without being configured by accident.
    #[test]
    fn no_variable_belongs_to_the_task_contract() {
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("there is `run`");
        let variables: Vec<_> = run.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
        assert!(variables.len() > 8, "{variables:?}");
        for name in variables {
            assert!(name.starts_with("LONGTASK_OPERATOR_") || name.starts_with("POD_"), "{name}");
        }
    }

    #[test]
    fn every_option_is_explained() {
        let command = Cli::command();
        for arg in command.get_subcommands().flat_map(clap::Command::get_arguments) {
            assert!(arg.get_help().is_some(), "{} has no help", arg.get_id());
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for wrong in [
            "--lease-duration=10",
            "--lease-duration=-10s",
            "--log=info,=x=",
            "--concurrency=0",
            "--kube-api-qps=0",
            "--admin-listen=0.0.0.0:8081",
            "--otlp-endpoint=https://collector:4318",
        ] {
            assert!(Cli::try_parse_from(["longtask", "run", wrong]).is_err(), "{wrong}");
        }
    }
}
