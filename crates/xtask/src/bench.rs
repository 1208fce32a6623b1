//! `cargo xtask bench`: what Headwater costs, beside the floor and beside other servers, in one run on the same media.
//!
//! Nothing here judges. Each row of the table is a ratio to be read: absolute figures drift with the machine and with whatever
//! else it does, so every server is measured in turn, several times, and the median counts. CPU time is the operating system's own
//! account of the server's processes.

mod instructions;
mod load;
mod rows;
mod servers;
mod table;

use crate::root;
use crate::run::{Failure, Step};
use rows::ROWS;
use servers::Server;
use table::Table;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [OPTIONS]
       cargo xtask bench install        installs the other servers that can be had here
       cargo xtask bench instructions [--update]
                                        counts instructions and fails where there are more than the stored ones allow

  --only NAMES      rows to measure, separated by commas: start, cost, scale, memory, most, unpaced, egress, held, latency
                    (default: all)
  --servers NAMES   floor, headwater-ts, headwater, nginx, nms, xiu (default: all that are installed)
  --streams LIST    for cost: so many at a time (default: 1,20,60,200)
  --viewers LIST    for held (default: 1000,5000,10000)
  --megabits RATE   of the media (default: 2.7)
  --runs N          runs of each, in turn (default: 3)
  --settle N        seconds from the last publisher's start until what is counted (default: 5; windows have filled after 50)
  --seconds N       counted per run (default: 10)
  --json            prints the table as JSON";

/// What is to be measured.
struct Options {
    only: Option<Vec<String>>,
    servers: Vec<Server>,
    streams: Vec<u32>,
    viewers: Vec<u32>,
    megabits: String,
    runs: u32,
    settle: u32,
    seconds: u32,
    json: bool,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Options, Failure> {
        let mut options = Options {
            only: None,
            servers: Server::ALL.to_vec(),
            streams: vec![1, 20, 60, 200],
            viewers: vec![1_000, 5_000, 10_000],
            megabits: "2.7".to_owned(),
            runs: 3,
            settle: 5,
            seconds: 10,
            json: false,
        };
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            if *option == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments
                .next()
                .ok_or_else(|| Failure::new(format!("{option}: a value is needed\n{USAGE}")))?;
            let number = || {
                let number = value.parse::<u32>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| Failure::new(format!("{option}: not a number above 0: {value}")))
            };
            match *option {
                "--only" => options.only = Some(names(value, ROWS.iter().map(|row| row.name))?),
                "--servers" => {
                    let chosen = names(value, Server::ALL.iter().map(|server| server.name()))?;
                    options.servers.retain(|server| chosen.iter().any(|name| name == server.name()));
                }
                "--streams" => options.streams = numbers(value)?,
                "--viewers" => options.viewers = numbers(value)?,
                "--megabits" => {
                    // It goes to ffmpeg and into a file's name.
                    if !value.parse::<f64>().is_ok_and(|rate| (0.2..=50.0).contains(&rate)) {
                        return Err(Failure::new(format!("--megabits: not between 0.2 and 50: {value}")));
                    }
                    options.megabits = (*value).to_owned();
                }
                "--runs" => options.runs = number()?,
                "--settle" => options.settle = number()?,
                "--seconds" => options.seconds = number()?,
                _ => return Err(Failure::new(format!("no option {option}\n{USAGE}"))),
            }
        }
        Ok(options)
    }

    fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == row))
    }
}

/// Names separated by commas, each of which must be one of `known`.
fn names<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> = known.collect();
    let chosen = text.split(',').map(|name| {
        let is_known = known.contains(&name);
        is_known
            .then(|| name.to_owned())
            .ok_or_else(|| Failure::new(format!("{name}: one of {}", known.join(", "))))
    });
    chosen.collect()
}

fn numbers(text: &str) -> Result<Vec<u32>, Failure> {
    let numbers = text.split(',').map(|number| number.parse::<u32>().ok().filter(|number| *number > 0));
    numbers.collect::<Option<_>>().ok_or_else(|| Failure::new(format!("not numbers above 0: {text}")))
}

/// Runs it with its own options.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        ["install"] => return servers::install(),
        ["instructions"] => return instructions::run(false),
        ["instructions", "--update"] => return instructions::run(true),
        ["--help"] => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => {}
    }
    let options = Options::parse(arguments)?;
    let packages = ["--package", "headwater-origin", "--package", "headwater-load"];
    Step::cargo(&["build", "--release", "--locked"]).args(&packages).run()?;
    let clip = clip(&options.megabits)?;
    let mut servers = Vec::new();
    for server in &options.servers {
        match server.missing() {
            None => servers.push(*server),
            Some(reason) => eprintln!("{}: skipped, {reason}", server.name()),
        }
    }
    let mut table = Table::default();
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        for run in 1..=options.runs {
            eprintln!("{}, run {run} of {}", row.name, options.runs);
            for server in servers.iter().filter(|server| (row.is_for)(**server)) {
                // One that fails must not keep the others from being measured.
                if let Err(failure) = (row.measure)(*server, &options, &clip, &mut table) {
                    eprintln!("{}, {}: {failure}", row.name, server.name());
                }
            }
        }
    }
    if options.json {
        println!("{}", table.json());
    } else {
        println!("{table}");
    }
    Ok(())
}

/// 16 s of 1280x720 with sound at about so many Mbit/s, made once: no filler, which servers may leave out.
fn clip(megabits: &str) -> Result<String, Failure> {
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::new(error.to_string()))?;
    let path = folder.join(format!("720p-{megabits}.flv")).to_string_lossy().into_owned();
    if std::path::Path::new(&path).is_file() {
        return Ok(path);
    }
    let partial = format!("{path}.part");
    let rate = format!("{megabits}M");
    // Noise, so that the encoder needs the bits that it is given.
    let picture = "testsrc2=size=1280x720:rate=30:duration=16,noise=alls=12:allf=t,format=yuv420p";
    let sound = "sine=frequency=440:sample_rate=48000:duration=16";
    let ffmpeg = ["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound];
    let video = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "60", "-sc_threshold", "0"];
    let bits = ["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate];
    let audio = ["-c:a", "aac", "-ac", "2", "-b:a", "128k", "-f", "flv", &partial];
    Step::new("ffmpeg").args(&ffmpeg).args(&video).args(&bits).args(&audio).run()?;
    std::fs::rename(&partial, &path).map_err(|error| Failure::new(error.to_string()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let options =
            Options::parse(&["--only", "cost,held", "--servers", "floor,nginx", "--streams", "1,60"])
                .unwrap();
        assert_eq!(options.servers, [Server::Floor, Server::NginxRtmp]);
        assert_eq!((options.streams.as_slice(), options.runs, options.json), (&[1, 60][..], 3, false));
        assert!(options.wants("cost") && !options.wants("memory"));
        for wrong in [
            &["--only", "speed"][..],
            &["--servers", "apache"],
            &["--runs", "0"],
            &["--streams", "1,x"],
            &["--megabits", "../x"],
            &["--runs"],
            &["--fast", "1"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
