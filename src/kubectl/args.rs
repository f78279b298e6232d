//! The arguments of the plugin. The `--help` texts are the manual.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The program's name as a plugin of kubectl.
pub(super) const NAME: &str = "kubectl-longtask";

/// What the plugin was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = NAME, bin_name = "kubectl longtask", version, about, long_about = LONG_ABOUT, after_long_help = AFTER_ALL,
    disable_help_subcommand = true
)]
pub struct Plugin {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const LONG_ABOUT: &str = "See and steer LongTasks: long-running work on Kubernetes as a chain of time-limited pods.

Everything that is shown can be read by `kubectl get longtask -o yaml`, and everything that is changed by `kubectl patch \
longtask` as well: the plugin needs no rights but the user's own.";

const AFTER_ALL: &str = "\
Exit codes:
  0  done
  1  it could not be done, or what was asked for did not hold; the message on standard error says why
  2  the arguments are wrong

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
    /// Show the events of a task and its pods, the oldest first.
    Events(OneTask),
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
    /// Run a task again that has ended, or let one go on that is held.
    ///
    /// A task that has ended gets another run, with counters, limits and segments anew. One that is held by its failure
    /// policy goes on in the same run, with all counters at 0. A task that is under way is left alone.
    Restart(RestartArgs),
}

/// One task and how to print.
#[derive(Debug, Args)]
pub(super) struct OneTask {
    /// The name of the task.
    #[arg(value_name = "TASK")]
    pub(super) name: String,

    /// Print as JSON, for programs. Default: for people.
    #[arg(long, short, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// Some tasks and how to print.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    /// The names of the tasks.
    #[arg(value_name = "TASK", required = true)]
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
                assert!(arg.get_help().is_some(), "{} {} has no help", verb.get_name(), arg.get_id());
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
