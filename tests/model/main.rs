//! Random operations on the engine and on a small tree in memory: both must give the same results, and the same
//! tree at the end, now and after a remount.
//!
//! A failure names the seed of its case: `PLYFS_MODEL_SEED=7 cargo test --test model` runs that one alone, and
//! `PLYFS_MODEL_CASES=10000` runs more than usual.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

#[allow(dead_code, reason = "shared with the engine's own tests")]
#[path = "../engine/harness.rs"]
mod harness;
#[allow(dead_code, reason = "shared with the engine's own tests")]
#[path = "../engine/layers.rs"]
mod layers;

mod compare;
mod layer;
mod operations;
mod random;
mod tree;

use plyfs::overlay::{Config, RedirectDir, WhiteoutForm, XattrPermissions};

use harness::{Union, large_tempdir};
use layer::Layer;
use operations::Operation;
use random::Random;
use tree::Tree;

const CASES: u64 = 300;
const OPERATIONS: u64 = 40;

/// What varies from mount to mount.
#[derive(Debug, Clone, Copy)]
struct Mount {
    metacopy: bool,
    redirects: bool,
    whiteout_files: bool,
    user_xattr: bool,
    record_owners: bool,
}

impl Mount {
    fn random(random: &mut Random) -> Mount {
        Mount {
            metacopy: random.one_in(3),
            redirects: !random.one_in(6),
            whiteout_files: random.one_in(4),
            user_xattr: random.one_in(6),
            record_owners: random.one_in(6),
        }
    }

    fn configure(self, config: &mut Config) {
        config.metacopy = self.metacopy;
        config.redirect_dir = if self.redirects { RedirectDir::On } else { RedirectDir::Off };
        config.whiteouts = if self.whiteout_files { WhiteoutForm::File } else { WhiteoutForm::Auto };
        config.user_xattr = self.user_xattr;
        let recorded = if self.record_owners { XattrPermissions::User } else { XattrPermissions::Off };
        config.xattr_permissions = recorded;
    }
}

/// How often the trees are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    AtTheEnd,
    AfterEachStep,
}

/// Runs the case of a seed; the error says what differed, after which steps.
fn run(seed: u64, compare: Compare) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mount = Mount::random(&mut random);
    // An upper that records owners holds what it says only if the upper was made so.
    let upper = if mount.record_owners { Layer::default() } else { Layer::random(&mut random, "u") };
    let lowers: Vec<Layer> =
        (0..=random.below(2)).map(|i| Layer::random(&mut random, &i.to_string())).collect();
    let mut tree = Tree::default();
    lowers.iter().rev().for_each(|layer| tree.apply(layer));
    tree.end_of_lowers();
    tree.apply(&upper);
    tree.end_of_layers();
    let descriptions: Vec<String> = lowers.iter().map(Layer::describe).collect();
    let described: Vec<&str> = descriptions.iter().map(String::as_str).collect();
    let mut union =
        Union::at(large_tempdir(), &upper.describe(), &described, |config| mount.configure(config));
    let mut steps = vec![format!("{mount:?}\nupper: {}\nlowers: {described:#?}", upper.describe())];
    let result = steps_of(&mut random, &mut tree, &mut union, &mut steps, compare);
    result.map_err(|why| {
        // What went wrong is told here; what the union's own checks would add is not.
        union.abandon();
        format!("{}\n{why}", steps.join("\n"))
    })
}

fn steps_of(
    random: &mut Random,
    tree: &mut Tree,
    union: &mut Union,
    steps: &mut Vec<String>,
    compare: Compare,
) -> Result<(), String> {
    compare::trees(tree, union)?;
    for _ in 0..OPERATIONS {
        let operation = Operation::random(random, tree);
        let expected = operation.on_tree(tree, union.config.redirect_dir == RedirectDir::On);
        let given = operation.on_union(union);
        steps.push(format!("{operation:?}: {expected:?}"));
        if expected != given {
            return Err(format!("the engine gave {given:?}"));
        }
        if compare == Compare::AfterEachStep {
            compare::trees(tree, union)?;
        }
    }
    compare::trees(tree, union)?;
    union.reopen();
    compare::trees(tree, union).map_err(|why| format!("after a remount: {why}"))?;
    if union.leftovers().is_empty() { Ok(()) } else { Err(format!("leftovers {:?}", union.leftovers())) }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_engine_does_what_the_tree_in_memory_does() {
    let seeds = match number("PLYFS_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PLYFS_MODEL_CASES").unwrap_or(CASES),
    };
    for seed in seeds {
        if let Err(why) = run(seed, Compare::AtTheEnd) {
            let why = run(seed, Compare::AfterEachStep).err().unwrap_or(why);
            panic!("PLYFS_MODEL_SEED={seed}\n{why}");
        }
    }
}
