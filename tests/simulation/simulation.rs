//! One simulation, from the first apply to the rest at its end.

use tokio::runtime;

use crate::{
    defects::Defect,
    mail::Mail,
    objects::Kind,
    templates::Templates,
    troubles::TASK,
    world::{Event, Shared, World, run},
};

/// How long a task may take to end once nothing goes wrong any more, in milliseconds, I7.
const LONGEST_END: u64 = 2 * 3_600_000;
/// How long the operator may take to tidy up behind a task that has ended.
const TIDYING: u64 = 120_000;
/// How long it must keep quiet then: longer than the time after which a task is looked at again.
const QUIET: u64 = 660_000;

/// What came of a simulation.
pub(crate) struct Run {
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// The life of a seed.
pub(crate) fn simulate(seed: u64, defect: Option<Defect>) -> Run {
    simulate_with(seed, Mail::draw(seed), Templates::none(), defect)
}

/// The life of a seed whose task names a template.
pub(crate) fn simulate_thin(seed: u64, defect: Option<Defect>) -> Run {
    simulate_with(seed, Mail::none(seed), Templates::draw(seed), defect)
}

/// The life that a seed had before there were agents: its task reports when its attempts end.
pub(crate) fn simulate_without_agents(seed: u64) -> Run {
    simulate_with(seed, Mail::none(seed), Templates::none(), None)
}

fn simulate_with(seed: u64, mail: Mail, templates: Templates, defect: Option<Defect>) -> Run {
    // The pauses of broken watches are drawn from here.
    fastrand::seed(seed);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::shared(seed, mail, templates, defect);
        live(&world).await;
        let mut world = world.lock();
        Run { violation: world.violation.take(), trace: std::mem::take(&mut world.trace) }
    })
}

async fn live(shared: &Shared) {
    let peace_at = {
        let mut world = shared.lock();
        let weather = format!("{:?}", world.weather);
        world.tell("world", weather);
        let policies = format!("{:?}", world.policies);
        world.tell("world", policies);
        for slot in 0..world.slots.len() {
            let delay = world.dice.between(0, 2000);
            world.happen_in(delay, Event::Start(slot));
        }
        world.happen_in(500, Event::Apply);
        world.happen_in(5000, Event::Trouble);
        world.happen_in(5000, Event::Inspect);
        if world.mail.has_store {
            let store = world.bucket.weather();
            world.tell("world", store);
            world.happen_in(5000, Event::StoreTrouble);
        }
        if world.mail.has_agents() {
            let mail = format!("{:?}", world.mail);
            world.tell("world", mail);
            world.happen_in(5000, Event::MailTrouble);
        }
        if let Some(pause) = world.policies.clean_up {
            world.happen_in(pause, Event::CleanUp);
        }
        if world.templates.is_thin {
            world.happen_in(5000, Event::TemplateTrouble);
        }
        // No definition lets a template be removed, which an old copy might lack.
        if let Some((saved, written_back)) = world.policies.backup.filter(|_| !world.templates.is_thin) {
            world.happen_in(saved, Event::BackUp);
            world.happen_in(written_back, Event::WriteBack);
        }
        world.weather.peace_at
    };
    run(shared, peace_at + 600_000, |world| world.is_peace).await;
    end(shared).await;
    rest(shared).await;
}

/// I7: the task ends, now that nothing goes wrong.
async fn end(shared: &Shared) {
    let deadline = shared.lock().now() + LONGEST_END;
    while !shared.lock().is_over() && shared.lock().violation.is_none() {
        let now = {
            let mut world = shared.lock();
            world.help();
            world.now()
        };
        if now >= deadline {
            return shared.lock().accuse("I7: the task does not end".to_owned());
        }
        run(shared, now + 60_000, World::is_over).await;
    }
}

/// I8: a cluster in which nothing happens is quiet. I6: the deletion of its pods starts nothing.
async fn rest(shared: &Shared) {
    let now = shared.lock().now();
    run(shared, now + TIDYING, |_| false).await;
    let writes = {
        let mut world = shared.lock();
        if world.violation.is_some() {
            return;
        }
        world.judge_rest();
        world.tell("world", "rests");
        world.judge.writes
    };
    run(shared, now + TIDYING + QUIET, |_| false).await;
    {
        let mut world = shared.lock();
        let more = world.judge.writes - writes;
        if more > 0 {
            world.accuse(format!("I8: {more} writes although nothing changes"));
        }
        world.tell("user", "deletes all pods of the task that has ended");
        let pods: Vec<_> = world.store.all(Kind::Pod).map(|pod| pod["metadata"]["name"].clone()).collect();
        for pod in pods {
            world.delete_pod(pod.as_str().expect("a name"), &serde_json::Value::Null);
        }
    }
    run(shared, now + TIDYING + QUIET + 60_000, |_| false).await;
    let mut world = shared.lock();
    let has_pods = world.store.all(Kind::Pod).next().is_some();
    if has_pods || !world.is_over() {
        let task = world.store.get(Kind::Task, TASK).map(ToString::to_string).unwrap_or_default();
        world.accuse(format!("I6: the deletion of pods changes a task that has ended: {task}"));
    }
}
