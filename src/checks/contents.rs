//! What is in an image: its layers, one above the other.

use std::collections::BTreeMap;

use super::layers::Readings;
use super::{Observation, Subject};
use crate::promotion::comparison::Listed;
use crate::promotion::fault::Fault;
use crate::registry::{Inspection, Installed, LayerContents, PlatformInspection};

/// What is in an image, as far as checks want to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The files with setuid or setgid, and their modes.
    pub(super) privileged: BTreeMap<String, u32>,
    /// The files that tell which release of which operating system it is.
    pub(super) releases: BTreeMap<String, String>,
    /// The databases of packages, and what they list.
    pub(super) databases: BTreeMap<String, Installed>,
}

/// Puts layers one above the other, the lowest first (image-spec `layer.md`, "Applying Changesets").
pub(super) fn merged<'a>(layers: impl IntoIterator<Item = &'a LayerContents>) -> Contents {
    let mut all = Contents::default();
    for layer in layers {
        let gone = |name: &str| {
            layer.replaces(name)
                || is_removed(layer, name)
                || folders(name).any(|folder| layer.opaque.contains(folder) || is_removed(layer, folder))
        };
        all.privileged.retain(|name, _| !gone(name));
        all.releases.retain(|name, _| !gone(name));
        all.databases.retain(|name, _| !gone(name));
        all.privileged.extend(layer.privileged.clone());
        all.releases.extend(layer.releases.clone());
        all.databases.extend(layer.databases.clone());
    }
    all
}

fn is_removed(layer: &LayerContents, name: &str) -> bool {
    layer.removed.contains(name)
}

/// The folders that a name is in, the nearest first; the root is the empty one.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    let nearest = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    std::iter::successors(Some(nearest), |folder| {
        (!folder.is_empty()).then(|| folder.rsplit_once('/').map_or("", |(folder, _)| folder))
    })
}

/// Looks into each platform's image. What cannot be looked into whole is bad: what is asked about may be in it.
pub(super) async fn each(
    subject: &Subject<'_>,
    wanted: &str,
    observe: impl Fn(&Contents) -> Observation,
) -> Result<Vec<Observation>, Fault> {
    if !super::layers::are_read(subject.policy) {
        return Ok(vec![Observation::nothing("the layers are not read; `layers: deep` reads them")]);
    }
    let layers = subject.evidence.layers(subject).await?;
    let each = subject.inspection.platforms.iter().map(|platform| {
        let observation = match of_platform(&layers, platform) {
            Ok(contents) => observe(&contents),
            Err(why) => Observation::bad(
                format!("what cannot be looked into: {why}"),
                wanted,
                "rebuild the image and push it again; layers are archives, whole and not encrypted",
            ),
        };
        observation.of(platform)
    });
    Ok(each.collect())
}

/// The packages that the databases of each platform's image list. A platform whose databases cannot be read whole is left
/// out.
pub(super) fn packages(layers: &Readings, inspection: &Inspection) -> Listed {
    let listed = |platform: &PlatformInspection| {
        let mut listed = BTreeMap::new();
        for database in of_platform(layers, platform).ok()?.databases.into_values() {
            match database {
                Installed::Listed(packages) => listed.extend(packages),
                Installed::Unread => return None,
            }
        }
        (!listed.is_empty()).then(|| (platform.facts.platform.clone(), listed))
    };
    inspection.platforms.iter().filter_map(listed).collect()
}

fn of_platform(layers: &Readings, platform: &PlatformInspection) -> Result<Contents, String> {
    let mut contents = Vec::new();
    for (place, reading) in layers.of(platform).enumerate() {
        let layer = place + 1;
        let Some(reading) = reading else {
            // The base layers of Windows live elsewhere, and have nothing of what is looked for.
            if platform.facts.platform.os == "windows" {
                continue;
            }
            return Err(format!("layer {layer} lives elsewhere, and is not read"));
        };
        match (&reading.defect, &reading.contents) {
            (Some(defect), _) => return Err(format!("layer {layer}: {defect}")),
            (None, None) => return Err(format!("layer {layer} is packed in a way that is not known here")),
            (None, Some(found)) => match &found.broken {
                Some(why) => return Err(format!("layer {layer}: {why}")),
                None => contents.push(found),
            },
        }
    }
    Ok(merged(contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_layers_hide_what_is_below() {
        let layer = |files: &[&str], removed: &[&str], opaque: &[&str]| {
            let mut layer = LayerContents::default();
            layer.privileged = files.iter().map(|name| ((*name).to_owned(), 0o4755)).collect();
            layer.removed = removed.iter().map(|name| (*name).to_owned()).collect();
            layer.opaque = opaque.iter().map(|name| (*name).to_owned()).collect();
            layer
        };
        let names = |layers: &[LayerContents]| merged(layers).privileged.into_keys().collect::<Vec<_>>();
        let base = layer(&["usr/bin/su", "usr/bin/mount", "opt/a/b/c"], &[], &[]);
        assert_eq!(names(&[base.clone(), layer(&[], &["usr/bin/su"], &[])]), ["opt/a/b/c", "usr/bin/mount"]);
        assert_eq!(names(&[base.clone(), layer(&[], &["usr"], &[])]), ["opt/a/b/c"]);
        assert_eq!(names(&[base.clone(), layer(&["usr/bin/x"], &[], &["usr/bin"])]), ["opt/a/b/c", "usr/bin/x"]);
        assert_eq!(names(&[base.clone(), layer(&[], &[], &[""])]), Vec::<String>::new());
        assert_eq!(names(&[layer(&[], &["usr"], &[]), base]), ["opt/a/b/c", "usr/bin/mount", "usr/bin/su"]);
    }
}
