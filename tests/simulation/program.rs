//! The program in a pod: what it is going to do, and how it ends.

use serde_json::{Value, json};

use crate::{dice::Dice, store::directory::path_of};

/// How the program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) since: Option<u64>,
    pub(crate) at: u64,
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    /// Its last checkpoint.
    pub(crate) checkpoint: u64,
    /// Whether there was nothing left to do.
    pub(crate) is_done: bool,
    /// Whether it ended before anybody told it to.
    pub(crate) is_own: bool,
    /// Its termination message.
    pub(crate) report: String,
    /// What it has written to its report file last, for its agent.
    pub(crate) last_line: Option<String>,
}

/// What the program is going to do.
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
#[derive(Clone, Debug)]
pub(crate) struct Program {
    from: u64,
    work: u64,
    pub(crate) start: Start,
    own_end: OwnEnd,
    /// A checkpoint is reported whenever this many more units are done.
    every: u64,
    answers_after: u64,
    answers_with: i32,
    says_done: bool,
    pub(crate) has_sidecar: bool,
    pub(crate) sidecar_takes: u64,
    /// The kubelet tells of the end of the pod before it tells of the end of the main container.
    pub(crate) is_last_word_late: bool,
    /// How it speaks where it has an agent; none where it has a termination message only.
    pub(crate) manner: Option<Manner>,
    /// Whether it names what it has written, for an agent that stores it.
    pub(crate) stores: bool,
    /// The UID of its pod: by it an agent's reports are told from those of others.
    uid: String,
}

/// How a program speaks that has an agent.
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// From then on it does nothing, and says nothing. In milliseconds since its start, as all here.
    pub(crate) hangs_after: Option<u64>,
    /// Whether SIGTERM ends it when it hangs.
    pub(crate) obeys_when_hung: bool,
    /// From when to when it works on and says nothing.
    pub(crate) silence: Option<(u64, u64)>,
    /// Whether it says before that it will be silent.
    pub(crate) announces: bool,
    /// Whether it touches its report file every now and then.
    pub(crate) touches: bool,
    /// How many bytes its result has, if it has one.
    pub(crate) result: Option<usize>,
    /// Whether it reports its result long before it ends.
    pub(crate) has_result_early: bool,
    /// Whether its last report is in its termination message, and not in the report file.
    pub(crate) ends_in_message: bool,
}

/// What a program does at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It writes a line.
    Line(String),
    /// It touches its report file.
    Touch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    After(u64),
    ImageMissing(Option<u64>),
    NoSuchCommand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnEnd {
    Done,
    Crash { after: u64, code: i32, reason: &'static str },
    Yield { after: u64, resume_after: Option<u64> },
    Never,
}

impl Program {
    pub(crate) fn draw(dice: &mut Dice, from: u64, work: u64, misbehaves: bool, is_peace: bool) -> Self {
        let mut program = Self {
            from,
            work,
            start: Start::After(dice.between(200, 3000)),
            own_end: OwnEnd::Done,
            every: dice.one_of(&[1, 5, 20]),
            answers_after: dice.between(0, 4000),
            answers_with: dice.one_of(&[0, 75, 143, 1]),
            says_done: dice.happens(700),
            has_sidecar: dice.happens(150),
            sidecar_takes: dice.between(100, 3000),
            is_last_word_late: !is_peace && dice.happens(60),
            manner: None,
            stores: false,
            uid: String::new(),
        };
        if is_peace || !misbehaves {
            return program;
        }
        let after = dice.between(0, 60) * 1000 + dice.between(0, 999);
        match dice.between(0, 9) {
            0 => program.start = Start::ImageMissing(dice.happens(600).then(|| dice.between(5000, 60_000))),
            1 => program.start = Start::NoSuchCommand,
            2 => program.own_end = OwnEnd::Crash { after, code: 137, reason: "OOMKilled" },
            3 => {
                program.own_end = OwnEnd::Yield { after, resume_after: dice.happens(500).then(|| dice.between(1, 30)) }
            }
            4 => program.own_end = OwnEnd::Never,
            5 => program.answers_after = 3_600_000,
            _ => program.own_end = OwnEnd::Crash { after, code: 1, reason: "Error" },
        }
        program
    }

    /// It has an agent.
    pub(crate) fn speak_as(&mut self, manner: Manner, uid: &str) {
        (self.manner, self.uid) = (Some(manner), uid.to_owned());
    }

    /// It finds restored what was saved at that place.
    pub(crate) fn resume_from(&mut self, place: u64) {
        self.from = place;
    }

    fn position(&self, since: u64, at: u64) -> u64 {
        let worked = self.hangs_at(since).map_or(at, |hangs_at| hangs_at.min(at)) - since;
        if self.own_end == OwnEnd::Never { self.from } else { (self.from + worked / 1000).min(self.work) }
    }

    /// From when on it does nothing any more, though it has not ended.
    fn hangs_at(&self, since: u64) -> Option<u64> {
        Some(since + self.manner.as_ref()?.hangs_after?)
    }

    fn hangs(&self, since: u64, at: u64) -> bool {
        self.hangs_at(since).is_some_and(|hangs_at| hangs_at <= at)
    }

    /// When it ends if nobody stops it.
    pub(crate) fn ends_at(&self, since: u64) -> Option<u64> {
        let done = since + self.work.saturating_sub(self.from) * 1000;
        let ends_at = match self.own_end {
            OwnEnd::Done => done,
            OwnEnd::Crash { after, .. } | OwnEnd::Yield { after, .. } => (since + after).min(done),
            OwnEnd::Never => return None,
        };
        Some(ends_at).filter(|at| !self.hangs(since, *at))
    }

    /// How long it takes to end when it is told to at this moment.
    pub(crate) fn answers_after(&self, since: u64, at: u64) -> u64 {
        match &self.manner {
            Some(manner) if self.hangs(since, at) => {
                if manner.obeys_when_hung {
                    0
                } else {
                    u64::MAX / 2
                }
            }
            _ => self.answers_after,
        }
    }

    /// What it does after `from` and up to `to`, while it runs.
    pub(crate) fn signs(&self, since: u64, from: u64, to: u64) -> Vec<(u64, Sign)> {
        let Some(manner) = &self.manner else { return Vec::new() };
        let to = self.hangs_at(since).map_or(to, |hangs_at| hangs_at.min(to));
        let (from, to) = (from - since, to.max(since) - since);
        let is_silent = |at: u64| manner.silence.is_some_and(|(begins, ends)| begins < at && at < ends);
        let is_in = |at: u64| from < at && at <= to && !is_silent(at);
        let mut signs = Vec::new();
        let steps = if self.own_end == OwnEnd::Never { 0 } else { self.work.saturating_sub(self.from) / self.every };
        for position in (1..=steps).map(|step| step * self.every) {
            let at = position * 1000;
            if is_in(at) {
                signs.push((at, Sign::Line(self.line(self.from + position, false).to_string())));
            }
        }
        if let Some((begins, ends)) = manner.silence.filter(|(begins, _)| manner.announces && is_in(*begins)) {
            signs.push((begins, Sign::Line(json!({ "quiet": (ends - begins) / 1000 + 2 }).to_string())));
        }
        let half_time = self.work.saturating_sub(self.from) * 500;
        if manner.has_result_early && self.own_end != OwnEnd::Never && is_in(half_time) {
            signs.extend(self.result().map(|result| (half_time, Sign::Line(json!({ "result": result }).to_string()))));
        }
        if manner.touches {
            let touches = (from / 7000 + 1..=to / 7000).map(|number| number * 7000).filter(|at| is_in(*at));
            signs.extend(touches.map(|at| (at, Sign::Touch)));
        }
        signs.sort_by_key(|(at, _)| *at);
        signs.into_iter().map(|(at, sign)| (since + at, sign)).collect()
    }

    /// The lines that it writes when it has ended like this, where it has an agent that reads them.
    pub(crate) fn last_lines(&self, end: &End) -> Vec<String> {
        let Some(manner) = &self.manner else { return Vec::new() };
        let result = self.result().filter(|_| end.is_done && !manner.has_result_early);
        let result = result.map(|result| json!({ "result": result }).to_string());
        result.into_iter().chain(end.last_line.clone()).collect()
    }

    fn result(&self) -> Option<Value> {
        let bytes = self.manner.as_ref()?.result?;
        Some(json!({ "by": self.uid, "data": "x".repeat(bytes) }))
    }

    pub(crate) fn own_end(&self, since: u64, at: u64) -> End {
        let position = self.position(since, at);
        let is_done = position == self.work;
        let (code, reason) = match self.own_end {
            OwnEnd::Crash { code, reason, .. } if !is_done => (code, reason),
            OwnEnd::Yield { .. } if !is_done => (75, "Error"),
            _ => (0, "Completed"),
        };
        let checkpoint = if code == 75 || is_done { position } else { self.written(position) };
        let mut report = self.line(checkpoint, is_done && self.says_done);
        if let OwnEnd::Yield { resume_after: Some(seconds), .. } = self.own_end
            && !is_done
        {
            report["resumeAfter"] = json!(format!("{seconds}s"));
        }
        if code == 1 {
            report["error"] = json!({ "message": "no luck" });
        }
        let (report, last_line) = self.by_message_or_file(report.to_string());
        End { since: Some(since), at, code, reason, checkpoint, is_done, is_own: true, report, last_line }
    }

    /// What it says last: in its termination message, or in the file that its agent reads.
    fn by_message_or_file(&self, line: String) -> (String, Option<String>) {
        match &self.manner {
            Some(manner) if !manner.ends_in_message => (String::new(), Some(line)),
            Some(_) | None => (line, None),
        }
    }

    pub(crate) fn stopped_end(&self, since: u64, at: u64, is_killed: bool) -> End {
        let position = self.position(since, at);
        let hangs = self.hangs(since, at);
        let is_done = position == self.work && !is_killed && !hangs;
        let code = if is_killed {
            137
        } else if hangs {
            143
        } else if is_done {
            0
        } else {
            self.answers_with
        };
        let has_last_words = !is_killed && !hangs;
        let checkpoint = if has_last_words { position } else { self.written(position) };
        // A program that ends with 0 because it is stopped has to say whether it is done.
        let line = self.line(checkpoint, is_done).to_string();
        let (report, last_line) =
            if has_last_words || self.manner.is_none() { self.by_message_or_file(line) } else { (String::new(), None) };
        End {
            since: Some(since),
            at,
            code,
            reason: if code == 0 { "Completed" } else { "Error" },
            checkpoint,
            is_done,
            is_own: false,
            report,
            last_line,
        }
    }

    fn written(&self, position: u64) -> u64 {
        self.from + (position - self.from) / self.every * self.every
    }

    fn line(&self, checkpoint: u64, done: bool) -> Value {
        let reported = if self.stores { json!({ "path": path_of(checkpoint) }) } else { json!({ "n": checkpoint }) };
        let mut line = json!({
            "checkpoint": reported,
            "progress": { "completed": checkpoint, "total": self.work },
        });
        if self.manner.is_some() {
            line["progress"]["message"] = json!(self.uid);
        }
        if done {
            line["done"] = json!(true);
        }
        line
    }
}
