//! The facts of every store, with real servers on this machine: moto and versitygw for S3, Azurite for Azure. For Google's
//! there is none that has what is needed, so a stub of ours stands in; nothing here has run against Google's own.
//!
//! `make stores` installs the servers, and sets the variables with which the stores are opened.

mod azure;
#[path = "../facts/mod.rs"]
mod facts;
mod gcs;
mod s3;
mod server;
mod tls;

use longtask_agent::store::open::Opened;

use crate::facts::suite;

/// Holds every fact against a store, one after the other.
async fn hold_every_fact(opened: &Opened, url: &str) {
    suite::a_tree_is_restored_as_it_was_saved(opened, url).await;
    suite::a_file_of_several_parts_is_restored(opened, url).await;
    suite::a_single_file_is_restored_under_its_name(opened, url).await;
    suite::the_newest_complete_save_above_the_named_one_is_adopted(opened, url).await;
    suite::what_was_damaged_is_unreadable(opened, url).await;
    suite::a_store_without_anything_of_the_task_is_unusable(opened, url).await;
    suite::saves_are_listed_and_removed_one_by_one(opened, url).await;
    suite::a_clean_up_deletes_what_is_gone_and_nothing_else(opened, url).await;
}
