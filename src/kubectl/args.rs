//! The arguments of the plugin. The `--help` texts are the manual.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::types::GoDuration;

/// The program's name as a plugin of kubectl.
pub(super) const NAME: &str = "kubectl-longtask";
/// What stands for the name of a task in the usage.
pub(super) const TASK: &str = "TASK";
/// Likewise for that of a set.
pub(super) const SET: &str = "SET";
/// Likewise for that of a queue.
pub(super) const QUEUE: &str = "QUEUE";
/// Likewise for that of a template.
pub(super) const TEMPLATE: &str = "TEMPLATE";

/// What the plugin was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = NAME, bin_name = "kubectl longtask", version, about = "See and steer LongTasks", long_about = LONG_ABOUT,
    after_long_help = AFTER_ALL, disable_help_subcommand = true
)]
pub struct Plugin {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const LONG_ABOUT: &str = "See and steer LongTasks: long-running work on Kubernetes as a chain of time-limited pods.

`kubectl get longtask -o yaml` shows the same facts, and `kubectl patch longtask` makes the same changes: the plugin needs no \
rights but the user's own.";

const AFTER_ALL: &str = "\
Exit codes:
  0  done
  1  it could not be done, or what was asked for did not hold; the message on standard error says why
  2  the arguments are wrong, or with start what they name

Colours are for terminals only; NO_COLOR=1 turns them off there as well.";

/// Which cluster and namespace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// The namespace of the task. Default: that of the kubeconfig's context.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// Use this context of the kubeconfig. Default: its current context.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Use this kubeconfig. Default: KUBECONFIG, else ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show where a task stands: its segments and attempts, why it waits, what is next.
    Status(OneTask),
    /// Print the logs of all attempts of a task, in order.
    ///
    /// Notes, such as where an attempt begins, go to standard error. When a pod is gone, its log is gone, too;
    /// spec.podHistoryLimit says how many pods are kept.
    Logs(LogsArgs),
    /// Show the events of a task and its pods, the oldest first.
    Events(OneTask),
    /// Print the results of a set's members, a JSON line each.
    ///
    /// Those that the set has recorded, and those of the members that are still there.
    Results(SetName),
    /// Show who has a place in a TaskQueue, and who waits, in the order of their turns.
    ///
    /// Those who wait are read from the namespaces that the queue is for, as far as you may list tasks there.
    Queue(QueueArgs),
    /// List tasks by the work that they have done and lost, the one that ran longest first; with --sets, sets.
    Top(TopArgs),
    /// List the tasks that have failed or are held for a human, and the sets that have failed, the oldest first.
    ///
    /// A set is listed as lts/NAME, and its failed members are not: it tolerates some, and runs the others again. `restart`
    /// runs them again.
    DeadLetters(ListArgs),
    /// Pause tasks: each writes a checkpoint and stops, and everything is kept.
    ///
    /// The program gets SIGTERM and has segment.gracePeriod to write its checkpoint. `resume` goes on from there.
    Suspend(Tasks),
    /// Let suspended tasks go on from their checkpoints.
    ///
    /// A task that is held by its failure policy goes on by `restart`.
    Resume(Tasks),
    /// Stop tasks for good.
    ///
    /// The program gets SIGTERM and has segment.gracePeriod to write a last checkpoint; then the task is Cancelled. Only
    /// `restart` brings it back, as another run.
    Cancel(Tasks),
    /// Run a finished task again, or let a held one go on.
    ///
    /// A task that has ended gets another run, with counters, limits and segments anew. One that is held by its failure
    /// policy goes on in the same run, with all counters at 0. A task that is under way is left alone.
    Restart(RestartArgs),
    /// Interrupt the running attempt on purpose, and show whether the next one resumes from its checkpoint.
    ///
    /// The pod is evicted as by a drain of its node: the program gets SIGTERM and segment.gracePeriod. Then the next
    /// attempt is checked. The exit code is 0 if it was given a checkpoint that the interrupted attempt left, or if the
    /// program keeps its own checkpoints; else it is 1.
    Drill(DrillArgs),
    /// Start a task from a LongTaskTemplate, or with --count or --items a set of them.
    ///
    /// With --key, the same command can be repeated: the same key and input are the same task, for as long as that is there.
    /// While the API server gives no clear answer, it is asked for 30 seconds. The exit code is 2 when the template does not
    /// exist, the input is not valid, or the key was used for another input.
    Start(StartArgs),
    /// Create a task from flags.
    ///
    /// For what flags cannot say, write a manifest: `--dry-run client` prints one to begin with.
    Create(CreateArgs),
    /// Print the LongTasks that do what batch/v1 Jobs and CronJobs do.
    ///
    /// Comments tell what has no counterpart, or means something else now. The cluster is not asked.
    Convert(ConvertArgs),
    /// Print a script that completes the words of `kubectl-longtask` in a shell.
    ///
    /// `kubectl longtask` itself is completed by kubectl's own script (`kubectl completion --help`), which asks the
    /// program kubectl_complete-longtask: `make install-plugin` links that as well.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write those of all verbs into a folder.
    Man {
        /// The folder, such as ~/.local/share/man/man1.
        folder: Option<PathBuf>,
    },
}

/// One task and how to print.
#[derive(Debug, Args)]
pub(super) struct OneTask {
    /// The name of the task; with status, lts/NAME is a set.
    #[arg(value_name = TASK)]
    pub(super) name: String,

    /// Print as JSON, for programs. Default: for people.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// A set.
#[derive(Debug, Args)]
pub(super) struct SetName {
    /// The name of the set.
    #[arg(value_name = SET)]
    pub(super) name: String,
}

/// A queue and how to print.
#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    /// The name of the queue.
    #[arg(value_name = QUEUE)]
    pub(super) name: String,

    /// Print as JSON, for programs. Default: for people.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Some tasks and how to print.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    /// The names of the tasks; lts/NAME is a set, and with suspend and resume tq/NAME is a queue.
    #[arg(value_name = TASK, required = true)]
    pub(super) names: Vec<String>,

    /// Print the changed tasks as JSON, one a line. Default: a line for people.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Options of `restart`.
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    pub(super) tasks: Tasks,

    /// Where to begin: latest, beginning, or the number of a checkpoint that `status` lists.
    #[arg(long, value_name = "WHERE", default_value = "latest")]
    pub(super) from: From,

    /// Take the LongTaskTemplate of the task as it is now. Default: the copy that the task has.
    #[arg(long)]
    pub(super) renew: bool,
}

/// Options of `start`.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The name of the LongTaskTemplate.
    #[arg(value_name = TEMPLATE)]
    pub(super) template: String,

    /// The input: JSON, or a file with it as @FILE, or - for standard input. What is no object becomes {"value": ...}.
    #[arg(long, value_name = "JSON")]
    pub(super) input: Option<String>,

    /// A key of the input with a text; can be given more than once, and wins over --input.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) arg: Vec<Variable>,

    /// What makes two requests the same one, such as the number of an order. Default: each request is a new one.
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,

    /// Start a set of so many tasks, each of which is told its index: a LongTaskSet.
    #[arg(long, value_name = "N", conflicts_with = "items", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) count: Option<u32>,

    /// Start a set with a task for each object of a JSON list, whose keys win over those of --input; or a file with it as @FILE.
    #[arg(long, value_name = "JSON")]
    pub(super) items: Option<String>,

    /// How many tasks of the set may run at a time. Default: 10.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(super) parallel: Option<i32>,

    /// Wait until the task has ended, or the set; the exit code is 1 unless it has succeeded.
    #[arg(long)]
    pub(super) wait: bool,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The name of the task.
    #[arg(value_name = TASK)]
    pub(super) name: String,

    /// Go on with what is written next, from pod to pod, until the task has ended.
    #[arg(long, short)]
    pub(super) follow: bool,

    /// Only this attempt.
    #[arg(long, value_name = "N")]
    pub(super) attempt: Option<i64>,

    /// Only the last lines of each attempt.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) tail: Option<i64>,

    /// Begin each line with its time.
    #[arg(long)]
    pub(super) timestamps: bool,

    /// The container. Default: the main one.
    #[arg(long, short, value_name = "NAME")]
    pub(super) container: Option<String>,

    /// Print each line as a JSON object with attempt, segment, pod and time.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    pub(super) list: ListArgs,

    /// List sets by how far they are, those first that have not ended.
    #[arg(long)]
    pub(super) sets: bool,
}

/// What to list and how to print.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// List those of all namespaces.
    #[arg(long, short = 'A')]
    pub(super) all_namespaces: bool,

    /// Only those with these labels, such as team=a,stage!=test.
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(super) selector: Option<String>,

    /// Print as JSON, for programs. Default: a table.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Options of `drill`.
#[derive(Debug, Args)]
pub(super) struct DrillArgs {
    /// The name of the task.
    #[arg(value_name = TASK)]
    pub(super) name: String,

    /// Delete the pod instead of evicting it; no PodDisruptionBudget is asked then.
    #[arg(long)]
    pub(super) delete: bool,

    /// Wait that long for the next attempt.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(super) timeout: GoDuration,

    /// Print the facts as JSON when it is over. Default: what happens, as it happens.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Options of `create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The name of the new task, up to 52 characters.
    #[arg(value_name = "NAME")]
    pub(super) name: String,

    /// The image of its main container.
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: String,

    /// How long one pod may run before the next one goes on from its checkpoint. Default: 1h.
    #[arg(long, value_name = "DURATION")]
    pub(super) segment: Option<GoDuration>,

    /// The time from SIGTERM to SIGKILL, for the last checkpoint. Default: 30s.
    #[arg(long, value_name = "DURATION")]
    pub(super) grace_period: Option<GoDuration>,

    /// The most running time of all pods together. Default: no limit.
    #[arg(long, value_name = "DURATION")]
    pub(super) active_time: Option<GoDuration>,

    /// The most time from start to end, waiting included. Default: no limit.
    #[arg(long, value_name = "DURATION")]
    pub(super) wall_time: Option<GoDuration>,

    /// Retries after failures in a row without progress; -1 is unlimited. Default: 6.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) failures: Option<i32>,

    /// An environment variable; can be given more than once.
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(super) env: Vec<Variable>,

    /// Create it suspended: nothing runs until `resume`.
    #[arg(long)]
    pub(super) suspend: bool,

    /// client: print the manifest and ask nobody. server: let the API server check it, and keep nothing.
    #[arg(long, value_name = "WHERE", default_value = "none")]
    pub(super) dry_run: DryRun,

    /// Print the task, as JSON or YAML. Default: a line for people; YAML with --dry-run client.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Format>,

    /// The command to run instead of the image's own, after --.
    #[arg(value_name = "COMMAND", last = true)]
    pub(super) command: Vec<String>,
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}

/// What becomes of a new task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// It is created.
    None,
    /// It is printed.
    Client,
    /// It is checked.
    Server,
}

/// Options of `convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// The manifest of Jobs or CronJobs, or - for standard input. Other objects in it are left out.
    #[arg(long, short, value_name = "FILE")]
    pub(super) filename: PathBuf,

    /// How to print: YAML with the notes as comments, or JSON with the notes on standard error.
    #[arg(long, short, value_name = "FORMAT", default_value = "yaml")]
    pub(super) output: Format,
}

/// How to print a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How to print for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// JSON.
    Json,
}

/// Where a restarted task begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Latest,
    Beginning,
    Checkpoint(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            "beginning" => Ok(Self::Beginning),
            number => match number.parse() {
                Ok(sequence) if sequence > 0 => Ok(Self::Checkpoint(sequence)),
                _ => Err("write latest, beginning, or the number of a checkpoint, such as 38".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn from(where_: &str) -> Option<From> {
        let parsed = Plugin::try_parse_from(["kubectl-longtask", "restart", "a", "--from", where_]).ok()?;
        match parsed.verb {
            Verb::Restart(args) => Some(args.from),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        for verb in Plugin::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{} has no help", verb.get_name());
            for arg in verb.get_arguments() {
                // A flag of clap's own.
                assert!(
                    arg.get_help().is_some() || arg.get_id() == "help",
                    "{} {} has no help",
                    verb.get_name(),
                    arg.get_id()
                );
            }
        }
    }

    #[test]
    fn a_restart_begins_at_the_latest_checkpoint_at_another_one_or_at_the_beginning() {
        assert_eq!(from("latest"), Some(From::Latest));
        assert_eq!(from("beginning"), Some(From::Beginning));
        assert_eq!(from("38"), Some(From::Checkpoint(38)));
        for wrong in ["0", "-1", "", "last", "3.5"] {
            assert_eq!(from(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_options_of_the_cluster_are_taken_before_and_behind_the_verb() {
        for arguments in [["-n", "team-a", "status", "a"], ["status", "a", "-n", "team-a"]] {
            let parsed = Plugin::try_parse_from([NAME].into_iter().chain(arguments)).expect("the arguments parse");
            assert_eq!(parsed.cluster.namespace.as_deref(), Some("team-a"));
        }
    }
}
