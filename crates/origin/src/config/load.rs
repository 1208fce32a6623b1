//! From file, environment and flags to a checked [`Config`], with every refusal naming key, value and place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Config;

/// What every environment variable of ours begins with.
const PREFIX: &str = "HEADWATER_";

/// Largest configuration file in bytes: a thousand times the documented one; a mistyped path to media stops here.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Longest value quoted in an error line, in characters; the line stays a line.
const QUOTED_CHARS_MAX: usize = 80;

/// Why there is no configuration. Its text is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words, or the limit it broke.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not valid TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// An environment variable that begins like ours and names no key.
    #[error("{variable}: no such key: {key}")]
    Variable {
        /// The variable.
        variable: String,
        /// The key it would set.
        key: String,
    },
    /// A key or a value that can't be accepted.
    #[error("{place}{key}{}: {reason}", value.as_deref().map(|value| format!(" = {value}")).unwrap_or_default())]
    Value {
        /// Where it was set.
        place: Place,
        /// The key's dotted path.
        key: String,
        /// The value in the file's notation, unless it is a table, or secret.
        value: Option<String>,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file, at a line counted from 1.
    File(PathBuf, usize),
    /// By an environment variable.
    Variable(String),
    /// By a flag.
    Flag(&'static str),
    /// Nowhere: a default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path, line) => write!(f, "{}:{line}: ", path.display()),
            Place::Variable(variable) => write!(f, "{variable}: "),
            Place::Flag(flag) => write!(f, "{flag}: "),
            Place::Default => Ok(()),
        }
    }
}

/// Gathers the sources of a configuration; later ones win: defaults, file, environment, flags.
#[derive(Debug, Default)]
pub struct Loader {
    file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    flags: Vec<(&'static str, &'static str, String)>,
}

impl Loader {
    /// Defaults only.
    pub fn new() -> Loader {
        Loader::default()
    }

    /// Adds the file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Loader {
        self.file = Some(path.into());
        self
    }

    /// Adds the variables that begin with `HEADWATER_`; a double underscore stands for the dot of a key, and the rest
    /// is a key in capitals: `HEADWATER_HTTP__LISTEN` is `http.listen`. Others are passed over.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Loader {
        self.environment.extend(variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)));
        // The order of an environment means nothing, the choice of the first error should not depend on it.
        self.environment.sort();
        self
    }

    /// Adds a flag that sets the text value of `key`.
    #[must_use]
    pub fn flag(mut self, flag: &'static str, key: &'static str, value: impl Into<String>) -> Loader {
        self.flags.push((flag, key, value.into()));
        self
    }

    /// Reads and checks.
    ///
    /// # Errors
    /// [`Error`] for the first thing that is wrong.
    pub fn load(self) -> Result<Config, Error> {
        let text = self.file.as_deref().map(read).transpose()?.unwrap_or_default();
        let path = self.file.unwrap_or_default();
        let syntax = |error: &toml::de::Error| Error::Syntax {
            path: path.clone(),
            line: line(&text, error.span().map_or(0, |span| span.start)),
            reason: one_line(error.message()),
        };
        let document = DeTable::parse(&text).map_err(|error| syntax(&error))?;
        let mut table: Table = toml::from_str(&text).map_err(|error| syntax(&error))?;
        let mut overridden = Vec::new();
        let shape = Value::try_from(Config::default()).unwrap_or(Value::Table(Table::new()));
        for (variable, value) in self.environment {
            let key = variable.get(PREFIX.len()..).unwrap_or_default().to_lowercase().replace("__", ".");
            let Some(default) = lookup(&shape, &key).filter(|default| !default.is_table()) else {
                return Err(Error::Variable { variable, key });
            };
            set(&mut table, &key, typed(&value, default));
            overridden.push((key, Place::Variable(variable)));
        }
        for (flag, key, value) in self.flags {
            set(&mut table, key, Value::String(value));
            overridden.push((key.to_owned(), Place::Flag(flag)));
        }
        let refuse = |segments: &[Step], reason: &str| {
            let key = dotted(segments);
            let set = |(at, _): &&(String, Place)| key == *at || key.starts_with(&format!("{at}["));
            let place = match overridden.iter().rev().find(set) {
                Some((_, place)) => place.clone(),
                None => offset(document.get_ref(), segments)
                    .map_or(Place::Default, |offset| Place::File(path.clone(), line(&text, offset))),
            };
            let secret = is_secret(&key);
            let default = || value_at(shape.as_table()?, segments);
            let value = value_at(&table, segments).or_else(default).and_then(quoted).filter(|_| !secret);
            let reason = if secret && reason.starts_with("invalid") { "not a text" } else { reason };
            Error::Value { place, key, value, reason: reworded(reason) }
        };
        let config: Config = serde_path_to_error::deserialize(Value::Table(table.clone()))
            .map_err(|error| refuse(&steps(error.path()), error.inner().message()))?;
        config.check().map_err(|(key, reason)| refuse(&parse_steps(&key, &config), &reason))?;
        Ok(config)
    }
}

/// Whether a key's value is shown to nobody.
fn is_secret(key: &str) -> bool {
    const SECRETS: [&str; 7] = [
        "publish.keys",
        "auth.token_secrets",
        "auth.jwt.secret",
        "hooks.secret",
        "admin.token",
        "events.webhooks",
        "events.mqtt.password",
    ];
    let has =
        |name: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    SECRETS.iter().any(|name| has(name))
}

fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |reason: String| Error::Unreadable { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("{size} bytes are too many for a configuration")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// The line of a byte offset, both counted as editors do: lines from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// One step of the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The steps of a key that [`Config::check`] names; an app's name may hold dots.
fn parse_steps(key: &str, config: &Config) -> Vec<Step> {
    if let Some(app) = key.strip_prefix("apps.").filter(|app| config.apps.contains_key(*app)) {
        return vec![Step::Key("apps".to_owned()), Step::Key(app.to_owned())];
    }
    let mut steps = Vec::new();
    for part in key.split('.') {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        steps.push(Step::Key(name.to_owned()));
        steps.extend(index.trim_end_matches(']').parse().ok().map(Step::Index));
    }
    steps
}

fn dotted(steps: &[Step]) -> String {
    let mut key = String::new();
    for step in steps {
        match step {
            Step::Key(name) if key.is_empty() => key.push_str(name),
            Step::Key(name) => key.push_str(&format!(".{name}")),
            Step::Index(index) => key.push_str(&format!("[{index}]")),
        }
    }
    key
}

/// Where the deepest step that the document has is written.
fn offset(document: &DeTable<'_>, steps: &[Step]) -> Option<usize> {
    let (Step::Key(first), mut rest) = steps.split_first()? else { return None };
    let (key, mut value) = document.iter().find(|(key, _)| key.get_ref() == first)?;
    let mut found = key.span().start;
    while let Some((step, after)) = rest.split_first() {
        let next: Option<(usize, &Spanned<DeValue<'_>>)> = match step {
            Step::Key(name) => value
                .get_ref()
                .as_table()
                .and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name))
                .map(|(key, value)| (key.span().start, value)),
            Step::Index(index) => value
                .get_ref()
                .as_array()
                .and_then(|array| array.get(*index))
                .map(|value| (value.span().start, value)),
        };
        let Some((start, inner)) = next else { break };
        found = start;
        value = inner;
        rest = after;
    }
    Some(found)
}

fn value_at<'a>(table: &'a Table, steps: &[Step]) -> Option<&'a Value> {
    let (Step::Key(first), rest) = steps.split_first()? else { return None };
    rest.iter().try_fold(table.get(first)?, |value, step| match step {
        Step::Key(name) => value.get(name.as_str()),
        Step::Index(index) => value.get(*index),
    })
}

fn lookup<'a>(shape: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(shape, |value, name| value.get(name))
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((head, rest)) => {
            let inner = table.entry(head.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// An environment's text as the type that the key's default has; what doesn't read so stays a text, and is refused later.
fn typed(text: &str, default: &Value) -> Value {
    let read = match default {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Array(_) => {
            toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut t| t.remove("value"))
        }
        _ => None,
    };
    read.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A plain value in the file's notation.
fn quoted(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.chars().count() > QUOTED_CHARS_MAX => {
            Some(format!("{:?}...", text.chars().take(QUOTED_CHARS_MAX).collect::<String>()))
        }
        Value::String(text) => Some(format!("{text:?}")),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(boolean) => Some(boolean.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// serde speaks of fields, variants and types; a configuration has keys and values.
fn reworded(reason: &str) -> String {
    let reason = one_line(reason);
    let reason = [
        ("unknown field ", "unknown key "),
        ("missing field ", "missing key "),
        ("unknown variant ", "unknown value "),
        ("invalid type: ", ""),
        ("invalid value: ", ""),
    ]
    .iter()
    .find_map(|(from, to)| reason.strip_prefix(from).map(|rest| format!("{to}{rest}")))
    .unwrap_or(reason);
    match reason.as_str() {
        "invalid socket address syntax" => {
            "not an address; an IP address and a port are allowed, as in \"0.0.0.0:8080\" or \"[::]:8080\""
                .to_owned()
        }
        _ => match reason.split_once(", expected struct ") {
            Some((found, _)) => format!("{found}, expected a table"),
            None => reason,
        },
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
