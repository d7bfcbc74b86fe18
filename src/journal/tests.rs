use super::*;
use crate::plan::PAGE_LIMIT;

fn entry(n: u8, mark: Mark, attempt: u8) -> Entry {
    Entry {
        id: Id([n; 16]),
        mark,
        attempt,
    }
}

#[test]
fn a_full_page_reads_back_and_fits_one_write_unit() {
    let page = Page {
        entries: (0..PAGE_LIMIT as u8)
            .map(|n| entry(n, Mark::ALL[usize::from(n) % 7], n % 31))
            .collect(),
        totals: Totals {
            received: 400_000_000,
            sent: 399_999_000,
            deduplicated: 1_000,
            ..Totals::default()
        },
    };
    let entries = page.encode_entries();
    assert_eq!(Page::decode_entries(&entries), Ok(page.entries.clone()));
    let totals = page.totals.encode();
    assert_eq!(Totals::decode(&totals), Ok(page.totals));
    // Key `process#<ULID>` / `page#<lane>`, sequence, expiry, and the attribute names: under 110 bytes.
    assert!(entries.len() + totals.len() + 110 <= 1024);
}

#[test]
fn malformed_bytes_are_an_error_not_a_panic() {
    assert!(Page::decode_entries(&[0; 16]).is_err());
    assert!(Page::decode_entries(&[0xff; 17]).is_err());
    assert!(Totals::decode(&[0x80]).is_err());
    assert!(Totals::decode(&[0xff; 40]).is_err());
    assert_eq!(Totals::decode(&[]), Ok(Totals::default()));
}

#[test]
fn the_dead_leave_doubts_only_for_what_was_under_way() {
    let page = Page {
        entries: vec![
            entry(1, Mark::Prepared, 0),
            entry(2, Mark::Sent, 0),
            entry(3, Mark::InDoubt, 2),
            entry(4, Mark::Rejecting, 0),
        ],
        totals: Totals {
            received: 4,
            sent: 1,
            in_doubt: 1,
            ..Totals::default()
        },
    };
    let (facts, totals) = page.settle_for_the_dead();
    assert_eq!(
        facts.iter().map(|f| f.1).collect::<Vec<_>>(),
        [Fact::Doubt(0), Fact::Sent, Fact::Doubt(2), Fact::Rejecting]
    );
    assert_eq!(totals.in_doubt, 3);
    assert!(totals.is_balanced());
}

#[test]
fn sent_beats_doubt_and_every_end_is_only_deleted() {
    let doubt = Record {
        doubts: 1,
        ..Record::default()
    };
    for done in [
        Record {
            sent: true,
            ..doubt.clone()
        },
        Record {
            held: true,
            ..doubt.clone()
        },
        Record {
            rejected: true,
            ..doubt.clone()
        },
        Record {
            dropped: true,
            ..doubt.clone()
        },
    ] {
        for delivery in [Delivery::AtLeastOnce, Delivery::AtMostOnce] {
            assert_eq!(done.next(delivery, "r"), Next::Delete);
        }
    }
}

#[test]
fn a_doubt_follows_the_policy_and_has_one_owner() {
    let mut record = Record {
        doubts: 1,
        ..Record::default()
    };
    assert_eq!(
        record.next(Delivery::AtLeastOnce, "r"),
        Next::Resend {
            attempt: 1,
            from: None
        }
    );
    assert_eq!(
        record.next(Delivery::AtMostOnce, "r"),
        Next::Hold { again: false }
    );
    record.resent = 1;
    record.resent_by = Some("X".into());
    assert_eq!(
        record.next(Delivery::AtLeastOnce, "r"),
        Next::Resend {
            attempt: 1,
            from: Some("X".into())
        }
    );
    record.doubts = 2;
    assert_eq!(
        record.next(Delivery::AtLeastOnce, "r"),
        Next::Resend {
            attempt: 2,
            from: None
        }
    );
    record.doubts = ATTEMPTS_MAX + 1;
    assert_eq!(record.next(Delivery::AtLeastOnce, "r"), Next::Leave);
}

#[test]
fn a_claim_without_a_send_is_held_at_most_once_and_new_at_least_once() {
    let record = Record {
        claimed_by: Some("X".into()),
        ..Record::default()
    };
    assert_eq!(
        record.next(Delivery::AtMostOnce, "r"),
        Next::Hold { again: false }
    );
    assert_eq!(record.next(Delivery::AtLeastOnce, "r"), Next::New);
}

#[test]
fn a_refused_message_is_hidden_again_only_in_its_own_run() {
    let record = Record {
        parked_in: Some("monday".into()),
        ..Record::default()
    };
    assert_eq!(record.next(Delivery::AtLeastOnce, "monday"), Next::Park);
    assert_eq!(record.next(Delivery::AtLeastOnce, "tuesday"), Next::New);
}
