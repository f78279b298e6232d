//! The arguments of `longtask run` as [`Settings`]: checked together, with every default filled in.

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal},
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use super::args::{LeaderElection, LeaseArgs, LogFormat, RunArgs};

/// How `longtask run` is to work: checked, with every default filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Settings {
    /// The tasks to work on.
    pub scope: Scope,
    /// The kubeconfig's context to use; none means by the usual rules.
    pub context: Option<String>,
    /// The most requests per second, lease renewals aside.
    pub api_qps: Option<NonZeroU32>,
    /// The most tasks that are reconciled at the same time.
    pub concurrency: NonZeroU16,
    /// The most tasks whose figures are shown by name.
    pub task_metrics: u16,
    /// Whether tasks that name a LongTaskTemplate are filled in.
    pub fill_in: bool,
    /// Where reports are taken; none where they are not.
    pub reports: Option<ReportSettings>,
    /// The image with the agent, if there is one.
    pub agent_image: Option<String>,
    /// The most status writes for reports in a second, of all tasks together.
    pub live_writes: NonZeroU32,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// Where the log filter can be changed, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceSettings>,
    /// The lease to take before working; none means work at once.
    pub lease: Option<LeaseSettings>,
}

impl Settings {
    /// Those of an operator that works at once and keeps to itself.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            scope: Scope::AllNamespaces,
            context: None,
            api_qps: None,
            concurrency: NonZeroU16::MIN,
            task_metrics: 0,
            fill_in: true,
            reports: None,
            agent_image: None,
            live_writes: NonZeroU32::MIN,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin_listen: None,
            log: LogSettings { format: LogFormat::Text, filter: "off".into() },
            traces: None,
            lease: None,
        }
    }
}

/// The namespaces whose tasks an operator works on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All of the cluster.
    AllNamespaces,
    /// One.
    Namespace(String),
}

/// Where reports are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportSettings {
    /// Where the operator listens while it leads.
    pub listen: SocketAddr,
    /// Where agents reach that, the best address first.
    pub addresses: Vec<String>,
    /// The namespace with the Secret of the certificate authority; none means the client's own.
    pub namespace: Option<String>,
}

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Directives of [`EnvFilter`](tracing_subscriber::EnvFilter); known to parse.
    pub filter: String,
}

/// Where traces go, and which.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceSettings {
    /// The base address of the collector.
    pub endpoint: String,
    /// One reconcile in this many is told; 0 for none.
    pub one_reconcile_in: u32,
}

/// The lease that replicas compete for. `retry_period < renew_deadline < duration` holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseSettings {
    /// Namespace of the Lease object; none means the client's own.
    pub namespace: Option<String>,
    /// Name of the Lease object.
    pub name: String,
    /// Who this process is; no other process has the same.
    pub identity: String,
    /// How long a claim lasts that is not renewed; whole seconds.
    pub duration: Duration,
    /// How long after the last successful renewal the leader gives up.
    pub renew_deadline: Duration,
    /// Time between renewals, and between looks at another's lease.
    pub retry_period: Duration,
}

/// Arguments that parse one by one but cannot work together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The three times of the lease are out of order.
    #[error(
        "--lease-retry-period ({retry:?}) must be shorter than --lease-renew-deadline ({deadline:?}), and that shorter \
         than --lease-duration ({duration:?})"
    )]
    LeaseTimes {
        /// `--lease-retry-period`.
        retry: Duration,
        /// `--lease-renew-deadline`.
        deadline: Duration,
        /// `--lease-duration`.
        duration: Duration,
    },
    /// The Lease object stores whole seconds only.
    #[error("--lease-duration ({0:?}) must be whole seconds")]
    LeaseDurationFraction(Duration),
    /// Renewals closer than a second would not change the lease's times, and would press the API server.
    #[error("--lease-retry-period ({0:?}) must be at least 1s")]
    LeaseRetryTooShort(Duration),
}

/// What defaults depend on: where the process runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Environment {
    /// Whether this is a pod that can reach its own cluster's API.
    pub in_cluster: bool,
    /// Whether a person reads standard error.
    pub terminal: bool,
    /// The machine's, or the pod's, host name.
    pub host_name: String,
    /// Tells this process from every other one.
    pub suffix: u64,
}

impl Environment {
    /// Those of this process.
    pub fn detect() -> Self {
        Self {
            in_cluster: env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            terminal: io::stderr().is_terminal(),
            host_name: host_name(),
            // The standard library seeds its hash maps from the system's randomness; one draw needs no crate for it.
            suffix: RandomState::new().hash_one(std::process::id()),
        }
    }
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "longtask".to_owned())
}

impl RunArgs {
    /// These arguments as settings, with every default filled in.
    ///
    /// # Errors
    /// When arguments contradict each other; the message names them.
    pub fn settings(self, around: &Environment) -> Result<Settings, SettingsError> {
        let Self {
            namespace,
            context,
            kube_api_qps,
            api_qps,
            concurrency,
            task_metrics,
            no_fill_in,
            reports_listen,
            reports_address,
            agent_image,
            live_writes,
            listen,
            admin_listen,
            log_format,
            log,
            otlp_endpoint,
            trace_one_reconcile_in: one_reconcile_in,
            lease,
        } = self;
        let addresses: Vec<_> = reports_address.into_iter().filter(|address| !address.is_empty()).collect();
        let by_reader = if around.terminal { LogFormat::Text } else { LogFormat::Json };
        Ok(Settings {
            scope: given(namespace).map_or(Scope::AllNamespaces, Scope::Namespace),
            context: given(context),
            api_qps: kube_api_qps.or(api_qps),
            concurrency,
            task_metrics,
            fill_in: !no_fill_in,
            reports: (!addresses.is_empty()).then_some(ReportSettings {
                listen: reports_listen,
                addresses,
                namespace: given(lease.lease_namespace.clone()),
            }),
            agent_image: given(agent_image),
            live_writes,
            listen,
            admin_listen,
            log: LogSettings { format: log_format.unwrap_or(by_reader), filter: log },
            traces: given(otlp_endpoint).map(|endpoint| TraceSettings { endpoint, one_reconcile_in }),
            lease: lease.settings(around)?,
        })
    }
}

impl LeaseArgs {
    fn settings(self, around: &Environment) -> Result<Option<LeaseSettings>, SettingsError> {
        let Self {
            leader_elect,
            leader_election,
            lease_name: name,
            lease_namespace,
            lease_identity,
            lease_duration: duration,
            lease_renew_deadline: renew_deadline,
            lease_retry_period: retry_period,
        } = self;
        if retry_period >= renew_deadline || renew_deadline >= duration {
            return Err(SettingsError::LeaseTimes { retry: retry_period, deadline: renew_deadline, duration });
        }
        if duration.subsec_nanos() != 0 {
            return Err(SettingsError::LeaseDurationFraction(duration));
        }
        if retry_period < Duration::from_secs(1) {
            return Err(SettingsError::LeaseRetryTooShort(retry_period));
        }
        let replica = given(lease_identity).unwrap_or_else(|| around.host_name.clone());
        let lease = LeaseSettings {
            namespace: given(lease_namespace),
            name,
            identity: format!("{replica}_{:016x}", around.suffix),
            duration,
            renew_deadline,
            retry_period,
        };
        let election = leader_elect.or(leader_election).unwrap_or(LeaderElection::Auto);
        Ok(election.applies(around).then_some(lease))
    }
}

impl LeaderElection {
    fn applies(self, around: &Environment) -> bool {
        match self {
            Self::Auto => around.in_cluster,
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// An empty variable in a pod template means that nothing was given.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{Cli, Command},
        *,
    };

    fn cluster() -> Environment {
        Environment { in_cluster: true, terminal: false, host_name: "node".to_owned(), suffix: 0xabc }
    }

    fn workstation() -> Environment {
        Environment { in_cluster: false, terminal: true, host_name: "laptop".to_owned(), suffix: 0xdef }
    }

    fn parsed(args: &[&str]) -> RunArgs {
        let words = ["longtask", "run"].iter().chain(args);
        match Cli::try_parse_from(words).expect("the arguments parse").command {
            Command::Run(args) => *args,
            Command::Crd { .. } | Command::Simulate(_) | Command::Version => panic!("not `run`"),
        }
    }

    fn settings(args: &[&str], around: &Environment) -> Result<Settings, SettingsError> {
        parsed(args).settings(around)
    }

    #[test]
    fn a_pod_elects_a_leader_and_logs_json() {
        let settings = settings(&["--lease-identity=longtask-0", "--lease-namespace=ops"], &cluster()).expect("valid");
        assert_eq!(settings.scope, Scope::AllNamespaces);
        assert_eq!(settings.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(settings.log.format, LogFormat::Json);
        let lease = settings.lease.expect("election is on in a cluster");
        assert_eq!(lease.identity, "longtask-0_0000000000000abc");
        assert_eq!(lease.namespace.as_deref(), Some("ops"));
        assert_eq!(
            (lease.duration.as_secs(), lease.renew_deadline.as_secs(), lease.retry_period.as_secs()),
            (10, 7, 2)
        );
    }

    #[test]
    fn a_workstation_works_at_once_and_logs_text() {
        let settings = settings(&[], &workstation()).expect("valid");
        assert_eq!(settings.lease, None);
        assert_eq!(settings.log.format, LogFormat::Text);
    }

    #[test]
    fn election_can_be_forced_either_way() {
        let on = settings(&["--leader-elect=on"], &workstation()).expect("valid").lease.expect("on");
        assert_eq!(on.identity, "laptop_0000000000000def");
        for also_on in ["--leader-elect", "--leader-elect=true"] {
            assert_eq!(settings(&[also_on], &workstation()).expect("valid").lease, Some(on.clone()), "{also_on}");
        }
        for off in ["--leader-elect=off", "--leader-elect=false"] {
            assert_eq!(settings(&[off], &cluster()).expect("valid").lease, None, "{off}");
        }
    }

    #[test]
    fn the_former_names_of_options_are_understood_and_the_new_ones_win() {
        let former = settings(&["--api-qps=7", "--leader-election=off"], &cluster()).expect("valid");
        assert_eq!((former.api_qps.map(u32::from), former.lease), (Some(7), None));
        let both = ["--api-qps=7", "--kube-api-qps=9", "--leader-election=on", "--leader-elect=off"];
        let both = settings(&both, &cluster()).expect("valid");
        assert_eq!((both.api_qps.map(u32::from), both.lease), (Some(9), None));
    }

    #[test]
    fn tasks_are_filled_in_unless_it_is_said_otherwise() {
        assert!(settings(&[], &cluster()).expect("valid").fill_in);
        assert!(!settings(&["--no-fill-in"], &cluster()).expect("valid").fill_in);
    }

    #[test]
    fn one_namespace_narrows_the_scope_and_an_empty_one_does_not() {
        let one = settings(&["--namespace=team-a"], &cluster()).expect("valid");
        assert_eq!(one.scope, Scope::Namespace("team-a".to_owned()));
        assert_eq!(settings(&["--namespace="], &cluster()).expect("valid").scope, Scope::AllNamespaces);
    }

    #[test]
    fn lease_times_must_be_in_order() {
        let error = settings(&["--lease-renew-deadline=10s"], &cluster()).expect_err("not below the duration");
        assert!(error.to_string().contains("--lease-renew-deadline (10s)"), "{error}");
        assert!(matches!(
            settings(&["--lease-retry-period=500ms"], &cluster()),
            Err(SettingsError::LeaseRetryTooShort(_))
        ));
        assert!(matches!(
            settings(&["--lease-duration=10.5s"], &cluster()),
            Err(SettingsError::LeaseDurationFraction(_))
        ));
    }
}
