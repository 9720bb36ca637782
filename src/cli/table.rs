//! Rows in columns for a person, within the width of the terminal.

use std::io::{self, IsTerminal};

/// Narrowest width to which a column is cut.
const MIN_COLUMN: usize = 8;

/// The width of the terminal on stdout; `None` where stdout is none, and nothing is cut.
pub fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// The rows below their header, as [`rows`] lays them out.
pub fn layout(header: &[&str], cells: &[Vec<String>], width: Option<usize>) -> String {
    let (header, rows) = rows(header, cells, width);
    let header = Some(header).filter(|header| !header.is_empty());
    let lines = header.into_iter().chain(rows);
    lines.map(|line| line + "\n").collect()
}

/// The header and the rows, two spaces between columns. Where `width` is too small for all of it the
/// widest columns are cut. Where that is not enough a row is a line for each of its cells, each with its
/// title, and there is no header.
pub fn rows(header: &[&str], cells: &[Vec<String>], width: Option<usize>) -> (String, Vec<String>) {
    let titles: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    let all = || std::iter::once(&titles).chain(cells);
    let mut widths: Vec<usize> = (0..titles.len())
        .map(|column| all().map(|row| length(&row[column])).max().unwrap_or(0))
        .collect();
    if let Some(width) = width
        && !shrink(&mut widths, width)
    {
        let rows = cells.iter().map(|row| stacked(&titles, row, width));
        return (String::new(), rows.collect());
    }
    let laid_out = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = cut(cell, *width);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', width - length(&cell) + 2));
        }
        line.trim_end().to_owned()
    };
    (laid_out(&titles), cells.iter().map(laid_out).collect())
}

/// A row as lines, the first at the margin and those below it indented.
fn stacked(titles: &[String], row: &[String], width: usize) -> String {
    let mut lines = Vec::new();
    for (title, cell) in titles.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        let line = match lines.is_empty() {
            true => cell.clone(),
            false => format!("  {title}: {cell}"),
        };
        lines.push(cut(&line, width));
    }
    lines.join("\n")
}

/// Cuts the widest columns; `false` where that is not enough.
fn shrink(widths: &mut [usize], available: usize) -> bool {
    let gaps = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > available {
        let Some(widest) = widths
            .iter_mut()
            .max()
            .filter(|widest| **widest > MIN_COLUMN)
        else {
            return false;
        };
        *widest -= 1;
    }
    true
}

fn cut(cell: &str, width: usize) -> String {
    if length(cell) <= width {
        return cell.to_owned();
    }
    let mut shown: String = cell.chars().take(width.saturating_sub(1)).collect();
    shown.push('…');
    shown
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<Vec<String>> {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        vec![
            row(["https://wit.example.com", "ada"]),
            row(["https://b", ""]),
        ]
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        assert_eq!(
            layout(&["SITE", "USER"], &cells(), None),
            "SITE                     USER\nhttps://wit.example.com  ada\nhttps://b\n"
        );
    }

    #[test]
    fn the_widest_column_is_cut_to_what_the_terminal_has() {
        let text = layout(&["SITE", "USER"], &cells(), Some(20));
        assert!(text.contains("https://wit.e…  ada\n"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 20),
            "{text}"
        );
    }

    #[test]
    fn a_row_that_does_not_fit_is_a_line_for_each_cell() {
        let text = layout(&["SITE", "USER"], &cells(), Some(12));
        assert_eq!(text, "https://wit…\n  USER: ada\nhttps://b\n");
    }
}
