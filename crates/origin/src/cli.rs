//! The command line: what `headwater` can be asked to do, and with which status it ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::Error;
use crate::config::{Config, Loader};

/// Live media streaming origin: RTMP in, HLS out of memory.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = EXIT_STATUS, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS: &str = "\
Exit status: 0 a normal end; 1 anything not listed here; 2 wrong usage of the command line; 3 a configuration that \
can't be used; 4 an address that can't be listened on; 5 a state_dir that can't be used.
`headwater probe` has its own: 0 nothing wrong found, 1 errors found, 2 nothing could be fetched.

Every key of the configuration can be set by the environment too: HEADWATER_HTTP__LISTEN is http.listen.";

/// What `headwater` can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take in streams and serve them until SIGTERM or SIGINT.
    Serve(ConfigArgs),
    /// Check a configuration, the environment included, and say what is wrong with it.
    Check(CheckArgs),
}

/// Where the configuration comes from; later sources win: defaults, file, environment, flags.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// The configuration file (TOML); without it the defaults apply.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// rtmp.listen: where publishers connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub rtmp_listen: Option<String>,
    /// http.listen: where players connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http_listen: Option<String>,
    /// admin.listen: where operators connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// log.level: error, warn, info, debug, trace, or directives.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// log.format: human or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Arguments of `headwater check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// The configuration that file, process environment and flags make.
    ///
    /// # Errors
    /// [`Error::Config`] for the first thing that is wrong.
    pub fn load(self) -> Result<Config, Error> {
        let mut loader = Loader::new();
        if let Some(path) = self.config {
            loader = loader.file(path);
        }
        for (flag, key, value) in [
            ("--rtmp-listen", "rtmp.listen", self.rtmp_listen),
            ("--http-listen", "http.listen", self.http_listen),
            ("--admin-listen", "admin.listen", self.admin_listen),
            ("--log-level", "log.level", self.log_level),
            ("--log-format", "log.format", self.log_format),
        ] {
            if let Some(value) = value {
                loader = loader.flag(flag, key, value);
            }
        }
        Ok(loader.environment(environment()).load()?)
    }
}

/// The process's variables whose names and values are text; ours always are.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs what the command line asks for. One line on standard error tells why the status isn't 0.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line's own answers")]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => args.load().and_then(|config| {
            crate::log::init(&config.log);
            let _ = config;
            Err(Error::Other("not built yet".to_owned()))
        }),
        Command::Check(args) => {
            let path = args.config.clone();
            ConfigArgs { config: Some(args.config), ..ConfigArgs::default() }
                .load()
                .map(|_| println!("{}: ok", path.display()))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
