//! The routes file: TOML with process settings at the top, `[defaults]` for
//! every route and one `[route.NAME]` for each.
//!
//! ```toml
//! table = "sqs-drain"
//!
//! [defaults]
//! zone = "Asia/Seoul"
//! window = "08:00-21:00"
//!
//! [route.wait]
//! from = "wait"
//! to = ["schedule"]
//! rate = 500
//! ```
//!
//! Every flag is a key, with underscores for its hyphens. This module checks
//! names and types, each with its line; what the values mean is [`crate::plan`]'s.

mod settings;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use settings::{
    ENV_PREFIX, Environment, KEYS, Key, Kind, Origin, Raw, Scope, Secret, Setting, Settings,
    env_name, find_key, flag_name, nearest, split_list,
};

use crate::refusal::Refusal;

/// A routes file whose names and types are right.
#[derive(Clone, Debug)]
pub struct RoutesFile {
    /// The file as it was named, for messages.
    pub name: String,
    /// What stands at the top.
    pub process: Settings,
    /// What stands under `[defaults]`.
    pub defaults: Settings,
    /// The routes, in the order of the file.
    pub routes: Vec<FileRoute>,
}

/// One `[route.NAME]` of a file.
#[derive(Clone, Debug)]
pub struct FileRoute {
    /// Its name.
    pub name: String,
    /// The line of its first mention, from 1.
    pub line: usize,
    /// What stands under it.
    pub settings: Settings,
}

/// Which part of a file a key was found in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Defaults,
    Route,
}

impl Place {
    fn takes(self, scope: Scope) -> bool {
        match scope {
            Scope::Both => true,
            Scope::Process => self == Place::Top,
            Scope::Route => self != Place::Top,
        }
    }
}

impl RoutesFile {
    /// Reads the text of a routes file; `name` is what messages call it.
    ///
    /// # Errors
    /// A [`Refusal`] that names the line: not TOML, an unknown key (with the
    /// nearest known one), a key in the wrong place, a value of the wrong type.
    pub fn parse(name: &str, text: &str) -> Result<RoutesFile, Refusal> {
        let reader = Reader { name, text };
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| reader.line_at(span.start));
            // The error's own display shows the line's text, which may be a secret.
            let message = error.message().replace('\n', ", ");
            reader.refuse(line, format!("not TOML, {message}"), "correct the line")
        })?;
        let mut file = RoutesFile {
            name: name.to_owned(),
            process: Settings::default(),
            defaults: Settings::default(),
            routes: Vec::new(),
        };
        for (key, value) in in_order(root.get_ref()) {
            match key.get_ref().as_ref() {
                "defaults" => {
                    let table = reader.table(key, value, "[defaults]")?;
                    file.defaults = reader.settings(table, Place::Defaults)?;
                }
                "route" => {
                    let routes = reader.table(key, value, "[route.NAME]")?;
                    for (route, value) in in_order(routes) {
                        let name = route.get_ref().as_ref();
                        let table = reader.table(route, value, &format!("[route.{name}]"))?;
                        file.routes.push(FileRoute {
                            name: name.to_owned(),
                            line: reader.line_at(route.span().start),
                            settings: reader.settings(table, Place::Route)?,
                        });
                    }
                }
                _ => reader.add(&mut file.process, key, value, Place::Top)?,
            }
        }
        Ok(file)
    }

    /// The names of the routes, in the order of the file.
    pub fn route_names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }
}

type TableKey<'i> = Spanned<std::borrow::Cow<'i, str>>;

/// A table's entries as they stand in the file, so that the first mistake a
/// reader meets is the one that is told.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a TableKey<'i>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn refuse(&self, line: usize, what: impl Into<String>, change: impl Into<String>) -> Refusal {
        Refusal::new(
            format!("{} line {line}: {}", self.name, what.into()),
            change,
        )
    }

    fn table<'a, 'i>(
        &self,
        key: &TableKey<'i>,
        value: &'a Spanned<DeValue<'i>>,
        header: &str,
    ) -> Result<&'a DeTable<'i>, Refusal> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            other => Err(self.refuse(
                self.line_at(key.span().start),
                format!("`{}` is {}", key.get_ref(), type_of(other)),
                format!("write a table, {header}"),
            )),
        }
    }

    fn settings(&self, table: &DeTable<'_>, place: Place) -> Result<Settings, Refusal> {
        let mut settings = Settings::default();
        for (key, value) in in_order(table) {
            self.add(&mut settings, key, value, place)?;
        }
        Ok(settings)
    }

    fn add(
        &self,
        settings: &mut Settings,
        key: &TableKey<'_>,
        value: &Spanned<DeValue<'_>>,
        place: Place,
    ) -> Result<(), Refusal> {
        let line = self.line_at(key.span().start);
        let name = key.get_ref().as_ref();
        let Some(known) = find_key(name) else {
            return Err(self.unknown(line, name, place));
        };
        if !place.takes(known.scope) {
            return Err(match place {
                Place::Top => self.refuse(
                    line,
                    format!("`{name}` is a route's setting"),
                    "move it under [defaults] or [route.NAME]",
                ),
                Place::Defaults | Place::Route => self.refuse(
                    line,
                    format!("`{name}` concerns the whole process, not one route"),
                    "move it to the top of the file, before the first [table]",
                ),
            });
        }
        let origin = Origin::File {
            name: self.name.to_owned(),
            line,
        };
        let wrong = |found: &DeValue<'_>| {
            self.refuse(
                line,
                format!("`{name}` is {}", type_of(found)),
                format!("write {}", known.kind.expected()),
            )
        };
        let value = value.get_ref();
        match (known.kind, value) {
            (Kind::Switch, DeValue::Boolean(on)) => {
                settings.set(known, Raw::Switch(*on), origin);
                Ok(())
            }
            (Kind::Switch, _) => Err(wrong(value)),
            (_, DeValue::String(text)) => {
                if text.trim().is_empty() {
                    return Err(self.refuse(
                        line,
                        format!("`{name}` is empty"),
                        format!("write {} or leave the line out", known.kind.expected()),
                    ));
                }
                settings.set_text(known, text, origin)
            }
            (Kind::Number | Kind::Duration, DeValue::Integer(_) | DeValue::Float(_))
            | (Kind::Integer, DeValue::Integer(_)) => {
                let Some(text) = number_text(value) else {
                    return Err(wrong(value));
                };
                settings.set_text(known, &text, origin)
            }
            (Kind::List | Kind::Windows | Kind::Dates, DeValue::Array(items)) => {
                let mut texts = Vec::new();
                for item in items.iter() {
                    match (known.kind, item.get_ref()) {
                        (_, DeValue::String(text)) => texts.push(text.trim().to_owned()),
                        (Kind::Dates, DeValue::Datetime(date)) => texts.push(date.to_string()),
                        (_, other) => {
                            return Err(self.refuse(
                                self.line_at(item.span().start),
                                format!("`{name}` holds {}", type_of(other)),
                                format!("write {}", known.kind.expected()),
                            ));
                        }
                    }
                }
                settings.set(known, Raw::List(texts), origin);
                Ok(())
            }
            (Kind::Dates, DeValue::Datetime(date)) => {
                settings.set_text(known, &date.to_string(), origin)
            }
            _ => Err(wrong(value)),
        }
    }

    fn unknown(&self, line: usize, name: &str, place: Place) -> Refusal {
        let tables: &[&str] = if place == Place::Top {
            &["defaults", "route"]
        } else {
            &[]
        };
        let known = KEYS
            .iter()
            .map(|key| key.name)
            .chain(tables.iter().copied());
        let change = match nearest(name, known) {
            Some(near) if tables.contains(&near) => format!("did you mean [{near}]?"),
            Some(near) => format!("did you mean `{near}`?"),
            None => "`sqs-drain run --help` lists the settings".to_owned(),
        };
        self.refuse(line, format!("`{name}` is not a setting"), change)
    }
}

/// A number as decimal text; `None` for what is not one that can be meant.
fn number_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let parsed = i64::from_str_radix(&digits, number.radix()).ok()?;
            Some(parsed.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        _ => None,
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
