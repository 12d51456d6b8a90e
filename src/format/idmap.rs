//! Id mappings (`uidmapping=`, `gidmapping=`): owners on disk against owners in the merged view.

use super::FormatError;

/// The ids `disk..disk+count` on disk are `view..view+count` in the merged view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    disk: u32,
    view: u32,
    count: u32,
}

/// A mapping of ids in both directions. The default maps every id to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// Disjoint on both sides; none stands for the identity.
    ranges: Vec<Range>,
}

impl IdMap {
    /// Reads `disk:shown:count` triples joined by colons, with or without a leading colon.
    ///
    /// # Errors
    /// [`FormatError::IdMap`] for an empty list, a field that is no number, a number of fields that is not
    /// a multiple of three, a count of zero, a range beyond the last id, and ranges that overlap on
    /// either side.
    pub fn parse(text: &str) -> Result<IdMap, FormatError> {
        let text = text.strip_prefix(':').unwrap_or(text);
        let fields: Vec<u32> = text.split(':').map(field).collect::<Result<_, _>>()?;
        let (triples, []) = fields.as_chunks::<3>() else {
            return Err(FormatError::IdMap("is not made of triples"));
        };
        let mut ranges = Vec::with_capacity(triples.len());
        for [disk, view, count] in triples {
            let range = Range { disk: *disk, view: *view, count: *count };
            check(range, &ranges)?;
            ranges.push(range);
        }
        Ok(IdMap { ranges })
    }

    /// The id shown for `id` on disk; `None` where it is not mapped.
    pub fn to_view(&self, id: u32) -> Option<u32> {
        if self.is_identity() {
            return Some(id);
        }
        self.ranges.iter().find_map(|r| translate(id, r.disk, r.view, r.count))
    }

    /// The id on disk for the shown `id`; `None` where it is not mapped.
    pub fn to_disk(&self, id: u32) -> Option<u32> {
        if self.is_identity() {
            return Some(id);
        }
        self.ranges.iter().find_map(|r| translate(id, r.view, r.disk, r.count))
    }

    /// Whether every id maps to itself, so that no translation is needed.
    pub fn is_identity(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// `id` moved from a range that begins at `from` to the one that begins at `to`.
fn translate(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    id.checked_sub(from).filter(|offset| *offset < count).map(|offset| to + offset)
}

/// One field of a triple: digits alone.
fn field(text: &str) -> Result<u32, FormatError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or(FormatError::IdMap("has a field that is no id"))
}

/// Refuses a range that is empty, leaves the ids, or overlaps one of `others`.
fn check(range: Range, others: &[Range]) -> Result<(), FormatError> {
    let Some(last) = range.count.checked_sub(1) else {
        return Err(FormatError::IdMap("has a count of zero"));
    };
    if range.disk.checked_add(last).is_none() || range.view.checked_add(last).is_none() {
        return Err(FormatError::IdMap("goes beyond the last id"));
    }
    let overlaps =
        |a: u32, a_count: u32, b: u32, b_count: u32| a <= b + (b_count - 1) && b <= a + (a_count - 1);
    let clash = |o: &Range| {
        overlaps(range.disk, range.count, o.disk, o.count)
            || overlaps(range.view, range.count, o.view, o.count)
    };
    if others.iter().any(clash) { Err(FormatError::IdMap("has overlapping ranges")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_identity() {
        let map = IdMap::default();
        assert!(map.is_identity());
        assert_eq!((map.to_view(u32::MAX), map.to_disk(7)), (Some(u32::MAX), Some(7)));
    }

    #[test]
    fn one_range() {
        let map = IdMap::parse("0:100000:65536").expect("good");
        assert!(!map.is_identity());
        assert_eq!(map.to_view(0), Some(100_000));
        assert_eq!(map.to_view(65_535), Some(165_535));
        assert_eq!(map.to_view(65_536), None);
        assert_eq!(map.to_disk(100_001), Some(1));
        assert_eq!(map.to_disk(99_999), None);
    }

    #[test]
    fn podmans_form_has_a_leading_colon_and_several_ranges() {
        let map = IdMap::parse(":0:1000:1:1:100000:65536").expect("good");
        assert_eq!(map.to_view(0), Some(1000));
        assert_eq!(map.to_view(1), Some(100_000));
        assert_eq!(map.to_disk(165_535), Some(65_536));
    }

    #[test]
    fn the_whole_range_of_ids() {
        let map = IdMap::parse("0:0:4294967295").expect("good");
        assert_eq!(map.to_view(4_294_967_294), Some(4_294_967_294));
        assert_eq!(map.to_view(u32::MAX), None);
        assert!(IdMap::parse("1:0:4294967295").is_ok());
    }

    #[test]
    fn bad_maps_are_refused() {
        for text in [
            "",
            ":",
            "0",
            "0:1",
            "0:1:2:3",
            "0:1:0",
            "a:1:2",
            "-1:1:2",
            "+1:1:2",
            "::0:1:2",
            "0:1:2:",
            "4294967295:0:2",
            "0:4294967295:2",
            "0:0:10:5:100:1",
            "0:0:10:100:5:1",
            "0:0:4294967296",
        ] {
            assert!(IdMap::parse(text).is_err(), "{text:?}");
        }
    }
}
