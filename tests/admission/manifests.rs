//! The manifests that users copy: those of the examples and of the documentation.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A whole manifest of ours, with the file that it is in.
pub(crate) struct Manifest {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// Every manifest of a task, a template or a set in the examples' files and in the pages' blocks of YAML.
pub(crate) fn all() -> Vec<Manifest> {
    let pages = files("docs", "md").into_iter().chain(files("examples", "md")).chain([PathBuf::from("README.md")]);
    let in_blocks = pages.flat_map(|page| {
        let text = read(&page);
        let blocks: Vec<_> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        blocks.into_iter().flat_map(|block| ours(&page, block)).collect::<Vec<_>>()
    });
    let of_examples = files("examples", "yaml").into_iter().flat_map(|file| ours(&file, &read(&file)));
    of_examples.chain(in_blocks).collect()
}

/// The documents of a text that are of our kinds.
fn ours(file: &Path, text: &str) -> Vec<Manifest> {
    let kinds = ["LongTask", "LongTaskTemplate", "LongTaskSet"].map(|kind| format!("\nkind: {kind}\n"));
    let documents = text.split("\n---\n").filter(|document| kinds.iter().any(|kind| document.contains(kind)));
    documents.map(|document| Manifest { file: file.display().to_string(), text: document.to_owned() }).collect()
}

fn files(folder: impl AsRef<Path>, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { files(path, extension) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("readable")
}
