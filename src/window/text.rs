//! A window as text: each part written so that [`Window::parse`] reads the same from it.

use super::Window;
use super::explain::groups;
use super::spec::Weekly;

impl Window {
    /// The spans of the week: `always`, or one text for each, such as `mon-fri 10:00-13:00`. Two windows with the same spans have the same
    /// texts, however they were written.
    pub fn spans(&self) -> Vec<String> {
        match self.full {
            true => vec!["always".to_owned()],
            false => texts(&self.weekly),
        }
    }

    /// The dates on which only [`Window::holiday_spans`] are open.
    pub fn holiday_dates(&self) -> Vec<String> {
        self.holidays.iter().map(ToString::to_string).collect()
    }

    /// The spans of holidays, as [`Window::spans`] has them; none where no holiday is named.
    pub fn holiday_spans(&self) -> Vec<String> {
        match self.holidays.is_empty() {
            true => Vec::new(),
            false => texts(&self.on_holidays),
        }
    }

    /// The zone where it decides when the window is open; `None` for one that is never shut.
    pub fn zone_that_counts(&self) -> Option<&'static str> {
        (!self.full || !self.holidays.is_empty()).then(|| self.zone())
    }
}

/// One text for each span: neighbouring days with the same spans are told together.
fn texts(weekly: &Weekly) -> Vec<String> {
    let groups = groups(weekly);
    groups
        .iter()
        .flat_map(|(days, spans)| spans.iter().map(move |span| format!("{days} {span}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(specs: &[&str], holidays: &[&str], on_holidays: &[&str]) -> Window {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        Window::parse(
            &owned(specs),
            "Asia/Seoul",
            &owned(holidays),
            &owned(on_holidays),
        )
        .expect("a window")
    }

    #[test]
    fn a_window_is_read_back_from_its_texts() {
        for (specs, texts) in [
            (&["08:00-21:00"][..], &["daily 08:00-21:00"][..]),
            (&["21:00-08:00"], &["daily 21:00-08:00"]),
            (
                &[
                    "mon-fri 14:00-18:00",
                    "mon-fri 10:00-13:00, sun 12:00-24:00",
                ],
                &[
                    "mon-fri 10:00-13:00",
                    "mon-fri 14:00-18:00",
                    "sun 12:00-24:00",
                ],
            ),
            (&["00:00-24:00"], &["always"]),
        ] {
            let written = window(specs, &[], &[]).spans();
            assert_eq!(written, texts, "{specs:?}");
            let again: Vec<&str> = written.iter().map(String::as_str).collect();
            assert_eq!(window(&again, &[], &[]).spans(), texts);
        }
    }

    #[test]
    fn holidays_and_the_zone_are_told_where_they_count() {
        let plain = window(&["always"], &[], &["10:00-12:00"]);
        assert_eq!(plain.holiday_spans(), [""; 0]);
        assert_eq!(plain.zone_that_counts(), None);
        let festive = window(&["always"], &["2026-12-25"], &["10:00-12:00"]);
        assert_eq!(festive.holiday_dates(), ["2026-12-25"]);
        assert_eq!(festive.holiday_spans(), ["daily 10:00-12:00"]);
        assert_eq!(festive.zone_that_counts(), Some("Asia/Seoul"));
        let daily = window(&["08:00-21:00"], &[], &[]);
        assert_eq!(daily.zone_that_counts(), Some("Asia/Seoul"));
    }
}
