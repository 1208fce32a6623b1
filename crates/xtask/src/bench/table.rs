//! Figures by row and server: the median of the runs, with the least and the greatest beside it.

use std::fmt;

use serde_json::{Value, json};

/// What was measured of one server in one row.
struct Cell {
    row: String,
    unit: &'static str,
    server: &'static str,
    values: Vec<f64>,
}

/// All that was measured, in the order of its first figures.
#[derive(Default)]
pub(super) struct Table(Vec<Cell>);

impl Cell {
    /// Of an even number of runs, the lower of the two in the middle.
    fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn greatest(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Table {
    /// One more figure.
    pub(super) fn add(
        &mut self,
        row: impl Into<String>,
        unit: &'static str,
        server: &'static str,
        value: f64,
    ) {
        let row = row.into();
        match self.0.iter_mut().find(|cell| cell.row == row && cell.server == server) {
            Some(cell) => cell.values.push(value),
            None => self.0.push(Cell { row, unit, server, values: vec![value] }),
        }
    }

    /// As JSON: an array of cells.
    pub(super) fn json(&self) -> Value {
        let cells = self.0.iter().map(|cell| {
            json!({
                "row": cell.row, "unit": cell.unit, "server": cell.server, "values": cell.values,
                "median": cell.median(), "least": cell.least(), "greatest": cell.greatest(),
            })
        });
        cells.collect()
    }
}

impl fmt::Display for Table {
    /// In Markdown, to be pasted where it is needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rows, mut servers) = (Vec::<(&str, &str)>::new(), Vec::<&str>::new());
        for cell in &self.0 {
            if !rows.contains(&(&cell.row, cell.unit)) {
                rows.push((&cell.row, cell.unit));
            }
            if !servers.contains(&cell.server) {
                servers.push(cell.server);
            }
        }
        writeln!(f, "| | | {} |", servers.join(" | "))?;
        writeln!(f, "|---|---|{}", "---|".repeat(servers.len()))?;
        for (row, unit) in rows {
            write!(f, "| {row} | {unit} |")?;
            for server in &servers {
                match self.0.iter().find(|cell| cell.row == row && cell.server == *server) {
                    Some(cell) => {
                        let digits = if cell.median().abs() < 10.0 { 2 } else { 1 };
                        let (median, least, greatest) = (cell.median(), cell.least(), cell.greatest());
                        write!(f, " {median:.digits$} ({least:.digits$} to {greatest:.digits$}) |")?;
                    }
                    None => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spread() {
        let mut table = Table::default();
        for (row, server, value) in [
            ("cost", "a", 3.0),
            ("cost", "b", 12.5),
            ("cost", "a", 1.0),
            ("cost", "a", 2.0),
            ("most", "b", 7.0),
        ] {
            table.add(row, "ms", server, value);
        }
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "| | | a | b |",
                "|---|---|---|---|",
                "| cost | ms | 2.00 (1.00 to 3.00) | 12.5 (12.5 to 12.5) |",
                "| most | ms | | 7.00 (7.00 to 7.00) |",
            ]
        );
        assert_eq!(table.json()[0]["median"], 2.0);
    }
}
