//! What the program prints about itself: its default configuration, its man pages, its completions for a shell.

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::cli::Cli;

/// Every key with its default and what it means. `crates/origin/tests/config.rs` holds it against what an empty file means.
pub const DEFAULT_CONFIGURATION: &str = include_str!("../../../config/headwater.toml");

/// Shells whose completions can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// GNU Bash, with bash-completion.
    Bash,
    /// fish.
    Fish,
    /// The Z shell.
    Zsh,
}

/// The completions of a shell, as its own script, at the end of `script`.
pub fn completions(shell: CompletedShell, script: &mut Vec<u8>) {
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Fish => Shell::Fish,
        CompletedShell::Zsh => Shell::Zsh,
    };
    clap_complete::generate(shell, &mut Cli::command(), "headwater", script);
}

/// The page `headwater(1)`, or that of one of its commands. `None` when there is no such command.
pub fn man_page(command: Option<&str>) -> Option<Vec<u8>> {
    let mut all = Cli::command();
    // Gives the commands their whole names, `headwater serve`, and the flags that all have.
    all.build();
    let page = match command {
        None => all,
        Some(name) => all.find_subcommand(name)?.clone().version(env!("CARGO_PKG_VERSION")),
    };
    let mut roff = Vec::new();
    // A Vec takes all that is written.
    clap_mangen::Man::new(page).render(&mut roff).ok()?;
    Some(roff)
}
