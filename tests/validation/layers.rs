//! Layers made by hand.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use testbed::image::{Content, Image};

/// A layer as it is pushed.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// The digest that the configuration names for its content.
    pub(crate) content: String,
}

impl Layer {
    /// An archive, not compressed.
    pub(crate) fn plain(bytes: Vec<u8>) -> Self {
        let content = testbed::digest::sha256(&bytes);
        Self { media_type: "application/vnd.oci.image.layer.v1.tar", bytes, content }
    }

    /// What is said to be compressed, and to have this content.
    pub(crate) fn gzip(bytes: Vec<u8>, content: &str) -> Self {
        Self { media_type: "application/vnd.oci.image.layer.v1.tar+gzip", bytes, content: content.to_owned() }
    }

    /// An archive, compressed.
    pub(crate) fn packed(archive: &[u8]) -> Self {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(archive).unwrap();
        Self::gzip(packed.finish().unwrap(), &testbed::digest::sha256(archive))
    }
}

/// An archive with these files: name, mode, content.
pub(crate) fn archive(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, content) in files {
        archive.append(&header(name, *mode, content.len()), content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// An archive with a hard link alone.
pub(crate) fn linked(name: &str, to: &str, mode: u32) -> Vec<u8> {
    let mut header = header(name, mode, 0);
    header.set_entry_type(tar::EntryType::Link);
    header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, std::io::empty()).unwrap();
    archive.into_inner().unwrap()
}

fn header(name: &str, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size as u64);
    // The way that refuses nothing: absolute names and those that leave the tree, too.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// An image for one platform with these layers instead of its own.
pub(crate) fn image_of(image: Image, layers: &[Layer]) -> Content {
    let contents: Vec<String> = layers.iter().map(|layer| layer.content.clone()).collect();
    let described: Vec<(String, Bytes, Value)> = layers
        .iter()
        .map(|layer| {
            let digest = testbed::digest::sha256(&layer.bytes);
            let descriptor = json!({"mediaType": layer.media_type, "digest": digest, "size": layer.bytes.len()});
            (digest, Bytes::from(layer.bytes.clone()), descriptor)
        })
        .collect();
    let descriptors: Vec<Value> = described.iter().map(|(_, _, descriptor)| descriptor.clone()).collect();
    let image = image
        .edit_config(move |config| {
            config["rootfs"]["diff_ids"] = json!(contents);
            // Where nobody has written another one.
            if config["history"][0]["created"].is_string() {
                config["history"] = json!([]);
            }
        })
        .edit_manifest(move |manifest| manifest["layers"] = json!(descriptors))
        .build();
    described.into_iter().fold(image, |image, (digest, bytes, _)| image.with_blob(&digest, bytes))
}

/// An image for one platform with these archives as its layers, not compressed.
pub(crate) fn layered(archives: &[Vec<u8>]) -> Content {
    let layers: Vec<Layer> = archives.iter().cloned().map(Layer::plain).collect();
    image_of(Image::manifest("linux/amd64").layers(1, 100), &layers)
}
