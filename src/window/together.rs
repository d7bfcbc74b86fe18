//! When two windows are open at the same time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{State, Window};

impl Window {
    /// The first instant from `from` on, and less than `within` after it, at which this window and `other` are both open.
    pub fn open_together(
        &self,
        other: &Window,
        from: DateTime<Utc>,
        within: Duration,
    ) -> Option<DateTime<Utc>> {
        let end = from + within;
        let mut at = from;
        while at < end {
            let mut next = None;
            for state in [self.state_at(at), other.state_at(at)] {
                if let State::Shut { opens_at } = state {
                    // Before the later of two openings one of them is shut.
                    next = next.max(Some(opens_at?));
                }
            }
            match next {
                None => return Some(at),
                Some(opens_at) => at = opens_at,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(8 * 86_400);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// When these two are open together, from Monday 2026-11-23 00:00 in Seoul on.
    fn together(one: (&[&str], &str), other: (&[&str], &str)) -> Option<DateTime<Utc>> {
        let window = |(specs, zone): (&[&str], &str)| {
            let specs: Vec<String> = specs.iter().map(|s| (*s).to_owned()).collect();
            Window::parse(&specs, zone, &[], &[]).expect("a window")
        };
        let from = at("2026-11-22T15:00:00Z");
        let found = window(one).open_together(&window(other), from, WEEK);
        assert_eq!(
            window(other).open_together(&window(one), from, WEEK),
            found,
            "whichever comes first"
        );
        found
    }

    #[test]
    fn windows_that_only_touch_are_never_open_together() {
        let seoul = "Asia/Seoul";
        assert_eq!(
            together((&["08:00-21:00"], seoul), (&["21:00-08:00"], seoul)),
            None
        );
        assert_eq!(
            together((&["mon 10:00-12:00"], seoul), (&["tue 10:00-12:00"], seoul)),
            None
        );
    }

    #[test]
    fn the_first_common_instant_is_found_in_any_zone() {
        let seoul = "Asia/Seoul";
        assert_eq!(
            together((&["08:00-21:00"], seoul), (&["20:59-08:00"], seoul)),
            Some(at("2026-11-23T11:59:00Z"))
        );
        // Only on Sunday, in the last week looked at.
        assert_eq!(
            together(
                (&["mon-sat 08:00-09:00", "sun 12:00-14:00"], seoul),
                (&["13:00-15:00"], seoul)
            ),
            Some(at("2026-11-29T04:00:00Z"))
        );
        // The evening of one is the morning of the other.
        assert_eq!(
            together((&["08:00-21:00"], seoul), (&["21:00-08:00"], "UTC")),
            Some(at("2026-11-22T23:00:00Z"))
        );
        assert_eq!(
            together((&["always"], "UTC"), (&["always"], "UTC")),
            Some(at("2026-11-22T15:00:00Z"))
        );
    }
}
