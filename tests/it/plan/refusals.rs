//! Every refusal of a setting, with its line.

use sqs_drain::plan::Warning;

use super::{BASE, line_of, plan};

/// Every refusal of flags, with its line.
#[test]
fn wrong_flags_are_refused_in_one_line() {
    let queues = "--from wait --to schedule";
    let seoul = "--window 08:00-21:00 --zone Asia/Seoul";
    let cases: &[(&str, &str)] = &[
        // What to drain.
        (
            "",
            "nothing to drain is named: add --from QUEUE and --to QUEUE, or --config FILE with routes",
        ),
        (
            "--from wait",
            "--from wait has no destination: add --to QUEUE",
        ),
        (
            "--to schedule",
            "--to schedule has no source: add --from QUEUE",
        ),
        (
            "wait --from wait --to schedule",
            "the route wait is asked for, but no routes file is named: add --config FILE, or describe one route with --from and --to instead",
        ),
        (
            "--from wait --to wait --no-journal",
            "wait is both the source and the destination: name another queue with --to (two queues of one name: write both as URLs)",
        ),
        (
            "--from wait --to https://sqs.eu-west-1.amazonaws.com/123456789012/wait --no-journal",
            "wait is both the source and the destination: name another queue with --to (two queues of one name: write both as URLs)",
        ),
        (
            "--from HTTPS://sqs.eu-west-1.amazonaws.com/1/wait --to x --no-journal",
            "--from HTTPS://sqs.eu-west-1.amazonaws.com/1/wait is not a queue's name (1 to 80 letters, digits, - and _, and .fifo at the end): write the queue's name or its URL",
        ),
        (
            "--from https://SQS.eu-west-1.amazonaws.com/1/wait/ --to https://sqs.eu-west-1.amazonaws.com/1/wait --no-journal",
            "wait is both the source and the destination: name another queue with --to (two queues of one name: write both as URLs)",
        ),
        (
            "--from wait --to a,b,a --no-journal",
            "the destination a is named twice, also as a: name it once (two queues of one name: write both as URLs)",
        ),
        (
            "--from wait --to a --to http://localhost:9324/000000000000/a --no-journal",
            "the destination http://localhost:9324/000000000000/a is named twice, also as a: name it once (two queues of one name: write both as URLs)",
        ),
        (
            "--from 'wait queue' --to a --no-journal",
            "--from wait queue is not a queue's name (1 to 80 letters, digits, - and _, and .fifo at the end): write the queue's name or its URL",
        ),
        (
            "--from wait --to https://sqs --no-journal",
            "--to https://sqs is not the URL of a queue: write the queue's name or its URL",
        ),
        (
            "--from arn:aws:sqs:eu-west-1:1:wait --to a --no-journal",
            "--from arn:aws:sqs:eu-west-1:1:wait is an ARN: write the queue's name or its URL",
        ),
        // The journal.
        (
            queues,
            "no table is named for the run's journal: create one with `sqs-drain init --table sqs-drain` and add --table sqs-drain, or add --no-journal to go without resuming",
        ),
        (
            &format!("{queues} --table drain --no-journal"),
            "--table drain and --no-journal contradict each other: keep one of them",
        ),
        (
            &format!("{queues} --table dr"),
            "--table dr is not a DynamoDB table's name: write 3 to 255 letters, digits, -, _ or . (or the table's ARN)",
        ),
        (
            &format!("{BASE} --run-id 'a b'"),
            "--run-id a b is not a run's id: write 1 to 200 letters, digits and signs without spaces and #",
        ),
        // The window.
        (
            &format!("{queues} --no-journal --window 8-21"),
            "--window: \"8-21\" is not a window: write it like \"08:00-21:00\", \"mon-fri 10:00-13:00\" or \"always\"",
        ),
        (
            &format!("{queues} --no-journal --window 08:00-21:00"),
            "--window 08:00-21:00 is local time and no time zone is named: add --zone with an IANA name, such as --zone Asia/Seoul",
        ),
        (
            &format!("{queues} --no-journal --holidays 2026-12-25"),
            "--holidays 2026-12-25 is local time and no time zone is named: add --zone with an IANA name, such as --zone Asia/Seoul",
        ),
        // The nearest mistake first: a date that is none before a zone that is missing.
        (
            &format!("{queues} --no-journal --window always --holidays 2026-13-01"),
            "--holidays: \"2026-13-01\" is not a date: write it like \"2026-12-25\"",
        ),
        (
            &format!("{queues} --no-journal --window always --holidays 2026-12-25"),
            "--holidays 2026-12-25 is local time and no time zone is named: add --zone with an IANA name, such as --zone Asia/Seoul",
        ),
        (
            &format!("{queues} --no-journal --window 08:00-21:00 --zone Asia/Soul"),
            "--zone: \"Asia/Soul\" is not a time zone: did you mean Asia/Seoul?",
        ),
        (
            &format!("{BASE} --holidays 25.12.2026"),
            "--holidays: \"25.12.2026\" is not a date: write it like \"2026-12-25\"",
        ),
        (
            &format!("{BASE} --holidays 2026-12-25 --holiday-windows noon"),
            "--holiday-windows: \"noon\" is not a weekday: write mon, tue, wed, thu, fri, sat, sun or daily",
        ),
        (
            &format!("{BASE} --holiday-windows 10:00-12:00"),
            "--holiday-windows 10:00-12:00 is for holidays and there are none: add --holidays DATE, or drop it",
        ),
        (
            &format!("{queues} --no-journal --window 08:00-08:01 --zone Asia/Seoul --margin 55s"),
            "the window is open for 60s at most, and the last 60s before a closing (margin and send timeout) are not used: write a longer window or a shorter --margin",
        ),
        (
            &format!("{BASE} --start-within soon"),
            "--start-within soon is not a length of time: write it like 90s, 5m, 1500ms, 1h or as a number of seconds",
        ),
        (
            &format!("{BASE} --start-within 0"),
            "--start-within 0 leaves no time to start in: write a length of time such as 5m",
        ),
        (
            &format!("{queues} --no-journal --window always --start-within 5m"),
            "--start-within 5m needs an opening to count from, and the window is always open: set --window 08:00-21:00 or the like, or drop it",
        ),
        (
            &format!("{BASE} --cutoff yesterday"),
            "--cutoff yesterday is not a cut-off: write run-start, none or a time such as 2026-11-23T08:00:00+09:00",
        ),
        // The pace.
        (
            &format!("{BASE} --rate fast"),
            "--rate fast is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &format!("{BASE} --rate 0"),
            "--rate 0 is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &format!("{BASE} --rate -5"),
            "--rate -5 is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &format!("{BASE} --rate 0.0009"),
            "--rate 0.0009 is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &format!("{queues} --no-journal {seoul} --rate 100 --burst 5 --shards 10"),
            "--burst 5 cannot be divided among 10 shards without a table: write --burst 10 or more, or fewer shards, or --table NAME in place of --no-journal",
        ),
        (
            &format!("{queues} --no-journal {seoul} --rate 0.009 --shards 10"),
            "--rate 0.009 cannot be divided among 10 shards without a table: write --rate 0.01 or more, or fewer shards, or --table NAME in place of --no-journal",
        ),
        (
            &format!("{BASE} --rate inf"),
            "--rate inf is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &format!("{BASE} --rate 5 --burst 0"),
            "--burst 0 is out of range or not a whole number: write 1 to 1000000",
        ),
        (
            &format!("{BASE} --burst 5"),
            "--burst 5 means nothing without a rate: add --rate, or drop the burst",
        ),
        (
            &format!("{BASE} --lanes 0"),
            "--lanes 0 is out of range or not a whole number: write 1 to 120000",
        ),
        (
            &format!("{BASE} --lanes 2401"),
            "--lanes 2401 of --page 50 could have 120050 messages in flight, and SQS allows 120000 a queue: write fewer lanes or smaller pages",
        ),
        (
            &format!("{BASE} --page 51"),
            "--page 51 is out of range or not a whole number: write 1 to 50",
        ),
        // Delivery.
        (
            &format!("{BASE} --delivery exactly-once"),
            "--delivery exactly-once is not one of its words: write at-least-once or at-most-once",
        ),
        (
            &format!("{BASE} --delivery at-most-once"),
            "--delivery at-most-once needs a queue for its doubts: add --hold QUEUE",
        ),
        (
            &format!("{queues} --no-journal {seoul} --delivery at-most-once --hold hold"),
            "--delivery at-most-once needs a table to claim each message in: add --table NAME in place of --no-journal",
        ),
        (
            &format!("{BASE} --delivery at-most-once --hold wait"),
            "wait is both the source and the hold queue: name another queue with --hold (two queues of one name: write both as URLs)",
        ),
        (
            &format!("{BASE} --delivery at-most-once --hold schedule"),
            "schedule is both a destination and the hold queue, so what is parked would be delivered: name another queue with --hold (two queues of one name: write both as URLs)",
        ),
        (
            &format!("{BASE} --reject wait"),
            "wait is both the source and the reject queue: name another queue with --reject (two queues of one name: write both as URLs)",
        ),
        (
            &format!("{BASE} --reject schedule"),
            "schedule is both a destination and the reject queue, so what is parked would be delivered: name another queue with --reject (two queues of one name: write both as URLs)",
        ),
        (
            &format!("{BASE} --delivery at-most-once --hold parked --reject parked"),
            "parked is both the hold queue and the reject queue: name another queue with --reject (two queues of one name: write both as URLs)",
        ),
        // FIFO.
        (
            &format!("--from wait.fifo --to schedule --no-journal {seoul}"),
            "the source wait.fifo is FIFO and the destination schedule is not, so order would be lost: name a FIFO queue with --to, or add --allow-fifo-to-standard",
        ),
        (
            &format!("--from wait --to schedule.fifo --no-journal {seoul}"),
            "the destination schedule.fifo is FIFO and the source wait is not, so messages need a group: say where it comes from with --group-from id, attribute:NAME, constant:TEXT or source",
        ),
        (
            &format!("--from a.fifo --to b.fifo --no-journal {seoul} --reject reject"),
            "the source a.fifo is FIFO and the reject queue reject is not, so order would be lost: name a FIFO queue with --reject, or add --allow-fifo-to-standard",
        ),
        (
            &format!(
                "--from wait --to schedule.fifo --no-journal {seoul} --group-from id --deduplication-id original"
            ),
            "--deduplication-id original: messages of the standard queue wait have none: write --deduplication-id message-id",
        ),
        (
            &format!("{BASE} --group-from attribute:"),
            "--group-from attribute: is not where a group id comes from: write source, id, attribute:NAME or constant:TEXT",
        ),
        (
            &format!("{BASE} --deduplication-id body"),
            "--deduplication-id body is not one of its words: write message-id or original",
        ),
        // Shards.
        (
            &format!("{BASE} --shards 0"),
            "--shards 0 is out of range or not a whole number: write 1 to 10000",
        ),
        (
            &format!("{BASE} --shards 4 --shard 4"),
            "--shard 4 is not below the number of shards, 4: shards count from 0, write 0 to 3, or set --shards",
        ),
        (
            &format!("{BASE} --shard 1"),
            "--shard 1 is not below the number of shards, 1: shards count from 0, write 0 to 0, or set --shards",
        ),
        // Reporting.
        (
            &format!("{BASE} --progress loud"),
            "--progress loud is not one of its words: write auto, always or never",
        ),
        (
            &format!("{BASE} --log-format xml"),
            "--log-format xml is not one of its words: write auto, json or text",
        ),
        (
            &format!("{BASE} --log-level all"),
            "--log-level all is not one of its words: write error, warn, info, debug or trace",
        ),
        (
            &format!("{BASE} --slack-webhook hooks"),
            "--slack-webhook is not a URL: give the whole webhook URL, beginning with https://",
        ),
        (
            &format!("{BASE} --notify-success"),
            "--notify-success has nowhere to send to: add --slack-webhook URL",
        ),
        // Timings.
        (
            &format!("{BASE} --visibility 90sec"),
            "--visibility 90sec is not a length of time: write it like 90s, 5m, 1500ms, 1h or as a number of seconds",
        ),
        (
            &format!("{BASE} --visibility -5"),
            "--visibility -5 is not a length of time: write it like 90s, 5m, 1500ms, 1h or as a number of seconds",
        ),
        (
            &format!("{BASE} --visibility 90500ms"),
            "--visibility 90500ms is not whole seconds: SQS counts it in seconds, write a whole number of them",
        ),
        (
            &format!("{BASE} --visibility 13h"),
            "--visibility 13h is more than SQS allows: write at most 12h",
        ),
        (
            &format!("{BASE} --visibility 33s"),
            "--visibility 33s is too short: margin + send timeout + two table timeouts + two rounds of heartbeat and table timeout + one table timeout + poll take 33s: write --visibility 34s or more",
        ),
        (
            &format!("{queues} --no-journal {seoul} --visibility 12s"),
            "--visibility 12s is too short: margin + send timeout + poll take 12s: write --visibility 13s or more",
        ),
        (
            &format!("{BASE} --poll 0"),
            "--poll 0s is not a long poll that SQS takes: write 1s to 20s",
        ),
        (
            &format!("{BASE} --poll 21 --grace 60"),
            "--poll 21s is not a long poll that SQS takes: write 1s to 20s",
        ),
        (
            &format!("{BASE} --poll 1500ms"),
            "--poll 1500ms is not whole seconds: SQS counts it in seconds, write a whole number of them",
        ),
        (
            &format!("{BASE} --poll 16"),
            "--poll 16s is too long for --grace 25s: an open poll is awaited at a stop: keep the poll 10s below the grace, with a shorter --poll or --grace 26s or more",
        ),
        (
            &format!("{BASE} --grace 11"),
            "--poll 2s is too long for --grace 11s: an open poll is awaited at a stop: keep the poll 10s below the grace, with a shorter --poll or --grace 12s or more",
        ),
        (
            &format!("{BASE} --poll 10 --visibility 10"),
            "--poll 10s is not below --visibility 10s: write a shorter --poll or a longer --visibility",
        ),
        (
            &format!("{BASE} --margin 0s"),
            "--margin 0s is too short: a request that takes effect after it was given up could touch what is another process's by then: write --margin 1s or more",
        ),
        (
            &format!("{queues} --no-journal {seoul} --margin 999ms"),
            "--margin 999ms is too short: a request that takes effect after it was given up could touch what is another process's by then: write --margin 1s or more",
        ),
        (
            &format!("{BASE} --lease 6s"),
            "--lease 6s is too short: one heartbeat and its write take up to 6s: write --lease 7s or more",
        ),
        (
            &format!("{BASE} --heartbeat 0"),
            "--heartbeat is zero: write a length of time above zero",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(line_of(plan(line, &[], None)), *expected, "run {line}");
    }
}

#[test]
fn a_wrong_environment_is_refused_in_one_line() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("SQS_DRAIN_RATE", "fast")],
            "SQS_DRAIN_RATE=fast is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            &[("SQS_DRAIN_RAET", "500")],
            "the environment variable SQS_DRAIN_RAET is not a setting: did you mean SQS_DRAIN_RATE?",
        ),
        (
            &[("SQS_DRAIN_rate", "500")],
            "the environment variable SQS_DRAIN_rate is not a setting: did you mean SQS_DRAIN_RATE?",
        ),
        (
            &[("SQS_DRAIN_WAIT_OPEN", "maybe")],
            "SQS_DRAIN_WAIT_OPEN=maybe is neither on nor off: write true or false",
        ),
        (
            &[
                ("AWS_BATCH_JOB_ARRAY_INDEX", "3"),
                ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
            ],
            "AWS_BATCH_JOB_ARRAY_INDEX=3 is not below the number of shards, 2: shards count from 0, write 0 to 1, or set --shards",
        ),
        (
            &[("AWS_BATCH_JOB_ARRAY_SIZE", "many")],
            "AWS_BATCH_JOB_ARRAY_SIZE=many is out of range or not a whole number: write 1 to 10000",
        ),
        (
            &[("SQS_DRAIN_LOG_FORMAT", "json\nx")],
            "SQS_DRAIN_LOG_FORMAT=json x is not one of its words: write auto, json or text",
        ),
    ];
    for (environment, expected) in cases {
        assert_eq!(
            line_of(plan(BASE, environment, None)),
            *expected,
            "{environment:?}"
        );
    }
    // Not like any setting: somebody else's, as a service of that name makes.
    let plan = plan(BASE, &[("SQS_DRAIN_SERVICE_HOST", "10.0.0.1")], None).unwrap();
    let expected = Warning::new(
        "the environment variable SQS_DRAIN_SERVICE_HOST is not a setting and is ignored",
    );
    assert_eq!(plan.warnings, [expected]);
}

#[test]
fn a_wrong_file_is_refused_in_one_line() {
    let route = "[route.wait]\nfrom = 'wait'\nto = 'schedule'\nno_journal = true\n";
    let with = |more: &str| format!("{route}{more}\n");
    let cases: &[(&str, &str, &str)] = &[
        (
            "",
            "a = [",
            "routes.toml line 1: not TOML, unclosed array, expected `]`: correct the line",
        ),
        (
            "",
            &with("rate = 1\nrate = 2"),
            "routes.toml line 6: not TOML, duplicate key: correct the line",
        ),
        (
            "",
            "",
            "routes.toml has no routes: add a [route.NAME] with from and to",
        ),
        (
            "",
            &with("raet = 5"),
            "routes.toml line 5: `raet` is not a setting: did you mean `rate`?",
        ),
        (
            "",
            &with("start-within = 5"),
            "routes.toml line 5: `start-within` is not a setting: did you mean `start_within`?",
        ),
        (
            "",
            &with("queue_depth = 5"),
            "routes.toml line 5: `queue_depth` is not a setting: `sqs-drain run --help` lists the settings",
        ),
        (
            "",
            "[routes.wait]\nfrom = 'a'",
            "routes.toml line 1: `routes` is not a setting: did you mean [route]?",
        ),
        (
            "",
            "route = 5",
            "routes.toml line 1: `route` is a whole number: write a table, [route.NAME]",
        ),
        (
            "",
            "[route]\nwait = 'schedule'",
            "routes.toml line 2: `wait` is a text: write a table, [route.wait]",
        ),
        (
            "",
            &format!("rate = 5\n{route}"),
            "routes.toml line 1: `rate` is a route's setting: move it under [defaults] or [route.NAME]",
        ),
        (
            "",
            &with("grace = '20s'"),
            "routes.toml line 5: `grace` concerns the whole process, not one route: move it to the top of the file, before the first [table]",
        ),
        (
            "",
            &with("rate = [5]"),
            "routes.toml line 5: `rate` is a list: write a number",
        ),
        (
            "",
            &with("rate = true"),
            "routes.toml line 5: `rate` is true or false: write a number",
        ),
        (
            "",
            &with("rate = 'fast'"),
            "route wait: routes.toml line 5, `rate = fast` is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            "",
            &with("rate = nan"),
            "route wait: routes.toml line 5, `rate = nan` is not a number of messages a second, 0.001 or more: write one such as 500 or 0.5, or none for no limit",
        ),
        (
            "",
            &with("lanes = 1.5"),
            "routes.toml line 5: `lanes` is a number with a fraction: write a whole number",
        ),
        (
            "",
            &with("visibility = true"),
            "routes.toml line 5: `visibility` is true or false: write a length of time such as \"90s\", \"5m\" or a number of seconds",
        ),
        (
            "",
            &with("wait_open = 'yes'"),
            "routes.toml line 5: `wait_open` is a text: write true or false",
        ),
        (
            "",
            &with("window = 8"),
            "routes.toml line 5: `window` is a whole number: write a window such as \"08:00-21:00\", or a list of them",
        ),
        (
            "",
            &with("window = [\n'08:00-21:00',\n5]"),
            "routes.toml line 7: `window` holds a whole number: write a window such as \"08:00-21:00\", or a list of them",
        ),
        (
            "",
            &with("window = []\nzone = 'UTC'"),
            "route wait: routes.toml line 5, `window = []` never opens: write a window such as --window 08:00-21:00",
        ),
        (
            "",
            &with("window = []"),
            "route wait: routes.toml line 5, `window = []` never opens: write a window such as --window 08:00-21:00",
        ),
        (
            "",
            &with(
                "window = []\nzone = 'UTC'\nholidays = ['2020-01-01']\nholiday_windows = '10:00-12:00'",
            ),
            "route wait: routes.toml line 5, `window = []` never opens: write a window such as --window 08:00-21:00",
        ),
        (
            "",
            &with("zone = ''"),
            "routes.toml line 5: `zone` is empty: write a text or leave the line out",
        ),
        (
            "",
            &with("zone = 'Mars/Base'\nwindow = '08:00-21:00'"),
            "route wait: routes.toml line 5, `zone`: \"Mars/Base\" is not a time zone: write an IANA name like Asia/Seoul",
        ),
        (
            "",
            "[route.wait]\nto = 'a'",
            "route wait: there is no source: add from = \"QUEUE\"",
        ),
        (
            "",
            "[route.wait]\nfrom = 'a'",
            "route wait: there is no destination: add to = [\"QUEUE\"]",
        ),
        (
            "",
            "[route.wait]\nfrom = 'a'\nto = []",
            "route wait: routes.toml line 3, `to = []` names no destination: name at least one queue",
        ),
        (
            "",
            "[route.'a@b']\nfrom = 'a'\nto = 'b'",
            "routes.toml line 1: \"a@b\" is not a route's name: write 1 to 64 letters, digits, -, _ or .",
        ),
        (
            "wiat",
            route,
            "routes.toml has no route wiat: did you mean wait?",
        ),
        (
            "morning",
            route,
            "routes.toml has no route morning: it has wait",
        ),
        (
            "--from a --to b",
            route,
            "--from a and the routes file routes.toml both say what to drain: drop --from, or drop --config and SQS_DRAIN_CONFIG",
        ),
        (
            "",
            &format!("{route}[route.b]\nfrom = 'wait'\nto = 'c'\nno_journal = true"),
            "the routes wait and b drain the same queue, wait: one run drains a source at a time, ask for one of them",
        ),
        (
            "",
            &format!("{route}reject = 'b'\n[route.b]\nfrom = 'b'\nto = 'c'\nno_journal = true"),
            "b is the reject queue of the route wait and the source of the route b, so what is parked would be drained: name another reject queue, or ask for the route b by itself, when this one has ended",
        ),
        (
            "",
            &format!(
                "{route}[route.b]\nfrom = 'b'\nto = 'c'\ntable = 'drain'\ndelivery = 'at-most-once'\nhold = 'wait'"
            ),
            "wait is the hold queue of the route b and the source of the route wait, so what is parked would be drained: name another hold queue, or ask for the route wait by itself, when this one has ended",
        ),
        (
            "--run-id x",
            &format!("{route}[route.b]\nfrom = 'b'\nto = 'c'\nno_journal = true"),
            "the routes wait and b have the same run id: give --run-id with one route, or each its own run_id",
        ),
    ];
    for (line, file, expected) in cases {
        assert_eq!(
            line_of(plan(line, &[], Some(file))),
            *expected,
            "run {line}\n{file}"
        );
    }
}
