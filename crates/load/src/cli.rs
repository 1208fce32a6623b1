//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::clip::Clip;
use crate::hold::{self, Parts, Publication};
use crate::rtmp::Writer;
use crate::{Error, fetch, listed, publish, sink, watch};

/// Load for a live origin, or for a cache in front of one.
#[derive(Debug, Parser)]
#[command(name = "headwater-load", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Viewers of Low-Latency HLS, each waiting for the next part.
    Hold(Hold),
    /// Publishers, in real time or as fast as they are read.
    Publish(Publish),
    /// Viewers of HLS, Low-Latency HLS, DASH and FLV, each with the buffer of a player.
    ///
    /// The kind is what the address turns out to be: .flv is FLV, .mpd is DASH (with a SegmentTimeline), a playlist with parts and
    /// blocking reloads is Low-Latency HLS, any other playlist HLS. Of a multivariant playlist the first variant is watched, and
    /// its audio where that is apart.
    Watch(Watch),
    /// How long after the write of a keyframe a playlist lists the segment that it closed.
    Listed(Listed),
    /// One URL over and over: what a request costs the server.
    Fetch(Fetch),
    /// A server that takes publications and throws them away: the floor that no server can go below.
    Sink(Sink),
}

#[derive(Debug, Args)]
struct Hold {
    /// A media playlist with parts, or a multivariant playlist whose first variant is one: http://HOST:PORT/APP/STREAM/llhls.m3u8.
    url: String,
    /// Viewers, each with one request held at a time.
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// Seconds for which parts count, after all viewers have begun.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// Seconds within which the viewers begin; by default a second for 500 of them.
    #[arg(long, value_name = "SECONDS")]
    ramp: Option<f64>,
    /// Which parts each viewer fetches: none, listed (once listed), hinted (on a second connection, ahead, as players do).
    #[arg(long, value_enum, default_value_t = Parts::None)]
    fetch_parts: Parts,
    /// Ask for delta updates (_HLS_skip=YES).
    #[arg(long)]
    skip: bool,
    /// Come from so many addresses, from 127.0.0.2 on: a server limits what one address may do. Only for a server on this machine.
    #[arg(long, default_value_t = 0, value_name = "N")]
    addresses: usize,
    /// HTTP/2 without TLS, with so many viewers on each connection; HTTP/1.1 otherwise.
    #[arg(long, value_name = "VIEWERS")]
    http2: Option<usize>,
    /// The server's process on this machine: its memory before, during and after, and its CPU time.
    #[arg(long)]
    pid: Option<u32>,
    /// Publish the stream as well: rtmp://HOST:PORT/APP/STREAM. Then times count from the write of the picture that closed a part.
    #[arg(long, value_name = "URL", requires = "media")]
    publish: Option<String>,
    /// What to publish: an FLV file with H.264 and AAC, repeated for ever.
    #[arg(long, value_name = "FILE")]
    media: Option<PathBuf>,
    /// Seconds between the published stream's first playlist and the first viewer: until the stream's own memory no longer grows,
    /// when memory is to be compared.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    settle: f64,
}

#[derive(Debug, Args)]
struct Publish {
    /// rtmp://HOST:PORT/APP/STREAM. With several publishers {n} in it is the publisher's number; else the number is put behind it.
    url: String,
    /// What to publish: an FLV file with H.264 and AAC, repeated for ever.
    #[arg(long, value_name = "FILE")]
    media: PathBuf,
    /// Publishers, each with a stream of its own.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Seconds that count, after all have begun and settled.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    seconds: f64,
    /// Seconds between the last publisher's beginning and what counts: until the server's windows have filled.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    settle: f64,
    /// Seconds within which the publishers begin: they would all send their keyframes at the same moment otherwise.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    ramp: f64,
    /// Who speaks RTMP: own, as lean as can be; rml-rtmp, a client that nobody here wrote.
    #[arg(long, value_enum, default_value_t = Writer::Own)]
    writer: Writer,
    /// Send as fast as the server reads. It must not slow its publishers down to real time (Headwater: publish.pace = false).
    #[arg(long)]
    unpaced: bool,
    /// The server's process on this machine: CPU time and memory, with what it has started.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Debug, Args)]
struct Watch {
    /// What is watched: http://HOST:PORT/APP/STREAM/index.m3u8 and the like. Viewers are spread evenly over all of them; {n} in one is
    /// the stream's number.
    #[arg(required = true)]
    urls: Vec<String>,
    /// Streams that {n} stands for, from 0.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Viewers in all.
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// Seconds to watch for, after all have begun.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// Seconds within which the viewers begin; by default a second for 500 of them, and at least 2.
    #[arg(long, value_name = "SECONDS")]
    ramp: Option<f64>,
    /// Come from so many addresses, from 127.0.0.2 on: a server limits what one address may do. Only for a server on this machine.
    #[arg(long, default_value_t = 0, value_name = "N")]
    addresses: usize,
    /// The server's process on this machine: CPU time and memory, with what it has started.
    #[arg(long)]
    pid: Option<u32>,
    /// Publish the streams as well: rtmp://HOST:PORT/APP/STREAM with {n}. Then FLV's times count from the write of each frame.
    #[arg(long, value_name = "URL", requires = "media")]
    publish: Option<String>,
    /// What to publish: an FLV file with H.264 and AAC, repeated for ever.
    #[arg(long, value_name = "FILE")]
    media: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Listed {
    /// A media playlist in segments, or a multivariant playlist whose first variant is one: http://HOST:PORT/APP/STREAM/index.m3u8.
    url: String,
    /// Where the load publishes the stream: rtmp://HOST:PORT/APP/STREAM.
    #[arg(long, value_name = "URL")]
    publish: String,
    /// What to publish: an FLV file with H.264 and AAC, repeated for ever.
    #[arg(long, value_name = "FILE")]
    media: PathBuf,
    /// Seconds for which keyframes count.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    seconds: f64,
    /// Seconds between the first playlist and what counts.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    settle: f64,
}

#[derive(Debug, Args)]
struct Fetch {
    /// http://HOST:PORT/PATH
    url: String,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Seconds for which requests count.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// The server's process on this machine: CPU time, with that of what it has started.
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Debug, Args)]
struct Sink {
    /// Where publishers connect.
    #[arg(long, default_value = "127.0.0.1:1935", value_name = "ADDRESS")]
    listen: SocketAddr,
}

/// Viewers that begin in a second unless told otherwise: a connection costs more than a request.
const RAMP_VIEWERS_PER_SECOND: f64 = 500.0;

/// Players would all ask at the same moment otherwise.
const WATCH_RAMP_SECONDS_MIN: f64 = 2.0;

impl Cli {
    /// Runs the command and prints its result.
    ///
    /// # Errors
    /// What kept it from running.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            Command::Hold(options) => print(&crate::block_on(hold::run(&options.checked()?))??, self.json),
            Command::Publish(options) => {
                let clip = Arc::new(Clip::open(&options.media)?);
                print(&crate::block_on(publish::run(&options.checked()?, clip))??, self.json)
            }
            Command::Watch(options) => print(&crate::block_on(watch::run(&options.checked()?))??, self.json),
            Command::Listed(options) => {
                print(&crate::block_on(listed::run(&options.checked()?))??, self.json)
            }
            Command::Fetch(options) => print(&crate::block_on(fetch::run(&options.checked()?))??, self.json),
            Command::Sink(options) => crate::block_on_one(async {
                let listener = sink::listen(options.listen).await?;
                sink::run(listener).await
            })?,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the command's own answer")]
fn print<R: Serialize + std::fmt::Display>(report: &R, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(report).map_err(|error| Error::Option(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    Ok(())
}

fn seconds(option: &str, seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Error::Option(format!("{option}: {error}")))
}

fn positive(option: &str, number: usize) -> Result<usize, Error> {
    if number == 0 { Err(Error::Option(format!("{option}: at least 1"))) } else { Ok(number) }
}

impl Hold {
    fn checked(self) -> Result<hold::Options, Error> {
        let publish = match (self.publish, self.media) {
            (Some(url), Some(media)) => Some(Publication {
                url,
                clip: Arc::new(Clip::open(&media)?),
                settle: seconds("--settle", self.settle)?,
            }),
            _ => None,
        };
        let ramp = self.ramp.unwrap_or(self.viewers as f64 / RAMP_VIEWERS_PER_SECOND);
        Ok(hold::Options {
            url: self.url,
            viewers: positive("--viewers", self.viewers)?,
            duration: seconds("--seconds", self.seconds)?,
            ramp: seconds("--ramp", ramp)?,
            parts: self.fetch_parts,
            skip: self.skip,
            addresses: self.addresses,
            http2: self.http2.map(|viewers| positive("--http2", viewers)).transpose()?,
            pid: self.pid,
            publish,
            progress: true,
        })
    }
}

impl Publish {
    fn checked(self) -> Result<publish::Options, Error> {
        Ok(publish::Options {
            url: self.url,
            publishers: positive("--publishers", self.publishers)?,
            duration: seconds("--seconds", self.seconds)?,
            ramp: seconds("--ramp", self.ramp)?,
            settle: seconds("--settle", self.settle)?,
            writer: self.writer,
            is_paced: !self.unpaced,
            pid: self.pid,
        })
    }
}

impl Watch {
    fn checked(self) -> Result<watch::Options, Error> {
        let clip = self.media.as_deref().map(Clip::open).transpose()?.map(Arc::new);
        let ramp = (self.viewers as f64 / RAMP_VIEWERS_PER_SECOND).max(WATCH_RAMP_SECONDS_MIN);
        Ok(watch::Options {
            urls: self.urls,
            streams: positive("--streams", self.streams)?,
            viewers: positive("--viewers", self.viewers)?,
            duration: seconds("--seconds", self.seconds)?,
            ramp: seconds("--ramp", self.ramp.unwrap_or(ramp))?,
            addresses: self.addresses,
            pid: self.pid,
            publish: self.publish.zip(clip),
            progress: true,
        })
    }
}

impl Listed {
    fn checked(self) -> Result<listed::Options, Error> {
        Ok(listed::Options {
            url: self.url,
            publish: self.publish,
            clip: Arc::new(Clip::open(&self.media)?),
            settle: seconds("--settle", self.settle)?,
            duration: seconds("--seconds", self.seconds)?,
        })
    }
}

impl Fetch {
    fn checked(self) -> Result<fetch::Options, Error> {
        Ok(fetch::Options {
            url: self.url,
            connections: positive("--connections", self.connections)?,
            duration: seconds("--seconds", self.seconds)?,
            pid: self.pid,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (arguments, expected) in [
            (&["hold", "http://127.0.0.1/x", "--viewers", "0"][..], Some("--viewers")),
            (&["hold", "http://127.0.0.1/x", "--seconds=-1"], Some("--seconds")),
            (&["hold", "http://127.0.0.1/x", "--http2", "0"], Some("--http2")),
            (&["hold", "http://127.0.0.1/x"], None),
        ] {
            let cli = Cli::try_parse_from(["headwater-load"].iter().chain(arguments)).unwrap();
            let Command::Hold(options) = cli.command else { panic!("another command") };
            let error = options.checked().err().map(|error| error.to_string());
            match expected {
                Some(text) => assert!(error.as_ref().is_some_and(|error| error.contains(text)), "{error:?}"),
                None => assert_eq!(error, None),
            }
        }
    }
}
