//! Records of single ids: facts that accumulate, and the transitions that have one owner at a time.

use super::items::{item, n, read_record, s};
use super::*;

impl<P: Ports> Ledger<P> {
    /// The records of ids, one answer per id; an id without a record has an empty one.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn records(&self, ids: &[Id]) -> Result<Vec<Record>, LedgerError> {
        let keys: Vec<Key> = ids.iter().map(|id| self.record_key(*id)).collect();
        let found = self.store.get(&keys).await?;
        Ok(found
            .iter()
            .map(|i| i.as_ref().map(read_record).unwrap_or_default())
            .collect())
    }

    async fn accumulate(
        &self,
        id: Id,
        when: When,
        mut set: Item,
        by: &str,
    ) -> Result<(), LedgerError> {
        set.insert("by".into(), Datum::S(by.to_owned()));
        set.insert("at".into(), Datum::N(self.now_ms()));
        let key = self.record_key(id);
        let written = match self.rules.keeps(Rule::RecordsAccumulate) {
            true => self.update(key, when, set, RECORD_KEPT).await.map(|_| ()),
            false => self.put(key, when, set, RECORD_KEPT).await,
        };
        match written {
            Ok(()) => Ok(()),
            // Already said, by ourselves or by somebody else: facts only accumulate.
            Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds a fact to an id's record. Never erases anything; adding a fact again changes nothing.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn add_fact(&self, id: Id, fact: Fact, by: &str) -> Result<(), LedgerError> {
        let name = match fact {
            Fact::Doubt(attempt) => {
                let doubts = i64::from(attempt) + 1;
                let when = vec![vec![
                    Test::No("doubts".into()),
                    Test::Lt("doubts".into(), doubts),
                ]];
                return self
                    .accumulate(id, when, item([("doubts", n(doubts))]), by)
                    .await;
            }
            Fact::Sent => "sent",
            Fact::Rejecting => "rejecting",
            Fact::Rejected => "rejected",
            Fact::Holding => "holding",
            Fact::Held => "held",
        };
        self.accumulate(id, Vec::new(), item([(name, n(1))]), by)
            .await
    }

    /// Notes under which message id the hold queue has the copy, and the way back from that id.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn note_held_as(&self, id: Id, held_as: &str, by: &str) -> Result<(), LedgerError> {
        let back = Key::new(format!("held#{}#{held_as}", self.source), "held");
        self.put(
            back,
            Vec::new(),
            item([("id", s(&id.to_string()))]),
            RECORD_KEPT,
        )
        .await?;
        let set = item([("held", n(1)), ("held_as", s(held_as))]);
        self.accumulate(id, Vec::new(), set, by).await
    }

    /// The source's id of a message that the hold queue has as `held_as`.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn id_held_as(&self, held_as: &str) -> Result<Option<Id>, LedgerError> {
        let key = Key::new(format!("held#{}#{held_as}", self.source), "held");
        let found = self.get_one(key).await?;
        Ok(found
            .and_then(|i| super::items::Reader(&i).opt_s("id"))
            .map(|text| Id::of(&text)))
    }

    /// Notes that the destination refused the message in this run and that it stays hidden in the source.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn park(&self, id: Id, run: &str, by: &str) -> Result<(), LedgerError> {
        self.accumulate(id, Vec::new(), item([("parked_in", s(run))]), by)
            .await
    }

    async fn transition(
        &self,
        id: Id,
        when: When,
        mut set: Item,
        ours: impl Fn(&Record) -> bool,
    ) -> Result<Transition, LedgerError> {
        set.insert("at".into(), Datum::N(self.now_ms()));
        match self
            .update(self.record_key(id), when, set, RECORD_KEPT)
            .await
        {
            Ok(_) => Ok(Transition::Made),
            Err(StoreError::Conflict(old)) => {
                let old = old.as_ref().map(read_record).unwrap_or_default();
                Ok(if ours(&old) {
                    Transition::Made
                } else {
                    Transition::Refused(old)
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a doubt for a resend, before the resend is prepared: attempt `attempt` is `by`'s, who takes over from `from` where another
    /// process had taken it and surely did not begin. `by` must be fresh for each try, so that one's own success is recognised
    /// and nobody else's is.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn take_doubt(
        &self,
        id: Id,
        attempt: u8,
        from: Option<&str>,
        by: &str,
    ) -> Result<Transition, LedgerError> {
        let mut when = all([
            Test::Eq("doubts".into(), Datum::N(i64::from(attempt))),
            Test::No("sent".into()),
            Test::No("held".into()),
            Test::No("dropped".into()),
        ]);
        when.push(match from {
            None => vec![
                Test::No("resent".into()),
                Test::Lt("resent".into(), i64::from(attempt)),
            ],
            Some(owner) => vec![Test::Eq("resent_by".into(), Datum::S(owner.to_owned()))],
        });
        let set = item([("resent", n(i64::from(attempt))), ("resent_by", s(by))]);
        self.transition(id, when, set, |r| {
            r.resent == attempt && r.resent_by.as_deref() == Some(by)
        })
        .await
    }

    /// Claims an id before its first send (at-most-once). `by` must be fresh for each delivery.
    ///
    /// # Errors
    /// When the table cannot be written; the claim may still take effect later, so the id must not be sent then.
    pub async fn claim(&self, id: Id, by: &str) -> Result<Transition, LedgerError> {
        // A record that says only "refused in an earlier run" is no claim: the message is owed again.
        let when = all([
            "claimed_by",
            "doubts",
            "sent",
            "rejecting",
            "rejected",
            "holding",
            "held",
            "dropped",
        ]
        .map(|name| Test::No(name.into())));
        self.transition(id, when, item([("claimed_by", s(by))]), |r| {
            r.claimed_by.as_deref() == Some(by) && !r.sent && r.doubts == 0
        })
        .await
    }

    /// Gives back one's own claim on an id that was surely not sent. True: it is gone.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn unclaim(&self, id: Id, by: &str) -> Result<bool, LedgerError> {
        let when = all([
            Test::Eq("claimed_by".into(), Datum::S(by.to_owned())),
            Test::No("sent".into()),
            Test::No("doubts".into()),
            Test::No("holding".into()),
            Test::No("held".into()),
        ]);
        let change = Change::Update {
            set: Item::new(),
            remove: vec!["claimed_by".into()],
        };
        let key = self.record_key(id);
        match self.store.write(Write { key, when, change }).await {
            Ok(_) | Err(StoreError::Conflict(None)) => Ok(true),
            // Our own first try may have removed it.
            Err(StoreError::Conflict(Some(old))) if !old.contains_key("claimed_by") => Ok(true),
            Err(StoreError::Conflict(Some(_))) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops an id by hand: its next delivery is only deleted. Refused when it is sent or dropped already. `by` must be fresh for each
    /// command, so that one's own success is recognised.
    ///
    /// # Errors
    /// When the table cannot be written; calling again with the same `by` is safe.
    pub async fn drop_by_hand(&self, id: Id, by: &str) -> Result<Transition, LedgerError> {
        let when = all([
            Test::Exists,
            Test::No("sent".into()),
            Test::No("dropped".into()),
        ]);
        let set = item([("dropped", n(1)), ("settled_by", s(by)), ("by", s(by))]);
        self.transition(id, when, set, |r| {
            r.dropped && r.settled_by.as_deref() == Some(by)
        })
        .await
    }

    /// Begins sending a held message out of the hold queue by hand. Refused when it is sent or dropped, and when somebody has begun
    /// already; `from` takes over from whoever that was, and the record says from then on that it was begun again. `by` must be fresh for
    /// each command, so that only the one who made the transition sends.
    ///
    /// # Errors
    /// When the table cannot be written; calling again with the same `by` is safe.
    pub async fn send_by_hand(
        &self,
        id: Id,
        from: Option<&str>,
        by: &str,
    ) -> Result<Transition, LedgerError> {
        let when = all([
            Test::Exists,
            Test::No("sent".into()),
            Test::No("dropped".into()),
            match from {
                None => Test::No("settled".into()),
                Some(before) => Test::Eq("settled_by".into(), Datum::S(before.to_owned())),
            },
        ]);
        let set = item([
            ("settled", n(1)),
            ("again", from.and_then(|_| n(1))),
            ("settled_by", s(by)),
            ("by", s(by)),
        ]);
        self.transition(id, when, set, |r| {
            r.settled && r.settled_by.as_deref() == Some(by)
        })
        .await
    }

    /// Takes back one's own [`Ledger::send_by_hand`] of a message that was surely not sent. One that was begun again stays as it is: what
    /// became of the first send is still not known.
    ///
    /// # Errors
    /// When the table cannot be written: then the message counts as begun until it is begun again, or dropped.
    pub async fn unsend_by_hand(&self, id: Id, by: &str) -> Result<(), LedgerError> {
        let when = all([
            Test::Eq("settled_by".into(), Datum::S(by.to_owned())),
            Test::No("sent".into()),
            Test::No("again".into()),
        ]);
        let change = Change::Update {
            set: item([("at", n(self.now_ms()))]),
            remove: vec!["settled".into(), "settled_by".into()],
        };
        let key = self.record_key(id);
        match self.store.write(Write { key, when, change }).await {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists an id in trouble under the run, for people; the record is the truth.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub async fn list(&self, run: &str, listed: &Listed) -> Result<(), LedgerError> {
        let key = Key::new(format!("run#{run}"), format!("id#{}", listed.id));
        let set = item([
            ("state", s(&listed.state.to_string())),
            ("code", listed.code.as_deref().and_then(s)),
        ]);
        self.update(key, Vec::new(), set, KEPT).await?;
        Ok(())
    }

    /// The ids a run lists as having been in trouble, each with its state as its record tells it now.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn listed(&self, run: &str) -> Result<Vec<Listed>, LedgerError> {
        let troubles = self.troubles(run).await?;
        Ok(troubles
            .into_iter()
            .map(|t| Listed {
                id: t.id,
                state: t.state(),
                code: t.code,
            })
            .filter(|listed| listed.state != RecordState::Sent)
            .collect())
    }

    /// The ids a run lists as having been in trouble, each with its record as it is now; also those that turned out well.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn troubles(&self, run: &str) -> Result<Vec<Trouble>, LedgerError> {
        let found = self.store.query(&format!("run#{run}"), "id#").await?;
        let codes = found.iter().map(|(sk, item)| {
            let code = super::items::Reader(item).opt_s("code");
            (Id::of(sk.trim_start_matches("id#")), code)
        });
        let mut troubles = self.troubles_of(codes.collect()).await?;
        for (trouble, (_, listed)) in troubles.iter_mut().zip(&found) {
            // One that was rejected and deleted at once needs no record, and has none.
            let rejected = RecordState::Rejected.to_string();
            let state = super::items::Reader(listed).opt_s("state");
            if trouble.state() == RecordState::Unknown && state == Some(rejected) {
                trouble.record.rejected = true;
            }
        }
        Ok(troubles)
    }

    /// Ids with their records as they are now.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn troubles_of(
        &self,
        ids: Vec<(Id, Option<String>)>,
    ) -> Result<Vec<Trouble>, LedgerError> {
        let keys: Vec<Key> = ids.iter().map(|(id, _)| self.record_key(*id)).collect();
        let found = self.store.get(&keys).await?;
        Ok(ids
            .into_iter()
            .zip(found)
            .map(|((id, code), stored)| {
                let stored = stored.as_ref();
                let reader = stored.map(super::items::Reader);
                Trouble {
                    id,
                    record: stored.map(read_record).unwrap_or_default(),
                    code,
                    at_ms: reader.as_ref().and_then(|r| r.opt_n("at")),
                    by: reader.as_ref().and_then(|r| r.opt_s("by")),
                }
            })
            .collect())
    }
}
