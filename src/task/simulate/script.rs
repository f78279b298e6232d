//! The script: how one attempt after the other ends, in short words.

use std::{collections::VecDeque, fmt, str::FromStr};

use crate::{
    api::task::{AttemptReason, Outcome},
    types::GoDuration,
};

/// How often a word may be repeated by number.
const MOST_TIMES: usize = 1_000_000;
/// The longest error code that a report may carry.
const LONGEST_CODE: usize = 64;

/// How one attempt after the other ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(VecDeque<(Word, Times)>);

/// How often a word stands in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Count(usize),
    Forever,
}

/// One word, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// As it was written, its repetition left out.
    pub(super) text: String,
    pub(super) what: What,
    /// How long the program runs before, or how long the user waits.
    pub(super) after: Option<GoDuration>,
    /// Whether the program gets a step further, and reports that, before its end.
    pub(super) has_progress: bool,
    /// The delay that the program asks for.
    pub(super) asks_for: Option<GoDuration>,
}

/// What a word lets happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An attempt ends like this.
    Ends(Fate),
    /// The user, finding the task at rest, changes its specification.
    Edit(Edit),
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The program exits with this code.
    Exit(i32),
    /// It reports an error, and exits with 1.
    Error {
        code: Option<String>,
        is_permanent: bool,
    },
    OutOfMemory,
    /// Over its own limit of local storage.
    StorageLimit,
    TimeLimit,
    /// The program gives no sign of life any more.
    Hang,
    /// Through the eviction API: a drain, for example.
    Evicted,
    /// By the kubelet, whose node is short of something.
    UnderPressure,
    Preempted,
    Deleted,
    NodeLost,
    /// The kubelet lost track of the container.
    Unknown,
    /// The kubelet has no room for the pod.
    Rejected,
    ImageMissing,
    ConfigMissing,
    NotExecutable,
    InitFailed,
    /// The checkpoint that it is to resume from cannot be read in its store.
    Unreadable,
    /// It does not start, for this reason.
    NotStarted(AttemptReason),
    /// The user edits the task while the attempt runs, and it is asked to stop.
    Stopped(Edit),
}

/// What the user changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Suspend,
    Cancel,
    Resume,
    Restart,
}

/// A script that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScriptError {
    /// It says nothing.
    #[error("the script is empty: write how the attempts end, such as fail:1*3,done")]
    Empty,
    /// One of its words is wrong.
    #[error("word {number}, {word:?}: {problem}")]
    Word {
        /// Which, from 1.
        number: usize,
        /// The word, as written.
        word: String,
        /// What is wrong with it, and what is allowed.
        problem: Problem,
    },
}

/// What is wrong with a word, and what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// It is none.
    #[error("no such word; write an exit code, or one of {}", Script::WORDS.join(", "))]
    NoSuchWord,
    /// Not an exit code.
    #[error("an exit code is a number from {0} to 255")]
    ExitCode(i32),
    /// Not an error code.
    #[error("write the code that the program reports, up to {LONGEST_CODE} characters, such as error:PaymentDeclined")]
    ErrorCode,
    /// Not a reason of a failed start.
    #[error("write a reason of a failed start, such as nostart:CrashLoopBackOff; docs/failure-handling.md lists them")]
    StartReason,
    /// It takes no argument.
    #[error("{0} takes nothing after a colon")]
    NoArgument(String),
    /// No such option.
    #[error("no such option; write +progress, +after:DURATION or @DURATION, such as fail:1+progress@5m")]
    NoSuchOption,
    /// Not a duration.
    #[error("write a duration in whole h, m or s, at least 1s, such as 90s or 1h30m")]
    Duration,
    /// An option where the program never runs.
    #[error("the program never runs here, so neither @ nor + goes with it")]
    NeverRuns,
    /// A report that nobody can read.
    #[error("what the program reported is lost with the container, so + does not go with it")]
    ReportIsLost,
    /// How long it runs is known.
    #[error("it runs to its time limit, so @ does not go with it")]
    RunsToItsLimit,
    /// An edit has no report.
    #[error("the program does not run here, so + does not go with it")]
    NoProgram,
    /// Not a number of times.
    #[error("after * write a number from 1 to {MOST_TIMES}, or nothing to repeat the last word until the task ends")]
    Times,
    /// Words after one that never ends.
    #[error("only the last word can be repeated without a number")]
    ForeverBeforeOthers,
    /// For ever, without an attempt.
    #[error("only a word that ends an attempt can be repeated without a number")]
    ForeverWithoutAttempt,
}

impl Script {
    /// Every word but the bare exit codes.
    pub const WORDS: [&str; 25] = [
        "done",
        "fail",
        "error",
        "permanent",
        "oom",
        "storage",
        "timeout",
        "hang",
        "evict",
        "pressure",
        "preempt",
        "delete",
        "lost",
        "unknown",
        "reject",
        "image",
        "config",
        "starterror",
        "init",
        "unreadable",
        "nostart",
        "suspend",
        "cancel",
        "resume",
        "restart",
    ];

    /// How the next attempt ends; takes the word. None when the script has none, or the user is next.
    pub(super) fn next_end(&mut self) -> Option<(Word, Fate)> {
        let What::Ends(fate) = self.0.front()?.0.what.clone() else { return None };
        self.take().map(|word| (word, fate))
    }

    /// What the user does next; takes the word. None when an attempt is next, or nothing.
    pub(super) fn next_edit(&mut self) -> Option<(Word, Edit)> {
        let What::Edit(edit) = self.0.front()?.0.what else { return None };
        self.take().map(|word| (word, edit))
    }

    /// Whether it says how another attempt ends.
    pub(super) fn has_end(&self) -> bool {
        self.0.front().is_some_and(|(word, _)| matches!(word.what, What::Ends(_)))
    }

    /// Whether words are left that stand there for a reason: not for ever.
    pub(super) fn has_unused_words(&self) -> bool {
        self.0.iter().any(|(_, times)| *times != Times::Forever)
    }

    fn take(&mut self) -> Option<Word> {
        let (word, times) = self.0.front_mut()?;
        match times {
            Times::Forever => Some(word.clone()),
            Times::Count(count) if *count > 1 => {
                *count -= 1;
                Some(word.clone())
            }
            Times::Count(_) => self.0.pop_front().map(|(word, _)| word),
        }
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(ScriptError::Empty);
        }
        let written: Vec<_> = text.split(',').map(str::trim).collect();
        let mut words = VecDeque::with_capacity(written.len());
        for (at, one) in written.iter().enumerate() {
            let wrong = |problem| ScriptError::Word { number: at + 1, word: (*one).to_owned(), problem };
            let (word, times) = repeated(one).map_err(wrong)?;
            if times == Times::Forever && at + 1 < written.len() {
                return Err(wrong(Problem::ForeverBeforeOthers));
            }
            words.push_back((word, times));
        }
        Ok(Self(words))
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (word, times)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(&word.text)?;
            match times {
                Times::Count(1) => {}
                Times::Count(count) => write!(f, "*{count}")?,
                Times::Forever => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

fn repeated(text: &str) -> Result<(Word, Times), Problem> {
    let Some((word, times)) = text.split_once('*') else { return Ok((Word::read(text)?, Times::Count(1))) };
    let word = Word::read(word.trim_end())?;
    if times.is_empty() {
        let ends_an_attempt = matches!(word.what, What::Ends(_));
        return if ends_an_attempt { Ok((word, Times::Forever)) } else { Err(Problem::ForeverWithoutAttempt) };
    }
    let count = times.trim().parse().ok().filter(|count| (1..=MOST_TIMES).contains(count)).ok_or(Problem::Times)?;
    Ok((word, Times::Count(count)))
}

impl Word {
    fn read(text: &str) -> Result<Self, Problem> {
        let options = text.find(['+', '@']).unwrap_or(text.len());
        let what = What::read(&text[..options])?;
        let mut word = Self { text: text.to_owned(), what, after: None, has_progress: false, asks_for: None };
        let mut rest = &text[options..];
        while !rest.is_empty() {
            let end = rest[1..].find(['+', '@']).map_or(rest.len(), |end| end + 1);
            word.take_option(&rest[..end])?;
            rest = &rest[end..];
        }
        word.options_go_with_it().map(|()| word)
    }

    fn take_option(&mut self, option: &str) -> Result<(), Problem> {
        if let Some(after) = option.strip_prefix('@') {
            self.after = Some(duration(after)?);
        } else if let Some(asked) = option.strip_prefix("+after:") {
            self.asks_for = Some(duration(asked)?);
        } else if option == "+progress" {
            self.has_progress = true;
        } else {
            return Err(Problem::NoSuchOption);
        }
        Ok(())
    }

    fn options_go_with_it(&self) -> Result<(), Problem> {
        let reports = self.has_progress || self.asks_for.is_some();
        let is_timed = self.after.is_some();
        match &self.what {
            What::Edit(_) if reports => Err(Problem::NoProgram),
            What::Ends(fate) if fate.never_runs() && (reports || is_timed) => Err(Problem::NeverRuns),
            What::Ends(Fate::NodeLost | Fate::Unknown) if reports => Err(Problem::ReportIsLost),
            What::Ends(Fate::TimeLimit) if is_timed => Err(Problem::RunsToItsLimit),
            What::Edit(_) | What::Ends(_) => Ok(()),
        }
    }
}

impl What {
    fn read(text: &str) -> Result<Self, Problem> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(name, argument)| (name, Some(argument)));
        let what = match name {
            "fail" => return exit_code(argument.unwrap_or("1"), 1).map(|code| Self::Ends(Fate::Exit(code))),
            "error" => return error_code(argument).map(|code| Self::error(Some(code), false)),
            "permanent" => {
                let code = argument.map(|_| error_code(argument)).transpose()?;
                return Ok(Self::error(code, true));
            }
            "nostart" => return start_reason(argument).map(|reason| Self::Ends(Fate::NotStarted(reason))),
            "done" => Self::Ends(Fate::Exit(0)),
            "oom" => Self::Ends(Fate::OutOfMemory),
            "storage" => Self::Ends(Fate::StorageLimit),
            "timeout" => Self::Ends(Fate::TimeLimit),
            "hang" => Self::Ends(Fate::Hang),
            "evict" => Self::Ends(Fate::Evicted),
            "pressure" => Self::Ends(Fate::UnderPressure),
            "preempt" => Self::Ends(Fate::Preempted),
            "delete" => Self::Ends(Fate::Deleted),
            "lost" => Self::Ends(Fate::NodeLost),
            "unknown" => Self::Ends(Fate::Unknown),
            "reject" => Self::Ends(Fate::Rejected),
            "image" => Self::Ends(Fate::ImageMissing),
            "config" => Self::Ends(Fate::ConfigMissing),
            "starterror" => Self::Ends(Fate::NotExecutable),
            "init" => Self::Ends(Fate::InitFailed),
            "unreadable" => Self::Ends(Fate::Unreadable),
            "suspend" => Self::Ends(Fate::Stopped(Edit::Suspend)),
            "cancel" => Self::Ends(Fate::Stopped(Edit::Cancel)),
            "resume" => Self::Edit(Edit::Resume),
            "restart" => Self::Edit(Edit::Restart),
            code if code.starts_with(|c: char| c.is_ascii_digit()) => Self::Ends(Fate::Exit(exit_code(code, 0)?)),
            _ => return Err(Problem::NoSuchWord),
        };
        if argument.is_some() { Err(Problem::NoArgument(name.to_owned())) } else { Ok(what) }
    }

    fn error(code: Option<String>, is_permanent: bool) -> Self {
        Self::Ends(Fate::Error { code, is_permanent })
    }
}

impl Fate {
    /// Whether the main container does not come to run.
    pub(super) fn never_runs(&self) -> bool {
        match self {
            Self::Rejected
            | Self::ImageMissing
            | Self::ConfigMissing
            | Self::NotExecutable
            | Self::InitFailed
            | Self::Unreadable
            | Self::NotStarted(_) => true,
            Self::Exit(_)
            | Self::Error { .. }
            | Self::OutOfMemory
            | Self::StorageLimit
            | Self::TimeLimit
            | Self::Hang
            | Self::Evicted
            | Self::UnderPressure
            | Self::Preempted
            | Self::Deleted
            | Self::NodeLost
            | Self::Unknown
            | Self::Stopped(_) => false,
        }
    }
}

fn exit_code(text: &str, lowest: i32) -> Result<i32, Problem> {
    text.parse().ok().filter(|code| (lowest..=255).contains(code)).ok_or(Problem::ExitCode(lowest))
}

fn error_code(text: Option<&str>) -> Result<String, Problem> {
    let is_code = |text: &&str| !text.is_empty() && text.len() <= LONGEST_CODE;
    text.filter(is_code).map(ToOwned::to_owned).ok_or(Problem::ErrorCode)
}

fn start_reason(text: Option<&str>) -> Result<AttemptReason, Problem> {
    let reason: Option<AttemptReason> = text.and_then(|text| text.parse().ok());
    reason.filter(|reason| reason.outcomes().contains(&Outcome::StartFailed)).ok_or(Problem::StartReason)
}

fn duration(text: &str) -> Result<GoDuration, Problem> {
    text.parse().ok().filter(|duration: &GoDuration| duration.as_secs() > 0).ok_or(Problem::Duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Script {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn fates(text: &str, most: usize) -> Vec<Fate> {
        let mut script = read(text);
        std::iter::from_fn(|| script.next_end()).take(most).map(|(_, fate)| fate).collect()
    }

    fn problem(text: &str) -> (usize, String, Problem) {
        match text.parse::<Script>() {
            Err(ScriptError::Word { number, word, problem }) => (number, word, problem),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn words_are_used_up_in_their_order() {
        let expected = [Fate::Exit(1), Fate::Exit(1), Fate::OutOfMemory, Fate::Exit(75), Fate::Exit(0)];
        assert_eq!(fates("fail:1*2, oom ,75,done", 9), expected);
        assert_eq!(fates("fail*", 3), [Fate::Exit(1), Fate::Exit(1), Fate::Exit(1)]);
    }

    #[test]
    fn every_word_is_read_and_none_twice_the_same() {
        let mut seen = Vec::new();
        for name in Script::WORDS {
            let text = match name {
                "error" => "error:X",
                "nostart" => "nostart:StartError",
                plain => plain,
            };
            let what = Word::read(text).unwrap_or_else(|problem| panic!("{text}: {problem}")).what;
            assert!(!seen.contains(&what), "{text}");
            seen.push(what);
        }
    }

    #[test]
    fn options_stand_in_any_order() {
        let one = Word::read("error:Declined+progress@5m+after:30s").expect("a word");
        let other = Word::read("error:Declined@5m+after:30s+progress").expect("a word");
        assert_eq!((&one.what, one.after, one.asks_for), (&other.what, other.after, other.asks_for));
        assert_eq!((one.after, one.asks_for), (Some(GoDuration::from_mins(5)), Some(GoDuration::from_secs(30))));
        assert!(one.has_progress && other.has_progress);
    }

    #[test]
    fn an_edit_waits_for_its_turn() {
        let mut script = read("fail,restart@1h,done");
        assert!(script.has_end() && script.next_edit().is_none());
        assert!(script.next_end().is_some() && !script.has_end());
        assert!(script.next_end().is_none(), "the user is next");
        let (word, edit) = script.next_edit().expect("an edit");
        assert_eq!((edit, word.after), (Edit::Restart, Some(GoDuration::from_hours(1))));
    }

    #[test]
    fn what_is_left_is_shown_as_it_was_written() {
        let mut script = read("fail:1*3,evict@5m,done*");
        script.next_end();
        assert_eq!(script.to_string(), "fail:1*2,evict@5m,done*");
        assert!(script.has_unused_words() && !read("fail*").has_unused_words());
    }

    #[test]
    fn a_wrong_word_is_named_with_what_is_allowed() {
        for (text, number, word, expected) in [
            ("done,crash", 2, "crash", Problem::NoSuchWord),
            ("done,,done", 2, "", Problem::NoSuchWord),
            ("-1", 1, "-1", Problem::NoSuchWord),
            ("Done", 1, "Done", Problem::NoSuchWord),
            ("256", 1, "256", Problem::ExitCode(0)),
            ("fail:0", 1, "fail:0", Problem::ExitCode(1)),
            ("fail:x", 1, "fail:x", Problem::ExitCode(1)),
            ("error", 1, "error", Problem::ErrorCode),
            ("error:", 1, "error:", Problem::ErrorCode),
            ("permanent:", 1, "permanent:", Problem::ErrorCode),
            ("nostart", 1, "nostart", Problem::StartReason),
            ("nostart:OOMKilled", 1, "nostart:OOMKilled", Problem::StartReason),
            ("nostart:Bored", 1, "nostart:Bored", Problem::StartReason),
            ("nostart:StartError@5m", 1, "nostart:StartError@5m", Problem::NeverRuns),
            ("oom:137", 1, "oom:137", Problem::NoArgument("oom".into())),
            ("fail:1+checkpoint", 1, "fail:1+checkpoint", Problem::NoSuchOption),
            ("fail:1+after", 1, "fail:1+after", Problem::NoSuchOption),
            ("fail@3d", 1, "fail@3d", Problem::Duration),
            ("fail@0s", 1, "fail@0s", Problem::Duration),
            ("image@5m", 1, "image@5m", Problem::NeverRuns),
            ("reject+progress", 1, "reject+progress", Problem::NeverRuns),
            ("unreadable+progress", 1, "unreadable+progress", Problem::NeverRuns),
            ("lost+progress", 1, "lost+progress", Problem::ReportIsLost),
            ("timeout@5m", 1, "timeout@5m", Problem::RunsToItsLimit),
            ("resume+progress", 1, "resume+progress", Problem::NoProgram),
            ("fail*0", 1, "fail*0", Problem::Times),
            ("fail*x", 1, "fail*x", Problem::Times),
            ("fail*2*2", 1, "fail*2*2", Problem::Times),
            ("fail*,done", 1, "fail*", Problem::ForeverBeforeOthers),
            ("done,restart*", 2, "restart*", Problem::ForeverWithoutAttempt),
        ] {
            assert_eq!(problem(text), (number, word.to_owned(), expected), "{text}");
        }
        assert_eq!(" ".parse::<Script>(), Err(ScriptError::Empty));
    }

    #[test]
    fn the_message_says_which_word_and_what_to_write() {
        let message = |text: &str| text.parse::<Script>().expect_err("wrong").to_string();
        assert!(
            message("done,crash").starts_with("word 2, \"crash\": no such word; write an exit code, or one of done, ")
        );
        assert_eq!(message("fail:0"), "word 1, \"fail:0\": an exit code is a number from 1 to 255");
        assert_eq!(message("oom:1"), "word 1, \"oom:1\": oom takes nothing after a colon");
    }
}
