//! What can be wrong with a mark.

/// A mark that does not have the form its name promises. The text says what is wrong, never where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An `overlay.redirect` that names no place.
    #[error("redirect {0}")]
    Redirect(&'static str),
    /// An `overlay.nlink` that is not `U` or `L` with a signed number.
    #[error("link count mark is not U or L with a signed number")]
    Nlink,
    /// A `user.containers.override_stat` that is not `uid:gid:mode[:type]`.
    #[error("override_stat {0}")]
    OverrideStat(&'static str),
    /// An id mapping that is not a list of `disk:shown:count` triples.
    #[error("id mapping {0}")]
    IdMap(&'static str),
}
