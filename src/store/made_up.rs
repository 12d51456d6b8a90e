//! Names for containers that were given none: an adjective and a noun.

use super::Result;
use super::dir::random_hex;

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "apt", "blithe", "bold", "brave", "bright", "brisk", "calm", "candid",
    "clear", "clever", "cosy", "crisp", "daring", "deft", "eager", "early", "fair", "fine", "firm", "fleet",
    "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "hardy", "honest", "jolly", "keen",
    "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient",
    "placid", "proud", "quick", "quiet", "ready", "serene", "sharp", "silver", "snug", "steady", "sturdy",
    "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty",
];
const NOUNS: [&str; 64] = [
    "acorn", "alder", "anchor", "aspen", "badger", "beacon", "beech", "birch", "bridge", "brook", "canyon",
    "cedar", "cliff", "clover", "comet", "coral", "crane", "creek", "dune", "elm", "falcon", "fern", "finch",
    "fjord", "garnet", "glade", "harbor", "hazel", "heron", "island", "ivy", "juniper", "lagoon", "lantern",
    "larch", "linden", "lynx", "maple", "marten", "meadow", "mesa", "oak", "orchid", "osprey", "otter",
    "pebble", "pine", "plover", "quarry", "reef", "ridge", "robin", "rowan", "sable", "spruce", "summit",
    "thistle", "tundra", "valley", "walnut", "willow", "wren", "yarrow", "zephyr",
];

/// A name of an adjective and a noun, by chance.
pub(super) fn made_up_name(suffix: Suffix) -> Result<String> {
    let digits = random_hex::<4>()?;
    let pick = |from: usize, words: &[&'static str; 64]| {
        usize::from_str_radix(&digits[from..from + 2], 16).map_or(words[0], |n| words[n % words.len()])
    };
    let name = format!("{}_{}", pick(0, &ADJECTIVES), pick(2, &NOUNS));
    Ok(match suffix {
        Suffix::None => name,
        Suffix::Digits => format!("{name}{}", &digits[4..]),
    })
}

/// What follows the two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    /// Nothing.
    None,
    /// Four digits, where names without are taken.
    Digits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_two_words() {
        let name = made_up_name(Suffix::None).expect("random");
        assert_eq!(name.split('_').count(), 2);
        assert!(made_up_name(Suffix::Digits).expect("random").len() > 4);
    }
}
