//! An image for one platform, written to a folder as an OCI image layout, for programs that must not have our
//! credentials (image-spec `image-layout.md`).

use std::path::Path;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::blobs::Flight;
use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::{Content, Descriptor};
use super::manifests::Errand;
use super::{PlatformInspection, Registries};
use crate::promotion::image::Repository;

impl Registries {
    /// Writes a platform's image into an empty folder. Every blob has its digest.
    ///
    /// # Errors
    /// What keeps the image from being read or the folder from being written.
    pub async fn export(
        &self,
        repository: &Repository,
        platform: &PlatformInspection,
        folder: &Path,
    ) -> Result<(), RegistryError> {
        let manifest = &platform.manifest;
        let doing = format!("write {repository}@{} to a folder", manifest.digest);
        let unwritten = |error: std::io::Error| RegistryError::new(doing.clone(), local(&error));
        let index = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len(),
            }],
        });
        let blobs = folder.join("blobs").join(manifest.digest.algorithm());
        tokio::fs::create_dir_all(&blobs).await.map_err(unwritten)?;
        tokio::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).await.map_err(unwritten)?;
        tokio::fs::write(folder.join("index.json"), index.to_string()).await.map_err(unwritten)?;
        tokio::fs::write(blobs.join(manifest.digest.hex()), &manifest.bytes).await.map_err(unwritten)?;
        let Content::Image { config, layers } = &manifest.content else { return Ok(()) };
        for blob in std::iter::once(config).chain(layers).filter(|blob| !blob.is_foreign()) {
            let folder = folder.join("blobs").join(blob.digest.algorithm());
            tokio::fs::create_dir_all(&folder).await.map_err(unwritten)?;
            let path = folder.join(blob.digest.hex());
            self.patiently(&doing, |_| self.save(repository, blob, &path)).await?;
        }
        Ok(())
    }

    async fn save(&self, repository: &Repository, blob: &Descriptor, path: &Path) -> Result<(), Trouble> {
        let answer = self.get_blob(repository, blob, &Errand::alone(Class::Inspect), false).await?;
        let mut file = tokio::fs::File::create(path).await.map_err(|error| local(&error))?;
        let mut flight = Flight::new(blob);
        let mut parts = answer.stream();
        while let Some(part) = parts.next().await {
            let part = part?;
            flight.take(&part)?;
            file.write_all(&part).await.map_err(|error| local(&error))?;
        }
        flight.land()?;
        file.flush().await.map_err(|error| local(&error))
    }
}

/// A trouble with our own disk.
fn local(error: &std::io::Error) -> Trouble {
    Trouble::Failed { after: None, says: format!("the folder cannot be written: {error}") }
}
