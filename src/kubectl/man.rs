//! The manual pages, made from the texts of `--help`.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_mangen::Man;

use super::{args::Plugin, error::Error};

/// The page of the plugin.
pub(super) fn page() -> Result<String, Error> {
    let mut page = Vec::new();
    Man::new(Plugin::command()).render(&mut page).map_err(Error::Print)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes the pages of the plugin and of each verb.
pub(super) fn write_pages(folder: &Path) -> Result<String, Error> {
    let failed = |source| Error::Write { folder: folder.display().to_string(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Plugin::command(), folder).map_err(failed)?;
    Ok(format!("Wrote kubectl-longtask.1 and a page for each verb into {}.\n", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_verbs() {
        let page = page().expect("a page");
        for verb in Plugin::command().get_subcommands() {
            // In roff, a hyphen is written with a backslash.
            let name = verb.get_name().replace('-', "\\-");
            assert!(page.contains(&name), "{name}: {page}");
        }
    }
}
