//! Several writers and readers at once.

use std::cell::Cell;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use plyfs::store::{Store, StoreError};

use crate::harness::{Place, image, names, remove};

#[test]
fn two_writers_lose_nothing() {
    let place = Place::new();
    let root = place.root();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let root = &root;
            scope.spawn(move || {
                // A store of its own, as another process has.
                let store = Store::open(root).unwrap();
                for n in 0..8 {
                    let name = format!("image{writer}-{n}");
                    image(&["base", &name]).publish(&store.lock().unwrap(), &name).unwrap();
                }
            });
        }
    });
    assert_eq!(names(&place.store).len(), 16);
    place.assert_clean();
}

#[test]
fn readers_see_an_image_whole_or_learn_that_it_is_gone() {
    let place = Place::new();
    let done = AtomicBool::new(false);
    let app = image(&["base", "app"]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut whole, mut gone) = (0, 0);
            while !done.load(Ordering::Relaxed) || whole == 0 {
                match read_all(&place.store) {
                    Ok(images) => whole += images,
                    Err(e) if e.is_missing() => gone += 1,
                    Err(e) => panic!("{e}"),
                }
            }
            println!("{whole} times whole, {gone} times gone");
        });
        for _ in 0..12 {
            let writer = place.store.lock().unwrap();
            app.publish(&writer, "app").unwrap();
            remove(&writer, "app");
        }
        app.publish(&place.store.lock().unwrap(), "app").unwrap();
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

/// Reads every image; returns how many there are.
fn read_all(store: &Store) -> Result<usize, StoreError> {
    let index = store.index()?;
    for descriptor in &index.manifests {
        let manifest = store.manifest(descriptor)?;
        store.config(&manifest)?;
        for layer in &manifest.layers {
            store.read_blob(layer, 1 << 20)?;
        }
    }
    Ok(index.manifests.len())
}

thread_local! {
    /// Whether this thread's warnings are kept: other tests may run in the same process, and warn of what they broke.
    static KEPT: Cell<bool> = const { Cell::new(false) };
}

/// The warnings of the threads that asked for it.
struct Warnings(Mutex<Vec<String>>);

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if KEPT.get() && self.enabled(record.metadata()) && text.contains("is left out") {
            self.0.lock().unwrap().push(text);
        }
    }

    fn flush(&self) {}
}

#[test]
fn containers_that_come_and_go_are_listed_without_a_warning() {
    static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let place = Place::new();
    let app = image(&["base"]);
    app.publish(&place.store.lock().unwrap(), "app").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                KEPT.set(true);
                while !done.load(Ordering::Relaxed) {
                    place.store.containers().unwrap();
                }
            });
        }
        for _ in 0..300 {
            let writer = place.store.lock().unwrap();
            let made = writer.create_container(app.container(None)).unwrap();
            writer.remove_container(&made).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(*WARNINGS.0.lock().unwrap(), [""; 0]);
}

#[test]
fn a_blob_removed_while_it_is_read_is_read_to_its_end() {
    let place = Place::new();
    let app = image(&["base"]);
    let writer = place.store.lock().unwrap();
    app.publish(&writer, "app").unwrap();
    let mut reader = place.store.open_blob(&app.parsed.layers[0]).unwrap();
    remove(&writer, "app");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "base");
    assert!(place.store.open_blob(&app.parsed.layers[0]).is_err_and(|e| e.is_missing()));
}

#[test]
fn the_lock_holds_until_the_writer_is_dropped() {
    let place = Place::new();
    let taken = AtomicBool::new(false);
    let writer = place.store.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Store::open(&place.root()).unwrap();
            let _writer = other.lock().unwrap();
            taken.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!taken.load(Ordering::SeqCst));
        drop(writer);
    });
    assert!(taken.load(Ordering::SeqCst));
}
