//! Pages: written by their owner, sealed and deleted by a sweep.

use super::items::{item, n};
use super::*;

pub(super) fn page_key(process: &str, lane: u32) -> Key {
    Key::new(format!("process#{process}"), format!("page#{lane}"))
}

impl<P: Ports> Ledger<P> {
    /// Rewrites one of this process's own pages: it must exist, the sequence must grow, and no sweep may have sealed it.
    ///
    /// # Errors
    /// [`LedgerError::Superseded`] when the page is gone or sealed; otherwise when the table cannot be written, and then the write may still
    /// take effect later (so the next one must have a higher sequence).
    pub async fn write_page(
        &self,
        process: &str,
        lane: u32,
        sequence: i64,
        page: &Page,
    ) -> Result<(), LedgerError> {
        let new = StoredPage::to_item(page, sequence);
        let when = all([
            Test::Lt("q".into(), sequence),
            Test::No(super::items::SEALED.into()),
        ]);
        match self
            .put(page_key(process, lane), when, new.clone(), KEPT)
            .await
        {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict(Some(old)))
                if !old.contains_key(super::items::SEALED)
                    && new.iter().all(|(name, value)| old.get(name) == Some(value)) =>
            {
                Ok(())
            }
            Err(StoreError::Conflict(_)) => Err(LedgerError::Superseded),
            Err(error) => Err(error.into()),
        }
    }

    /// All pages of a process.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn pages(&self, process: &str) -> Result<Vec<StoredPage>, LedgerError> {
        let found = self
            .store
            .query(&format!("process#{process}"), "page#")
            .await?;
        found
            .into_iter()
            .map(|(sk, item)| StoredPage::read(&sk, &item).map_err(Into::into))
            .collect()
    }

    /// Seals a page if it is still as it was read: its owner can write it no more, so that what was read stays true until it stands
    /// in the ids' records. False: it has changed, or is gone; read it again.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn seal_page(
        &self,
        process: &str,
        lane: u32,
        sequence: i64,
    ) -> Result<bool, LedgerError> {
        if !self.rules.keeps(Rule::PagesSealed) {
            return Ok(true);
        }
        let as_read = all([Test::Eq("q".into(), Datum::N(sequence))]);
        let seal = item([(super::items::SEALED, n(1))]);
        match self
            .update(page_key(process, lane), as_read, seal, KEPT)
            .await
        {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a page if it is still as it was read. False: it has changed, read it again.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn delete_page(
        &self,
        process: &str,
        lane: u32,
        sequence: i64,
    ) -> Result<bool, LedgerError> {
        let as_read = vec![vec![Test::Absent, Test::Eq("q".into(), Datum::N(sequence))]];
        let when = match self.rules.keeps(Rule::PagesSealed) {
            true => as_read,
            false => Vec::new(),
        };
        match self.delete(page_key(process, lane), when).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
