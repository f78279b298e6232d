//! Columns.

use anstyle::Style;

use super::style::{BOLD, PLAIN, paint};

/// A cell: its text, and how it looks.
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, PLAIN)
    }
}

/// A table under a head, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[Cell; N]>) -> String {
    lines(head.into(), rows.into_iter().map(Vec::from).collect())
}

/// The same with a first column for namespaces, if that is wanted.
pub(super) fn table_with_namespaces<const N: usize>(
    head: [&str; N],
    rows: Vec<(String, [Cell; N])>,
    is_wanted: bool,
) -> String {
    let first = is_wanted.then_some("NAMESPACE");
    let rows = rows
        .into_iter()
        .map(|(namespace, row)| is_wanted.then(|| Cell::from(namespace)).into_iter().chain(row).collect());
    lines(first.into_iter().chain(head).collect(), rows.collect())
}

fn lines(head: Vec<&str>, rows: Vec<Vec<Cell>>) -> String {
    let mut widths = vec![0; head.len()];
    let head = head.into_iter().map(|title| Cell::styled(title, BOLD)).collect();
    let rows: Vec<_> = [head].into_iter().chain(rows).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    rows.iter().map(|row| line(row, &widths)).collect()
}

/// Filled up outside the colours: codes have no width. Nothing is left hanging at the end of the line.
fn line(row: &[Cell], widths: &[usize]) -> String {
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
    let mut line = String::new();
    for (at, (cell, width)) in row[..last].iter().zip(widths).enumerate() {
        line += &paint(cell.style, &cell.text);
        if at + 1 < last {
            line += &" ".repeat(width - cell.width() + 2);
        }
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::{super::style::BAD, *};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_the_colours() {
        let rows = vec![["ä".into(), Cell::styled("Failed", BAD), "x".into()], ["long".into(), "".into(), "".into()]];
        let text = table(["A", "B", "C"], rows);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "A     B       C\nä     Failed  x\nlong\n");
    }
}
