use super::*;

fn window(specs: &[&str], zone: &str) -> Window {
    with_holidays(specs, zone, &[], &[])
}

fn with_holidays(specs: &[&str], zone: &str, holidays: &[&str], on_holidays: &[&str]) -> Window {
    let own = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    Window::parse(&own(specs), zone, &own(holidays), &own(on_holidays)).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn open(from: &str, to: &str) -> State {
    State::Open {
        opened_at: at(from),
        closes_at: Some(at(to)),
    }
}

fn shut(until: &str) -> State {
    State::Shut {
        opens_at: Some(at(until)),
    }
}

#[test]
fn the_window_is_half_open() {
    let seoul = window(&["08:00-21:00"], "Asia/Seoul");
    let (from, to) = ("2026-11-23T08:00:00+09:00", "2026-11-23T21:00:00+09:00");
    assert_eq!(
        seoul.state_at(at("2026-11-23T07:59:59.999+09:00")),
        shut(from)
    );
    assert_eq!(seoul.state_at(at(from)), open(from, to));
    assert_eq!(
        seoul.state_at(at("2026-11-23T20:59:59.999+09:00")),
        open(from, to)
    );
    assert_eq!(seoul.state_at(at(to)), shut("2026-11-24T08:00:00+09:00"));
}

#[test]
fn neighbouring_spans_are_one_opening() {
    let expected = open("2026-11-23T08:00:00+09:00", "2026-11-23T21:00:00+09:00");
    for specs in [
        &["08:00-12:00", "12:00-21:00"][..],
        &["10:00-21:00", "08:00-12:00"],
        &["08:00-21:00", "09:00-10:00"],
        &["08:00-12:00,12:00-21:00"],
    ] {
        let joined = window(specs, "Asia/Seoul");
        for time in ["08:00:00", "12:00:00", "20:00:00"] {
            let state = joined.state_at(at(&format!("2026-11-23T{time}+09:00")));
            assert_eq!(state, expected, "{specs:?} at {time}");
        }
    }
}

#[test]
fn a_span_may_cross_midnight_and_the_week() {
    let night = window(&["21:00-08:00"], "Asia/Seoul");
    let expected = open("2026-11-22T21:00:00+09:00", "2026-11-23T08:00:00+09:00");
    assert_eq!(night.state_at(at("2026-11-22T23:00:00+09:00")), expected);
    assert_eq!(night.state_at(at("2026-11-23T07:00:00+09:00")), expected);

    let sunday = window(&["sun 22:00-02:00"], "Asia/Seoul");
    let expected = open("2026-11-22T22:00:00+09:00", "2026-11-23T02:00:00+09:00");
    assert_eq!(sunday.state_at(at("2026-11-23T01:00:00+09:00")), expected);
    assert_eq!(
        sunday.state_at(at("2026-11-24T01:00:00+09:00")),
        shut("2026-11-29T22:00:00+09:00")
    );
}

#[test]
fn weekdays_may_be_listed_and_may_run_over_the_weekend() {
    let shop = window(&["mon-fri 10:00-13:00,sat,sun 10:00-18:00"], "Asia/Seoul");
    // 2026-11-21 is a Saturday.
    assert_eq!(
        shop.state_at(at("2026-11-21T17:00:00+09:00")),
        open("2026-11-21T10:00:00+09:00", "2026-11-21T18:00:00+09:00")
    );
    assert_eq!(
        shop.state_at(at("2026-11-23T17:00:00+09:00")),
        shut("2026-11-24T10:00:00+09:00")
    );
    let weekend = window(&["fri-mon 10:00-11:00"], "Asia/Seoul");
    assert_eq!(
        weekend.state_at(at("2026-11-23T12:00:00+09:00")),
        shut("2026-11-27T10:00:00+09:00")
    );
}

#[test]
fn a_holiday_is_shut_from_end_to_end() {
    let night = with_holidays(&["21:00-08:00"], "Asia/Seoul", &["2026-12-25"], &[]);
    assert_eq!(
        night.state_at(at("2026-12-24T23:00:00+09:00")),
        open("2026-12-24T21:00:00+09:00", "2026-12-25T00:00:00+09:00")
    );
    // The night that would begin on the holiday does not take place.
    assert_eq!(
        night.state_at(at("2026-12-25T00:00:00+09:00")),
        shut("2026-12-26T21:00:00+09:00")
    );
}

#[test]
fn holiday_windows_replace_the_ordinary_ones() {
    let shop = with_holidays(
        &["08:00-21:00"],
        "Asia/Seoul",
        &["2026-12-25"],
        &["10:00-12:00"],
    );
    assert_eq!(
        shop.state_at(at("2026-12-25T10:30:00+09:00")),
        open("2026-12-25T10:00:00+09:00", "2026-12-25T12:00:00+09:00")
    );
    assert_eq!(
        shop.state_at(at("2026-12-25T12:00:00+09:00")),
        shut("2026-12-26T08:00:00+09:00")
    );
}

#[test]
fn always_has_civil_days_and_closes_only_for_a_holiday() {
    let always = window(&["always"], "Asia/Seoul");
    let now = at("2026-11-23T07:12:00+09:00");
    let midnight = at("2026-11-23T00:00:00+09:00");
    assert_eq!(
        always.state_at(now),
        State::Open {
            opened_at: midnight,
            closes_at: None
        }
    );
    assert_eq!(always.opening_id(now).as_deref(), Some("2026-11-23"));
    assert!(always.is_always());
    assert!(window(&["08:00-20:00", "20:00-08:00"], "Asia/Seoul").is_always());
    assert!(!window(&["00:00-23:59"], "Asia/Seoul").is_always());

    let but = with_holidays(
        &["always"],
        "Asia/Seoul",
        &["2030-12-24", "2030-12-25"],
        &[],
    );
    let day_before = State::Open {
        opened_at: midnight,
        closes_at: Some(at("2030-12-24T00:00:00+09:00")),
    };
    assert_eq!(but.state_at(now), day_before);
    assert_eq!(
        but.state_at(at("2030-12-24T12:00:00+09:00")),
        shut("2030-12-26T00:00:00+09:00")
    );
    assert_eq!(
        but.state_at(at("2030-12-26T12:00:00+09:00")),
        State::Open {
            opened_at: at("2030-12-26T00:00:00+09:00"),
            closes_at: None
        }
    );
}

#[test]
fn an_edge_in_a_gap_is_at_the_first_instant_after_it() {
    // Berlin skips 02:00-03:00 on 2026-03-29.
    let opens = window(&["02:30-10:00"], "Europe/Berlin");
    let expected = open("2026-03-29T03:00:00+02:00", "2026-03-29T10:00:00+02:00");
    assert_eq!(opens.state_at(at("2026-03-29T04:00:00+02:00")), expected);
    assert_eq!(
        opens.opening_id(at("2026-03-29T04:00:00+02:00")).as_deref(),
        Some("2026-03-29T03:00+02:00")
    );
    let closes = window(&["00:30-02:30"], "Europe/Berlin");
    assert_eq!(
        closes.state_at(at("2026-03-29T01:00:00+01:00")),
        open("2026-03-29T00:30:00+01:00", "2026-03-29T02:00:00+01:00")
    );
}

#[test]
fn two_spans_with_nothing_but_a_gap_between_them_are_one_opening() {
    let split = window(&["01:00-02:00", "03:00-04:00"], "Europe/Berlin");
    assert_eq!(
        split.state_at(at("2026-03-29T03:30:00+02:00")),
        open("2026-03-29T01:00:00+01:00", "2026-03-29T04:00:00+02:00")
    );
}

#[test]
fn an_edge_in_a_fold_is_read_the_way_that_sends_less() {
    // Berlin has 02:00-03:00 twice on 2026-10-25.
    let opens = window(&["02:30-10:00"], "Europe/Berlin");
    assert_eq!(
        opens.state_at(at("2026-10-25T02:45:00+02:00")),
        shut("2026-10-25T02:30:00+01:00")
    );
    let closes = window(&["00:30-02:30"], "Europe/Berlin");
    assert_eq!(
        closes.state_at(at("2026-10-25T02:00:00+02:00")),
        open("2026-10-25T00:30:00+02:00", "2026-10-25T02:30:00+02:00")
    );
    assert_eq!(
        closes.state_at(at("2026-10-25T02:00:00+01:00")),
        shut("2026-10-26T00:30:00+01:00")
    );
    // Wholly inside the fold: no moment of it is sure.
    let inside = window(&["02:15-02:45"], "Europe/Berlin");
    assert_eq!(
        inside.state_at(at("2026-10-25T02:30:00+01:00")),
        shut("2026-10-26T02:15:00+01:00")
    );
    // An edge between merged spans is none, so nothing shuts at the fold.
    let merged = window(&["01:00-02:30", "02:30-04:00"], "Europe/Berlin");
    assert_eq!(
        merged.state_at(at("2026-10-25T02:40:00+02:00")),
        open("2026-10-25T01:00:00+02:00", "2026-10-25T04:00:00+01:00")
    );
}

#[test]
fn a_zone_may_skip_midnight_or_a_whole_day() {
    // Cairo skips 00:00-01:00 on 2026-04-24.
    let cairo = window(&["00:00-08:00"], "Africa/Cairo");
    assert_eq!(
        cairo.state_at(at("2026-04-24T05:00:00+03:00")),
        open("2026-04-24T01:00:00+03:00", "2026-04-24T08:00:00+03:00")
    );
    // Samoa skipped the whole of 2011-12-30.
    let apia = window(&["00:00-24:00"], "Pacific/Apia");
    let before = at("2011-12-29T23:00:00-10:00");
    assert_eq!(apia.opening_id(before).as_deref(), Some("2011-12-29"));
    let noon = window(&["10:00-14:00"], "Pacific/Apia");
    assert_eq!(noon.state_at(before), shut("2011-12-31T10:00:00+14:00"));
}

#[test]
fn a_window_without_openings_never_opens() {
    let now = at("2026-11-23T00:00:00Z");
    assert!(window(&[], "UTC").never_opens(now));
    let holidays_only = with_holidays(&[], "UTC", &["2026-12-25"], &["10:00-12:00"]);
    assert!(!holidays_only.never_opens(now));
    assert!(holidays_only.never_opens(at("2026-12-26T00:00:00Z")));
    assert_eq!(holidays_only.opening_id(at("2026-12-26T00:00:00Z")), None);
    // However many holidays there are, the window opens after them.
    let days: Vec<String> = (1..=30).map(|day| format!("2026-11-{day:02}")).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let november = with_holidays(&["mon 08:00-09:00"], "UTC", &days, &[]);
    assert_eq!(
        november.state_at(at("2026-10-31T00:00:00Z")),
        shut("2026-12-07T08:00:00Z")
    );
}

#[test]
fn an_opening_names_the_run() {
    let seoul = window(&["08:00-21:00"], "Asia/Seoul");
    let id = |text: &str| seoul.opening_id(at(text)).unwrap();
    assert_eq!(id("2026-11-23T08:00:00+09:00"), "2026-11-23T08:00+09:00");
    assert_eq!(id("2026-11-23T20:59:59+09:00"), "2026-11-23T08:00+09:00");
    // Before the opening: the run that is to come.
    assert_eq!(id("2026-11-23T07:00:00+09:00"), "2026-11-23T08:00+09:00");
    assert_eq!(id("2026-11-23T21:00:00+09:00"), "2026-11-24T08:00+09:00");
}

#[test]
fn lengths_are_told() {
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let now = at("2026-11-23T00:00:00Z");
    let seoul = window(&["08:00-12:00", "12:00-21:00"], "Asia/Seoul");
    assert_eq!(seoul.longest_opening(), Some(hours(13)));
    assert_eq!(seoul.longest_shut(now), hours(11));
    let weekdays = window(&["mon-fri 09:00-17:00"], "Asia/Seoul");
    assert_eq!(weekdays.longest_shut(now), hours(64));
    let long = with_holidays(
        &["mon-fri 09:00-17:00"],
        "Asia/Seoul",
        &["2026-12-25"],
        &["sat 09:00-19:00"],
    );
    assert_eq!(long.longest_shut(now), hours(88));
    assert_eq!(long.longest_opening(), Some(hours(8)));
    assert_eq!(window(&["always"], "UTC").longest_opening(), None);
    assert_eq!(window(&["always"], "UTC").longest_shut(now), hours(0));
    assert_eq!(window(&[], "UTC").longest_opening(), Some(hours(0)));
}

#[test]
fn the_next_openings_are_listed() {
    let seoul = window(&["08:00-21:00"], "Asia/Seoul");
    let next = seoul.next_openings(at("2026-11-23T12:00:00+09:00"), 2);
    let expected = [
        (
            at("2026-11-24T08:00:00+09:00"),
            Some(at("2026-11-24T21:00:00+09:00")),
        ),
        (
            at("2026-11-25T08:00:00+09:00"),
            Some(at("2026-11-25T21:00:00+09:00")),
        ),
    ];
    assert_eq!(next, expected);
    assert_eq!(
        window(&["always"], "UTC").next_openings(at("2026-11-23T12:00:00Z"), 2),
        []
    );
}

#[test]
fn an_explanation_says_why() {
    let seoul = with_holidays(
        &["08:00-21:00"],
        "Asia/Seoul",
        &["2026-12-25"],
        &["10:00-12:00"],
    );
    assert_eq!(
        seoul.explain(at("2026-11-23T07:12:00+09:00")),
        "In Asia/Seoul it is Mon 2026-11-23 07:12 +09:00 (UTC 2026-11-22T22:12:00Z).\n\
         The window is open daily 08:00-21:00, on 1 holiday daily 10:00-12:00.\n\
         It is shut and opens in 48 min, at Mon 2026-11-23 08:00 +09:00.\n\
         A run of this opening is named ROUTE@2026-11-23T08:00+09:00.\n\
         Then open from Mon 2026-11-23 08:00 +09:00 to Mon 2026-11-23 21:00 +09:00.\n\
         Then open from Tue 2026-11-24 08:00 +09:00 to Tue 2026-11-24 21:00 +09:00.\n\
         Then open from Wed 2026-11-25 08:00 +09:00 to Wed 2026-11-25 21:00 +09:00.\n\
         The next holiday is Fri 2026-12-25.\n\
         The clocks do not change within the next 400 days.\n"
    );
    let berlin = window(
        &["mon-fri 10:00-13:00", "sat,sun 02:30-18:00"],
        "Europe/Berlin",
    );
    assert_eq!(
        berlin.explain(at("2026-03-28T12:00:00+01:00")),
        "In Europe/Berlin it is Sat 2026-03-28 12:00 +01:00 (UTC 2026-03-28T11:00:00Z).\n\
         The window is open mon-fri 10:00-13:00, sat-sun 02:30-18:00.\n\
         It is open since Sat 2026-03-28 02:30 +01:00 and closes in 6 h, at Sat 2026-03-28 18:00 +01:00.\n\
         A run of this opening is named ROUTE@2026-03-28T02:30+01:00.\n\
         Then open from Sun 2026-03-29 03:00 +02:00 to Sun 2026-03-29 18:00 +02:00.\n\
         Then open from Mon 2026-03-30 10:00 +02:00 to Mon 2026-03-30 13:00 +02:00.\n\
         Then open from Tue 2026-03-31 10:00 +02:00 to Tue 2026-03-31 13:00 +02:00.\n\
         The clocks go forward by 1 h at Sun 2026-03-29 03:00 +02:00.\n\
         On 2026-03-29 02:30 does not come: the window opens at Sun 2026-03-29 03:00 +02:00.\n"
    );
}

#[test]
fn what_cannot_be_understood_is_named() {
    let error = |specs: &[&str], zone: &str, holidays: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        match Window::parse(&own(specs), zone, &own(holidays), &[]) {
            Ok(window) => panic!("{specs:?} {zone} gave {window:?}"),
            Err(error) => error.to_string(),
        }
    };
    let form =
        "is not a window: write it like \"08:00-21:00\", \"mon-fri 10:00-13:00\" or \"always\"";
    for text in [
        "8-21",
        "08:00",
        "",
        "08:00-25:00",
        "24:00-08:00",
        "08:60-09:00",
        "08:00-24:01",
        "mon",
        "08:00-12:00,",
    ] {
        assert_eq!(
            error(&[text], "UTC", &[]),
            format!("{:?} {form}", text),
            "{text}"
        );
    }
    assert_eq!(
        error(&["mo 08:00-21:00"], "UTC", &[]),
        "\"mo\" is not a weekday: write mon, tue, wed, thu, fri, sat, sun or daily"
    );
    assert_eq!(
        error(&["08:00-08:00"], "UTC", &[]),
        "\"08:00-08:00\" begins and ends at the same time: write \"00:00-24:00\" for the whole day, or another end"
    );
    assert_eq!(
        error(&["mon 08:00-12:00,13:00-21:00"], "UTC", &[]),
        "\"13:00-21:00\" does not say on which days: put days before every span, such as \"daily 13:00-21:00\""
    );
    let zone = |name: &str| error(&["08:00-21:00"], name, &[]);
    assert_eq!(
        zone("Asia/Soul"),
        "\"Asia/Soul\" is not a time zone: did you mean Asia/Seoul?"
    );
    assert_eq!(
        zone("seoul"),
        "\"seoul\" is not a time zone: did you mean Asia/Seoul?"
    );
    assert_eq!(
        zone("+09:00"),
        "\"+09:00\" is not a time zone: write an IANA name like Asia/Seoul"
    );
    assert_eq!(
        error(&["08:00-21:00"], "UTC", &["25.12.2026"]),
        "\"25.12.2026\" is not a date: write it like \"2026-12-25\""
    );
}
