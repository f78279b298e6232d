//! What the program has said so far, and how long it has been silent. Pure: the time is given.

use std::time::Duration;

use jiff::Timestamp;
use longtask_contract::{
    agent::{Header, HeldBack, LastWord, Post, SaveReport},
    report::{Reader, Report, ReportedCheckpoint, Via},
    types::{
        GoDuration,
        time::{after, seconds_between},
    },
};

use crate::{
    kept::Kept,
    report_file::{Look, Position},
    store::saver::Wanted,
};

/// The longest that one tick counts as silence. A pod that was frozen, or a node that was asleep, has not hung.
const LONGEST_TICK: Duration = Duration::from_secs(2);
/// The most problems of an earlier agent's time that are kept.
const MOST_PROBLEMS: usize = 20;

/// What the program has said so far.
#[derive(Debug)]
pub(crate) struct Mailbox {
    has_store: bool,
    reader: Reader,
    /// What the program has reported, as of the newest revision.
    report: Report,
    /// The newest checkpoint that is safe: the one that is told.
    safe: Option<ReportedCheckpoint>,
    /// When it was reported.
    checkpoint_time: Option<Timestamp>,
    /// The newest checkpoint that has to be saved first.
    wanted: Option<Wanted>,
    /// How many checkpoints were reported.
    checkpoints: u64,
    /// Which of them is the safe one.
    safe_order: u64,
    save: Option<SaveReport>,
    revision: i64,
    /// The number of the newest post.
    number: i64,
    result_revision: Option<i64>,
    silent: Duration,
    /// Problems that the reader does not know of.
    problems: Vec<String>,
}

impl Mailbox {
    /// As the agent before left it. With a store, a checkpoint that is nothing but a path is told when it is saved.
    pub(crate) fn of(kept: &Kept, has_store: bool) -> Self {
        let mut reader = Reader::new(Via::Agent);
        reader.take(&kept.lines);
        let report = reader.report();
        let safe = if has_store { Report::read(&kept.safe, Via::Agent).checkpoint } else { report.checkpoint.clone() };
        let path = report.checkpoint.as_ref().and_then(ReportedCheckpoint::unsaved_path);
        let wanted = path.zip(kept.wanted_since).map(|(path, time)| Wanted { path: path.to_owned(), order: 1, time });
        Self {
            has_store,
            report,
            safe,
            checkpoint_time: kept.checkpoint_time,
            wanted,
            checkpoints: 1,
            safe_order: 0,
            save: None,
            reader,
            revision: kept.revision,
            number: kept.revision,
            result_revision: kept.result_revision,
            silent: Duration::ZERO,
            problems: kept.problems.clone(),
        }
    }

    /// What the next agent needs.
    pub(crate) fn kept(&self, position: Position) -> Kept {
        Kept {
            position,
            revision: self.revision,
            result_revision: self.result_revision,
            checkpoint_time: self.checkpoint_time,
            safe: Report { checkpoint: self.safe.clone(), ..Report::default() }.written(usize::MAX).lines,
            wanted_since: self.wanted.as_ref().map(|wanted| wanted.time),
            lines: self.report.written(usize::MAX).lines + &self.quiet_line(),
            problems: self.all_problems(),
        }
    }

    /// Without it, the next agent would take a silence that was announced for a hang.
    fn quiet_line(&self) -> String {
        self.report.quiet.map(|quiet| format!("{{\"quiet\":{}}}\n", quiet.as_secs())).unwrap_or_default()
    }

    /// Counts time in which the program may have been silent.
    pub(crate) fn wait(&mut self, elapsed: Duration) {
        self.silent = self.silent.saturating_add(elapsed.min(LONGEST_TICK));
    }

    /// Takes what a look at the report file found.
    pub(crate) fn take(&mut self, look: &Look, now: Timestamp) {
        // By the clock as well, for the same reason as the revision.
        self.number = now.as_millisecond().max(self.number.saturating_add(1));
        if look.is_sign_of_life || !look.lines.is_empty() {
            self.silent = Duration::ZERO;
        }
        // A touch as well ends what the program said of its silence: to the reader it is an empty line.
        if !look.lines.is_empty() {
            self.reader.take(&look.lines);
        } else if look.is_sign_of_life {
            self.reader.take("\n");
        }
        self.problems.extend(look.problem.clone().filter(|problem| !self.problems.contains(problem)));
        let report = self.reader.report();
        if report != self.report || look.problem.is_some() {
            self.adopt(report, now);
        }
    }

    /// There is something new: a revision of its own. By the clock, so that it also grows over what an agent told that was
    /// not kept; but never backwards, when the clock is set back.
    fn adopt(&mut self, report: Report, now: Timestamp) {
        self.revise(now);
        if report.result != self.report.result {
            self.result_revision = Some(self.revision);
        }
        if report.checkpoint != self.report.checkpoint {
            self.take_checkpoint(report.checkpoint.as_ref(), after(now, 0));
        }
        self.report = report;
    }

    fn revise(&mut self, now: Timestamp) {
        self.revision = now.as_millisecond().max(self.revision.saturating_add(1));
    }

    fn take_checkpoint(&mut self, checkpoint: Option<&ReportedCheckpoint>, time: Timestamp) {
        self.checkpoints += 1;
        if let Some(path) = checkpoint.and_then(ReportedCheckpoint::unsaved_path).filter(|_| self.has_store) {
            self.wanted = Some(Wanted { path: path.to_owned(), order: self.checkpoints, time });
        } else {
            (self.safe, self.checkpoint_time) = (checkpoint.cloned(), Some(time));
            (self.safe_order, self.wanted) = (self.checkpoints, None);
        }
    }

    /// The newest checkpoint that has to be saved; none if it is.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// The path of the newest checkpoint that is saved.
    pub(crate) fn safe_path(&self) -> Option<&str> {
        match &self.safe {
            Some(ReportedCheckpoint::Reference { path, .. }) if self.has_store => path.as_deref(),
            _ => None,
        }
    }

    /// A checkpoint is safe. Returns whether it is the newest one that is.
    pub(crate) fn take_saved(&mut self, saved: &Wanted, checkpoint: &ReportedCheckpoint, now: Timestamp) -> bool {
        if saved.order <= self.safe_order {
            return false;
        }
        self.revise(now);
        (self.safe, self.safe_order) = (Some(checkpoint.clone()), saved.order);
        self.checkpoint_time = Some(saved.time);
        self.wanted.take_if(|wanted| wanted.order <= saved.order);
        true
    }

    /// How it goes with the newest save. News if it goes otherwise than before, not if it only takes longer.
    pub(crate) fn take_save_report(&mut self, save: Option<SaveReport>, now: Timestamp) {
        let told = |save: &Option<SaveReport>| {
            save.as_ref().map(|save| (save.path.clone(), save.error.as_ref().map(|error| error.reason)))
        };
        if told(&save) != told(&self.save) {
            self.revise(now);
        }
        self.save = save;
    }

    /// What is told: the report of the program, with the newest checkpoint that is safe.
    fn told(&self) -> Report {
        Report { checkpoint: self.safe.clone(), ..self.report.clone() }
    }

    /// The number of the newest word; it grows with everything new.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// What is posted.
    pub(crate) fn post(&self, now: Timestamp) -> Post {
        let limit = if self.report.result.is_some() { Post::LONGEST_LINES_WITH_RESULT } else { Post::LONGEST_LINES };
        Post {
            revision: self.revision,
            number: self.number,
            silent_seconds: self.silent.as_secs().try_into().unwrap_or(i64::MAX),
            quiet_seconds: self.report.quiet.map(GoDuration::as_secs),
            checkpoint_age_seconds: self.checkpoint_time.map(|time| seconds_between(time, now).max(0)),
            lines: self.told().written(limit).lines,
            save: self.save.clone(),
        }
    }

    /// What is left behind as a termination message of at most `limit` bytes.
    pub(crate) fn last_word(&self, limit: usize) -> String {
        let header = Header {
            bytes: 0,
            revision: self.revision,
            checkpoint_time: self.checkpoint_time,
            save: self.save.clone(),
            result: self.result(),
            problems: self.all_problems(),
        };
        let told = self.told();
        LastWord::write(header, limit, |room| told.written(room).lines)
    }

    /// The result, if the last word has no room for it: somebody has to take it before the agent goes.
    pub(crate) fn held_back(&self, limit: usize) -> Option<HeldBack> {
        self.result().filter(|_| !has_result(&self.last_word(limit)))
    }

    fn result(&self) -> Option<HeldBack> {
        let bytes = self.report.result.as_ref()?.to_string().len();
        Some(HeldBack { bytes, revision: self.result_revision.unwrap_or(self.revision) })
    }

    /// What could not be used: the newest may be many.
    fn all_problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        for problem in &self.report.problems {
            if !problems.contains(problem) {
                problems.push(problem.clone());
            }
        }
        problems.truncate(MOST_PROBLEMS);
        problems
    }
}

fn has_result(word: &str) -> bool {
    LastWord::read(word).is_some_and(|word| Report::read(&word.lines, Via::Agent).result.is_some())
}

#[cfg(test)]
mod tests {
    use longtask_contract::agent::{SaveError, SaveTrouble};
    use serde_json::json;

    use super::*;

    const LIMIT: usize = 4096;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    fn found(lines: &str) -> Look {
        Look { lines: lines.into(), is_sign_of_life: true, problem: None }
    }

    fn new() -> Mailbox {
        Mailbox::of(&Kept::default(), false)
    }

    #[test]
    fn what_is_new_has_a_revision_of_its_own_and_what_is_not_has_none() {
        let mut mailbox = new();
        mailbox.take(&found("{\"progress\":{\"completed\":1}}\n"), at(1));
        let first = mailbox.revision();
        assert_eq!(first, at(1).as_millisecond());
        mailbox.take(&found("{\"progress\":{\"completed\":1}}\n"), at(2));
        mailbox.take(&Look::default(), at(3));
        mailbox.take(&found(""), at(4));
        assert_eq!(mailbox.revision(), first, "said again, silent, touched");
        mailbox.take(&found("{\"progress\":{\"completed\":2}}\n"), at(-500));
        assert_eq!(mailbox.revision(), first + 1, "the clock was set back");
    }

    #[test]
    fn a_post_that_says_the_same_has_a_higher_number_also_from_the_next_agent() {
        let mut mailbox = new();
        mailbox.take(&found("{\"progress\":{\"completed\":1}}\n"), at(1));
        let first = mailbox.post(at(1)).number;
        mailbox.take(&Look::default(), at(2));
        mailbox.take(&Look::default(), at(-500));
        let second = mailbox.post(at(2)).number;
        let mut next = Mailbox::of(&mailbox.kept(Position::default()), false);
        next.take(&Look::default(), at(3));
        assert!(first < second && second < next.post(at(3)).number, "{first} {second}");
    }

    #[test]
    fn silence_ends_with_every_line_and_touch_and_a_frozen_pod_is_not_silent() {
        let mut mailbox = new();
        let silent = |mailbox: &Mailbox| mailbox.post(at(0)).silent_seconds;
        for _ in 0..5 {
            mailbox.wait(Duration::from_secs(1));
        }
        assert_eq!(silent(&mailbox), 5);
        mailbox.wait(Duration::from_mins(5));
        assert_eq!(silent(&mailbox), 7, "it was frozen for five minutes");
        mailbox.take(&Look::default(), at(0));
        assert_eq!(silent(&mailbox), 7);
        mailbox.take(&found(""), at(0));
        assert_eq!(silent(&mailbox), 0);
        mailbox.wait(Duration::from_secs(1));
        mailbox.take(&found("a text\n"), at(0));
        assert_eq!(silent(&mailbox), 0);
    }

    #[test]
    fn quiet_holds_until_the_next_sign_of_life() {
        let mut mailbox = new();
        let quiet = |mailbox: &Mailbox| mailbox.post(at(0)).quiet_seconds;
        mailbox.take(&found("{\"quiet\":\"2h\"}\n"), at(0));
        mailbox.take(&Look::default(), at(1));
        assert_eq!(quiet(&mailbox), Some(7200));
        mailbox.take(&found(""), at(2));
        assert_eq!(quiet(&mailbox), None);
    }

    #[test]
    fn the_age_of_a_checkpoint_is_that_of_the_report_with_it() {
        let mut mailbox = new();
        assert_eq!(mailbox.post(at(0)).checkpoint_age_seconds, None);
        mailbox.take(&found("{\"checkpoint\":{\"n\":1}}\n"), at(10));
        mailbox.take(&found("{\"progress\":{\"completed\":1}}\n{\"checkpoint\":{\"n\":1}}\n"), at(20));
        assert_eq!(mailbox.post(at(25)).checkpoint_age_seconds, Some(15), "said again, it is no newer");
        let word = LastWord::read(&mailbox.last_word(LIMIT)).expect("a last word");
        assert_eq!(word.header.checkpoint_time, Some(at(10)));
    }

    #[test]
    fn a_result_that_the_last_word_has_no_room_for_is_held_back_and_posted() {
        let mut mailbox = new();
        mailbox.take(&found("{\"result\":{\"n\":1}}\n"), at(1));
        assert_eq!(mailbox.held_back(LIMIT), None);
        let word = LastWord::read(&mailbox.last_word(LIMIT)).expect("a last word");
        assert_eq!(word.header.result, Some(HeldBack { bytes: 7, revision: mailbox.revision() }), "if it is cut off");
        let result = json!({ "data": "x".repeat(6000) });
        mailbox.take(&found(&format!("{}\n", json!({ "result": result, "done": true }))), at(2));
        let revision = mailbox.revision();
        mailbox.take(&found("{\"progress\":{\"completed\":1}}\n"), at(3));
        let bytes = result.to_string().len();
        assert_eq!(mailbox.held_back(LIMIT), Some(HeldBack { bytes, revision }));
        assert_eq!(Report::read(&mailbox.post(at(3)).lines, Via::Agent).result, Some(result));
        assert!(mailbox.last_word(LIMIT).len() <= LIMIT);
    }

    #[test]
    fn the_next_agent_goes_on_from_what_was_kept() {
        let mut mailbox = new();
        mailbox.take(
            &found("{\"checkpoint\":{\"n\":1},\"result\":{\"n\":1}}\npanic\n{'done': True}\n{\"quiet\":60}\n"),
            at(1),
        );
        let next = Mailbox::of(&mailbox.kept(Position::default()), false);
        assert_eq!(next.post(at(5)), mailbox.post(at(5)));
        assert_eq!(next.last_word(LIMIT), mailbox.last_word(LIMIT));
        let mut next = next;
        next.take(&Look::default(), at(9));
        assert_eq!(next.revision(), mailbox.revision(), "nothing is new");
    }

    #[test]
    fn what_cannot_be_used_is_told_in_the_last_word() {
        let mut mailbox = new();
        mailbox.take(&found("{'done': True}\n{\"done\":1}\n"), at(1));
        mailbox.take(&Look { problem: Some("a line is too long".into()), ..Look::default() }, at(2));
        let problems = LastWord::read(&mailbox.last_word(LIMIT)).expect("a last word").header.problems;
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[0], "a line is too long");
    }

    fn with_store() -> Mailbox {
        Mailbox::of(&Kept::default(), true)
    }

    fn stored(path: &str) -> ReportedCheckpoint {
        let uri = format!("s3://b/ml/train/uid/1-a/{}/manifest.json", path.len());
        ReportedCheckpoint::Reference { path: Some(path.into()), uri, digest: None, size_bytes: Some(7) }
    }

    fn told_checkpoint(mailbox: &Mailbox) -> Option<ReportedCheckpoint> {
        Report::read(&mailbox.post(at(0)).lines, Via::Agent).checkpoint
    }

    #[test]
    fn a_path_is_told_when_it_is_saved_and_progress_at_once() {
        let mut mailbox = with_store();
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"one\"},\"progress\":{\"completed\":1}}\n"), at(10));
        assert_eq!(mailbox.post(at(10)).lines, "{\"progress\":{\"completed\":1}}\n");
        let wanted = mailbox.wanted().cloned().expect("a path");
        assert_eq!((wanted.path.as_str(), wanted.time), ("one", at(10)));
        let before = mailbox.revision();
        assert!(mailbox.take_saved(&wanted, &stored("one"), at(15)));
        assert!(mailbox.revision() > before);
        assert_eq!((told_checkpoint(&mailbox), mailbox.wanted()), (Some(stored("one")), None));
        assert_eq!(mailbox.post(at(25)).checkpoint_age_seconds, Some(15), "it is as old as the report of it");
    }

    #[test]
    fn while_a_path_is_saved_the_one_before_stands_there() {
        let mut mailbox = with_store();
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"one\"}}\n"), at(1));
        let one = mailbox.wanted().cloned().expect("a path");
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"second\"}}\n"), at(2));
        assert!(mailbox.take_saved(&one, &stored("one"), at(3)));
        assert_eq!(told_checkpoint(&mailbox), Some(stored("one")));
        let second = mailbox.wanted().cloned().expect("a path");
        assert_eq!(second.path, "second");
        assert!(mailbox.take_saved(&second, &stored("second"), at(4)));
        assert!(!mailbox.take_saved(&one, &stored("one"), at(5)), "an older one does not come back");
        assert_eq!(told_checkpoint(&mailbox), Some(stored("second")));
    }

    #[test]
    fn a_checkpoint_of_the_programs_own_is_told_at_once_and_no_older_save_replaces_it() {
        let mut mailbox = with_store();
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"one\"}}\n"), at(1));
        let one = mailbox.wanted().cloned().expect("a path");
        mailbox.take(&found("{\"checkpoint\":{\"n\":2}}\n"), at(2));
        assert_eq!(mailbox.wanted(), None);
        assert!(!mailbox.take_saved(&one, &stored("one"), at(3)));
        assert_eq!(told_checkpoint(&mailbox), Some(ReportedCheckpoint::Data(json!({ "n": 2 }))));
    }

    #[test]
    fn without_a_store_a_path_is_the_programs_own() {
        let mut mailbox = new();
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"one\"}}\n"), at(1));
        assert_eq!(mailbox.wanted(), None);
        assert_eq!(told_checkpoint(&mailbox), Some(ReportedCheckpoint::Data(json!({ "path": "one" }))));
    }

    #[test]
    fn the_next_agent_knows_what_is_safe_and_what_is_not() {
        let mut mailbox = with_store();
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"one\"}}\n"), at(1));
        let one = mailbox.wanted().cloned().expect("a path");
        mailbox.take_saved(&one, &stored("one"), at(2));
        let next = Mailbox::of(&mailbox.kept(Position::default()), true);
        assert_eq!((told_checkpoint(&next), next.wanted()), (Some(stored("one")), None));
        mailbox.take(&found("{\"checkpoint\":{\"path\":\"second\"}}\n"), at(3));
        let mut next = Mailbox::of(&mailbox.kept(Position::default()), true);
        assert_eq!(told_checkpoint(&next), Some(stored("one")));
        let second = next.wanted().cloned().expect("it has to be saved again");
        assert_eq!((second.path.as_str(), second.time), ("second", at(3)));
        assert!(next.take_saved(&second, &stored("second"), at(4)));
        next.take(&found("{\"checkpoint\":{\"path\":\"third\"}}\n"), at(5));
        assert!(next.wanted().is_some_and(|third| third.order > second.order));
    }

    #[test]
    fn a_save_that_fails_otherwise_is_news_and_one_that_only_takes_longer_is_none() {
        let mut mailbox = with_store();
        let failing = |seconds, reason| {
            let error = SaveError { reason, message: format!("for {seconds} s") };
            Some(SaveReport { path: "one".into(), seconds, error: Some(error) })
        };
        let mut revisions = vec![mailbox.revision()];
        for (second, save) in [
            (1, failing(60, SaveTrouble::Unreachable)),
            (2, failing(90, SaveTrouble::Unreachable)),
            (3, failing(99, SaveTrouble::AccessDenied)),
            (4, Some(SaveReport { path: "one".into(), seconds: 5, error: None })),
        ] {
            mailbox.take_save_report(save.clone(), at(second));
            assert_eq!(mailbox.post(at(second)).save, save);
            assert_eq!(LastWord::read(&mailbox.last_word(LIMIT)).and_then(|word| word.header.save), save);
            revisions.push(mailbox.revision());
        }
        let grows: Vec<_> = revisions.windows(2).map(|two| two[1] > two[0]).collect();
        assert_eq!(grows, [true, false, true, true]);
    }
}
