//! `headwater-load`; everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;

#[expect(clippy::print_stderr, reason = "why it ended")]
fn main() -> ExitCode {
    match headwater_load::cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater-load: {error}");
            ExitCode::FAILURE
        }
    }
}
