//! The screen of the demo: what the board says, ten times a second, and the keys.
//!
//! It runs on a thread of its own, so that a slow terminal holds up nobody. The terminal is given back however the run ends.

use super::{
    board::{Board, Panel, Phase, Shared},
    views,
};
use crate::percentile::percentile_ms;
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Cell, Gauge, Padding, Paragraph, Row, Sparkline, Table, Wrap},
};
use std::time::Duration;

const FRAME: Duration = Duration::from_millis(100);
const ACCENT: Color = Color::Rgb(0xE0, 0x8E, 0x45);
const QUIET: Color = Color::Rgb(0x80, 0x88, 0x90);

/// Draws until the user leaves; takes the terminal and gives it back.
pub fn show(board: &Shared) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let outcome = frames(&mut terminal, board);
    ratatui::restore();
    // who leaves early still gets the comparison, on the ordinary terminal
    board.lock().skip = true;
    outcome
}

fn frames(terminal: &mut DefaultTerminal, board: &Shared) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| draw(frame, &board.lock()))?;
        if event::poll(FRAME)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            let mut board = board.lock();
            match key.code {
                _ if ctrl_c => return Ok(()),
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('+' | '=') | KeyCode::Right => board.hours_per_s = (board.hours_per_s * 1.5).min(10_000.0),
                KeyCode::Char('-') | KeyCode::Left => board.hours_per_s = (board.hours_per_s / 1.5).max(0.2),
                KeyCode::Char(' ') => board.paused = !board.paused,
                KeyCode::Char('s') => board.skip = true,
                _ => {}
            }
        }
    }
}

fn draw(frame: &mut Frame, board: &Board) {
    let [head, bar, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(8),
        Constraint::Length(foot_lines(board)),
    ])
    .areas(frame.area());
    frame.render_widget(headline(board), head);
    frame.render_widget(progress(board), bar);
    let [left, right] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(body);
    let half = |area: Rect| Layout::vertical([Constraint::Percentage(56), Constraint::Percentage(44)]).areas::<2>(area);
    let ([a, c], [b, d]) = (half(left), half(right));
    for (at, area) in [a, b, c].into_iter().enumerate() {
        if let Some(panel) = board.panels.get(at) {
            frame.render_widget(table(views::PANELS[at].0, panel), area);
        } else {
            frame.render_widget(framed(views::PANELS[at].0), area);
        }
    }
    speed(frame, board, d);
    frame.render_widget(footer(board), foot);
}

fn headline(board: &Board) -> Line<'static> {
    let doing = match (board.phase, board.paused) {
        (Phase::Live, true) => "paused",
        (Phase::Live, false) => "live",
        (Phase::Rebuilding, _) => "rebuilding every view from the log",
        (Phase::Done, _) => "done",
    };
    Line::from(vec![
        Span::styled(" regauge ", Style::new().bold().bg(ACCENT).fg(Color::Black)),
        Span::raw("  flights from New York   "),
        Span::styled(board.hour.clone(), Style::new().bold()),
        Span::styled(format!("   {doing}"), Style::new().fg(ACCENT)),
    ])
}

fn progress(board: &Board) -> Gauge<'static> {
    let ratio = (board.played as f64 / board.to_play.max(1) as f64).min(1.0);
    let label = format!("{} of {} flights of the last weeks", board.played, board.to_play);
    Gauge::default().ratio(ratio).label(label).gauge_style(Style::new().fg(ACCENT).bg(Color::Rgb(0x2A, 0x2E, 0x33)))
}

fn framed(title: &str) -> Block<'static> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(QUIET))
        .title(Span::styled(format!(" {title} "), Style::new().bold()))
        .padding(Padding::horizontal(1))
}

/// Texts to the left, numbers to the right.
fn table(title: &str, panel: &Panel) -> Table<'static> {
    let numeric = |column: usize| panel.rows.iter().all(|r| r[column].is_empty() || r[column].parse::<f64>().is_ok());
    let width = |column: usize| {
        let cells = panel.rows.iter().map(|r| r[column].chars().count());
        cells.chain([panel.columns[column].len()]).max().unwrap_or(0).min(28)
    };
    let columns = 0..panel.columns.len();
    let widths: Vec<usize> = columns.clone().map(width).collect();
    let numbers: Vec<bool> = columns.map(numeric).collect();
    let cell = |column: usize, text: &str| {
        let text: String = text.chars().take(28).collect();
        Cell::from(if numbers[column] { format!("{text:>width$}", width = widths[column]) } else { text })
    };
    let row = |cells: &[String]| Row::new(cells.iter().enumerate().map(|(at, text)| cell(at, text)).collect::<Vec<_>>());
    let constraints: Vec<Constraint> = widths.iter().map(|w| Constraint::Length(u16::try_from(*w).unwrap_or(28))).collect();
    Table::new(panel.rows.iter().map(|r| row(r)).collect::<Vec<_>>(), constraints)
        .header(row(&panel.columns).style(Style::new().fg(QUIET)))
        .column_spacing(2)
        .block(framed(title))
}

fn speed(frame: &mut Frame, board: &Board, area: Rect) {
    let block = framed("events per second, and how fresh the views are");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [line, spark] = Layout::vertical([Constraint::Length(3), Constraint::Min(1)]).areas(inner);
    let recent = &board.freshness[board.freshness.len().saturating_sub(64)..];
    let now = board.rates.iter().rev().take(4).sum::<u64>();
    let text = vec![
        Line::from(vec![Span::styled(format!("{now}"), Style::new().bold()), Span::raw(" flights/s")]),
        Line::from(vec![
            Span::raw("acknowledged to visible in every view: p50 "),
            Span::styled(format!("{:.1} ms", percentile_ms(recent, 50)), Style::new().bold()),
            Span::raw(", p99 "),
            Span::styled(format!("{:.1} ms", percentile_ms(recent, 99)), Style::new().bold()),
        ]),
        Line::from(Span::styled("each hour of 2013 is one commit and one fsync", Style::new().fg(QUIET))),
    ];
    frame.render_widget(Paragraph::new(text), line);
    let skip = board.rates.len().saturating_sub(spark.width as usize);
    let points: Vec<u64> = board.rates.iter().skip(skip).copied().collect();
    frame.render_widget(Sparkline::default().data(points).style(Style::new().fg(ACCENT)), spark);
}

fn foot_lines(board: &Board) -> u16 {
    u16::try_from(2 + board.verdict.iter().map(|v| v.lines().count()).sum::<usize>()).unwrap_or(12)
}

fn footer(board: &Board) -> Paragraph<'static> {
    let mut lines: Vec<Line> = board
        .verdict
        .iter()
        .flat_map(|v| v.lines())
        .map(|l| Line::from(Span::styled(l.to_owned(), Style::new().add_modifier(Modifier::BOLD))))
        .collect();
    lines.push(Line::from(vec![Span::styled("look yourself: ", Style::new().fg(QUIET)), Span::raw(board.psql.clone())]));
    let speed = if board.hours_per_s.is_finite() {
        format!("{:.1} hours of 2013 a second", board.hours_per_s)
    } else {
        "as fast as it goes".into()
    };
    let keys = match board.phase {
        Phase::Live => format!("{speed}   + faster   - slower   space pause   s skip to the end   q leave"),
        Phase::Rebuilding => "comparing".to_owned(),
        Phase::Done => "q leave (the server goes with it)".to_owned(),
    };
    lines.push(Line::from(Span::styled(keys, Style::new().fg(QUIET))));
    Paragraph::new(lines).wrap(Wrap { trim: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    #[test]
    fn the_screen_shows_rows_freshness_and_the_verdict() {
        let shared = Shared::new(100, 12.0, "psql -p 1 regauge".into());
        {
            let mut board = shared.lock();
            board.played = 40;
            board.freshness = vec![Duration::from_millis(3)];
            let columns = vec!["route".to_owned(), "delay".to_owned()];
            board.panels = vec![Panel { columns, rows: vec![vec!["EWR TYS".into(), "41.15".into()]] }; 3];
            board.verdict = vec!["carrier_delay equal: 7 rows".into()];
        }
        let mut terminal = Terminal::new(TestBackend::new(120, 36)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, &shared.lock())).expect("drawn");
        let shown = format!("{}", terminal.backend());
        for part in ["EWR TYS", "41.15", "40 of 100", "p50 3.0 ms", "carrier_delay equal", "psql -p 1 regauge"] {
            assert!(shown.contains(part), "{part} is not on the screen:\n{shown}");
        }
    }
}
