//! Receipt handles: which queue, which message, which receive. Opaque to clients, checked when they come back.

use std::fmt::Write as _;

use super::error::{Code, SqsError};

/// What a receipt handle names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The queue's number, unique over all queues this server ever had.
    pub queue: u64,
    /// The message's place.
    pub seq: u64,
    /// Which receive of that message.
    pub receive: u32,
}

/// Length of an encoded handle, in bytes.
pub const HANDLE_BYTES: usize = 2 * (8 + 8 + 4 + 4);

impl Receipt {
    /// A few bits that a made-up or damaged handle is unlikely to get right.
    fn check(self) -> u32 {
        let mixed =
            (self.queue ^ self.seq.rotate_left(23) ^ u64::from(self.receive).rotate_left(47))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) as u32
    }

    /// The handle as it travels.
    pub fn encode(self) -> String {
        let mut text = String::with_capacity(HANDLE_BYTES);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{:08x}{:016x}{:08x}{:016x}",
            self.check(),
            self.seq,
            self.receive,
            self.queue
        );
        text
    }

    /// Reads a handle.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` when it is none of ours.
    pub fn decode(text: &str) -> Result<Self, SqsError> {
        Self::parse(text).ok_or_else(|| {
            SqsError::new(
                Code::ReceiptHandleIsInvalid,
                format!("The input receipt handle \"{text}\" is not a valid receipt handle."),
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != HANDLE_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let check = u32::from_str_radix(text.get(..8)?, 16).ok()?;
        let receipt = Self {
            seq: u64::from_str_radix(text.get(8..24)?, 16).ok()?,
            receive: u32::from_str_radix(text.get(24..32)?, 16).ok()?,
            queue: u64::from_str_radix(text.get(32..48)?, 16).ok()?,
        };
        (receipt.check() == check).then_some(receipt)
    }
}
