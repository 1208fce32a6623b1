//! `headwater health`: whether the server of this machine is ready, for container images that have no other program to ask with.

use std::time::Duration;

use crate::config::Admin;
use crate::listen::reachable;

/// The server is on the same machine, and its answer takes nothing: what takes longer is as good as no answer. Less than the time
/// that container runtimes give (30 s).
const ANSWER: Duration = Duration::from_secs(3);

/// Asks `/readyz`. The reason when it is anything but 200.
///
/// # Errors
/// One line: the status, or why there was no answer.
pub fn ask(admin: &Admin) -> Result<(), String> {
    let url = format!("http://{}/readyz", reachable(admin.listen));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER))
        // The server is here, whatever proxy the environment names.
        .proxy(None)
        .build()
        .into();
    // It is open, also where there is a token.
    match agent.get(&url).call() {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(format!("{url}: {}", answer.status())),
        Err(error) => Err(format!("{url}: {error}")),
    }
}
