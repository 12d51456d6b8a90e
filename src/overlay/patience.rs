//! How long the calling thread may take for an operation.
//!
//! Whoever reads the kernel's requests must come back soon, since all others wait behind it; a thread of its own for long
//! work may copy and sync, but must not stand idle while another one does the same for somebody else's request. An
//! operation that finds that it would take too long gives up before it has changed anything for good, with
//! [`Error::Long`] or [`Error::Busy`], and is begun anew in the right place.

use std::cell::Cell;

use super::error::{Error, Result};

/// What an operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Patience {
    /// Short steps only: no copying of content, no sync, no reading of large directories.
    Short,
    /// Long work of its own, but no waiting for that of others.
    OwnWork,
    /// All that is needed.
    Unlimited,
}

thread_local! {
    static PATIENCE: Cell<Patience> = const { Cell::new(Patience::Unlimited) };
}

impl Patience {
    /// That of the calling thread.
    pub fn current() -> Patience {
        PATIENCE.get()
    }

    /// Runs an operation with this patience.
    pub fn run<T>(self, operation: impl FnOnce() -> T) -> T {
        let before = Restore(PATIENCE.replace(self));
        let result = operation();
        drop(before);
        result
    }

    /// Passes where long work may begin.
    ///
    /// # Errors
    /// [`Error::Long`].
    pub fn check_long() -> Result<()> {
        if Patience::current() == Patience::Short { Err(Error::Long) } else { Ok(()) }
    }
}

/// Gives a thread its patience back, also when the operation panics.
struct Restore(Patience);

impl Drop for Restore {
    fn drop(&mut self) {
        PATIENCE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_operations_alone() {
        assert_eq!(Patience::check_long(), Ok(()));
        assert_eq!(Patience::Short.run(Patience::check_long), Err(Error::Long));
        assert_eq!(Patience::current(), Patience::Unlimited);
    }
}
