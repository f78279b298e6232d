//! Whole runs in the small cluster, each from its seed.

use longtask::api::task::Phase;

use crate::cluster::Cluster;

const SEEDS: u64 = 300;

#[test]
fn every_run_keeps_the_invariants_and_comes_to_its_end() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| {
            let mut cluster = Cluster::new(seed);
            let mut steps = 0;
            while !cluster.is_over() {
                cluster.step();
                steps += 1;
                assert!(steps < 5000, "I7: no end in sight: {:?}", cluster.status());
            }
            assert_eq!(cluster.status().phase, Some(Phase::Succeeded));
            let writes = cluster.writes;
            for _ in 0..10 {
                cluster.step();
                cluster.delete_pods();
            }
            assert_eq!(cluster.writes, writes, "I6, I8: a finished task is quiet");
            let plan = cluster.plan_now();
            assert_eq!((plan.status, plan.steps, plan.events), (None, vec![], vec![]));
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
