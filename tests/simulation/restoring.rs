//! The containers that restore, each before its program: the agent's own restore, beside a kubelet that starts and stops it.

use std::sync::Arc;

use longtask::{
    api::task::LongTaskStatus,
    contract::agent::{self, RestoreTrouble, RestoreWord, Settings, StoreSettings},
};
use serde_json::{Value, json};
use tokio::{select, sync::Notify};

use crate::{
    defects::{self, Defect},
    kubelet::PodLife,
    store::{directory::place_in, open::Opened, restore::Restore, way::Way},
    world::{Event, Shared, World},
};

/// How long the container takes to start, in milliseconds.
const STARTS_AFTER: u64 = 100;

/// The container that restores in a pod.
#[derive(Clone, Debug)]
pub(crate) struct RestoreLife {
    pub(crate) settings: StoreSettings,
    /// What the status said when the pod was made.
    pub(crate) wants: Wants,
    state: State,
    killed: Arc<Notify>,
    /// Whether the containers after it are being started.
    is_followed: bool,
}

/// What is to be restored, by the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The address and the digest of the save that it names.
    pub(crate) named: Option<(String, String)>,
    /// Saves of attempts below it are not adopted.
    pub(crate) epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It starts then; none while no kubelet has seen the pod.
    Starts {
        at: Option<u64>,
    },
    Runs {
        since: u64,
    },
    Ended {
        since: u64,
        at: u64,
        code: i32,
        message: String,
    },
}

impl Wants {
    fn of(status: &LongTaskStatus) -> Self {
        let named = status.checkpoint.as_ref();
        Self {
            named: named.and_then(|named| Some((named.uri.clone()?, named.digest.clone()?))),
            epoch: status.checkpoint_epoch,
        }
    }

    fn told(settings: &StoreSettings) -> Option<Self> {
        let restore = settings.restore.as_ref()?;
        let named = restore.named.as_ref().map(|named| (named.uri.clone(), named.digest.clone()));
        Some(Self { named, epoch: restore.epoch })
    }
}

impl RestoreLife {
    /// The one that a pod was made with. What the pod was told is what the status says.
    pub(crate) fn of(pod: &Value, status: Option<&LongTaskStatus>, defect: Option<Defect>) -> Option<Self> {
        let mut settings = settings_of(pod, agent::RESTORE_CONTAINER)?.store?;
        let told = Wants::told(&settings).unwrap_or_default();
        let wants = status.map_or_else(|| told.clone(), Wants::of);
        defects::misread(&mut settings, defect);
        let state = State::Starts { at: None };
        Some(Self { settings, wants, state, killed: Arc::default(), is_followed: false })
    }

    /// The kubelet starts it when it has seen the pod.
    pub(crate) fn starts_at(&mut self, now: u64) {
        self.state = State::Starts { at: Some(now + STARTS_AFTER) };
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, State::Runs { .. })
    }

    /// When it began its work.
    pub(crate) fn began(&self) -> u64 {
        match self.state {
            State::Starts { .. } => 0,
            State::Runs { since } | State::Ended { since, .. } => since,
        }
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.is_followed
    }

    /// When the containers of its pod have ended of which none after it has run, if the pod was told to stop at this time.
    pub(crate) fn ends_pod_at(&self, stop: Option<u64>) -> Option<u64> {
        match self.state {
            State::Starts { .. } => stop,
            State::Runs { .. } => None,
            State::Ended { at, code: 0, .. } => stop.map(|stop| stop.max(at)),
            State::Ended { at, .. } => Some(at),
        }
    }

    /// What of it the kubelet tells when it changes.
    pub(crate) fn shown(&self) -> (bool, bool) {
        (self.runs(), matches!(self.state, State::Ended { .. }))
    }

    /// When something happens to it next.
    pub(crate) fn next(&self) -> Option<u64> {
        match self.state {
            State::Starts { at } => at,
            State::Runs { .. } | State::Ended { .. } => None,
        }
    }

    /// Its status in the pod, as the kubelet tells it.
    pub(crate) fn status(&self, by_node: &impl Fn(u64) -> Value) -> Value {
        let state = match &self.state {
            State::Starts { .. } => json!({ "waiting": { "reason": "PodInitializing" } }),
            State::Runs { since } => json!({ "running": { "startedAt": by_node(*since) } }),
            State::Ended { since, at, code, message } => json!({ "terminated": {
                "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" }, "message": message,
                "startedAt": by_node(*since), "finishedAt": by_node(*at),
            } }),
        };
        json!({
            "name": agent::RESTORE_CONTAINER, "image": "i", "imageID": "", "ready": shown_ready(&self.state),
            "restartCount": 0, "state": state,
        })
    }

    fn end(&mut self, at: u64, code: i32, message: String) {
        if let State::Runs { since } = self.state {
            self.state = State::Ended { since, at, code, message };
            self.killed.notify_one();
        }
    }
}

fn shown_ready(state: &State) -> bool {
    matches!(state, State::Ended { code: 0, .. })
}

/// What the agent's container with that name is told.
pub(crate) fn settings_of(pod: &Value, name: &str) -> Option<Settings> {
    let mut containers = pod["spec"]["initContainers"].as_array()?.iter();
    let container = containers.find(|container| container["name"] == name)?;
    let mut variables = container["env"].as_array()?.iter();
    let settings = variables.find(|variable| variable["name"] == agent::SETTINGS)?["value"].as_str()?;
    Some(serde_json::from_str(settings).expect("settings"))
}

/// The UID of a pod as its saves have it. Real ones begin with eight characters without a dash.
pub(crate) fn uid_of_saves(pod_uid: &str) -> String {
    pod_uid.replace('-', "")
}

impl PodLife {
    /// Whether its container that restores is at work.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restore.as_ref().is_some_and(RestoreLife::runs)
    }
}

impl World {
    /// What the kubelet does about the container that restores.
    pub(crate) fn keep_restore(&mut self, uid: &str, life: &mut PodLife, now: u64) {
        let (stop, name) = (life.stop, life.name.clone());
        let Some(restore) = &mut life.restore else { return };
        match &restore.state {
            State::Starts { at: Some(at) } if *at <= now && stop.is_none() => {
                restore.state = State::Runs { since: now };
                self.tell("kubelet", format!("{name}: restore runs"));
                self.happen_in(0, Event::StartRestore(uid.to_owned()));
            }
            State::Runs { .. } if stop.is_some() => {
                restore.end(now, 143, String::new());
                self.tell("kubelet", format!("{name}: SIGTERM ends restore"));
            }
            State::Ended { code: 0, .. } if !restore.is_followed && stop.is_none() => {
                restore.is_followed = true;
                life.begin_program(now);
            }
            State::Starts { .. } | State::Runs { .. } | State::Ended { .. } => {}
        }
    }

    /// Its memory is short: it ends without a word.
    pub(crate) fn kill_restore(&mut self, uid: &str) {
        let now = self.now();
        let Some(life) = self.lives.get_mut(uid) else { return };
        let name = life.name.clone();
        let Some(restore) = life.restore.as_mut().filter(|restore| restore.runs()) else { return };
        restore.end(now, 137, String::new());
        self.tell("kubelet", format!("{name}: restore is killed"));
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
    }

    fn restore_ends(&mut self, uid: &str, word: RestoreWord) {
        let now = self.now();
        if !self.lives.get(uid).is_some_and(PodLife::is_restoring) {
            return;
        }
        let word = defects::retold(word, self.defect);
        self.judge_restore(uid, &word);
        let Some(life) = self.lives.get_mut(uid) else { return };
        let code = word.error.as_ref().map_or(0, |error| error.reason.exit_code().into());
        if let Some(place) = word.restored.as_ref().and_then(|restored| place_in(&restored.path)) {
            life.program.resume_from(place);
        }
        let what = match (&word.error, &word.restored) {
            (Some(error), _) => format!("{:?}: {}", error.reason, error.message),
            (None, Some(restored)) if restored.is_adopted => format!("adopts {}", restored.uri),
            (None, Some(restored)) => restored.uri.clone(),
            (None, None) => "nothing".to_owned(),
        };
        let name = life.name.clone();
        if let Some(restore) = &mut life.restore {
            restore.end(now, code, word.written());
        }
        self.tell("restore", format!("of {name} ends with {code}: {what}"));
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
    }
}

/// Starts the process of a container that restores.
pub(crate) fn start(world: &Shared, uid: &str) {
    let (settings, killed) = {
        let shared = world.lock();
        let restore = shared.lives.get(uid).and_then(|life| life.restore.as_ref());
        let Some(running) = restore.filter(|restore| restore.runs()) else { return };
        (running.settings.clone(), Arc::clone(&running.killed))
    };
    let opened = Opened { store: Arc::new(Way::new(world, uid)) };
    let (world, uid) = (world.clone(), uid.to_owned());
    tokio::spawn(async move {
        let restore = Restore::begin(&settings);
        let told = select! {
            biased;
            () = killed.notified() => return,
            told = restore.run_with(|_| Ok(opened.clone())) => told,
        };
        world.lock().restore_ends(&uid, told);
    });
}

/// Whether a restore has failed since the save that the status names cannot be read.
pub(crate) fn is_unreadable(word: &RestoreWord) -> bool {
    word.error.as_ref().is_some_and(|error| error.reason == RestoreTrouble::Unreadable)
}
