//! A random layer: as a description for the disk, and as entries to apply to the tree in memory.

use crate::layers;
use crate::random::Random;

pub const NAMES: &[&str] = &["a", "b", "c", "d"];
pub const MODES: &[u32] = &[0o644, 0o600, 0o755, 0o750];
const DEPTH: usize = 3;

/// What a layer says of one path.
#[derive(Debug, Clone)]
pub enum Item {
    Dir {
        mode: u32,
        opaque: Option<Opaque>,
    },
    File {
        content: String,
        mode: u32,
        attribute: Option<String>,
    },
    Symlink(String),
    /// Another name of the file at this path of the layer.
    Link(String),
    Whiteout(Form),
}

/// How a directory says that it hides what lies below.
#[derive(Debug, Clone, Copy)]
pub enum Opaque {
    Attribute,
    File,
}

/// How a name says that it is gone.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Device,
    File,
}

/// Paths with what is there, parents first.
#[derive(Debug, Default)]
pub struct Layer {
    pub items: Vec<(String, Item)>,
}

impl Layer {
    /// A layer whose files say `mark`.
    pub fn random(random: &mut Random, mark: &str) -> Layer {
        let mut layer = Layer::default();
        layer.fill(random, mark, "", 1);
        layer
    }

    fn fill(&mut self, random: &mut Random, mark: &str, dir: &str, depth: usize) {
        for name in NAMES {
            let path = format!("{dir}{name}");
            match random.below(9) {
                0..=2 if depth < DEPTH => {
                    let opaque = match random.below(9) {
                        0 => Some(Opaque::Attribute),
                        1 => Some(Opaque::File),
                        _ => None,
                    };
                    self.items
                        .push((path.clone(), Item::Dir { mode: *random.pick(&[0o755, 0o750]), opaque }));
                    self.fill(random, mark, &format!("{path}/"), depth + 1);
                }
                3 | 4 => {
                    let content = format!("{mark}:{path}").repeat(random.below(2) as usize);
                    let attribute = random.one_in(3).then(|| mark.to_owned());
                    self.items.push((path, Item::File { content, mode: *random.pick(MODES), attribute }));
                }
                5 => self.items.push((path, Item::Symlink(format!("to-{mark}")))),
                6 => {
                    let form = if random.one_in(2) { Form::Device } else { Form::File };
                    self.items.push((path, Item::Whiteout(form)));
                }
                7 => {
                    let files = self.items.iter().filter(|(_, item)| matches!(item, Item::File { .. }));
                    let files: Vec<&String> = files.map(|(path, _)| path).collect();
                    if !files.is_empty() {
                        let old = (*random.pick(&files)).clone();
                        self.items.push((path, Item::Link(old)));
                    }
                }
                _ => {}
            }
        }
    }

    /// The layer as [`layers::build`] makes it.
    pub fn describe(&self) -> String {
        let words: Vec<String> = self.items.iter().map(|(path, item)| describe(path, item)).collect();
        words.join(" ")
    }
}

fn describe(path: &str, item: &Item) -> String {
    match item {
        Item::Dir { mode, opaque } => {
            let opaque = match opaque {
                Some(Opaque::Attribute) => format!("{path}@{}opaque=y", layers::namespace()),
                Some(Opaque::File) => format!("{path}/.wh..wh..opq"),
                None => String::new(),
            };
            format!("{path}/ {path}:{mode:o} {opaque}")
        }
        Item::File { content, mode, attribute } => {
            let attribute =
                attribute.as_ref().map_or(String::new(), |value| format!("{path}@user.m={value}"));
            // A colon would be read as the beginning of a mode.
            format!("{path}={} {path}:{mode:o} {attribute}", content.replace(':', "-"))
        }
        Item::Symlink(target) => format!("{path}->{target}"),
        Item::Link(old) => format!("{path}~{old}"),
        Item::Whiteout(Form::Device) => format!("{path}!"),
        Item::Whiteout(Form::File) => match path.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/.wh.{name}"),
            None => format!(".wh.{path}"),
        },
    }
}
