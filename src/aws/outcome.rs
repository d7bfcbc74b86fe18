//! What a service's answer, or its absence, means: the classification of errors, as pure functions.
//!
//! A send is the only call whose repetition can hurt, and the only one whose refusal can be a message's own fault. So
//! for sends there are two allow-lists: what surely was not sent, and what is about the message itself. Whatever is on
//! neither is in doubt, or worth another try.

use crate::message::{ReceiptOutcome, SPLIT, SendOutcome};
use crate::port::{QueueError, Trouble};

/// The code of every outcome that lacked credentials to sign with.
pub const NO_CREDENTIALS: &str = "credentials";

/// How a request as a whole failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request was never written: no connection came about, or the request could not be built.
    NeverSent {
        /// A word for what happened (`connect`, `request`).
        code: String,
        /// The particulars.
        message: String,
    },
    /// There were no credentials to sign with; nothing was written.
    Credentials {
        /// Whether trying again may help: a provider failed or was late, as opposed to there being none.
        passing: bool,
        /// The particulars.
        message: String,
    },
    /// The service answered with an error.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error code as the service wrote it; empty when the answer had none.
        code: String,
        /// The service's words.
        message: String,
    },
    /// The request was or may have been written and no (readable) answer came.
    Lost {
        /// A word for what happened (`timeout`, `connection`, `answer`).
        code: String,
        /// The particulars.
        message: String,
    },
}

/// What an error code is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The message itself: its size, characters or attributes.
    Message,
    /// The batch as a whole is too large.
    Batch,
    /// The request rate, or too much in flight.
    Rate,
    /// Permissions, credentials or the encryption key.
    Access,
    /// A queue or table that is not there.
    Missing,
    /// The queue or the way it is used; every message would meet it.
    Setting,
    /// The receipt handle.
    Receipt,
    /// Unknown to us.
    Unknown,
}

/// An error code without the decoration protocols and servers give it: the namespace of a JSON error shape
/// (`com.amazonaws.sqs#QueueDoesNotExist`), the query protocol's prefix that SQS keeps for compatibility
/// (`AWS.SimpleQueueService.NonExistentQueue`), and an `Exception` at the end.
fn plain(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    code.strip_suffix("Exception").unwrap_or(code)
}

/// What the code is about. `message` decides only where SQS has one code for many things.
///
/// Sources, by the letters in the table: A = the SQS API reference and its service model (error shapes of
/// `SendMessageBatch`, `ReceiveMessage`, ...) with the query protocol's names for the same (`x-amzn-query-error`);
/// K = the KMS errors of that model, query names `KMS.…`; C = "Common Error Types" of the SQS and DynamoDB API
/// references; D = the DynamoDB API reference, "Error handling"; S = answers of SQS shown in public issue reports.
fn about(code: &str, message: &str) -> About {
    let code = plain(code);
    match code {
        // A: "The message contains characters outside the allowed set."
        "InvalidMessageContents" => About::Message,
        // S: one code for an oversize entry, a bad attribute, and for using the queue the wrong way.
        "InvalidParameterValue" => invalid_parameter(message),
        // A: "The length of all the messages put together is more than the limit."
        "BatchRequestTooLong" => About::Batch,

        // A, C, D; TooManyRequests and SlowDown are what proxies in front of a service say.
        "RequestThrottled"
        | "Throttling"
        | "Throttled"
        | "RequestLimitExceeded"
        | "ProvisionedThroughputExceeded"
        | "LimitExceeded"
        | "TooManyRequests"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "TransactionInProgress" => About::Rate,
        // A: too many messages in flight (ReceiveMessage); clears up as they are settled.
        "OverLimit" => About::Rate,
        // K
        "KmsThrottled" | "KMS.Throttling" => About::Rate,

        // C
        "AccessDenied"
        | "NotAuthorized"
        | "OptInRequired"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "ExpiredToken"
        | "InvalidAccessKeyId"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "RequestExpired"
        | "AuthFailure"
        | "UnauthorizedOperation"
        | "Forbidden"
        | "MissingClientTokenId"
        | "InvalidIdentityToken"
        | "AuthorizationHeaderMalformed" => About::Access,
        // A: "The request was not made over HTTPS or did not use SigV4 for signing."
        "InvalidSecurity" => About::Access,
        // K
        "KmsAccessDenied" | "KmsDisabled" | "KmsInvalidKeyUsage" | "KmsInvalidState"
        | "KmsNotFound" | "KmsOptInRequired" => About::Access,
        _ if code.starts_with("KMS.") => About::Access,

        // A ("NonExistentQueue" is the query protocol's name); "The specified ID is invalid"; D
        "QueueDoesNotExist"
        | "NonExistentQueue"
        | "InvalidAddress"
        | "ResourceNotFound"
        | "TableNotFound"
        | "QueueDeletedRecently" => About::Missing,

        // A, C: what no single message can be at fault for. MissingParameter is SQS's answer to a FIFO queue being
        // sent a message without a group.
        "UnsupportedOperation"
        | "MissingParameter"
        | "MissingAction"
        | "InvalidAction"
        | "InvalidAttributeName"
        | "EmptyBatchRequest"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "InvalidBatchEntryId"
        | "UnknownOperation" => About::Setting,

        // A; InvalidReceiptHandle is ElasticMQ's word for it.
        "ReceiptHandleIsInvalid"
        | "MessageNotInflight"
        | "InvalidIdFormat"
        | "InvalidReceiptHandle" => About::Receipt,

        _ => About::Unknown,
    }
}

/// `InvalidParameterValue` by its words (source: answers of SQS quoted in public issue reports and SDK tests).
///
/// - `One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.`
/// - `The message attribute 'x' must contain non-empty message attribute value.`,
///   `Message (user) attribute name can contain only …`, `Number of message attributes [11] exceeds the allowed maximum [10].`
/// - `Value … for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and
///   punctuation characters. 1 to 128 in length.`
/// - about the queue, not the message: `The request include parameter that is not valid for this queue type.`,
///   `The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly.`
/// - about a receipt: `Value … for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`
fn invalid_parameter(message: &str) -> About {
    let message = message.to_ascii_lowercase();
    let says = |words: &str| message.contains(words);
    if says("queue type") || says("queue should") {
        About::Setting
    } else if says("receipthandle") || says("receipt handle") {
        About::Receipt
    } else if says("shorter than")
        || says("message attribute")
        || says("(user) attribute")
        || says("parameter messagebody")
        || says("messagegroupid can only include")
        || says("messagededuplicationid can only include")
    {
        About::Message
    } else {
        About::Unknown
    }
}

/// What became of an entry that a 200 lists under `Failed`.
///
/// The entry was surely not sent. Only a code about the message itself rejects it: `SenderFault` is no argument, SQS
/// says it of a key that was disabled as well.
pub fn failed_entry(code: &str, message: &str) -> SendOutcome {
    let word = plain(code).to_owned();
    match about(code, message) {
        About::Message | About::Batch => SendOutcome::Rejected(word),
        About::Access | About::Missing | About::Setting => SendOutcome::Stopped(word),
        About::Rate | About::Receipt | About::Unknown => SendOutcome::Retry(word),
    }
}

/// What became of each entry of a send of `entries` that failed as a whole.
pub fn failed_send(failure: &Failure, entries: usize) -> SendOutcome {
    match failure {
        Failure::NeverSent { code, .. } => SendOutcome::Retry(code.clone()),
        Failure::Credentials { passing: true, .. } => SendOutcome::Retry(NO_CREDENTIALS.to_owned()),
        Failure::Credentials { passing: false, .. } => {
            SendOutcome::Stopped(NO_CREDENTIALS.to_owned())
        }
        Failure::Lost { code, .. } => SendOutcome::Unknown(code.clone()),
        Failure::Refused {
            status,
            code,
            message,
        } => {
            let word = word(*status, code);
            match about(code, message) {
                // Told of a batch it is about one entry or about their sum; told of one entry, it is about that one.
                About::Message | About::Batch if entries > 1 => {
                    SendOutcome::Retry(SPLIT.to_owned())
                }
                About::Message | About::Batch => SendOutcome::Rejected(word),
                About::Rate => SendOutcome::Retry(word),
                About::Access | About::Missing | About::Setting => SendOutcome::Stopped(word),
                About::Receipt | About::Unknown => match status {
                    429 => SendOutcome::Retry(word),
                    401 | 403 | 404 => SendOutcome::Stopped(word),
                    // The request was looked at and refused: surely not sent.
                    400..=499 => SendOutcome::Retry(word),
                    // The service's own fault (InternalFailure, ServiceUnavailable, a proxy's 502): it may have
                    // happened after the message was stored.
                    _ => SendOutcome::Unknown(word),
                },
            }
        }
    }
}

/// What became of an entry of a delete or of a visibility change that a 200 lists under `Failed`.
pub fn failed_receipt(code: &str, message: &str) -> ReceiptOutcome {
    let word = plain(code).to_owned();
    match about(code, message) {
        About::Receipt => ReceiptOutcome::Stale(word),
        About::Access | About::Missing => ReceiptOutcome::Denied(word),
        _ => ReceiptOutcome::Retry(word),
    }
}

/// What became of each entry of a delete or of a visibility change that failed as a whole.
pub fn failed_receipts(failure: &Failure) -> ReceiptOutcome {
    let QueueError { kind, code, .. } = trouble(failure);
    match (kind, failure) {
        (Trouble::Denied | Trouble::Missing, _) => ReceiptOutcome::Denied(code),
        (_, Failure::Lost { .. }) | (Trouble::Unreachable, Failure::Refused { .. }) => {
            ReceiptOutcome::Unknown(code)
        }
        _ => ReceiptOutcome::Retry(code),
    }
}

/// What kind of trouble a call that failed as a whole is in.
pub fn trouble(failure: &Failure) -> QueueError {
    let (kind, code, message) = match failure {
        Failure::NeverSent { code, message } | Failure::Lost { code, message } => {
            (Trouble::Unreachable, code.clone(), message.clone())
        }
        Failure::Credentials { passing, message } => (
            if *passing {
                Trouble::Unreachable
            } else {
                Trouble::Denied
            },
            NO_CREDENTIALS.to_owned(),
            message.clone(),
        ),
        Failure::Refused {
            status,
            code,
            message,
        } => {
            let kind = match about(code, message) {
                About::Rate => Trouble::Throttled,
                About::Access => Trouble::Denied,
                About::Missing => Trouble::Missing,
                About::Message | About::Batch | About::Setting | About::Receipt => Trouble::Other,
                About::Unknown => match status {
                    429 => Trouble::Throttled,
                    401 | 403 => Trouble::Denied,
                    500..=599 => Trouble::Unreachable,
                    _ => Trouble::Other,
                },
            };
            (kind, word(*status, code), message.clone())
        }
    };
    QueueError {
        kind,
        code,
        message,
    }
}

/// The code without decoration, or the status where there is none.
fn word(status: u16, code: &str) -> String {
    match plain(code) {
        "" => format!("HTTP {status}"),
        code => code.to_owned(),
    }
}

#[cfg(test)]
mod tests;
