//! Random sequences of changes keep a store in order, and hold what they should.

use std::collections::BTreeMap;

use plyfs::store::{Depth, Store};
use proptest::prelude::*;

use crate::harness::{Image, image, names, remove};

/// One change.
#[derive(Debug, Clone)]
enum Step {
    Publish { name: u8, layers: Vec<u8> },
    Remove { name: u8 },
    Create { name: u8 },
    RemoveContainer,
    Unpack { name: u8 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..4u8;
    prop_oneof![
        4 => (name.clone(), prop::collection::vec(0..3u8, 0..4)).prop_map(|(name, layers)| Step::Publish { name, layers }),
        3 => name.clone().prop_map(|name| Step::Remove { name }),
        2 => name.clone().prop_map(|name| Step::Create { name }),
        1 => Just(Step::RemoveContainer),
        1 => name.prop_map(|name| Step::Unpack { name }),
        1 => Just(Step::Reopen),
    ]
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut expected: BTreeMap<String, Image> = BTreeMap::new();
    for step in steps {
        let writer = store.lock().unwrap();
        match step {
            Step::Publish { name, layers } => {
                let texts: Vec<_> = layers.iter().map(|n| format!("layer {n}")).collect();
                let app = image(&texts.iter().map(String::as_str).collect::<Vec<_>>());
                app.publish(&writer, &name.to_string()).unwrap();
                // The image that had the name is of no use now.
                writer.collect().unwrap();
                expected.insert(name.to_string(), app);
            }
            Step::Remove { name } => {
                remove(&writer, &name.to_string());
                expected.remove(&name.to_string());
            }
            Step::Create { name } => {
                if let Some(app) = expected.get(&name.to_string()) {
                    writer.create_container(app.container(None)).unwrap();
                }
            }
            Step::RemoveContainer => {
                if let Some(container) = store.containers().unwrap().first() {
                    writer.remove_container(container).unwrap();
                    writer.collect().unwrap();
                }
            }
            Step::Unpack { name } => {
                let chains = expected.get(&name.to_string()).map(|app| app.chains.clone());
                for chain_id in chains.unwrap_or_default() {
                    writer.unpacked(chain_id, writer.stage_dir().unwrap()).unwrap();
                    assert!(store.diff_dir(chain_id).is_some());
                }
            }
            Step::Reopen => {
                drop(writer);
                store = Store::open(dir.path()).unwrap();
            }
        }
        assert_eq!(store.check(Depth::Contents).unwrap(), []);
        assert!(names(&store).iter().eq(expected.keys()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_changes_keep_the_store_in_order(steps in prop::collection::vec(step(), 1..24)) {
        run(steps);
    }
}
