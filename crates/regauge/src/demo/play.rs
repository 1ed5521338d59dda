//! The live part: hours of 2013, appended at a pace that the user sets, and the questions that the screen asks meanwhile.
//!
//! Freshness is the time from the acknowledgement of an append until every view shows it (`FLUSH`). The questions are asked by
//! sessions of their own, as any client would.

use super::{
    board::{Panel, Phase, Shared},
    data::Hour,
    views,
};
use crate::print;
use arrow::{array::ArrayRef, datatypes::DataType, error::ArrowError, util::display::array_value_to_string};
use regauge_views::{Instance, Response, Session, SessionOptions};
use std::time::{Duration, Instant};

/// How often the screen's questions are asked.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Plays all hours; how long it took.
pub async fn play(session: &mut Session, board: &Shared, hours: Vec<Hour>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut due = begun;
    for hour in hours {
        due = pace(board, due).await;
        let n_rows = hour.flights.num_rows();
        session.append("flights", hour.flights, None).await.map_err(print::explain)?;
        let acknowledged = Instant::now();
        session.execute("FLUSH").await.map_err(print::explain)?;
        let fresh = acknowledged.elapsed();
        let mut board = board.lock();
        board.freshness.push(fresh);
        board.played += n_rows;
        board.hour = hour.name;
    }
    Ok(begun.elapsed())
}

/// Waits until the next hour is due.
async fn pace(board: &Shared, due: Instant) -> Instant {
    loop {
        let (paused, skip, hours_per_s) = {
            let board = board.lock();
            (board.paused, board.skip, board.hours_per_s)
        };
        if skip || hours_per_s.is_infinite() {
            return Instant::now();
        }
        let now = Instant::now();
        if !paused && now >= due {
            // a pause, or a machine that cannot keep up, is not made good by a burst
            return due.max(now - Duration::from_millis(50)) + Duration::from_secs_f64(1.0 / hours_per_s.max(0.01));
        }
        let nap = if paused { Duration::from_millis(50) } else { (due - now).min(Duration::from_millis(50)) };
        tokio::time::sleep(nap).await;
    }
}

/// Asks the screen's questions until the run is done and they have been asked once more.
pub async fn ask(instance: &Instance, board: &Shared) -> anyhow::Result<()> {
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    let mut seen = 0;
    loop {
        let (done, hour) = {
            let mut board = board.lock();
            let played = board.played;
            if board.phase == Phase::Live {
                board.rate((played - seen) as u64);
            }
            seen = played;
            (board.phase == Phase::Done, board.hour.clone())
        };
        let mut panels = vec![];
        for (_, question) in views::PANELS {
            panels.push(panel(&mut session, &question.replace("{hour}", &hour)).await?);
        }
        board.lock().panels = panels;
        if done {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn panel(session: &mut Session, question: &str) -> anyhow::Result<Panel> {
    let mut panel = Panel::default();
    for response in session.execute(question).await.map_err(print::explain)? {
        let Response::Rows(rows) = response else { continue };
        panel.columns = rows.schema.fields().iter().map(|f| f.name().clone()).collect();
        for batch in rows.collect().await.map_err(print::explain)? {
            for row in 0..batch.num_rows() {
                panel.rows.push(batch.columns().iter().map(|c| cell(c, row)).collect::<Result<_, _>>()?);
            }
        }
    }
    Ok(panel)
}

/// A value as people read it: a time with a blank, an average without the zeros behind it.
fn cell(column: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let text = array_value_to_string(column, row)?;
    Ok(match column.data_type() {
        DataType::Timestamp(..) => text.replace('T', " "),
        DataType::Decimal128(..) if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text,
    })
}
