//! The one line with which a wrong setting is refused.

use std::fmt;

use crate::exit::ExitCode;

/// Why nothing is started: what is wrong and what to change, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    route: Option<String>,
    line: String,
}

impl Refusal {
    /// A refusal from what is wrong and what to change.
    pub fn new(what: impl Into<String>, change: impl Into<String>) -> Refusal {
        Refusal::line(format!("{}: {}", what.into(), change.into()))
    }

    /// A refusal whose line says both already.
    pub(crate) fn line(line: impl Into<String>) -> Refusal {
        Refusal {
            route: None,
            line: line.into(),
        }
    }

    /// The same, naming the route it is about.
    pub fn on_route(mut self, route: &str) -> Refusal {
        self.route = Some(route.to_owned());
        self
    }

    /// The code a process exits with after it.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::Refused
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        if let Some(route) = &self.route {
            line += &format!("route {route}: ");
        }
        line += &self.line;
        f.write_str(&one_line(&line))
    }
}

impl std::error::Error for Refusal {}

/// Something allowed that should be known, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(String);

impl Warning {
    /// A warning of this text.
    pub fn new(text: impl Into<String>) -> Warning {
        Warning(text.into())
    }

    /// The same, naming the route it is about.
    pub fn on_route(self, route: &str) -> Warning {
        Warning(format!("route {route}: {}", self.0))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.0))
    }
}

/// What was typed may hold line breaks; a log line must not.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
