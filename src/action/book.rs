//! The ledger that this visit writes to.

use std::sync::Arc;

use super::run::Desk;
use crate::ledger::{Ledger, LedgerAddress, Parts, Spooling, connect};
use crate::promotion::fault::Fault;

/// The ledger, and whether it outlives the job.
pub(super) struct Book {
    pub(super) spooling: Arc<Spooling>,
    pub(super) lasting: bool,
    has_place: bool,
}

impl Book {
    /// The ledger that the inputs name. It is not connected to yet.
    ///
    /// # Errors
    /// An address that is none.
    pub(super) fn of(desk: &Desk) -> Result<Self, Fault> {
        let inputs = &desk.inputs;
        let address = match (&inputs.database_url, &inputs.database_host) {
            (Some(url), _) => LedgerAddress::parse(url)?,
            (None, Some(host)) => LedgerAddress::from_parts(&Parts {
                host: host.clone(),
                port: inputs.database_port.map(|port| port.to_string()),
                user: inputs.database_user.clone().unwrap_or_default(),
                password: inputs.database_password.clone(),
                name: inputs.database_name.clone().unwrap_or_default(),
            })?,
            (None, None) => LedgerAddress::in_folder(desk.workspace.folder()),
        };
        let spool = desk.workspace.folder().join("spool");
        Ok(Book {
            // A job's workspace goes with the job; a folder on the command line stays.
            lasting: address.is_lasting() || !desk.context.in_actions,
            has_place: address.exists(),
            spooling: Arc::new(Spooling::new(Arc::from(connect(&address)), spool)),
        })
    }

    /// Whether there is a ledger. To ask does not make one.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn exists(&self) -> Result<bool, Fault> {
        Ok(self.has_place && self.spooling.exists().await?)
    }

    /// The ledger as it is now, to be read alone; none where there is none.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn to_read(&self) -> Result<Option<Arc<dyn Ledger>>, Fault> {
        Ok(self.exists().await?.then(|| Arc::clone(&self.spooling) as Arc<dyn Ledger>))
    }

    /// The ledger, ready to be written to, with what was kept in files while it was away.
    ///
    /// # Errors
    /// What the ledger says; files that do not fit into it.
    pub(super) async fn ready(&self, desk: &Desk) -> Result<Arc<dyn Ledger>, Fault> {
        self.spooling.prepare().await?;
        self.take_in_spool(desk).await?;
        Ok(Arc::clone(&self.spooling) as Arc<dyn Ledger>)
    }

    /// Brings what was kept in files while the database was away into the ledger, and tells how many events that were.
    ///
    /// # Errors
    /// What the ledger says; files that do not fit into it.
    pub(super) async fn take_in_spool(&self, desk: &Desk) -> Result<u64, Fault> {
        let mut all = 0;
        for imported in self.spooling.import_all().await? {
            if let Some(fault) = imported.fault() {
                return Err(fault);
            }
            if let Ok(events @ 1..) = imported.events {
                all += events;
                desk.printer.text(&format!(
                    "{events} events that were kept in {} while the database was away are in the ledger now",
                    imported.file.display()
                ));
            }
        }
        Ok(all)
    }
}
