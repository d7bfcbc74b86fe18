//! What is written for people: commands that work when they are pasted, and rates.

/// A command of this program for a run in this table: `sqs-drain status RUN --table TABLE`. It works where this process's own
/// region, endpoints and credentials are set.
pub fn command(words: &str, run: &str, table: &str) -> String {
    format!(
        "sqs-drain {words} {} --table {}",
        quoted(run),
        quoted(table)
    )
}

/// A word as a shell reads it back (POSIX, "Quoting"): in single quotes where it holds a sign that means something there.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/@+=,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A rate or share in messages a second: to the tenth, and below one to the thousandth, which is as fine as it is kept.
pub fn a_second(rate: f64) -> String {
    let steps = if rate < 1.0 { 1000.0 } else { 10.0 };
    ((rate * steps).round() / steps).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted() {
        assert_eq!(
            command("status", "sms@2026-11-23T08:00+09:00", "drain"),
            "sqs-drain status sms@2026-11-23T08:00+09:00 --table drain"
        );
        assert_eq!(
            command("pause", "it's;$(x)", "t"),
            r"sqs-drain pause 'it'\''s;$(x)' --table t"
        );
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_rate_has_one_decimal_at_most() {
        for (rate, words) in [
            (14.5187, "14.5"),
            (500.0, "500"),
            (33.333, "33.3"),
            (0.0, "0"),
            (0.0251, "0.025"),
        ] {
            assert_eq!(a_second(rate), words);
        }
    }
}
