//! The protocol keeps its promises: in every interleaving of every scope here. The scopes of `full` take minutes and run
//! only with `SQS_DRAIN_MODEL=full`.

use super::check::holds;
use super::rules::{Faults, Scope};

const NONE: Faults = Faults::NONE;
const CRASH: Faults = Faults {
    crash: true,
    ..NONE
};
const FREEZE: Faults = Faults {
    freeze: true,
    ..NONE
};
const TERMINATE: Faults = Faults {
    terminate: true,
    ..NONE
};
const UNANSWERED: Faults = Faults {
    unanswered: true,
    ..NONE
};
const COPY: Faults = Faults { copy: true, ..NONE };

#[test]
fn one_message_and_two_faults_of_any_kind() {
    holds(
        "one message, two faults",
        Scope {
            lingering: false,
            ..Scope::one_message(2)
        },
    );
}

#[test]
fn one_message_and_one_fault_with_lingering_requests() {
    holds("one message, one fault, lingering", Scope::one_message(1));
}

#[test]
fn two_messages_and_a_crash() {
    holds(
        "two messages, a crash",
        Scope {
            kinds: CRASH,
            slots: 2,
            ..Scope::two_messages(1)
        },
    );
}

#[test]
fn two_messages_and_an_unanswered_call() {
    holds(
        "two messages, an unanswered call",
        Scope {
            kinds: UNANSWERED,
            slots: 2,
            ..Scope::two_messages(1)
        },
    );
}

#[test]
fn two_messages_and_a_freeze() {
    holds(
        "two messages, a freeze",
        Scope {
            kinds: FREEZE,
            slots: 2,
            ..Scope::two_messages(1)
        },
    );
}

#[test]
fn two_messages_and_a_clean_exit_with_releases() {
    holds(
        "two messages, SIGTERM",
        Scope {
            kinds: TERMINATE,
            ..Scope::two_messages(1)
        },
    );
    holds(
        "one message, SIGTERM twice",
        Scope {
            kinds: TERMINATE,
            ..Scope::one_message(2)
        },
    );
}

#[test]
fn two_freezes() {
    holds(
        "one message, two freezes",
        Scope {
            kinds: FREEZE,
            slow_start: false,
            ..Scope::one_message(2)
        },
    );
}

#[test]
fn three_lost_answers() {
    holds(
        "one message, three lost answers",
        Scope {
            kinds: UNANSWERED,
            ..Scope::one_message(3)
        },
    );
}

/// Refused entries are no faults here: any entry of any batch may be refused any number of times.
#[test]
fn a_fifo_group_keeps_its_order() {
    let fifo = Scope {
        fifo: true,
        slots: 2,
        ..Scope::two_messages(1)
    };
    holds(
        "FIFO, a crash",
        Scope {
            kinds: CRASH,
            ..fifo
        },
    );
    holds(
        "FIFO, a freeze",
        Scope {
            kinds: FREEZE,
            ..fifo
        },
    );
    holds(
        "FIFO, an unanswered call or SIGTERM",
        Scope {
            kinds: Faults {
                terminate: true,
                ..UNANSWERED
            },
            ..fifo
        },
    );
}

#[test]
fn a_process_that_registers_before_it_has_its_pages() {
    holds(
        "registered first, one fault",
        Scope {
            registers_first: true,
            ..Scope::one_message(1)
        },
    );
}

#[test]
fn at_most_once() {
    let scope = Scope {
        at_most_once: true,
        lingering: false,
        ..Scope::one_message(2)
    };
    holds("at-most-once, two faults", scope);
    let kinds = Faults {
        copy: true,
        ..Faults::ALL
    };
    holds(
        "at-most-once with copies, two faults",
        Scope {
            kinds,
            slow_start: false,
            ..scope
        },
    );
}

#[test]
fn copies_of_what_one_process_has() {
    holds(
        "one process, two copies",
        Scope {
            alive: 1,
            slots: 1,
            kinds: COPY,
            ..Scope::one_message(2)
        },
    );
}

#[test]
fn two_lanes() {
    let scope = Scope {
        lanes: 2,
        slots: 2,
        ..Scope::two_messages(1)
    };
    holds(
        "two lanes, SIGTERM",
        Scope {
            kinds: TERMINATE,
            ..scope
        },
    );
}

/// A better sweep: it seals a page as it reads it. Then no doubt is written that is none.
#[test]
fn a_sweep_that_seals() {
    let scope = Scope {
        seals: true,
        strict_doubts: true,
        ..Scope::one_message(1)
    };
    holds("a sweep that seals, one fault", scope);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the way to ask for minutes of checking"
)]
fn full() {
    if std::env::var("SQS_DRAIN_MODEL").as_deref() != Ok("full") {
        println!("skipped: set SQS_DRAIN_MODEL=full");
        return;
    }
    holds(
        "full: one message, two faults, lingering",
        Scope::one_message(2),
    );
    holds(
        "full: registered first, two faults",
        Scope {
            registers_first: true,
            ..Scope::one_message(2)
        },
    );
    let seals = Scope {
        seals: true,
        strict_doubts: true,
        lingering: false,
        ..Scope::one_message(2)
    };
    holds("full: a sweep that seals, two faults", seals);
    let brisk = Scope {
        slow_start: false,
        brisk_sweeps: true,
        lingering: false,
        ..Scope::one_message(3)
    };
    holds("full: one message, three faults", brisk);
    holds(
        "full: at-most-once with copies, three faults",
        Scope {
            at_most_once: true,
            kinds: Faults {
                copy: true,
                ..Faults::ALL
            },
            ..brisk
        },
    );
    for (name, kinds) in [
        ("crash", CRASH),
        ("freeze", FREEZE),
        ("SIGTERM", TERMINATE),
        ("unanswered call", UNANSWERED),
    ] {
        let two = Scope {
            kinds,
            ..Scope::two_messages(1)
        };
        holds(&format!("full: two messages, {name}"), two);
        holds(
            &format!("full: two messages, overlap, {name}"),
            Scope {
                overlap: true,
                ..two
            },
        );
        holds(
            &format!("full: FIFO, overlap, {name}"),
            Scope {
                overlap: true,
                fifo: true,
                ..two
            },
        );
        holds(
            &format!("full: two lanes, {name}"),
            Scope {
                lanes: 2,
                slots: 2,
                ..two
            },
        );
    }
}
