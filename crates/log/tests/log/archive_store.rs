//! The object store in a folder.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use super::archive_support::*;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, executor::block_on};
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, path::Path,
};
use regauge_log::archive::DiskStore;
use regauge_types::env::Env;

fn store(disk: &MemoryDisk) -> DiskStore {
    DiskStore::new(env(disk), root())
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

fn names(store: &DiskStore, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(Path::from);
    block_on(store.list(prefix.as_ref()).map_ok(|meta| format!("{} {}", meta.location, meta.size)).try_collect()).unwrap()
}

#[test]
fn an_object_is_whole_or_absent_after_a_power_cut_at_any_operation() {
    let total = {
        let disk = MemoryDisk::default();
        block_on(store(&disk).put(&Path::from("a/b/c"), "hello".into())).unwrap();
        disk.ops()
    };
    assert!(total > 5);
    for op in 0..=total {
        for crash in [Crash::Lose, Crash::Keep, Crash::Some(op), Crash::Some(op + 1000)] {
            let disk = MemoryDisk::default();
            disk.die_at(op);
            let done = block_on(store(&disk).put(&Path::from("a/b/c"), "hello".into()));
            assert_eq!(done.is_ok(), op == total);
            let found = block_on(async { store(&disk.after(crash)).get(&Path::from("a/b/c")).await?.bytes().await });
            match found {
                Ok(bytes) => assert_eq!(bytes, "hello", "op={op} crash={crash:?}"),
                Err(Error::NotFound { .. }) => {
                    assert!(done.is_err(), "an object that was acknowledged is gone op={op} crash={crash:?}")
                }
                Err(other) => panic!("op={op} crash={crash:?} {other}"),
            }
        }
    }
}

#[test]
fn a_name_is_created_once() {
    let disk = MemoryDisk::default();
    let store = store(&disk);
    let path = Path::from("manifest/1");
    block_on(store.put_opts(&path, "first".into(), create())).unwrap();
    assert!(matches!(block_on(store.put_opts(&path, "second".into(), create())), Err(Error::AlreadyExists { .. })));
    let bytes = block_on(async { store.get(&path).await.unwrap().bytes().await.unwrap() });
    assert_eq!(bytes, "first");
    block_on(store.put(&path, "third".into())).unwrap();
    let bytes = block_on(async { store.get(&path).await.unwrap().bytes().await.unwrap() });
    assert_eq!(bytes, "third");
    assert_eq!(disk.files().len(), 1, "no temporary file stays");
}

#[test]
fn no_name_leaves_the_folder_or_meets_a_temporary_file() {
    let disk = MemoryDisk::default();
    let store = store(&disk);
    // `Path` percent-encodes most of these; what it lets through is refused by us.
    for name in ["../up", "a/../../up", ".hidden", "a/.b.tmp", ""] {
        if let Ok(path) = Path::parse(name) {
            assert!(block_on(store.put(&path, "x".into())).is_err(), "{name}");
            assert!(block_on(store.get(&path)).is_err(), "{name}");
        }
    }
    assert!(disk.files().iter().all(|(path, _)| path.starts_with(root())));
    assert!(disk.files().is_empty());
}

#[test]
fn ranges_are_exact_and_never_beyond_the_end() {
    let disk = MemoryDisk::default();
    let store = store(&disk);
    let path = Path::from("x");
    block_on(store.put(&path, "0123456789".into())).unwrap();
    let got = |range: GetRange| {
        block_on(async { store.get_opts(&path, GetOptions { range: Some(range), ..Default::default() }).await?.bytes().await })
    };
    assert_eq!(got(GetRange::Bounded(2..5)).unwrap(), "234");
    assert_eq!(got(GetRange::Offset(7)).unwrap(), "789");
    assert_eq!(got(GetRange::Suffix(2)).unwrap(), "89");
    assert!(got(GetRange::Bounded(10..12)).is_err());
    assert_eq!(block_on(store.get_ranges(&path, &[0..1, 8..10])).unwrap(), [Bytes::from("0"), Bytes::from("89")]);
    assert!(block_on(store.get_ranges(&path, &[8..11])).is_err());
    assert!(block_on(store.get_ranges(&path, &[0..u64::MAX])).is_err(), "no allocation of what is not there");
    assert_eq!(block_on(store.head(&path)).unwrap().size, 10);
}

#[test]
fn lists_show_objects_below_a_prefix_and_deleted_ones_are_gone() {
    let disk = MemoryDisk::default();
    let store = store(&disk);
    assert!(names(&store, None).is_empty(), "a store that was never written");
    for name in ["a/1", "a/b/2", "ab/3", "c"] {
        block_on(store.put(&Path::from(name), name.to_owned().into())).unwrap();
    }
    assert_eq!(names(&store, None), ["a/1 3", "a/b/2 5", "ab/3 4", "c 1"]);
    assert_eq!(names(&store, Some("a")), ["a/1 3", "a/b/2 5"], "a prefix is whole parts of a name");
    assert!(names(&store, Some("zzz")).is_empty());
    let listed = block_on(store.list_with_delimiter(Some(&Path::from("a")))).unwrap();
    assert_eq!((listed.objects.len(), listed.common_prefixes), (1, vec![Path::from("a/b")]));
    block_on(store.delete(&Path::from("a/b/2"))).unwrap();
    assert!(matches!(block_on(store.delete(&Path::from("a/b/2"))), Err(Error::NotFound { .. })));
    assert_eq!(names(&DiskStore::new(env(&disk.after(Crash::Lose)), root()), Some("a")), ["a/1 3"], "a delete is durable");
    block_on(store.copy(&Path::from("c"), &Path::from("d"))).unwrap();
    assert!(block_on(store.copy_if_not_exists(&Path::from("c"), &Path::from("d"))).is_err());
}

#[test]
fn an_upload_in_parts_shows_only_when_complete() {
    let disk = MemoryDisk::default();
    let store = store(&disk);
    let path = Path::from("big");
    let mut upload = block_on(store.put_multipart_opts(&path, PutMultipartOptions::default())).unwrap();
    let parts = [upload.put_part("one ".into()), upload.put_part("two ".into()), upload.put_part("three".into())];
    // The order in which parts arrive does not matter.
    block_on(futures::stream::iter(parts.into_iter().rev()).for_each_concurrent(3, |part| async { part.await.unwrap() }));
    assert!(names(&store, None).is_empty());
    block_on(upload.complete()).unwrap();
    let after = DiskStore::new(env(&disk.after(Crash::Lose)), root());
    assert_eq!(block_on(async { after.get(&path).await.unwrap().bytes().await.unwrap() }), "one two three");

    let mut failing = block_on(store.put_multipart_opts(&path, PutMultipartOptions::default())).unwrap();
    disk.fail_at(disk.ops(), false);
    assert!(block_on(failing.put_part("lost".into())).is_err());
    assert!(block_on(failing.complete()).is_err(), "an upload that lost a part cannot be completed");
    block_on(failing.abort()).unwrap();
    assert_eq!(disk.files().len(), 1);
}

#[test]
fn it_works_on_a_real_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::new(Env::real(), &dir.path().join("archive"));
    block_on(store.put_opts(&Path::from("a/b"), "hello".into(), create())).unwrap();
    assert!(block_on(store.put_opts(&Path::from("a/b"), "again".into(), create())).is_err());
    assert_eq!(names(&store, None), ["a/b 5"]);
    let big = Bytes::from(vec![7u8; 20 << 20]);
    block_on(store.put(&Path::from("big"), big.clone().into())).unwrap();
    assert_eq!(block_on(async { store.get(&Path::from("big")).await.unwrap().bytes().await.unwrap() }), big, "read in chunks");
    block_on(store.delete(&Path::from("a/b"))).unwrap();
    assert_eq!(names(&store, None), [format!("big {}", 20 << 20)]);
}
