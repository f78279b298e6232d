//! The table of the operator's rights in `docs/security.md`.

use std::{collections::BTreeSet, fs};

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In each namespace whose tasks are run.
    Watched,
    /// Likewise, where tasks are filled in.
    WatchedToFillIn,
    /// In the namespace of the release.
    Own,
    /// In the cluster, where reports are taken.
    ClusterForReports,
    /// In the namespace of the release, where reports are taken.
    OwnForReports,
}

/// The rights, such as `get longtask.dev/longtasks`, that hold in one of these places. Each has its reason.
pub(crate) fn documented(places: &[Place]) -> BTreeSet<String> {
    let page = fs::read_to_string("docs/security.md").expect("docs/security.md");
    let (_, after) = page.split_once("\n| right | where | what for |\n|---|---|---|\n").expect("the table of rights");
    let rows = after.lines().take_while(|line| line.starts_with("| "));
    let rights = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [right, place, reason] = cells[..] else { panic!("three cells: {row}") };
        assert!(reason.len() > 10, "a reason: {row}");
        let place = match place {
            "watched namespaces" => Place::Watched,
            "watched namespaces, to fill in" => Place::WatchedToFillIn,
            "own namespace" => Place::Own,
            "the cluster, for reports" => Place::ClusterForReports,
            "own namespace, for reports" => Place::OwnForReports,
            _ => panic!("a place: {row}"),
        };
        (place, right.trim_matches('`').to_owned())
    });
    rights.filter(|(place, _)| places.contains(place)).map(|(_, right)| right).collect()
}
