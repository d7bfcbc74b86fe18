//! The run whose doubts are settled. What is settled by hand goes where, and when, the run itself would have sent it: so the settings given must
//! be those that its item in the table tells.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::Failure;
use super::super::connect::Real;
use super::super::target::{ledger_failure, silence_of};
use super::super::words::quoted;
use crate::drain::Settings;
use crate::drain::settings::difference;
use crate::exit::ExitCode;
use crate::ledger::{Ledger, RunItem};
use crate::plan::RoutePlan;

/// Which of a run's settings decide what a send by hand does.
const FOR_A_SEND: [&str; 9] = [
    "--to",
    "--hold",
    "--delivery",
    "--window",
    "--zone",
    "--holidays",
    "--holiday-windows",
    "--group-from",
    "--deduplication-id",
];

/// Which of them decide where a doubt is that is to be dropped.
const FOR_A_DROP: [&str; 2] = ["--hold", "--delivery"];

/// The run whose doubts are settled, as the table has it.
pub struct OwnRun {
    /// Its id.
    pub id: String,
    item: RunItem,
}

/// The run that is named, or the source's latest.
///
/// # Errors
/// A line where the table knows none, or only one of another source, and whatever keeps it from being read.
pub async fn the_run(
    ledger: &Ledger<Real>,
    route: &RoutePlan,
    table: &str,
) -> Result<OwnRun, Failure> {
    let failed = |error| ledger_failure(table, &error);
    let refused = |line| Err(Failure::new(ExitCode::Refused, line));
    let named = match &route.run_id {
        Some(run) => Some(run.clone()),
        None => ledger.owner().await.map_err(failed)?.map(|o| o.run),
    };
    let Some(id) = named else {
        return refused(format!(
            "the table '{table}' knows no run of the source '{}': check --from and --table",
            route.from
        ));
    };
    match ledger.run(&id).await.map_err(failed)? {
        None => refused(format!(
            "the table '{table}' knows no run '{id}': check --run-id (ROUTE@OPENING) and --table, runs are kept for 30 days"
        )),
        Some(item) if item.source != ledger.source() => refused(format!(
            "the run '{id}' is that of another source queue than '{}': name its own with --from",
            route.from
        )),
        Some(item) => Ok(OwnRun { id, item }),
    }
}

impl OwnRun {
    /// A heartbeat older than this is one of a process that is probably dead.
    pub fn silence(&self) -> Duration {
        silence_of(&self.item)
    }

    /// The slower of the rate given and the run's own, which may have been changed by hand.
    pub fn rate_by_hand(&self, given: Option<f64>) -> Option<f64> {
        let own = (self.item.rate >= 0).then_some(self.item.rate as f64 / 1000.0);
        match (given, own) {
            (Some(given), Some(own)) => Some(given.min(own)),
            (given, own) => given.or(own),
        }
    }

    /// Refuses settings other than the run's where they decide what is done.
    ///
    /// # Errors
    /// The line that names what differs and what to write.
    pub fn must_be_settled_as_it_was_drained(
        &self,
        route: &RoutePlan,
        settings: &Settings,
        send: bool,
    ) -> Result<(), Failure> {
        let there = flags(&self.item.settings);
        if send && !there.contains_key("--window") && !route.window_named {
            return Err(Failure::new(
                ExitCode::Refused,
                format!(
                    "the table does not tell the window of the run '{}': write --window and --zone as it had them, or --window always if sending at any hour is meant",
                    self.id
                ),
            ));
        }
        match wrong(&there, &flags(&settings.fingerprint), send) {
            Some(words) => Err(Failure::new(
                ExitCode::Refused,
                format!("the run '{}' was drained with {words}", self.id),
            )),
            None => Ok(()),
        }
    }
}

/// The settings of a run's item, or of a process; none where a version wrote them that put them otherwise.
fn flags(settings: &str) -> Map<String, Value> {
    serde_json::from_str(settings).unwrap_or_default()
}

/// What differs of the settings that count, and what to write.
fn wrong(there: &Map<String, Value>, here: &Map<String, Value>, send: bool) -> Option<String> {
    let counts: &[&str] = if send { &FOR_A_SEND } else { &FOR_A_DROP };
    let only = |all: &Map<String, Value>| -> Value {
        let kept = counts.iter().filter_map(|flag| all.get_key_value(*flag));
        kept.map(|(flag, value)| (flag.clone(), value.clone()))
            .collect::<Map<_, _>>()
            .into()
    };
    let words = difference(&only(there).to_string(), &only(here).to_string());
    if words.is_empty() {
        return None;
    }
    let differing = counts.iter().filter_map(|flag| {
        let there = there.get(*flag)?;
        (Some(there) != here.get(*flag)).then(|| written(flag, there))
    });
    let write: Vec<String> = differing.collect();
    Some(format!(
        "other settings{words}: write {}, or name the routes file it was started with",
        write.join(" ")
    ))
}

/// A setting as it is written on the command line.
fn written(flag: &str, value: &Value) -> String {
    // A queue's ARN ends with its name.
    let word = |text: &str| match text.strip_prefix("arn:") {
        Some(arn) => quoted(arn.rsplit(':').next().unwrap_or(arn)),
        None => quoted(text),
    };
    match value {
        Value::Null => format!("no {flag}"),
        Value::String(text) => format!("{flag} {}", word(text)),
        Value::Array(texts) => {
            let texts = texts.iter().filter_map(Value::as_str);
            let each: Vec<String> = texts.map(|text| format!("{flag} {}", word(text))).collect();
            each.join(" ")
        }
        other => format!("{flag} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: i64) -> OwnRun {
        OwnRun {
            id: "r".to_owned(),
            item: RunItem {
                rate,
                ..RunItem::default()
            },
        }
    }

    #[test]
    fn nothing_is_sent_by_hand_faster_than_the_run_may() {
        assert_eq!(run(-1).rate_by_hand(None), None);
        assert_eq!(run(20_000).rate_by_hand(None), Some(20.0));
        assert_eq!(run(20_000).rate_by_hand(Some(500.0)), Some(20.0));
        assert_eq!(run(20_000).rate_by_hand(Some(5.0)), Some(5.0));
        assert_eq!(run(-1).rate_by_hand(Some(5.0)), Some(5.0));
    }

    #[test]
    fn what_differs_is_told_with_what_to_write() {
        let there = flags(
            r#"{"--to": ["arn:aws:sqs:r:1:a", "arn:aws:sqs:r:1:b"], "--hold": null, "--delivery": "at-least-once", "--rate": 5,
                "--window": ["mon-fri 08:00-21:00"], "--zone": "Asia/Seoul"}"#,
        );
        let mut here = there.clone();
        // A rate decides nothing of it.
        here.insert("--rate".to_owned(), 7.into());
        assert_eq!(wrong(&there, &here, true), None);
        here.insert("--to".to_owned(), vec!["arn:aws:sqs:r:1:a"].into());
        here.insert("--hold".to_owned(), "arn:aws:sqs:r:1:h".into());
        here.insert("--window".to_owned(), vec!["always"].into());
        here.insert("--zone".to_owned(), Value::Null);
        let words = wrong(&there, &here, true).expect("words");
        assert!(
            words.ends_with(
                ": write --to a --to b no --hold --window 'mon-fri 08:00-21:00' --zone Asia/Seoul, or name the routes file it was started with"
            ),
            "{words}"
        );
        assert!(words.contains("--window: mon-fri 08:00-21:00 there, always here"));
        let words = wrong(&there, &here, false).expect("words");
        assert!(words.contains("write no --hold,"), "{words}");
        // A version that told less is believed as far as it goes.
        assert_eq!(wrong(&flags("{}"), &here, true), None);
    }
}
