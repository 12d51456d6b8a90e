//! Inode numbers: the real ones, told apart by device where the layers lie on several.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::format::origin::Origin;

use super::stack::Stack;

/// How many low bits hold the real number.
const REAL_BITS: u32 = 56;
/// Device number of those that do not fit: they are counted.
const COUNTED: u64 = 0xff << REAL_BITS;

/// Numbers for real files whose own does not fit beside a device number; stable as long as the mount.
#[derive(Debug, Default)]
pub struct LargeNumbers {
    given: DashMap<(u8, u64), u64>,
    elsewhere: DashMap<(u64, u64), u64>,
    next: AtomicU64,
}

impl LargeNumbers {
    /// The number shown for a real one on the stack's device `device`.
    pub fn shown(&self, device: u8, real: u64) -> u64 {
        if real >> REAL_BITS == 0 {
            return u64::from(device) << REAL_BITS | real;
        }
        *self.given.entry((device, real)).or_insert_with(|| self.count())
    }

    /// The number shown for a real one on a device that is no layer's: of a mount inside a layer, or of a subvolume.
    pub fn shown_elsewhere(&self, device: u64, real: u64) -> u64 {
        *self.elsewhere.entry((device, real)).or_insert_with(|| self.count())
    }

    fn count(&self) -> u64 {
        COUNTED | self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// The device and real number of the lower file that an origin mark names, where that can be told.
pub fn of_origin(stack: &Stack, origin: &Origin) -> Option<(u8, u64)> {
    let real = origin.inode_number()?;
    let mut layers = stack.lowers.iter().filter(|layer| layer.uuid.unwrap_or_default() == origin.uuid);
    let device = layers.next()?.device;
    // Devices without a UUID of their own cannot be told from each other.
    layers.all(|layer| layer.device == device).then_some((device, real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_keep_numbers_apart_and_large_ones_are_counted() {
        let numbers = LargeNumbers::default();
        assert_eq!(numbers.shown(0, 12), 12);
        assert_ne!(numbers.shown(1, 12), 12);
        let large = numbers.shown(0, u64::MAX - 3);
        assert_eq!(large, numbers.shown(0, u64::MAX - 3));
        assert_ne!(large, numbers.shown(1, u64::MAX - 3));
    }
}
