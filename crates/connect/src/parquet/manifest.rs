//! The manifest of a folder of Parquet files: which files are the relation, and up to where.
//!
//! ```text
//!   <path>/manifest/00000000000000000017.json   the greatest number counts
//!   <path>/data/<number>-<incarnation>-<part>.parquet
//! ```
//! A file that the manifest does not name is not part of the relation: an attempt that came to nothing left it, or a later whole has
//! taken its place. Bytes: docs/formats.md.

use crate::protocol::{Mark, Record};
use serde::{Deserialize, Serialize};

/// The format that this release writes.
pub const FORMAT: u32 = 1;

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// Its own number.
    pub number: u64,
    /// By which the folder knows the sink.
    pub sink: String,
    /// For people.
    pub relation: String,
    /// Who may publish the next one.
    pub incarnation: u64,
    /// With `epoch`: up to where the files go; none: there are none.
    #[serde(default)]
    pub version: Option<u32>,
    /// See `version`.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Columns that are unique together, if there are some.
    #[serde(default)]
    pub key: Vec<String>,
    /// The files, in the order of their epochs.
    #[serde(default)]
    pub files: Vec<DataFile>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Within the folder.
    pub path: String,
    /// All rows at an epoch (`base`), or what changed (`changes`).
    pub kind: String,
    /// How many it has.
    pub rows: u64,
    /// How large it is.
    pub bytes: u64,
    /// Its last epoch.
    pub epoch: u64,
}

impl Manifest {
    /// What the protocol asks.
    #[must_use]
    pub fn record(&self) -> Record {
        let mark = self.version.zip(self.epoch).map(|(version, epoch)| Mark { version, epoch });
        Record { incarnation: self.incarnation, mark }
    }

    /// Its name within the folder of manifests.
    #[must_use]
    pub fn name(number: u64) -> String {
        format!("{number:020}.json")
    }

    /// The number of a name.
    #[must_use]
    pub fn number_of(name: &str) -> Option<u64> {
        name.strip_suffix(".json").filter(|digits| digits.len() == 20)?.parse().ok()
    }

    /// Reads one; why not, if it cannot be read.
    pub fn read(bytes: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if manifest.format != FORMAT {
            return Err(format!("it is of another release format={} supported={FORMAT}", manifest.format));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do() {
        assert!(Manifest::name(9) < Manifest::name(10));
        assert_eq!(Manifest::number_of(&Manifest::name(10)), Some(10));
        assert_eq!(Manifest::number_of("new-1.json"), None);
    }

    #[test]
    fn a_manifest_of_a_later_release_is_refused() {
        assert!(Manifest::read(br#"{"format":2,"number":1,"sink":"a","relation":"r","incarnation":1}"#).is_err());
        let read = Manifest::read(br#"{"format":1,"number":1,"sink":"a","relation":"r","incarnation":1}"#).expect("reads");
        assert_eq!(read.record(), Record { incarnation: 1, mark: None });
    }
}
