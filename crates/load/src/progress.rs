//! A line now and then on standard error, while a load runs.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// Prints `line` of the time since now at every `interval`, until the set is dropped or aborted.
pub(crate) fn every(
    interval: Duration,
    mut line: impl FnMut(Duration) -> String + Send + 'static,
) -> JoinSet<()> {
    let mut set = JoinSet::new();
    set.spawn(async move {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(interval);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            #[expect(clippy::print_stderr, reason = "progress is for the person in front of it")]
            {
                eprintln!("{}", line(began.elapsed()));
            }
        }
    });
    set
}
