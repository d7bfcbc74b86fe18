use std::time::Duration;

use chrono::DateTime;

use super::timings::show;
use super::*;

#[test]
fn lengths_of_time() {
    let millis = Duration::from_millis;
    for (text, expected) in [
        ("90s", Some(millis(90_000))),
        ("1500ms", Some(millis(1_500))),
        ("5m", Some(millis(300_000))),
        ("1h", Some(millis(3_600_000))),
        ("2d", Some(millis(172_800_000))),
        (" 7 ", Some(millis(7_000))),
        ("0", Some(Duration::ZERO)),
        ("1.5s", Some(millis(1_500))),
        ("0.5", Some(millis(500))),
        ("1 h", Some(millis(3_600_000))),
        ("-1s", None),
        ("", None),
        ("s", None),
        ("1h30m", None),
        ("1e3", None),
        ("inf", None),
        ("NaN", None),
        ("1.2.3s", None),
        ("99999999999999999999", None),
        ("367d", None),
        ("1S", None),
    ] {
        assert_eq!(parse_duration(text), expected, "{text:?}");
    }
}

#[test]
fn a_length_is_shown_as_it_would_be_written() {
    for text in [
        "1500ms", "0s", "90s", "120s", "5m", "301s", "1h", "12h", "26h",
    ] {
        assert_eq!(show(parse_duration(text).unwrap()), text);
    }
}

#[test]
fn rates() {
    for (text, expected) in [
        ("500", Some(Some(500.0))),
        ("0.5", Some(Some(0.5))),
        ("none", Some(None)),
        ("0", None),
        ("-0.0", None),
        ("-1", None),
        ("inf", None),
        ("1e3", None),
        ("", None),
        ("5/s", None),
    ] {
        assert_eq!(parse_rate(text), expected, "{text:?}");
    }
}

#[test]
fn points_in_time() {
    let seoul = Window::parse(&["08:00-21:00".to_owned()], "Asia/Seoul", &[], &[]).unwrap();
    let expected = DateTime::parse_from_rfc3339("2026-11-22T23:00:00Z")
        .unwrap()
        .to_utc();
    for text in [
        "2026-11-23T08:00:00+09:00",
        "2026-11-22T23:00:00Z",
        "2026-11-23T08:00+09:00",
        "2026-11-22T23:00Z",
        "2026-11-23T08:00:00",
        "2026-11-23T08:00",
        "2026-11-23 08:00",
    ] {
        assert_eq!(parse_instant(text, &seoul), Some(expected), "{text}");
    }
    for text in [
        "",
        "now",
        "08:00",
        "2026-11-23",
        "2026-11-23T25:00",
        "+262142-01-01T00:00",
    ] {
        assert_eq!(parse_instant(text, &seoul), None, "{text}");
    }
}

#[test]
fn names_that_look_like_the_same_queue() {
    let queue = |text: &str| QueueRef::parse(text).ok().unwrap();
    let url = queue("https://sqs.eu-west-1.amazonaws.com/123456789012/wait");
    assert!(url.looks_like(&queue(
        "https://SQS.eu-west-1.amazonaws.com/123456789012/wait/"
    )));
    assert!(url.looks_like(&queue("wait")));
    assert!(queue("wait").looks_like(&url));
    // Another account, another region, another case: other queues.
    for other in [
        "https://sqs.eu-west-1.amazonaws.com/210987654321/wait",
        "https://sqs.us-east-1.amazonaws.com/123456789012/wait",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/Wait",
    ] {
        assert!(!url.looks_like(&queue(other)), "{other}");
    }
    assert!(!queue("wait").looks_like(&queue("wait2")));
    assert!(queue("wait.fifo").is_fifo());
    assert!(!queue("waitfifo").is_fifo());
}

#[test]
fn the_deadline_and_the_closing_keep_their_reserves() {
    let timings = Timings::default();
    let seconds = Duration::from_secs;
    assert_eq!(timings.deadline_reserve(), seconds(5 + 2 * 3 + 5));
    assert_eq!(timings.heartbeat_round(), seconds(3 + 3));
    assert_eq!(
        timings.shortest_visibility(true),
        seconds(16 + 2 * 6 + 3 + 2)
    );
    assert_eq!(timings.shortest_visibility(false), seconds(5 + 5 + 2));
    assert_eq!(timings.closing_margin(seconds(900)), seconds(5 + 5 + 900));
}
