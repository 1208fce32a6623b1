//! The command line: what `headwater` can be asked to do, and with which status it ends.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::auth::Authorizer;
use crate::auth::token::{Action, Tokens};
use crate::clock::Clocks;
use crate::config::{self, Config, Loader};
use crate::demo::Clip;
use crate::manual::{self, CompletedShell};
use crate::probe::{self, ProbeArgs, ProbeOutcome};
use crate::tls::Certificates;
use crate::{Error, names, readiness, server};

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
`headwater probe` has its own: 0 nothing wrong found, 1 errors found, 2 nothing could be examined.

Every key of the configuration can be set by the environment too: HEADWATER_HTTP__LISTEN is http.listen.";

/// What `headwater` can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take in streams and serve them until SIGTERM or SIGINT.
    Serve(ConfigArgs),
    /// Check a configuration, the environment included, and say what is wrong with it.
    Check(CheckArgs),
    /// Serve, and publish a clip in a loop through the RTMP port, so that a picture plays at once.
    Demo(DemoArgs),
    /// Make a token that lets somebody publish or play until it ends.
    Token(TokenArgs),
    /// Follow any HLS or DASH URL and say what is wrong with it.
    Probe(ProbeArgs),
    /// Ask the running server of this machine whether it is ready: status 0 when it is, 1 when it is not.
    Health(HealthArgs),
    /// Print the configuration with every key, its default and what it means.
    Config(ConfigTextArgs),
    /// Print a shell's completions.
    Completions(CompletionsArgs),
    /// Print the manual's page of headwater or of one of its commands, for `man -l -`.
    Man(ManArgs),
}

/// Arguments of `headwater health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The configuration file (TOML) that the server was started with, for admin.listen.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// admin.listen: where operators connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
}

/// Arguments of `headwater config`.
#[derive(Debug, Args)]
pub struct ConfigTextArgs {
    /// The defaults, as a file to begin with.
    #[arg(long, required = true)]
    pub default: bool,
}

/// Arguments of `headwater completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: CompletedShell,
}

/// Arguments of `headwater man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command; without it, headwater(1).
    pub command: Option<String>,
}

/// Arguments of `headwater demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The clip: an FLV file with H.264 and AAC; without it, the one that comes with the program.
    #[arg(long, value_name = "FILE")]
    pub media: Option<PathBuf>,
}

/// Arguments of `headwater token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What it allows.
    #[arg(value_enum)]
    pub action: TokenAction,
    /// What it covers: `live/cam` for a stream, `live/*` for an app's streams, `*` for everything.
    #[arg(value_name = "APP/STREAM")]
    pub name: String,
    /// For how long, as in the configuration: `30m`, `12h`.
    #[arg(long, value_name = "DURATION", default_value = "12h")]
    pub expires_in: String,
    /// The configuration file (TOML), whose first of auth.token_secrets signs.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenAction {
    /// Publishing.
    Publish,
    /// Playing.
    Play,
}

/// Where the configuration comes from; later sources win: defaults, file, environment, flags.
#[derive(Debug, Clone, Default, Args)]
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
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Runs what the command line asks for. One line on standard error tells why the status isn't 0.
#[expect(clippy::print_stderr, reason = "the command line's own answer")]
pub fn main() -> ExitCode {
    crate::heap::keep();
    let result = match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Check(args) => check(args),
        Command::Demo(args) => demo(&args),
        Command::Token(args) => token(args),
        Command::Probe(args) => return probe(&args),
        Command::Health(args) => health(args),
        Command::Config(_) => print(manual::DEFAULT_CONFIGURATION.as_bytes()),
        Command::Completions(args) => {
            let mut script = Vec::new();
            manual::completions(args.shell, &mut script);
            print(&script)
        }
        Command::Man(args) => man(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(args: &ConfigArgs) -> Result<(), Error> {
    let config = args.clone().load()?;
    crate::log::init(&config.log);
    server::run(config, &|| args.clone().load(), None)
}

#[expect(clippy::print_stdout, reason = "the command line's own answer")]
fn check(args: CheckArgs) -> Result<(), Error> {
    let name = args.config.display().to_string();
    let config = ConfigArgs { config: Some(args.config), ..ConfigArgs::default() }.load()?;
    Certificates::load(&config.tls)?;
    Authorizer::new(Arc::new(config), None)?;
    println!("{name}: ok");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command line's own answer")]
fn token(args: TokenArgs) -> Result<(), Error> {
    let config = ConfigArgs { config: args.config, ..ConfigArgs::default() }.load()?;
    let wrong = |what: &str, reason: &str| Error::Other(format!("{what}: {reason}"));
    let (app, stream) = match args.name.rsplit_once('/') {
        None if args.name == "*" => (None, None),
        Some((app, "*")) if names::is_app(app) => (Some(app), None),
        Some((app, stream)) if names::is_app(app) && names::is_stream(stream) => (Some(app), Some(stream)),
        _ => return Err(wrong(&args.name, "not a stream; live/cam, live/* and * are such names")),
    };
    let lasts =
        config::duration(&args.expires_in).map_err(|error| wrong("--expires-in", &error.to_string()))?;
    let expires = Clocks::start().wall().unix_seconds().saturating_add(lasts.as_secs());
    let action = match args.action {
        TokenAction::Publish => Action::Publish,
        TokenAction::Play => Action::Play,
    };
    let token = Tokens::new(config.auth.token_secrets).make(action, app, stream, expires);
    println!(
        "{}",
        token
            .ok_or_else(|| wrong("auth.token_secrets", "empty; a token is signed with the first of them"))?
    );
    Ok(())
}

fn demo(args: &DemoArgs) -> Result<(), Error> {
    let config = args.config.clone().load()?;
    let clip = match &args.media {
        Some(path) => Clip::open(path)?,
        None => Clip::built_in()?,
    };
    crate::log::init(&config.log);
    server::run(config, &|| args.config.clone().load(), Some(clip))
}

/// Writes what was asked for to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Other(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn man(args: &ManArgs) -> Result<(), Error> {
    let page = manual::man_page(args.command.as_deref());
    print(&page.ok_or_else(|| {
        Error::Other(format!("no such command: {}", args.command.as_deref().unwrap_or_default()))
    })?)
}

fn health(args: HealthArgs) -> Result<(), Error> {
    let config = ConfigArgs { config: args.config, admin_listen: args.admin_listen, ..ConfigArgs::default() };
    readiness::ask(&config.load()?.admin).map_err(Error::Other)
}

/// The report's own statuses, which scripts that watch a stream ask for.
fn probe(args: &ProbeArgs) -> ExitCode {
    let outcome = probe::run(args, &mut std::io::stdout().lock());
    // A report that nobody can read counts as none.
    ExitCode::from(outcome.unwrap_or(ProbeOutcome::Failed).exit_code())
}
