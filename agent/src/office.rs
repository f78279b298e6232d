//! When to post, and what follows an answer.

use std::{
    future::{self, Future},
    time::Duration,
};

use longtask_contract::agent::{Answer, Post, PostSettings, SaveName};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

/// The time until a post that failed is tried again, which doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time until a post that failed is tried again.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Something that takes posts.
pub(crate) trait Courier {
    /// Posts, and returns what became of it.
    fn post(&mut self, post: &Post) -> impl Future<Output = Posted>;
}

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It was taken.
    Taken(Answer),
    /// Another attempt is under way: nobody waits for the reports of this one.
    Superseded,
    /// The operator asks to come again later.
    Later(Duration),
    /// Nobody took it.
    Failed(String),
}

/// The newest word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest {
    /// It.
    pub(crate) post: Post,
    /// Whether it is the last one, and somebody waits for it to be taken.
    pub(crate) is_last: bool,
}

/// How far the operator knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The revision that it took last.
    pub(crate) revision: Option<i64>,
    /// Whether it wants no more.
    pub(crate) is_superseded: bool,
    /// The saves that the task's status names, if it has said so.
    pub(crate) keep: Option<Vec<SaveName>>,
}

impl Known {
    /// Waits until the operator wants no more.
    pub(crate) async fn until_superseded(known: Option<watch::Receiver<Self>>) {
        if let Some(mut known) = known
            && known.wait_for(|known| known.is_superseded).await.is_ok()
        {
            return;
        }
        future::pending::<()>().await;
    }
}

/// Posts the newest word, one at a time: news after the time that the operator asks for, and a sign of life without news.
pub(crate) struct Office<C> {
    courier: C,
    answer: Answer,
    known: watch::Sender<Known>,
    /// When the operator took a post last.
    taken: Option<Instant>,
    /// How long the next failure delays, at the most.
    retry: Duration,
    not_before: Option<Instant>,
    /// The last failure, so that one that lasts is logged once.
    failure: Option<String>,
}

impl<C: Courier> Office<C> {
    /// An office that has posted nothing yet, and where to see how far the operator knows.
    pub(crate) fn new(settings: &PostSettings, courier: C) -> (Self, watch::Receiver<Known>) {
        let (known, seen) = watch::channel(Known::default());
        let answer = Answer { next: settings.next_seconds, keep_alive: settings.keep_alive_seconds, keep: None };
        let office = Self { courier, answer, known, taken: None, retry: FIRST_RETRY, not_before: None, failure: None };
        (office, seen)
    }

    /// Posts, for as long as it is polled.
    pub(crate) async fn deliver(mut self, mut newest: watch::Receiver<Newest>) {
        loop {
            self.until_due(&mut newest).await;
            let post = newest.borrow_and_update().post.clone();
            match self.courier.post(&post).await {
                Posted::Taken(answer) => self.was_taken(post.revision, answer),
                Posted::Superseded => {
                    info!("another attempt of the task is under way: nothing more is posted");
                    self.known.send_modify(|known| known.is_superseded = true);
                    return future::pending().await;
                }
                Posted::Later(after) => self.not_before = Some(Instant::now() + after),
                Posted::Failed(failure) => self.has_failed(failure),
            }
        }
    }

    fn was_taken(&mut self, revision: i64, answer: Answer) {
        if self.failure.take().is_some() || self.taken.is_none() {
            info!("the operator takes reports");
        }
        (self.taken, self.retry, self.not_before) = (Some(Instant::now()), FIRST_RETRY, None);
        self.known.send_modify(|known| {
            known.revision = Some(revision);
            known.keep = answer.keep.clone().or(known.keep.take());
        });
        self.answer = answer;
    }

    fn has_failed(&mut self, failure: String) {
        // Full jitter: after an outage, all agents would come at once.
        self.not_before = Some(Instant::now() + self.retry.mul_f64(fastrand::f64()));
        self.retry = (self.retry * 2).min(LAST_RETRY);
        if self.failure.as_ref() != Some(&failure) {
            warn!(failure, "the operator does not take reports; it reads the last word when the pod ends");
            self.failure = Some(failure);
        }
    }

    async fn until_due(&self, newest: &mut watch::Receiver<Newest>) {
        loop {
            let due = self.due(&newest.borrow_and_update());
            select! {
                () = sleep_until(due) => return,
                changed = newest.changed() => if changed.is_err() {
                    // Nobody has anything to say any more.
                    return future::pending().await;
                },
            }
        }
    }

    fn due(&self, newest: &Newest) -> Instant {
        let now = Instant::now();
        let is_news = self.known.borrow().revision != Some(newest.post.revision);
        let wait = if is_news { self.answer.next } else { self.answer.keep_alive };
        let due = self.taken.filter(|_| !newest.is_last).map_or(now, |taken| taken + Duration::from_secs(wait.into()));
        due.max(self.not_before.unwrap_or(now))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, collections::VecDeque, rc::Rc};

    use super::*;

    /// Answers from a list, then takes everything; each answer takes a second.
    #[derive(Clone, Default)]
    pub(crate) struct Answers {
        pub(crate) next: Rc<RefCell<VecDeque<Posted>>>,
        pub(crate) posts: Rc<RefCell<Vec<(u64, Post)>>>,
        pub(crate) begun: Option<Instant>,
    }

    pub(crate) const ANSWER: Answer = Answer { next: 10, keep_alive: 60, keep: None };

    impl Answers {
        pub(crate) fn of(answers: impl IntoIterator<Item = Posted>) -> Self {
            let next = Rc::new(RefCell::new(answers.into_iter().collect()));
            Self { next, begun: Some(Instant::now()), ..Self::default() }
        }

        /// The seconds at which posts came, and their revisions.
        pub(crate) fn seen(&self) -> Vec<(u64, i64)> {
            self.posts.borrow().iter().map(|(at, post)| (*at, post.revision)).collect()
        }
    }

    impl Courier for Answers {
        async fn post(&mut self, post: &Post) -> Posted {
            let at = self.begun.map_or(0, |begun| begun.elapsed().as_secs());
            self.posts.borrow_mut().push((at, post.clone()));
            let answer = self.next.borrow_mut().pop_front();
            answer.unwrap_or(Posted::Taken(ANSWER))
        }
    }

    pub(crate) fn settings() -> PostSettings {
        PostSettings {
            addresses: vec!["127.0.0.1:1".into()],
            certificate_authority: String::new(),
            next_seconds: 5,
            keep_alive_seconds: 30,
            grace_seconds: 8,
        }
    }

    /// The posts of an office to which this is said, at those seconds, until the last of them.
    async fn posts_of(answers: &Answers, said: &[(u64, i64)]) -> Known {
        let (office, known) = Office::new(&settings(), answers.clone());
        let mut first = Newest::default();
        first.post.revision = said[0].1;
        let (sender, newest) = watch::channel(first);
        let begun = Instant::now();
        let saying = async {
            for (at, revision) in said {
                sleep_until(begun + Duration::from_secs(*at)).await;
                sender.send_modify(|newest| newest.post.revision = *revision);
            }
        };
        select! {
            () = office.deliver(newest) => unreachable!("it delivers for ever"),
            () = saying => {}
        }
        known.borrow().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn news_wait_for_the_time_that_the_operator_asked_for_and_a_sign_of_life_for_longer() {
        let answers = Answers::of([]);
        posts_of(&answers, &[(0, 1), (3, 2), (4, 3), (30, 4), (200, 4)]).await;
        assert_eq!(answers.seen(), [(0, 1), (10, 3), (30, 4), (90, 4), (150, 4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_that_fails_is_tried_again_sooner_or_later_with_the_newest_word() {
        let answers = Answers::of(vec![Posted::Failed("refused".into()); 20]);
        let known = posts_of(&answers, &[(0, 1), (100, 2), (900, 2)]).await;
        let seen = answers.seen();
        let gaps: Vec<_> = seen.windows(2).map(|two| two[1].0 - two[0].0).take(19).collect();
        assert!(gaps.iter().all(|gap| *gap <= 31) && gaps[..3].iter().all(|gap| *gap <= 5), "{gaps:?}");
        assert!(seen.iter().all(|(at, revision)| *revision == if *at < 100 { 1 } else { 2 }), "{seen:?}");
        assert_eq!(known.revision, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
        let answers = Answers::of([Posted::Later(Duration::from_secs(40))]);
        posts_of(&answers, &[(0, 1), (10, 2), (60, 2)]).await;
        assert_eq!(answers.seen()[..2], [(0, 1), (40, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_superseded_is_posted_no_more() {
        let answers = Answers::of([Posted::Superseded]);
        let known = posts_of(&answers, &[(0, 1), (100, 2), (1000, 3)]).await;
        assert_eq!(answers.seen(), [(0, 1)]);
        assert_eq!(known, Known { is_superseded: true, ..Known::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn the_saves_that_the_status_names_are_as_the_last_answer_with_them_said() {
        let keep = |name: &str| Some(vec![name.parse().expect("a name")]);
        let with = |keep| Posted::Taken(Answer { keep, ..ANSWER });
        let answers = Answers::of([with(keep("1-a/1")), with(keep("1-a/2")), with(None)]);
        let known = posts_of(&answers, &[(0, 1), (10, 2), (20, 3), (30, 3)]).await;
        assert_eq!(known.keep, keep("1-a/2"));
    }
}
