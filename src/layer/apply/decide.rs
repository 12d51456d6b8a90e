//! What becomes of one name when an upper is applied to the tree it was made over. Pure.

/// What the upper says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// It is deleted.
    Whiteout,
    /// A directory that what is below merges into.
    Merging,
    /// Anything that takes the place of what is there: a file, or a directory that is complete.
    Whole,
}

/// What the tree has under that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theirs {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// The two directories are gone through.
    Descend,
    /// What the tree has is removed.
    Remove,
    /// What the upper has is put there.
    Put,
}

/// How what was made beside its place takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// By a rename that fails where something is in the way.
    New,
    /// By a rename over what is there.
    Over,
    /// By an exchange; what was there is removed afterwards.
    Exchange,
}

/// Decides for one name.
pub fn plan_step(ours: Ours, theirs: Theirs) -> Step {
    match (ours, theirs) {
        (Ours::Whiteout, Theirs::Absent) => Step::Nothing,
        (Ours::Whiteout, _) => Step::Remove,
        (Ours::Merging, Theirs::Directory) => Step::Descend,
        (Ours::Merging | Ours::Whole, _) => Step::Put,
    }
}

/// Decides how something is published; `new` is what takes the place.
pub fn plan_publish(new: Theirs, theirs: Theirs) -> Publish {
    match (new, theirs) {
        (_, Theirs::Absent) => Publish::New,
        (Theirs::Other, Theirs::Other) => Publish::Over,
        _ => Publish::Exchange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_has_its_step() {
        let table = [
            (Ours::Whiteout, Theirs::Absent, Step::Nothing),
            (Ours::Whiteout, Theirs::Directory, Step::Remove),
            (Ours::Whiteout, Theirs::Other, Step::Remove),
            (Ours::Merging, Theirs::Absent, Step::Put),
            (Ours::Merging, Theirs::Directory, Step::Descend),
            (Ours::Merging, Theirs::Other, Step::Put),
            (Ours::Whole, Theirs::Absent, Step::Put),
            (Ours::Whole, Theirs::Directory, Step::Put),
            (Ours::Whole, Theirs::Other, Step::Put),
        ];
        for (ours, theirs, step) in table {
            assert_eq!(plan_step(ours, theirs), step, "{ours:?} over {theirs:?}");
        }
    }

    #[test]
    fn only_files_are_renamed_over() {
        assert_eq!(plan_publish(Theirs::Directory, Theirs::Absent), Publish::New);
        assert_eq!(plan_publish(Theirs::Other, Theirs::Other), Publish::Over);
        assert_eq!(plan_publish(Theirs::Other, Theirs::Directory), Publish::Exchange);
        assert_eq!(plan_publish(Theirs::Directory, Theirs::Directory), Publish::Exchange);
    }
}
