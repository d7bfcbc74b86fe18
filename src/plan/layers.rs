//! Where a setting is taken from, and how a wrong one is named.

use std::time::Duration;

use super::values::{Wrong, choice, parse_duration};
use super::{QueueRef, Refusal};
use crate::config::{Raw, Setting, Settings};

/// The places a setting may be written in, the first one to have it winning.
#[derive(Clone, Debug)]
pub(super) struct Layers<'a>(pub(super) Vec<&'a Settings>);

impl<'a> Layers<'a> {
    /// The setting that counts, if it was written anywhere.
    pub(super) fn get(&self, key: &str) -> Option<&'a Setting> {
        self.0.iter().find_map(|settings| settings.get(key))
    }

    /// A setting read by `read`; `None` when it was not written.
    pub(super) fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Refusal> {
        let Some(setting) = self.get(key) else {
            return Ok(None);
        };
        let text = match &setting.raw {
            Raw::Text(text) => text.clone(),
            other => other.to_string(),
        };
        read(&text)
            .map(Some)
            .map_err(|wrong| refuse(setting, key, wrong))
    }

    /// The texts of a list; empty when it was not written.
    pub(super) fn list(&self, key: &str) -> &'a [String] {
        match self.get(key).map(|setting| &setting.raw) {
            Some(Raw::List(texts)) => texts,
            _ => &[],
        }
    }

    /// A switch; off when it was not written.
    pub(super) fn switch(&self, key: &str) -> bool {
        matches!(
            self.get(key).map(|setting| &setting.raw),
            Some(Raw::Switch(true))
        )
    }

    /// A length of time, or `default`.
    pub(super) fn duration(&self, key: &str, default: Duration) -> Result<Duration, Refusal> {
        Ok(self.optional_duration(key)?.unwrap_or(default))
    }

    /// A length of time, if one was written.
    pub(super) fn optional_duration(&self, key: &str) -> Result<Option<Duration>, Refusal> {
        self.read(key, |text| {
            parse_duration(text).ok_or_else(|| {
                Wrong::new(
                    "is not a length of time",
                    "write it like 90s, 5m, 1500ms, 1h or as a number of seconds",
                )
            })
        })
    }

    /// A whole number between two others, or `default`.
    pub(super) fn whole(
        &self,
        key: &str,
        allowed: std::ops::RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, Refusal> {
        Ok(self.optional_whole(key, allowed)?.unwrap_or(default))
    }

    /// A whole number between two others, if one was written.
    pub(super) fn optional_whole(
        &self,
        key: &str,
        allowed: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Refusal> {
        self.read(key, |text| {
            text.parse()
                .ok()
                .filter(|number| allowed.contains(number))
                .ok_or_else(|| {
                    let (least, most) = (allowed.start(), allowed.end());
                    Wrong::new(
                        "is out of range or not a whole number",
                        format!("write {least} to {most}"),
                    )
                })
        })
    }

    /// One word out of a few, or `default`.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        default: T,
    ) -> Result<T, Refusal> {
        Ok(self
            .read(key, |text| choice(text, words))?
            .unwrap_or(default))
    }

    /// A queue, if one was named.
    pub(super) fn queue(&self, key: &str) -> Result<Option<QueueRef>, Refusal> {
        self.read(key, QueueRef::parse)
    }

    /// Where a setting was written, without its value.
    pub(super) fn place(&self, key: &str) -> String {
        match self.get(key) {
            Some(setting) => setting.place(key),
            None => crate::config::flag_name(key),
        }
    }

    /// How the author of a setting would recognise it; the flag's name when it
    /// was not written.
    pub(super) fn cite(&self, key: &str) -> String {
        match self.get(key) {
            Some(setting) => setting.cite(key),
            None => crate::config::flag_name(key),
        }
    }
}

/// A wrong value, named as its author wrote it.
pub(super) fn refuse(setting: &Setting, key: &str, wrong: Wrong) -> Refusal {
    Refusal::new(format!("{} {}", setting.cite(key), wrong.is), wrong.change)
}
