//! What the program prints about itself.

use std::process::{Command, Output};

fn headwater(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = headwater(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    // Where a description is longer than the terminal is wide, it goes on in a line that is indented further.
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let own = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names: Vec<String> =
        own.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(names.contains(&"serve".to_owned()), "{names:?}");
    names
}

#[test]
fn the_default_configuration_is_the_documented_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/headwater.toml");
    assert_eq!(printed(&["config", "--default"]), std::fs::read_to_string(path).unwrap());
    assert_eq!(headwater(&["config"]).status.code(), Some(2));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "fish", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        assert!(script.contains("rtmp-listen"), "{shell}");
    }
    assert_eq!(headwater(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn bash_completes_commands_and_flags() {
    let script = printed(&["completions", "bash"]);
    let complete = |words: &str| {
        let line = format!(
            "{script}\nCOMP_WORDS=(headwater {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _headwater headwater \"${{COMP_WORDS[-1]}}\" \"\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("ser"), "serve\n");
    assert_eq!(complete("serve --rtmp"), "--rtmp-listen\n");
}

#[test]
fn every_command_has_a_page() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH headwater 1"), "{page}");
    for command in commands() {
        assert!(page.contains(&format!(r"headwater\-{command}(1)")), "{command} is not listed");
        let its_own = printed(&["man", &command]);
        assert!(its_own.contains(&format!(".TH headwater-{command} 1")), "{its_own}");
        assert!(its_own.contains(&format!(r"\fBheadwater {command}\fR")), "{its_own}");
    }
    assert!(printed(&["man", "serve"]).contains(r"\-\-rtmp\-listen"));
    let unknown = headwater(&["man", "nonsense"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(1), 0));
}
