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

/// The rows below their header, two spaces between columns. Where `width` is too small for all of it
/// the widest columns are cut.
pub fn layout(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let header: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    let all = || std::iter::once(&header).chain(rows);
    let mut widths: Vec<usize> = (0..header.len())
        .map(|column| all().map(|row| length(&row[column])).max().unwrap_or(0))
        .collect();
    if let Some(width) = width {
        shrink(&mut widths, width);
    }
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = cut(cell, *width);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', width - length(&cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn shrink(widths: &mut [usize], available: usize) {
    let gaps = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > available {
        let Some(widest) = widths
            .iter_mut()
            .max()
            .filter(|widest| **widest > MIN_COLUMN)
        else {
            return;
        };
        *widest -= 1;
    }
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

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        vec![
            row(["https://wit.example.com", "ada"]),
            row(["https://b", ""]),
        ]
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        assert_eq!(
            layout(&["SITE", "USER"], &rows(), None),
            "SITE                     USER\nhttps://wit.example.com  ada\nhttps://b\n"
        );
    }

    #[test]
    fn the_widest_column_is_cut_to_what_the_terminal_has() {
        let text = layout(&["SITE", "USER"], &rows(), Some(20));
        assert!(text.contains("https://wit.e…  ada\n"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 20),
            "{text}"
        );
        let text = layout(&["SITE", "USER"], &rows(), Some(3));
        assert!(text.contains("https:/…  ada\n"), "{text}");
    }
}
