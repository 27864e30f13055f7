//! Tables in plain text.

use std::fmt::Write as _;

/// The first column to the left, the others to the right, each as wide as its widest cell.
pub(super) fn grid(indent: &str, rows: &[impl AsRef<[String]>]) -> String {
    let mut widths = vec![];
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        text.push_str(indent);
        for (column, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            // Writing to a string can't fail.
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}
