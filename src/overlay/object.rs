//! What a real file is, whatever its names: the pair that no two living files of a machine share.
//!
//! A name says where a file was found; it may lead to another one by the time it is used. So whoever opens a file of the
//! upper by a name compares this first. The number of a file that lost its last name cannot be given to another one
//! while its inode lives here: such files are held, see [`super::inode::FileState`].

use crate::sys::fs::Stat;

/// Device and inode number of a real file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(Rust, packed(4))]
pub struct Object {
    number: u64,
    /// `st_dev`, of which Linux uses 32 bits.
    device: u32,
}

impl Object {
    /// The file that was asked for its attributes.
    pub fn of(st: &Stat) -> Object {
        Object { number: st.st_ino, device: st.st_dev as u32 }
    }

    /// The inode number on its device.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Object { number, device } = *self;
        write!(f, "{device:x}:{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_takes_twelve_bytes() {
        assert_eq!((size_of::<Object>(), align_of::<Object>()), (12, 4));
    }
}
