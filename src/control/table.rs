//! Aligned columns for a terminal: a heading, rows, two spaces between columns, no frame.
//!
//! Widths are counted in characters. The last column is never padded, so that no line ends in
//! spaces and a long sentence there widens nothing.

/// A table under construction.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// One column.
pub(super) struct Column {
    heading: &'static str,
    to_the_right: bool,
}

/// A column of words.
pub(super) fn words(heading: &'static str) -> Column {
    Column { heading, to_the_right: false }
}

/// A column of numbers.
pub(super) fn numbers(heading: &'static str) -> Column {
    Column { heading, to_the_right: true }
}

impl Table {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let headings = columns.iter().map(|column| column.heading.to_owned()).collect();
        Self { columns, rows: vec![headings] }
    }

    /// Adds a row of as many cells as there are columns.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a row has one cell for each column");
        self.rows.push(cells);
    }

    /// All lines, each ended by a newline.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|place| self.rows.iter().map(|row| width(&row[place])).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, column), width_of_column) in row.iter().zip(&self.columns).zip(&widths) {
                let padding = " ".repeat(width_of_column - width(cell));
                if column.to_the_right {
                    line.push_str(&padding);
                }
                line.push_str(cell);
                if !column.to_the_right {
                    line.push_str(&padding);
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(vec![words("NAME"), numbers("N"), words("WHY")]);
        table.row(vec!["a".to_owned(), "1".to_owned(), "because".to_owned()]);
        table.row(vec!["longer".to_owned(), "1000".to_owned(), String::new()]);
        assert_eq!(
            table.text(),
            concat!("NAME       N  WHY\n", "a          1  because\n", "longer  1000\n",)
        );
    }
}
