use super::*;

fn refused(status: u16, code: &str, message: &str) -> Failure {
    Failure::Refused {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn name(outcome: &SendOutcome) -> &'static str {
    match outcome {
        SendOutcome::Accepted { .. } => "accepted",
        SendOutcome::Rejected(_) => "rejected",
        SendOutcome::Retry(code) if code == SPLIT => "split",
        SendOutcome::Retry(_) => "retry",
        SendOutcome::Stopped(_) => "stopped",
        SendOutcome::Unknown(_) => "unknown",
    }
}

const TOO_LARGE: &str =
    "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.";
const EMPTY_ATTRIBUTE: &str =
    "The message attribute 'a' must contain non-empty message attribute value.";
const QUEUE_TYPE: &str = "Value g for parameter MessageGroupId is invalid. Reason: The request include parameter \
                          that is not valid for this queue type.";
const GROUP: &str = "Value é for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include \
                     alphanumeric and punctuation characters. 1 to 128 in length.";

/// code, words, outcome of a failed entry, of a whole batch of several with HTTP 400, of a whole batch of one.
const SENDS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "InvalidMessageContents",
        "",
        "rejected",
        "split",
        "rejected",
    ),
    (
        "InvalidParameterValue",
        TOO_LARGE,
        "rejected",
        "split",
        "rejected",
    ),
    (
        "InvalidParameterValue",
        EMPTY_ATTRIBUTE,
        "rejected",
        "split",
        "rejected",
    ),
    (
        "InvalidParameterValue",
        GROUP,
        "rejected",
        "split",
        "rejected",
    ),
    (
        "InvalidParameterValue",
        QUEUE_TYPE,
        "stopped",
        "stopped",
        "stopped",
    ),
    (
        "InvalidParameterValue",
        "something new",
        "retry",
        "retry",
        "retry",
    ),
    (
        "InvalidParameterValueException",
        TOO_LARGE,
        "rejected",
        "split",
        "rejected",
    ),
    (
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "",
        "rejected",
        "split",
        "rejected",
    ),
    (
        "com.amazonaws.sqs#BatchRequestTooLong",
        "",
        "rejected",
        "split",
        "rejected",
    ),
    ("RequestThrottled", "", "retry", "retry", "retry"),
    ("ThrottlingException", "", "retry", "retry", "retry"),
    ("Throttling", "", "retry", "retry", "retry"),
    ("KmsThrottled", "", "retry", "retry", "retry"),
    ("KMS.ThrottlingException", "", "retry", "retry", "retry"),
    ("OverLimit", "", "retry", "retry", "retry"),
    ("InternalError", "", "retry", "retry", "retry"),
    ("InternalFailure", "", "retry", "retry", "retry"),
    ("ServiceUnavailable", "", "retry", "retry", "retry"),
    ("AccessDenied", "", "stopped", "stopped", "stopped"),
    ("AccessDeniedException", "", "stopped", "stopped", "stopped"),
    ("InvalidClientTokenId", "", "stopped", "stopped", "stopped"),
    (
        "UnrecognizedClientException",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    ("ExpiredToken", "", "stopped", "stopped", "stopped"),
    ("ExpiredTokenException", "", "stopped", "stopped", "stopped"),
    ("SignatureDoesNotMatch", "", "stopped", "stopped", "stopped"),
    ("InvalidSecurity", "", "stopped", "stopped", "stopped"),
    ("KmsAccessDenied", "", "stopped", "stopped", "stopped"),
    (
        "KMS.AccessDeniedException",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    ("KmsDisabled", "", "stopped", "stopped", "stopped"),
    ("KMS.DisabledException", "", "stopped", "stopped", "stopped"),
    ("KmsNotFound", "", "stopped", "stopped", "stopped"),
    ("KmsInvalidState", "", "stopped", "stopped", "stopped"),
    (
        "KMS.KMSInvalidStateException",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    ("KmsOptInRequired", "", "stopped", "stopped", "stopped"),
    ("KmsInvalidKeyUsage", "", "stopped", "stopped", "stopped"),
    ("QueueDoesNotExist", "", "stopped", "stopped", "stopped"),
    (
        "AWS.SimpleQueueService.NonExistentQueue",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    (
        "com.amazonaws.sqs#QueueDoesNotExist",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    ("MissingParameter", "", "stopped", "stopped", "stopped"),
    (
        "AWS.SimpleQueueService.UnsupportedOperation",
        "",
        "stopped",
        "stopped",
        "stopped",
    ),
    ("NeverHeardOfIt", "", "retry", "retry", "retry"),
    ("", "", "retry", "retry", "retry"),
];

#[test]
fn sends_by_code() {
    for &(code, words, entry, several, one) in SENDS {
        assert_eq!(
            name(&failed_entry(code, words)),
            entry,
            "entry {code} {words}"
        );
        let failure = refused(400, code, words);
        assert_eq!(
            name(&failed_send(&failure, 2)),
            several,
            "several {code} {words}"
        );
        assert_eq!(name(&failed_send(&failure, 1)), one, "one {code} {words}");
    }
}

#[test]
fn sends_by_status_where_the_code_says_nothing() {
    for (status, expected) in [
        (400, "retry"),
        (401, "stopped"),
        (403, "stopped"),
        (404, "stopped"),
        (413, "retry"),
        (429, "retry"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
        (302, "unknown"),
    ] {
        for code in [
            "",
            "InternalFailure",
            "ServiceUnavailable",
            "NeverHeardOfIt",
        ] {
            let outcome = failed_send(&refused(status, code, ""), 3);
            assert_eq!(name(&outcome), expected, "{status} {code}");
        }
    }
}

#[test]
fn a_code_that_says_it_was_not_done_beats_the_status() {
    assert_eq!(
        name(&failed_send(&refused(503, "RequestThrottled", ""), 3)),
        "retry"
    );
    assert_eq!(
        name(&failed_send(&refused(500, "KMS.NotFoundException", ""), 3)),
        "stopped"
    );
}

#[test]
fn only_an_unsent_request_is_surely_unsent() {
    let text = |code: &str| (code.to_owned(), String::new());
    let (code, message) = text("connect");
    assert_eq!(
        failed_send(&Failure::NeverSent { code, message }, 3),
        SendOutcome::Retry("connect".to_owned())
    );
    for lost in ["timeout", "connection", "answer"] {
        let (code, message) = text(lost);
        assert_eq!(
            failed_send(&Failure::Lost { code, message }, 3),
            SendOutcome::Unknown(lost.to_owned())
        );
    }
    for (passing, expected) in [(true, "retry"), (false, "stopped")] {
        let failure = Failure::Credentials {
            passing,
            message: String::new(),
        };
        assert_eq!(name(&failed_send(&failure, 3)), expected);
    }
}

#[test]
fn the_codes_name_is_kept_without_decoration() {
    assert_eq!(
        failed_entry("com.amazonaws.sqs#InvalidMessageContents", ""),
        SendOutcome::Rejected("InvalidMessageContents".to_owned())
    );
    assert_eq!(
        failed_send(&refused(503, "", ""), 2),
        SendOutcome::Unknown("HTTP 503".to_owned())
    );
}

#[test]
fn receipts_by_code() {
    const EXPIRED: &str =
        "Value abc for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.";
    const BEYOND: &str = "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout \
                          for the message is beyond the limit [43200 seconds].";
    for (code, words, stale) in [
        ("ReceiptHandleIsInvalid", "", true),
        ("MessageNotInflight", "", true),
        ("AWS.SimpleQueueService.MessageNotInflight", "", true),
        ("InvalidIdFormat", "", true),
        ("InvalidReceiptHandle", "", true),
        ("InvalidParameterValue", EXPIRED, true),
        ("InvalidParameterValue", BEYOND, false),
        ("InternalError", "", false),
        ("RequestThrottled", "", false),
        ("AccessDenied", "", false),
        ("", "", false),
    ] {
        let outcome = failed_receipt(code, words);
        assert_eq!(
            matches!(outcome, ReceiptOutcome::Stale(_)),
            stale,
            "{code} {words}"
        );
        assert_ne!(outcome, ReceiptOutcome::Done);
    }
}

#[test]
fn trouble_by_code_and_status() {
    for (status, code, expected) in [
        (400, "RequestThrottled", Trouble::Throttled),
        (
            400,
            "ProvisionedThroughputExceededException",
            Trouble::Throttled,
        ),
        (400, "ThrottlingException", Trouble::Throttled),
        (400, "RequestLimitExceeded", Trouble::Throttled),
        (403, "OverLimit", Trouble::Throttled),
        (429, "", Trouble::Throttled),
        (400, "AccessDeniedException", Trouble::Denied),
        (403, "", Trouble::Denied),
        (400, "UnrecognizedClientException", Trouble::Denied),
        (400, "KmsAccessDenied", Trouble::Denied),
        (
            400,
            "AWS.SimpleQueueService.NonExistentQueue",
            Trouble::Missing,
        ),
        (400, "ResourceNotFoundException", Trouble::Missing),
        (500, "InternalServerError", Trouble::Unreachable),
        (503, "", Trouble::Unreachable),
        (400, "ValidationException", Trouble::Other),
        (400, "UnsupportedOperation", Trouble::Other),
    ] {
        let error = trouble(&refused(status, code, "words"));
        assert_eq!(error.kind, expected, "{status} {code}");
        assert_eq!(error.message, "words");
    }
    let lost = Failure::Lost {
        code: "timeout".to_owned(),
        message: String::new(),
    };
    assert_eq!(trouble(&lost).kind, Trouble::Unreachable);
    let none = Failure::Credentials {
        passing: false,
        message: String::new(),
    };
    assert_eq!(trouble(&none).kind, Trouble::Denied);
}
