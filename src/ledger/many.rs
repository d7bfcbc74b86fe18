//! Many calls to the table at once.

use futures::{StreamExt as _, TryStreamExt as _};

use super::LedgerError;

/// How many processes are granted, told or swept at once: ten thousand grants take some four seconds, less than half a lease.
pub const AT_ONCE: usize = 32;

/// Awaits all, so many at a time and in order; the first error ends it.
///
/// # Errors
/// The first that a task ends with.
pub async fn all_of<T>(
    at_once: usize,
    tasks: impl Iterator<Item = impl Future<Output = Result<T, LedgerError>>>,
) -> Result<Vec<T>, LedgerError> {
    futures::stream::iter(tasks)
        .buffered(at_once)
        .try_collect()
        .await
}

/// Awaits all, so many at a time and in order, each to its own end.
pub async fn each_of<T>(
    at_once: usize,
    tasks: impl Iterator<Item = impl Future<Output = Result<T, LedgerError>>>,
) -> Vec<Result<T, LedgerError>> {
    futures::stream::iter(tasks)
        .buffered(at_once)
        .collect()
        .await
}
