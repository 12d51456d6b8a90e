//! `overlay.nlink`: the link count of an indexed file, told relative to a real inode's count.

use super::FormatError;

/// The real inode whose link count is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NlinkBase {
    /// The upper inode.
    Upper,
    /// The lower inode.
    Lower,
}

/// Merged link count = real link count of `base` + `delta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NlinkDelta {
    /// Whose count to add to.
    pub base: NlinkBase,
    /// What to add.
    pub delta: i32,
}

impl NlinkDelta {
    /// Reads the attribute's value, `U+1` or `L-2`.
    ///
    /// # Errors
    /// [`FormatError::Nlink`] where it is anything else.
    pub fn parse(value: &[u8]) -> Result<NlinkDelta, FormatError> {
        let (base, number) = match value {
            [b'U', number @ ..] => (NlinkBase::Upper, number),
            [b'L', number @ ..] => (NlinkBase::Lower, number),
            _ => return Err(FormatError::Nlink),
        };
        let number = std::str::from_utf8(number).map_err(|_| FormatError::Nlink)?;
        let delta = number.parse().map_err(|_| FormatError::Nlink)?;
        Ok(NlinkDelta { base, delta })
    }

    /// The attribute's value, always with a sign.
    pub fn encode(&self) -> Vec<u8> {
        let base = match self.base {
            NlinkBase::Upper => 'U',
            NlinkBase::Lower => 'L',
        };
        format!("{base}{:+}", self.delta).into_bytes()
    }

    /// The merged link count for a real count of `real`; `None` where it would not be positive.
    pub fn apply(&self, real: u32) -> Option<u32> {
        real.checked_add_signed(self.delta).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let table = [
            (&b"U+1"[..], NlinkBase::Upper, 1),
            (b"L-2", NlinkBase::Lower, -2),
            (b"U+0", NlinkBase::Upper, 0),
        ];
        for (value, base, delta) in table {
            let mark = NlinkDelta { base, delta };
            assert_eq!(mark.encode(), value);
            assert_eq!(NlinkDelta::parse(value), Ok(mark));
        }
    }

    #[test]
    fn bad_values() {
        for value in [&b""[..], b"U", b"X+1", b"U+", b"u+1", b"U+1\n", b"L+99999999999"] {
            assert!(NlinkDelta::parse(value).is_err());
        }
    }

    #[test]
    fn counting() {
        let mark = NlinkDelta { base: NlinkBase::Lower, delta: -2 };
        assert_eq!(mark.apply(3), Some(1));
        assert_eq!(mark.apply(2), None);
        assert_eq!(mark.apply(1), None);
    }
}
