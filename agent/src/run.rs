//! What the agent does all day: look at the report file, leave its word, have the newest posted, and what the program names
//! saved.

use std::{
    future::{self, Future},
    io,
    time::Duration,
};

use jiff::Timestamp;
use longtask_contract::agent::Settings;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tracing::{error, info, warn};

use crate::{
    clock::Clock,
    files::Files,
    kept::Kept,
    mailbox::Mailbox,
    office::{Courier, Known, Newest, Office},
    report_file::{Look, ReportFile},
    store::saver::{Demand, Saver, Standing},
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
    demand: watch::Sender<Demand>,
    /// The checkpoint that the program was told of as safe.
    told: Option<String>,
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
            mailbox: Mailbox::of(&kept, settings.store.is_some()),
            settings,
            files,
            clock,
            newest: watch::Sender::new(Newest::default()),
            demand: watch::Sender::new(Demand::default()),
            told: None,
            left: None,
            complaint: None,
        }
    }

    /// Passes on what the program reports, and saves what it names, until SIGTERM.
    pub(crate) async fn run(self, courier: Option<impl Courier>, saver: Option<Saver>) {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                let terminated = async move {
                    terminate.recv().await;
                };
                self.run_until(courier, saver, terminated).await;
            }
            Err(error) => error!(%error, "signals cannot be received: nothing is passed on"),
        }
    }

    /// Passes on what the program reports, and saves what it names, until then.
    pub(crate) async fn run_until(
        mut self,
        courier: Option<impl Courier>,
        saver: Option<Saver>,
        terminated: impl Future<Output = ()>,
    ) {
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
        let (standing, seen) = watch::channel(Standing::default());
        let (demand, of_known) = (self.demand.subscribe(), known.clone());
        let saving = async move {
            // Without a saver, the sender is kept: nothing ever comes of it.
            let _kept = standing.clone();
            if let Some(saver) = saver {
                saver.run(demand, standing, of_known).await;
            }
            future::pending::<()>().await;
        };
        select! {
            () = delivering => {}
            () = saving => {}
            () = self.work(known, seen, terminated) => {}
        }
    }

    async fn work(
        mut self,
        known: Option<watch::Receiver<Known>>,
        mut standing: watch::Receiver<Standing>,
        terminated: impl Future<Output = ()>,
    ) {
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
                Ok(()) = standing.changed() => {
                    let now = standing.borrow_and_update().clone();
                    self.take_standing(now, false);
                }
            }
        }
        self.end(known, standing, looks).await;
        info!("ended");
    }

    /// Uses what is left of the pod's grace for what is not safe yet. The kubelet ends it, if it takes too long.
    async fn end(
        &mut self,
        known: Option<watch::Receiver<Known>>,
        mut standing: watch::Receiver<Standing>,
        mut looks: Interval,
    ) {
        let deadline = Instant::now() + self.grace();
        self.demand.send_modify(|demand| demand.is_last = true);
        self.look(ReportFile::last_look);
        self.until_saved(known.clone(), &mut standing, &mut looks, deadline).await;
        self.until_result_is_known(known.clone(), deadline).await;
        // The kubelet may stop the agent a second before a program that has used up its grace.
        self.look(ReportFile::last_look);
        self.until_saved(known, &mut standing, &mut looks, deadline).await;
    }

    fn grace(&self) -> Duration {
        let of_posts = self.settings.posts.as_ref().map(|posts| posts.grace_seconds);
        let of_store = self.settings.store.as_ref().map(|store| store.grace_seconds);
        Duration::from_secs(of_posts.max(of_store).unwrap_or_default().into())
    }

    /// Waits until everything that the program has named is saved, unless nobody waits for it any more.
    async fn until_saved(
        &mut self,
        known: Option<watch::Receiver<Known>>,
        standing: &mut watch::Receiver<Standing>,
        looks: &mut Interval,
        deadline: Instant,
    ) {
        let superseded = Known::until_superseded(known);
        tokio::pin!(superseded);
        while let Some(wanted) = self.mailbox.wanted().cloned() {
            let now = standing.borrow_and_update().clone();
            self.take_standing(now, true);
            if self.mailbox.wanted() != Some(&wanted) {
                continue;
            }
            select! {
                biased;
                () = &mut superseded => return,
                () = sleep_until(deadline) => {
                    warn!(path = wanted.path, "there was not enough time to save it: report earlier, or raise the grace");
                    return;
                }
                Ok(()) = standing.changed() => {}
                _ = looks.tick() => self.look(ReportFile::look),
            }
        }
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
        self.pass_on(now);
    }

    /// Takes what the saver has come to. At the end, also a failure is told that may be over in a moment.
    fn take_standing(&mut self, standing: Standing, is_end: bool) {
        let now = self.clock.now();
        let failing = standing.failing.filter(|_| is_end);
        self.mailbox.take_save_report(failing.or(standing.report), now);
        if let Some((saved, checkpoint)) = standing.saved {
            self.mailbox.take_saved(&saved, &checkpoint, now);
        }
        self.pass_on(now);
    }

    fn pass_on(&mut self, now: Timestamp) {
        if self.left != Some(self.mailbox.revision()) {
            self.leave_word();
        }
        if self.left == Some(self.mailbox.revision()) {
            self.tell_saved();
        }
        self.newest.send_modify(|newest| newest.post = self.mailbox.post(now));
        let wanted = self.mailbox.wanted();
        self.demand.send_if_modified(|demand| {
            let is_new = demand.wanted.as_ref() != wanted;
            if is_new {
                demand.wanted = wanted.cloned();
            }
            is_new
        });
    }

    /// Tells the program what is safe, once the last word has it: what is older may be deleted from then on.
    fn tell_saved(&mut self) {
        let Some(path) = self.mailbox.safe_path().filter(|path| self.told.as_deref() != Some(path)) else { return };
        let path = path.to_owned();
        match self.files.tell_saved(&path) {
            Ok(()) => self.told = Some(path),
            Err(error) => self.complain(format!("the program cannot be told what is saved: {error}")),
        }
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
    async fn until_result_is_known(&mut self, known: Option<watch::Receiver<Known>>, deadline: Instant) {
        let (Some(result), Some(mut known)) = (self.mailbox.held_back(self.settings.word_bytes), known) else { return };
        self.newest.send_modify(|newest| newest.is_last = true);
        let is_known = |known: &Known| known.is_superseded || known.revision >= Some(result.revision);
        if timeout_at(deadline, known.wait_for(is_known)).await.is_err() {
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
        sync::Arc,
    };

    use futures::StreamExt;
    use longtask_contract::{
        agent::{LastWord, SaveTrouble, StoreSettings},
        report::{Report, ReportedCheckpoint, ReportedProgress, Via},
    };
    use object_store::memory::InMemory;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{
        office::{
            Posted,
            tests::{ANSWER, Answers, settings},
        },
        store::open::Opened,
    };

    struct Pod {
        folder: TempDir,
        files: Files,
    }

    impl Pod {
        fn new() -> Self {
            let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
            let run = folder.path().join("run");
            let files = Files::at(run, folder.path().join("word"));
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
            let settings = Settings { version: 1, word_bytes: 4096, posts: Some(settings()), store: None };
            Agent::new(settings, self.files.clone(), clock()).run_until(Some(answers), None, story).await;
        }
    }

    /// A clock that goes with the test's time.
    fn clock() -> Clock {
        let begun = Instant::now();
        Clock::from_fn(move || {
            let elapsed = begun.elapsed().as_millis().try_into().expect("not so long");
            Timestamp::from_millisecond(1_000_000_000_000_i64.saturating_add(elapsed)).expect("in range")
        })
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
        let answers = Answers::of([Posted::Taken(ANSWER), Posted::Later(Duration::from_secs(3))]);
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

    /// What a pod with a store in memory is told.
    fn with_store(pod: &Pod) -> (Settings, Saver, Opened) {
        let store = StoreSettings {
            url: "s3://bucket".into(),
            directory: pod.folder.path().to_str().expect("UTF-8").into(),
            namespace: "ml".into(),
            name: "train".into(),
            uid: "uid-1".into(),
            attempt: 3,
            grace_seconds: 8,
            ..StoreSettings::default()
        };
        let opened = Opened { store: Arc::new(InMemory::new()), prefix: object_store::path::Path::default() };
        let of_saver = opened.clone();
        let saver = Saver::with(&store, "1a2b3c4d", &clock(), move || Ok(of_saver.clone()));
        (Settings { version: 1, word_bytes: 4096, posts: Some(settings()), store: Some(store) }, saver, opened)
    }

    fn told_path(lines: &str) -> Option<String> {
        match Report::read(lines, Via::Agent).checkpoint {
            Some(ReportedCheckpoint::Reference { path, .. }) => path,
            _ => None,
        }
    }

    fn write_checkpoint(pod: &Pod, path: &str) {
        fs::create_dir(pod.folder.path().join(path)).expect("made");
        fs::write(pod.folder.path().join(path).join("x"), path).expect("written");
        pod.report(&format!("{{\"checkpoint\":{{\"path\":\"{path}\"}}}}\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_saved_is_told_to_the_program_in_a_post_and_in_the_last_word() {
        let (pod, answers) = (Pod::new(), Answers::of([]));
        let (settings, saver, _) = with_store(&pod);
        let agent = Agent::new(settings.clone(), pod.files.clone(), clock());
        agent
            .run_until(Some(answers.clone()), Some(saver), async {
                seconds(2).await;
                write_checkpoint(&pod, "step-1");
                seconds(2).await;
                assert_eq!(fs::read_to_string(&pod.files.saved).expect("told"), "{\"path\":\"step-1\"}\n");
                assert_eq!(told_path(&pod.last_word().lines).as_deref(), Some("step-1"));
                seconds(20).await;
            })
            .await;
        let last = answers.posts.borrow().last().cloned().expect("a post").1;
        assert_eq!(told_path(&last.lines).as_deref(), Some("step-1"));
        assert_eq!(last.save.map(|save| (save.path, save.error)), Some(("step-1".into(), None)));
        // The next agent tells the program again: this one may have been killed before it could.
        fs::remove_file(&pod.files.saved).expect("removed");
        let (_, saver, _) = with_store(&pod);
        Agent::new(settings, pod.files.clone(), clock()).run_until(Some(answers), Some(saver), seconds(1)).await;
        assert_eq!(fs::read_to_string(&pod.files.saved).expect("told"), "{\"path\":\"step-1\"}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_program_names_at_its_end_is_saved_before_the_agent_goes() {
        let (pod, begun) = (Pod::new(), Instant::now());
        let (settings, saver, _) = with_store(&pod);
        let agent = Agent::new(settings, pod.files.clone(), clock());
        agent
            .run_until(None::<Answers>, Some(saver), async {
                seconds(2).await;
                write_checkpoint(&pod, "last");
            })
            .await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert_eq!(told_path(&pod.last_word().lines).as_deref(), Some("last"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_saved_is_tried_until_the_grace_ends_and_told() {
        for (posted, longest) in [(Posted::Taken(ANSWER), 10), (Posted::Superseded, 2)] {
            let (pod, begun) = (Pod::new(), Instant::now());
            let (settings, saver, opened) = with_store(&pod);
            let agent = Agent::new(settings, pod.files.clone(), clock());
            agent
                .run_until(Some(Answers::of(vec![posted; 100])), Some(saver), async {
                    seconds(2).await;
                    pod.report("{\"checkpoint\":{\"path\":\"not there\"}}\n");
                })
                .await;
            assert_eq!(begun.elapsed().as_secs(), longest);
            let word = pod.last_word();
            assert_eq!(told_path(&word.lines), None);
            let reason = word.header.save.and_then(|save| save.error).map(|error| error.reason);
            assert_eq!(reason, (longest > 2).then_some(SaveTrouble::NoSuchPath));
            assert!(opened.store.list(None).next().await.is_none(), "nothing is stored");
        }
    }
}
