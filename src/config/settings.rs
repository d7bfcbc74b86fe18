//! The settings by name: one table of keys that flags, environment and routes
//! file share, and values that remember where they were written.

use std::collections::BTreeMap;
use std::fmt;

use crate::refusal::Refusal;

/// The prefix of every environment variable that is a setting.
pub const ENV_PREFIX: &str = "SQS_DRAIN_";

/// Text that must not reach a log: `Debug` and `Display` do not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Environment variables by name. `Debug` shows names alone: a value may be a
/// secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// A variable that is set and not empty. An empty one counts as not set,
    /// because templates cannot leave a variable out.
    pub fn get(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name).map(String::as_str);
        text.filter(|text| !text.trim().is_empty())
    }

    /// The names of all variables, empty ones too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Environment(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a key's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// One or several texts; a comma separates them.
    List,
    /// One or several windows, whose own grammar knows commas.
    Windows,
    /// Dates, as text or as TOML dates.
    Dates,
    /// A number, possibly with a fraction.
    Number,
    /// A whole number.
    Integer,
    /// A length of time: `90s`, `1500ms`, `5m`, `1h`, bare seconds.
    Duration,
    /// On or off.
    Switch,
    /// Text that is never shown.
    Secret,
}

impl Kind {
    /// What is expected, in words.
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text | Kind::Secret => "a text",
            Kind::List => "a text or a list of texts",
            Kind::Windows => "a window such as \"08:00-21:00\", or a list of them",
            Kind::Dates => "a list of dates such as \"2026-12-25\"",
            Kind::Number => "a number",
            Kind::Integer => "a whole number",
            Kind::Duration => "a length of time such as \"90s\", \"5m\" or a number of seconds",
            Kind::Switch => "true or false",
        }
    }
}

/// Where in a routes file a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At the top of the file: it concerns the whole process.
    Process,
    /// Under `[defaults]` or `[route.NAME]`.
    Route,
    /// Anywhere; at the top it holds for every route.
    Both,
}

/// One setting. As a flag its underscores are hyphens; as an environment
/// variable it is upper case after [`ENV_PREFIX`].
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name, in snake case.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Where it may stand in a file.
    pub scope: Scope,
}

const fn key(name: &'static str, kind: Kind, scope: Scope) -> Key {
    Key { name, kind, scope }
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    key("from", Kind::Text, Scope::Route),
    key("to", Kind::List, Scope::Route),
    key("window", Kind::Windows, Scope::Route),
    key("zone", Kind::Text, Scope::Route),
    key("holidays", Kind::Dates, Scope::Route),
    key("holiday_windows", Kind::Windows, Scope::Route),
    key("rate", Kind::Number, Scope::Route),
    key("burst", Kind::Integer, Scope::Route),
    key("table", Kind::Text, Scope::Both),
    key("no_journal", Kind::Switch, Scope::Both),
    key("run_id", Kind::Text, Scope::Route),
    key("cutoff", Kind::Text, Scope::Route),
    key("delivery", Kind::Text, Scope::Route),
    key("hold", Kind::Text, Scope::Route),
    key("reject", Kind::Text, Scope::Route),
    key("start_within", Kind::Duration, Scope::Route),
    key("wait_open", Kind::Switch, Scope::Route),
    key("group_from", Kind::Text, Scope::Route),
    key("deduplication_id", Kind::Text, Scope::Route),
    key("allow_fifo_to_standard", Kind::Switch, Scope::Route),
    key("lanes", Kind::Integer, Scope::Route),
    key("page", Kind::Integer, Scope::Route),
    key("visibility", Kind::Duration, Scope::Route),
    key("poll", Kind::Duration, Scope::Route),
    key("settle", Kind::Duration, Scope::Route),
    key("margin", Kind::Duration, Scope::Route),
    key("send_timeout", Kind::Duration, Scope::Route),
    key("table_timeout", Kind::Duration, Scope::Route),
    key("heartbeat", Kind::Duration, Scope::Route),
    key("lease", Kind::Duration, Scope::Route),
    key("shards", Kind::Integer, Scope::Process),
    key("shard", Kind::Integer, Scope::Process),
    key("grace", Kind::Duration, Scope::Process),
    key("slack_webhook", Kind::Secret, Scope::Process),
    key("notify_success", Kind::Switch, Scope::Process),
    key("progress", Kind::Text, Scope::Process),
    key("log_format", Kind::Text, Scope::Process),
    key("log_level", Kind::Text, Scope::Process),
    key("result", Kind::Text, Scope::Process),
];

/// The key of this name.
pub fn find_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The one of `known` that is most like `name`, if any is like enough to be
/// what was meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE_ENOUGH: f64 = 0.6;
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(name, candidate),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The value of a setting, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A text; numbers and lengths of time are kept as they were written.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// On or off.
    Switch(bool),
    /// A text that is never shown.
    Secret(Secret),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Text(text) => f.write_str(text),
            Raw::List(texts) if texts.is_empty() => f.write_str("[]"),
            Raw::List(texts) => f.write_str(&texts.join(",")),
            Raw::Switch(on) => write!(f, "{on}"),
            Raw::Secret(secret) => write!(f, "{secret}"),
        }
    }
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the environment, under the setting's own name.
    Environment,
    /// In the environment, under this name of somebody else's.
    Variable(&'static str),
    /// In a routes file.
    File {
        /// The file as it was named.
        name: String,
        /// The line, from 1.
        line: usize,
    },
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub raw: Raw,
    /// Where it was written.
    pub origin: Origin,
}

impl Setting {
    /// Where it was written: `--rate`, `SQS_DRAIN_RATE` or
    /// ``routes.toml line 3, `rate` ``.
    pub fn place(&self, key: &str) -> String {
        match &self.origin {
            Origin::Flag => flag_name(key),
            Origin::Environment => env_name(key),
            Origin::Variable(name) => (*name).to_owned(),
            Origin::File { name, line } => format!("{name} line {line}, `{key}`"),
        }
    }

    /// How its author would recognise it: `--rate fast`, `SQS_DRAIN_RATE=fast`
    /// or ``routes.toml line 3, `rate = fast` ``. A secret's value is left out.
    pub fn cite(&self, key: &str) -> String {
        let place = self.place(key);
        match (&self.origin, &self.raw) {
            (_, Raw::Secret(_)) | (Origin::Flag, Raw::Switch(true)) => place,
            (Origin::Flag, Raw::Switch(false)) => format!("{place}=false"),
            (Origin::Flag, raw) => format!("{place} {raw}"),
            (Origin::Environment | Origin::Variable(_), raw) => format!("{place}={raw}"),
            (Origin::File { name, line }, raw) => format!("{name} line {line}, `{key} = {raw}`"),
        }
    }
}

/// The flag of a key: `--start-within`.
pub fn flag_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// The environment variable of a key: `SQS_DRAIN_START_WITHIN`.
pub fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_ascii_uppercase())
}

/// The settings written in one place: on the command line, in the environment,
/// at the top of a file, under its `[defaults]` or under one `[route.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// The setting of this name, if it was written here.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.0.get(key)
    }

    /// Adds a setting; one of the same name is replaced.
    pub fn set(&mut self, key: &'static Key, raw: Raw, origin: Origin) {
        self.0.insert(key.name, Setting { raw, origin });
    }

    /// Whether nothing was written here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a text as its key's kind reads it.
    ///
    /// # Errors
    /// A [`Refusal`] when a switch is neither on nor off.
    pub fn set_text(
        &mut self,
        key: &'static Key,
        text: &str,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let raw = match key.kind {
            Kind::List | Kind::Dates => Raw::List(split_list(text)),
            Kind::Windows => Raw::List(vec![text.to_owned()]),
            Kind::Secret => Raw::Secret(Secret::new(text)),
            Kind::Switch => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Raw::Switch(true),
                "false" | "0" | "no" | "off" => Raw::Switch(false),
                _ => {
                    let written = Setting {
                        raw: Raw::Text(text.to_owned()),
                        origin,
                    };
                    return Err(Refusal::new(
                        format!("{} is neither on nor off", written.cite(key.name)),
                        "write true or false",
                    ));
                }
            },
            Kind::Text | Kind::Number | Kind::Integer | Kind::Duration => {
                Raw::Text(text.trim().to_owned())
            }
        };
        self.set(key, raw, origin);
        Ok(())
    }

    /// The settings in the environment: every `SQS_DRAIN_<NAME>` that is not
    /// empty. Also gives the variables nobody knows.
    ///
    /// # Errors
    /// A [`Refusal`] for a variable that is nearly a known one: a misspelt
    /// `SQS_DRAIN_RATE` would otherwise mean no limit at all.
    pub fn from_environment(environment: &Environment) -> Result<(Settings, Vec<String>), Refusal> {
        let mut settings = Settings::default();
        let mut unknown = Vec::new();
        for variable in environment.names() {
            let Some(name) = variable.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let Some(text) = environment.get(variable) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            // Where the file is and which routes are meant are no settings.
            let known = KEYS.iter().map(|key| key.name).chain(["config", "route"]);
            if known.clone().any(|known| env_name(known) == variable) {
                if let Some(key) = find_key(&name) {
                    settings.set_text(key, text, Origin::Environment)?;
                }
                continue;
            }
            match nearest(&name, known) {
                Some(near) => {
                    return Err(Refusal::new(
                        format!("the environment variable {variable} is not a setting"),
                        format!("did you mean {}?", env_name(near)),
                    ));
                }
                None => unknown.push(variable.to_owned()),
            }
        }
        Ok((settings, unknown))
    }
}

/// `a, b` as two texts; empty pieces are left out.
pub fn split_list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
        .map(str::to_owned)
        .collect()
}
