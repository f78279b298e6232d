//! What is linked into which program: the agent's stores are none of the operator's business. And what the image is built from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// What only the agent needs.
const OF_THE_AGENT: [&str; 5] = ["cap-std", "chrono", "longtask-agent", "object_store", "reqwest"];

#[test]
fn the_operator_links_nothing_that_is_the_agents() {
    let lock = fs::read_to_string("Cargo.lock").expect("the lock file");
    let used = used_by("longtask", &lock);
    assert!(used.contains("kube") && used.len() > 100, "{used:?}");
    let of_agent: Vec<_> = OF_THE_AGENT.iter().filter(|package| used.contains(**package)).collect();
    assert!(of_agent.is_empty(), "the operator, or one of its tests, uses {of_agent:?}");
    let used = used_by("longtask-agent", &lock);
    let missing: Vec<_> = OF_THE_AGENT.iter().filter(|package| !used.contains(**package)).collect();
    assert!(missing.is_empty(), "the agent uses {missing:?} no more");
    assert!(!used.contains("kube"), "the agent knows nothing of Kubernetes");
}

/// Docker shows the build only what `.dockerignore` lets through.
#[test]
fn the_image_is_built_from_every_package_of_the_workspace() {
    let manifest = fs::read_to_string("Cargo.toml").expect("the manifest");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("a workspace");
    let members: Vec<_> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.contains(&"agent"), "{members:?}");
    let shown = fs::read_to_string(".dockerignore").expect("what Docker is not shown");
    for needed in [&["src", "Cargo.toml", "Cargo.lock"], members.as_slice()].concat() {
        assert!(shown.lines().any(|line| line.strip_prefix('!') == Some(needed)), "{needed} is kept from the build");
    }
}

/// The names of all packages that a package uses, and its own.
fn used_by<'a>(package: &'a str, lock: &'a str) -> BTreeSet<&'a str> {
    let mut uses = BTreeMap::<_, BTreeSet<_>>::new();
    for of_package in lock.split("[[package]]").skip(1) {
        let mut quoted = of_package.lines().filter(|line| !line.starts_with('#'));
        let name = quoted.find_map(|line| line.strip_prefix("name = ")).expect("a name").trim_matches('"');
        // Each as `"name"`, or with a version where there are several.
        let dependencies = quoted.filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
        uses.entry(name).or_default().extend(dependencies);
    }
    let (mut found, mut unread) = (BTreeSet::new(), vec![package]);
    while let Some(next) = unread.pop() {
        if found.insert(next) {
            unread.extend(uses.get(next).into_iter().flatten());
        }
    }
    found
}
