//! What several checks read about an image: read once, by whichever asks first.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Subject;
use crate::promotion::fault::Fault;
use crate::registry::Attachment;

/// What was read about one image so far, for all checks and all stages of a visit.
#[derive(Debug, Default)]
pub struct Evidence {
    attachments: OnceCell<Arc<Vec<Attachment>>>,
}

impl Evidence {
    /// What is attached to the image.
    ///
    /// # Errors
    /// What keeps it from being read; it is read again by whoever asks next.
    pub async fn attachments(&self, subject: &Subject<'_>) -> Result<Arc<Vec<Attachment>>, Fault> {
        let read = || async {
            let read = subject.registries.attachments(subject.repository, subject.inspection).await;
            read.map(Arc::new).map_err(Fault::from)
        };
        self.attachments.get_or_try_init(read).await.cloned()
    }
}
