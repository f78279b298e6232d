//! The facts of every store, in memory and in a directory.

mod memory {
    use std::sync::Arc;

    use longtask_agent::store::open::Opened;
    use object_store::{memory::InMemory, path::Path};

    fn store() -> (Opened, String, ()) {
        (Opened { store: Arc::new(InMemory::new()), prefix: Path::from("runs") }, "s3://bucket/runs".into(), ())
    }

    crate::facts!(store, start_paused = true:
        a_tree_is_restored_as_it_was_saved,
        a_file_of_several_parts_is_restored,
        a_single_file_is_restored_under_its_name,
        the_newest_complete_save_above_the_named_one_is_adopted,
        what_was_damaged_is_unreadable,
        a_store_without_anything_of_the_task_is_unusable,
        saves_are_listed_and_removed_one_by_one,
        a_clean_up_deletes_what_is_gone_and_nothing_else,
    );
}

mod directory {
    use std::time::Duration;

    use longtask_agent::store::open::{Address, Opened};
    use tempfile::TempDir;

    fn store() -> (Opened, String, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}", folder.path().display());
        let address = Address { url: url.clone(), ..Address::default() };
        (address.open(Duration::ZERO).expect("opened"), url, folder)
    }

    crate::facts!(store, start_paused = true:
        a_tree_is_restored_as_it_was_saved,
        a_file_of_several_parts_is_restored,
        a_single_file_is_restored_under_its_name,
        the_newest_complete_save_above_the_named_one_is_adopted,
        what_was_damaged_is_unreadable,
        a_store_without_anything_of_the_task_is_unusable,
        saves_are_listed_and_removed_one_by_one,
        a_clean_up_deletes_what_is_gone_and_nothing_else,
    );
}
