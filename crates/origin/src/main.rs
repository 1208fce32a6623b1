//! The `headwater` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_origin::cli::main()
}
