//! What the agent does all day: look at the report file, leave its word, have the newest posted.

use std::{
    future::{self, Future},
    io,
    time::Duration,
};

use longtask_contract::agent::Settings;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    clock::Clock,
    files::Files,
    kept::Kept,
    mailbox::Mailbox,
    office::{Courier, Known, Newest, Office},
    report_file::{Look, ReportFile},
};

/// The time between two looks at the report file.
const LOOK: Duration = Duration::from_secs(1);

/// The agent of a pod.
pub(crate) struct Agent {
    settings: Settings,
    files: Files,
    clock: Clock,
    report_file: ReportFile,
    mailbox: Mailbox,
    newest: watch::Sender<Newest>,
    /// The revision that the last word has.
    left: Option<i64>,
    /// The last complaint about the files, so that one that lasts is logged once.
    complaint: Option<String>,
}

impl Agent {
    /// An agent that goes on where the one before it was.
    pub(crate) fn new(settings: Settings, files: Files, clock: Clock) -> Self {
        let kept = files.kept().unwrap_or_else(|error| {
            warn!(%error, "what the agent before kept cannot be read");
            None
        });
        let kept: Kept = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self {
            report_file: ReportFile::new(files.report.clone(), kept.position.clone()),
            mailbox: Mailbox::of(&kept),
            settings,
            files,
            clock,
            newest: watch::Sender::new(Newest::default()),
            left: None,
            complaint: None,
        }
    }

    /// Passes on what the program reports, until SIGTERM.
    pub(crate) async fn run(self, courier: Option<impl Courier>) {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                let terminated = async move {
                    terminate.recv().await;
                };
                self.run_until(courier, terminated).await;
            }
            Err(error) => error!(%error, "signals cannot be received: nothing is passed on"),
        }
    }

    /// Passes on what the program reports, until then.
    pub(crate) async fn run_until(mut self, courier: Option<impl Courier>, terminated: impl Future<Output = ()>) {
        // Before the first post, so that the first is of something.
        self.look(ReportFile::look);
        let office =
            self.settings.posts.as_ref().zip(courier).map(|(settings, courier)| Office::new(settings, courier));
        let newest = self.newest.subscribe();
        let (delivering, known) = match office {
            Some((office, known)) => (Some(office.deliver(newest)), Some(known)),
            None => (None, None),
        };
        let delivering = async {
            match delivering {
                Some(delivering) => delivering.await,
                None => future::pending().await,
            }
        };
        select! {
            () = delivering => {}
            () = self.work(known, terminated) => {}
        }
    }

    async fn work(mut self, known: Option<watch::Receiver<Known>>, terminated: impl Future<Output = ()>) {
        info!("at work");
        let (mut looks, mut looked) = (interval(LOOK), Instant::now());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(terminated);
        loop {
            select! {
                biased;
                () = &mut terminated => break,
                _ = looks.tick() => {
                    let now = Instant::now();
                    self.mailbox.wait(now - looked);
                    looked = now;
                    self.look(ReportFile::look);
                }
            }
        }
        self.look(ReportFile::last_look);
        self.until_result_is_known(known).await;
        // The kubelet may stop the agent a second before a program that has used up its grace.
        self.look(ReportFile::last_look);
        info!("ended");
    }

    /// Looks at the report file, and passes on what is new.
    fn look(&mut self, look: impl FnOnce(&mut ReportFile) -> io::Result<Look>) {
        let now = self.clock.now();
        match look(&mut self.report_file) {
            Ok(look) => {
                if let Some(problem) = &look.problem {
                    warn!(problem, "a report cannot be used");
                }
                self.mailbox.take(&look, now);
            }
            Err(error) => self.complain(format!("the report file cannot be read: {error}")),
        }
        if self.left != Some(self.mailbox.revision()) {
            self.leave_word();
        }
        self.newest.send_modify(|newest| newest.post = self.mailbox.post(now));
    }

    /// Writes the last word, and what the next agent needs.
    fn leave_word(&mut self) {
        let word = self.mailbox.last_word(self.settings.word_bytes);
        let kept = serde_json::to_vec(&self.mailbox.kept(self.report_file.position().clone())).unwrap_or_default();
        let left = self.files.write_last_word(&word).and_then(|()| self.files.keep(&kept));
        match left {
            Ok(()) => self.left = Some(self.mailbox.revision()),
            Err(error) => self.complain(format!("the last word cannot be written: {error}")),
        }
    }

    /// Waits until the operator has a result that the last word has no room for, at the longest until the pod's grace
    /// ends. Everything else the last word says as well.
    async fn until_result_is_known(&mut self, known: Option<watch::Receiver<Known>>) {
        let (Some(result), Some(mut known)) = (self.mailbox.held_back(self.settings.word_bytes), known) else { return };
        let grace = self.settings.posts.as_ref().map_or(0, |posts| posts.grace_seconds);
        self.newest.send_modify(|newest| newest.is_last = true);
        let is_known = |known: &Known| known.is_superseded || known.revision >= Some(result.revision);
        if timeout(Duration::from_secs(grace.into()), known.wait_for(is_known)).await.is_err() {
            warn!(
                bytes = result.bytes,
                "the operator did not take the result in time: the next attempt has to report it again"
            );
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            warn!("{complaint}");
            self.complaint = Some(complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        io::Write,
    };

    use longtask_contract::{
        agent::LastWord,
        report::{Report, ReportedProgress, Via},
    };
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::time::sleep;

    use super::*;
    use crate::office::{
        Posted,
        tests::{Answers, settings},
    };

    struct Pod {
        folder: TempDir,
        files: Files,
    }

    impl Pod {
        fn new() -> Self {
            let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
            let run = folder.path().join("run");
            let files = Files::at(&run, run.join("report"), folder.path().join("word"));
            files.prepare().expect("made");
            Self { folder, files }
        }

        fn report(&self, line: &str) {
            let mut file = OpenOptions::new().append(true).open(&self.files.report).expect("it is there");
            file.write_all(line.as_bytes()).expect("written");
        }

        fn last_word(&self) -> LastWord {
            let message = fs::read_to_string(self.folder.path().join("word")).expect("a last word");
            LastWord::read(&message).expect("of the agent")
        }

        /// Runs an agent for as long as the story goes on.
        async fn run_agent(&self, answers: Answers, story: impl Future<Output = ()>) {
            let clock = {
                let begun = Instant::now();
                Clock::from_fn(move || {
                    let elapsed = begun.elapsed().as_millis().try_into().expect("not so long");
                    jiff::Timestamp::from_millisecond(1_000_000_000_000_i64.saturating_add(elapsed)).expect("in range")
                })
            };
            let settings = Settings { version: 1, word_bytes: 4096, posts: Some(settings()) };
            Agent::new(settings, self.files.clone(), clock).run_until(Some(answers), story).await;
        }
    }

    async fn seconds(seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    fn large_result() -> String {
        format!("{}\n", json!({ "result": { "data": "x".repeat(8000) } }))
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_program_reports_is_in_the_last_word_and_in_a_post() {
        let (pod, answers) = (Pod::new(), Answers::of([]));
        pod.run_agent(answers.clone(), async {
            seconds(3).await;
            pod.report("{\"progress\":{\"completed\":1}}\n");
            seconds(2).await;
            assert_eq!(pod.last_word().lines, "{\"progress\":{\"completed\":1}}\n");
            seconds(20).await;
            pod.report("{\"progress\":{\"completed\":2}}");
        })
        .await;
        let progress = Report::read(&pod.last_word().lines, Via::Agent).progress;
        assert_eq!(
            progress,
            Some(ReportedProgress { completed: Some(2), ..ReportedProgress::default() }),
            "without newline"
        );
        let posts = answers.posts.borrow();
        assert_eq!(posts.len(), 2, "{posts:?}");
        assert_eq!((posts[0].1.lines.as_str(), posts[1].1.lines.as_str()), ("", "{\"progress\":{\"completed\":1}}\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn sixty_four_kib_of_lines_at_once_end_as_their_newest_fields() {
        let (pod, answers) = (Pod::new(), Answers::of([]));
        pod.run_agent(answers, async {
            seconds(2).await;
            for number in 0..1500 {
                pod.report(&format!("{{\"checkpoint\":{{\"n\":{number}}},\"progress\":{{\"completed\":{number}}}}}\n"));
            }
            seconds(2).await;
        })
        .await;
        assert_eq!(pod.last_word().lines, "{\"checkpoint\":{\"n\":1499},\"progress\":{\"completed\":1499}}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_was_killed_is_followed_by_one_that_knows_as_much() {
        let pod = Pod::new();
        let killed = async {
            pod.run_agent(Answers::of([]), async {
                pod.report("{\"checkpoint\":{\"n\":1},\"progress\":{\"completed\":1}}\n");
                future::pending::<()>().await;
            })
            .await;
        };
        assert!(timeout(Duration::from_secs(5), killed).await.is_err());
        let word = pod.last_word();
        pod.report("{\"error\":{\"code\":\"X\"}}\n");
        pod.run_agent(Answers::of([]), seconds(2)).await;
        let next = pod.last_word();
        assert_eq!(next.lines, format!("{}{{\"error\":{{\"code\":\"X\"}}}}\n", word.lines));
        assert!(next.header.revision > word.header.revision);
        assert_eq!(next.header.checkpoint_time, word.header.checkpoint_time);
    }

    #[tokio::test(start_paused = true)]
    async fn the_agent_stays_until_the_operator_has_a_result_that_the_last_word_lacks() {
        let (pod, begun) = (Pod::new(), Instant::now());
        let answers = Answers::of([Posted::Taken(crate::office::tests::ANSWER), Posted::Later(Duration::from_secs(3))]);
        pod.run_agent(answers.clone(), async {
            seconds(2).await;
            pod.report(&large_result());
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 5, "it was asked to wait for 3 seconds");
        let posts = answers.posts.borrow();
        assert!(posts.last().is_some_and(|(_, post)| post.lines.len() > 8000), "{:?}", answers.seen());
        assert!(pod.last_word().header.result.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_agent_goes_at_the_end_of_the_grace_or_when_nobody_wants_the_result() {
        for (answer, longest) in [(Posted::Failed("refused".into()), 10), (Posted::Superseded, 2)] {
            let (pod, begun) = (Pod::new(), Instant::now());
            pod.run_agent(Answers::of(vec![answer; 1000]), async {
                seconds(2).await;
                pod.report(&large_result());
            })
            .await;
            assert_eq!(begun.elapsed().as_secs(), longest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_result_that_is_held_back_the_agent_goes_at_once() {
        let (pod, begun) = (Pod::new(), Instant::now());
        pod.run_agent(Answers::of(vec![Posted::Failed("refused".into()); 1000]), async {
            seconds(2).await;
            pod.report("{\"result\":{\"n\":1},\"done\":true}\n");
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        assert_eq!(pod.last_word().lines, "{\"done\":true}\n{\"result\":{\"n\":1}}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_silent_is_said_to_be_in_the_next_post() {
        let (pod, answers) = (Pod::new(), Answers::of([]));
        pod.run_agent(answers.clone(), seconds(70)).await;
        let silent: Vec<_> = answers.posts.borrow().iter().map(|(_, post)| post.silent_seconds).collect();
        assert_eq!(silent.len(), 2);
        assert!(silent[0] == 0 && (58..=60).contains(&silent[1]), "{silent:?}");
    }
}
