//! What only the queues' attributes can tell.

use sqs_drain::plan::{QueueFacts, check_queues};

use super::{BASE, good};

/// A queue with SQS's defaults.
fn queue(name: &str) -> QueueFacts {
    QueueFacts {
        url: format!("https://sqs.ap-northeast-2.amazonaws.com/123456789012/{name}"),
        arn: format!("arn:aws:sqs:ap-northeast-2:123456789012:{name}"),
        fifo: name.ends_with(".fifo"),
        content_based_dedup: false,
        delay_s: 0,
        visibility_s: 30,
        max_receive_count: None,
        dead_letter_arn: None,
        max_message_bytes: 1_048_576,
        retention_s: 345_600,
        kms: false,
    }
}

fn with_dead_letters(name: &str, to: &str, max_receive_count: u32) -> QueueFacts {
    QueueFacts {
        dead_letter_arn: Some(queue(to).arn),
        max_receive_count: Some(max_receive_count),
        ..queue(name)
    }
}

#[test]
fn queues_that_do_not_fit_are_refused_in_one_line() {
    // Written so that the text alone cannot tell: FIFO or not, same or not.
    let lines = |line: &str,
                 source: QueueFacts,
                 destinations: &[QueueFacts],
                 parked: [Option<QueueFacts>; 2]| {
        let plan = good(line);
        let [hold, reject] = parked;
        match check_queues(
            &plan.routes[0],
            &source,
            destinations,
            hold.as_ref(),
            reject.as_ref(),
        ) {
            Ok(warnings) => warnings
                .iter()
                .map(|warning| format!("warning: {warning}"))
                .collect(),
            Err(refusal) => vec![refusal.to_string()],
        }
    };
    let none = || [None, None];
    let wait = || queue("wait");
    let to = |name: &str| [queue(name)];

    assert_eq!(lines(BASE, wait(), &to("schedule"), none()), [""; 0]);
    assert_eq!(
        lines(BASE, wait(), &to("wait"), none()),
        [
            "wait is both the source and the destination: name another queue with --to (two queues of one name: write both as URLs)"
        ]
    );
    assert_eq!(
        lines(BASE, wait(), &to("schedule"), [Some(wait()), None]),
        [
            "wait is both the source and the hold queue: name another queue with --hold (two queues of one name: write both as URLs)"
        ]
    );
    assert_eq!(
        lines(BASE, wait(), &to("schedule"), [None, Some(wait())]),
        [
            "wait is both the source and the reject queue: name another queue with --reject (two queues of one name: write both as URLs)"
        ]
    );
    assert_eq!(
        lines(BASE, wait(), &[queue("a"), queue("a")], none()),
        ["the destination a is named twice: name it once"]
    );
    assert_eq!(
        lines(BASE, wait(), &to("a"), [Some(queue("a")), None]),
        [
            "a is both a destination and the hold queue, so what is parked would be delivered: name another queue with --hold (two queues of one name: write both as URLs)"
        ]
    );
    assert_eq!(
        lines(BASE, wait(), &to("a"), [Some(queue("x")), Some(queue("x"))]),
        [
            "x is both the hold queue and the reject queue: name another queue with --reject (two queues of one name: write both as URLs)"
        ]
    );

    let fifo_lost = "so order would be lost: name a FIFO queue with";
    assert_eq!(
        lines(BASE, queue("wait.fifo"), &to("schedule"), none()),
        [format!(
            "the source wait.fifo is FIFO and the destination schedule is not, {fifo_lost} --to, or add --allow-fifo-to-standard"
        )]
    );
    assert_eq!(
        lines(
            BASE,
            queue("wait.fifo"),
            &to("schedule.fifo"),
            [Some(queue("hold")), None]
        ),
        [format!(
            "the source wait.fifo is FIFO and the hold queue hold is not, {fifo_lost} --hold, or add --allow-fifo-to-standard"
        )]
    );
    assert_eq!(
        lines(
            BASE,
            queue("wait.fifo"),
            &to("schedule.fifo"),
            [None, Some(queue("reject"))]
        ),
        [format!(
            "the source wait.fifo is FIFO and the reject queue reject is not, {fifo_lost} --reject, or add --allow-fifo-to-standard"
        )]
    );
    let allowed = format!("{BASE} --allow-fifo-to-standard");
    assert_eq!(
        lines(&allowed, queue("wait.fifo"), &to("schedule"), none()),
        [""; 0]
    );
    assert_eq!(
        lines(BASE, wait(), &to("schedule.fifo"), none()),
        [
            "the destination schedule.fifo is FIFO and the source wait is not, so messages need a group: say where it comes from with --group-from id, attribute:NAME, constant:TEXT or source"
        ]
    );
    let grouped = format!("{BASE} --group-from id");
    assert_eq!(
        lines(&grouped, wait(), &to("schedule.fifo"), none()),
        [""; 0]
    );
    assert_eq!(
        lines(
            &format!("{grouped} --deduplication-id original"),
            wait(),
            &to("schedule.fifo"),
            none()
        ),
        [
            "--deduplication-id original: messages of the standard queue wait have none: write --deduplication-id message-id"
        ]
    );

    assert_eq!(
        lines(
            BASE,
            with_dead_letters("wait", "dead", 1),
            &to("schedule"),
            none()
        ),
        [
            "the source wait has maxReceiveCount 1, so a message received a second time goes to its dead-letter queue and no restart can deliver it: raise it to 5 or more"
        ]
    );
    assert_eq!(
        lines(
            BASE,
            with_dead_letters("wait", "dead", 2),
            &to("schedule"),
            none()
        ),
        [
            "warning: the source wait has maxReceiveCount 2: a few restarts send messages to its dead-letter queue; raise it to 5 or more"
        ]
    );
    assert_eq!(
        lines(
            BASE,
            with_dead_letters("wait", "dead", 4),
            &to("schedule"),
            none()
        )
        .len(),
        1
    );
    assert_eq!(
        lines(
            BASE,
            with_dead_letters("wait", "dead", 5),
            &to("schedule"),
            none()
        ),
        [""; 0]
    );
    assert_eq!(
        lines(
            BASE,
            with_dead_letters("wait", "schedule", 5),
            &to("schedule"),
            none()
        ),
        [
            "the destination schedule is the dead-letter queue of the source wait, so SQS would move messages there outside the window and beside the count: give the source another dead-letter queue"
        ]
    );
    assert_eq!(
        lines(
            BASE,
            wait(),
            &[with_dead_letters("schedule", "wait", 5)],
            none()
        ),
        [
            "warning: the source wait is the dead-letter queue of the destination schedule: a message that fails there comes back and is moved again"
        ]
    );

    let delayed = QueueFacts {
        delay_s: 900,
        ..queue("schedule")
    };
    assert_eq!(
        lines(BASE, wait(), std::slice::from_ref(&delayed), none()),
        [""; 0]
    );
    let short = "--from wait --to schedule --table drain --window 08:00-08:15 --zone Asia/Seoul";
    assert_eq!(
        lines(short, wait(), std::slice::from_ref(&delayed), none()),
        [
            "the destination schedule delays messages by 15m, and with margin and send timeout that is 910s of a window that is open for 15m at most: lower its DelaySeconds or write a longer window"
        ]
    );
    assert_eq!(
        lines(
            "--from wait --to schedule --no-journal --window always",
            wait(),
            &[delayed],
            none()
        ),
        [""; 0]
    );
    let small = QueueFacts {
        max_message_bytes: 262_144,
        ..queue("schedule")
    };
    assert_eq!(
        lines(BASE, wait(), &[small], none()),
        [
            "warning: the destination schedule takes messages of at most 262144 bytes, the source wait up to 1048576: larger ones will be refused one by one"
        ]
    );
    let forgetful = QueueFacts {
        retention_s: 11 * 3600,
        ..wait()
    };
    assert_eq!(
        lines(BASE, forgetful, &to("schedule"), none()),
        [
            "warning: the source wait keeps messages for 11h, and the window stays shut for up to 11h: the oldest would expire unsent; raise its MessageRetentionPeriod"
        ]
    );
}
