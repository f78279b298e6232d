//! Any tree is restored as it was saved, over whatever is there already.

use std::{collections::BTreeSet, sync::Arc};

use longtask_agent::store::{flow::Flow, open::Opened};
use object_store::{memory::InMemory, path::Path};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::facts::shared::{Node, Tree, World, bytes, whole};

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        1 => "[ -.0-~]{1,12}".prop_filter("no name", |name| !matches!(name.as_str(), "." | "..")),
        1 => any::<char>().prop_filter("no name", |c| !matches!(c, '/' | '\0' | '.')).prop_map(String::from),
    ]
}

fn any_node() -> impl Strategy<Value = Node> {
    let sizes = prop_oneof![Just(0), 1..50_usize, Just(1000), 900..3200_usize];
    let modes = prop::sample::select(vec![0o644, 0o600, 0o755, 0o400, 0o777]);
    prop_oneof![
        4 => (sizes, any::<u8>(), modes).prop_map(|(size, seed, mode)| Node::File(bytes(size, seed), mode)),
        1 => Just(Node::Directory),
        1 => (0..3_usize, prop::collection::vec(any_name(), 0..3))
            .prop_map(|(up, down)| Node::Link("../".repeat(up) + &down.join("/"))),
    ]
}

/// A tree that can be: nothing is below what is no directory, and no link leads out of it.
fn any_tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(any_name(), 1..4);
    prop::collection::vec((path, any_node()), 1..12).prop_map(|nodes| {
        let (mut tree, mut directories) = (Tree::new(), BTreeSet::new());
        for (parts, node) in nodes {
            let path = parts.join("/");
            let parents: Vec<_> = (1..parts.len()).map(|end| parts[..end].join("/")).collect();
            let is_free = !tree.contains_key(&path)
                && !directories.contains(&path)
                && parents.iter().all(|parent| tree.get(parent).is_none_or(|node| *node == Node::Directory));
            let stays = match &node {
                Node::Link(target) => !target.is_empty() && target.matches("../").count() < parts.len(),
                Node::File(..) | Node::Directory => true,
            };
            if is_free && stays {
                directories.extend(parents);
                tree.insert(path, node);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_restored_as_it_was_saved_over_any_other(saved in any_tree(), there in any_tree()) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let opened = Opened { store: Arc::new(InMemory::new()), prefix: Path::default() };
            let mut world = World::new(&opened, "s3://bucket", "uid-1");
            world.flow = Flow::in_parts_of(1000);
            world.write("restored", &there);
            let named = world.save("1-aa/1", "step-1", &saved).await;
            world.restored(2, Some(&named), 0).await.expect("restored");
            prop_assert_eq!(world.found(), Some(whole(&saved)));
            Ok(())
        })?;
    }
}
