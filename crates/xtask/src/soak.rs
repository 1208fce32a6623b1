//! `cargo xtask soak`: what takes too long for every day. Sixty simulated days of a stream, every version of every playlist checked; streams and
//! publishers that come and go; and the test program of that name, for longer and beside more streams than in the ordinary tests.

use crate::run::{Failure, Step};

const MINUTES_DEFAULT: u64 = 5;
const STREAMS_DEFAULT: u64 = 10;

/// What readers keep of a stream stays below this for so long; more would measure this machine's memory.
const MINUTES_MAX: u64 = 60;

/// Runs it with `--minutes N` and `--streams M`; either may be left out.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let (minutes, streams) = parse(options)?;
    let sixty_days = ["--package", "headwater-packager", "--test", "sixty_days"];
    Step::cargo(&["test", "--release", "--locked"])
        .args(&sixty_days)
        .args(&["--", "--ignored", "--nocapture"])
        .run()?;
    Step::cargo(&[
        "test",
        "--locked",
        "--package",
        "headwater-tests",
        "--test",
        "churn",
        "--",
        "--nocapture",
    ])
    .run()?;
    Step::cargo(&["test", "--locked", "--package", "headwater-tests", "--test", "soak", "--", "--nocapture"])
        .env("SOAK_SECONDS", &(minutes * 60).to_string())
        .env("SOAK_STREAMS", &streams.to_string())
        .run()
}

fn parse(options: &[&str]) -> Result<(u64, u64), Failure> {
    let (mut minutes, mut streams) = (MINUTES_DEFAULT, STREAMS_DEFAULT);
    for pair in options.chunks(2) {
        let (target, max) = match pair {
            ["--minutes", _] => (&mut minutes, MINUTES_MAX),
            ["--streams", _] => (&mut streams, 1_000),
            _ => return Err(Failure::new(format!("not an option with its number: {}", pair.join(" ")))),
        };
        let number = pair.get(1).and_then(|number| number.parse().ok()).filter(|n| (1..=max).contains(n));
        *target = number.ok_or_else(|| Failure::new(format!("{}: 1 to {max}", pair.join(" "))))?;
    }
    Ok((minutes, streams))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        assert_eq!(parse(&[]).unwrap(), (5, 10));
        assert_eq!(parse(&["--streams", "3"]).unwrap(), (5, 3));
        assert_eq!(parse(&["--minutes", "1", "--streams", "2"]).unwrap(), (1, 2));
        for wrong in
            [&["--minutes"][..], &["--minutes", "0"], &["--minutes", "61"], &["3"], &["--streams", "x"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
