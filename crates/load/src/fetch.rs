//! One URL, over and over, on a few connections that never wait: what a request costs the server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::address::Address;
use crate::client::Client;
use crate::spread::Spread;
use crate::system;

/// Before the first request that counts: connections are made and whatever is rendered on demand is rendered.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is to be fetched.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http://HOST/PATH`.
    pub url: String,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Requests count for so long.
    pub duration: Duration,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seconds counted.
    pub seconds: f64,
    /// Answers in that time, with status 200 and read to their end.
    pub requests: u64,
    /// Per second.
    pub requests_per_second: f64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// From the request to the last byte.
    pub answers: Option<Spread>,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
    /// CPU time of the server per request, µs.
    pub server_cpu_us_per_request: Option<f64>,
    /// The same per 10^9 bytes of bodies, s.
    pub server_cpu_s_per_gigabyte: Option<f64>,
}

#[derive(Debug, Default)]
struct Seen {
    answers: Vec<(Instant, Duration, usize)>,
    errors: BTreeMap<String, u64>,
}

/// Fetches, and reports.
///
/// # Errors
/// [`Error::Address`], [`Error::System`], or what the first request met.
pub async fn run(options: &Options) -> Result<Report, Error> {
    system::make_room(options.connections)?;
    let address = Address::http(&options.url)?;
    let first = Client::connect(&address, None).await?.get(&address.path).await?;
    if first.status != 200 {
        return Err(Error::Status(first.status));
    }
    let counted_from = Instant::now() + WARM_UP;
    let end = counted_from + options.duration;
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let address = address.clone();
        connections.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < end {
                tokio::select! {
                    result = fetch(&address, &mut seen.answers) => if let Err(error) = result {
                        *seen.errors.entry(error.kind()).or_default() += 1;
                        tokio::task::yield_now().await;
                    },
                    () = sleep_until(end) => {}
                }
            }
            seen
        });
    }
    let usage = || options.pid.and_then(system::usage);
    sleep_until(counted_from).await;
    let before = usage();
    sleep_until(end).await;
    let after = usage();
    let mut answers = Vec::new();
    let mut errors = BTreeMap::<String, u64>::new();
    while let Some(seen) = connections.join_next().await {
        let Ok(seen) = seen else { continue };
        answers.extend(seen.answers.into_iter().filter(|(at, _, _)| (counted_from..end).contains(at)));
        for (error, count) in seen.errors {
            *errors.entry(error).or_default() += count;
        }
    }
    let (requests, bytes) =
        (answers.len() as u64, answers.iter().map(|(_, _, length)| *length as u64).sum::<u64>());
    let cpu_us = before.zip(after).map(|(before, after)| after.cpu_us.saturating_sub(before.cpu_us) as f64);
    Ok(Report {
        seconds: options.duration.as_secs_f64(),
        requests,
        requests_per_second: requests as f64 / options.duration.as_secs_f64(),
        bytes,
        answers: Spread::of(answers.iter().map(|(_, took, _)| *took).collect()),
        errors,
        server_cpu_us_per_request: cpu_us.map(|cpu| cpu / requests.max(1) as f64),
        server_cpu_s_per_gigabyte: cpu_us.map(|cpu| cpu * 1e3 / bytes.max(1) as f64),
    })
}

/// On one connection, until something goes wrong.
async fn fetch(address: &Address, answers: &mut Vec<(Instant, Duration, usize)>) -> Result<(), Error> {
    let mut client = Client::connect(address, None).await?;
    loop {
        let began = Instant::now();
        let answer = client.get(&address.path).await?;
        if answer.status != 200 {
            return Err(Error::Status(answer.status));
        }
        answers.push((Instant::now(), began.elapsed(), answer.body.len()));
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = self.bytes as f64 / 1e6 / self.seconds;
        writeln!(f, "requests              {:.0}/s, {megabytes:.1} MB/s", self.requests_per_second)?;
        if let Some(answers) = &self.answers {
            writeln!(f, "answered within       {answers}")?;
        }
        if let (Some(request), Some(gigabyte)) =
            (self.server_cpu_us_per_request, self.server_cpu_s_per_gigabyte)
        {
            writeln!(f, "CPU of the server     {request:.1} µs per request, {gigabyte:.3} s per GB")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "error                 {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers as often as it is asked; every third answer is a 503.
    #[tokio::test]
    async fn answers_and_errors_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut asked = 0;
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 1_024];
                while socket.read(&mut request).await.is_ok_and(|length| length > 0) {
                    asked += 1;
                    let status = if asked % 3 == 0 { "503 Busy" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nabcde");
                    if socket.write_all(answer.as_bytes()).await.is_err() || asked % 3 == 0 {
                        break;
                    }
                }
            }
        });
        let options = Options {
            url,
            connections: 1,
            duration: Duration::from_millis(200),
            pid: Some(std::process::id()),
        };
        let report = run(&options).await.unwrap();
        server.abort();
        assert!(report.requests > 0, "{report}");
        assert_eq!(report.bytes, report.requests * 5, "{report}");
        assert_eq!(report.errors.keys().collect::<Vec<_>>(), ["status 503"], "{report}");
        assert!(report.server_cpu_us_per_request.is_some_and(|cpu| cpu > 0.0), "{report}");
    }
}
