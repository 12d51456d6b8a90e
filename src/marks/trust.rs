//! Whose marks count in a layer: a pure decision from who reads, what the layer is for, and whose the files are.

use crate::format::names::Namespace;
use crate::sys::fs::{Stat, geteuid};
use crate::sys::process::{in_initial_user_namespace, is_initial_admin};

/// The id shown for owners that a user namespace has no number for: never anybody's own there.
const OVERFLOW_ID: u32 = 65534;

/// Which marks of the lowers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LowerMarks {
    /// Those of authors who may set them.
    #[default]
    ByAuthor,
    /// None: the lowers are no layers that anybody wrote, but this machine's own directories.
    Ignored,
}

/// What a layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The writable layer, or the work directory, which the mount itself writes.
    Upper,
    /// A read-only layer.
    Lower(LowerMarks),
}

/// Who reads marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    uid: u32,
    /// Whether it is an administrator of the initial user namespace: one who can set and read `trusted.*`.
    administrator: bool,
    /// Whether it is in a user namespace of its own.
    namespaced: bool,
}

impl Reader {
    /// This process.
    pub fn own() -> Reader {
        Reader {
            uid: geteuid().as_raw(),
            administrator: is_initial_admin(),
            namespaced: !in_initial_user_namespace(),
        }
    }

    /// Whether a file of this owner, as told by stat(2), belongs to the reader.
    fn owns(&self, uid: u32) -> bool {
        uid == self.uid && !(self.namespaced && uid == OVERFLOW_ID)
    }
}

/// What is believed of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    reader: Reader,
    role: Role,
    root_is_own: bool,
    /// The one name space that leads anywhere; both where none was chosen.
    namespace: Option<Namespace>,
    follows_user_metacopy: bool,
    takes_masked_modes: bool,
}

/// Whether a mark can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// Whoever owns the file.
    Always,
    /// If the file belongs to the reader.
    IfOwn,
    /// If the file belongs to anybody of the reader's user namespace.
    IfMapped,
    /// Not at all.
    Never,
}

impl Trust {
    /// For the layer whose root has these attributes.
    pub fn new(reader: Reader, role: Role, root: &Stat) -> Trust {
        let root_is_own = reader.owns(root.st_uid);
        let (namespace, follows_user_metacopy, takes_masked_modes) = (None, true, false);
        Trust { reader, role, root_is_own, namespace, follows_user_metacopy, takes_masked_modes }
    }

    /// The same for a layer that was said to record modes, as containers/storage does where it masks them: files that it gave
    /// away have the modes recorded beside them.
    pub fn with_masked_modes(self) -> Trust {
        Trust { takes_masked_modes: self.root_is_own && self.hides(), ..self }
    }

    /// Whether records of strangers count for what they could have done with chmod(2).
    pub(super) fn takes_masked_modes(&self) -> bool {
        self.takes_masked_modes
    }

    /// The same, with marks that lead anywhere counting in one name space only.
    pub fn in_namespace(self, namespace: Namespace) -> Trust {
        Trust { namespace: Some(namespace), ..self }
    }

    /// The same, with metadata copies of the user name space taken for the empty files that they are.
    pub fn without_user_metacopy(self) -> Trust {
        Trust { follows_user_metacopy: false, ..self }
    }

    /// Whether a mark in this name space will be believed on a file of this owner. What will not be had better not be
    /// written.
    pub fn believes(&self, namespace: Namespace, uid: u32) -> bool {
        self.holds(self.leads(namespace), uid)
    }

    /// Whether that much belief is enough for a file of this owner.
    pub(super) fn holds(&self, belief: Belief, uid: u32) -> bool {
        match belief {
            Belief::Always => true,
            Belief::IfOwn => self.reader.owns(uid),
            Belief::IfMapped => uid != OVERFLOW_ID,
            Belief::Never => false,
        }
    }

    /// Whether marks that only hide names count: what a stranger's directory hides is the stranger's to remove.
    pub(super) fn hides(&self) -> bool {
        self.role != Role::Lower(LowerMarks::Ignored)
    }

    /// Whether a metadata copy marked in this name space is followed to its data.
    pub(super) fn follows_metacopy(&self, namespace: Namespace) -> bool {
        namespace == Namespace::Trusted || self.follows_user_metacopy
    }

    /// Whether marks that lead elsewhere, in this name space, are believed.
    pub(super) fn leads(&self, namespace: Namespace) -> Belief {
        if self.namespace.is_some_and(|one| one != namespace) {
            Belief::Never
        } else {
            self.belief(namespace)
        }
    }

    /// Whether what is said in this name space is believed.
    pub(super) fn belief(&self, namespace: Namespace) -> Belief {
        match (self.role, namespace) {
            (Role::Lower(LowerMarks::Ignored), _) => Belief::Never,
            (_, Namespace::Trusted) if self.reader.administrator => Belief::Always,
            (_, Namespace::Trusted) => Belief::Never,
            (Role::Upper, Namespace::User) if self.reader.namespaced => Belief::IfMapped,
            (Role::Upper, Namespace::User) => Belief::IfOwn,
            (Role::Lower(LowerMarks::ByAuthor), Namespace::User) if self.root_is_own => Belief::IfOwn,
            (Role::Lower(LowerMarks::ByAuthor), Namespace::User) => Belief::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Reader = Reader { uid: 0, administrator: true, namespaced: false };
    const USER: Reader = Reader { uid: 1000, administrator: false, namespaced: false };
    const NAMESPACED: Reader = Reader { uid: 0, administrator: false, namespaced: true };
    const LOWER: Role = Role::Lower(LowerMarks::ByAuthor);
    const MACHINE: Role = Role::Lower(LowerMarks::Ignored);

    fn trust(reader: Reader, role: Role, root_is_own: bool) -> Trust {
        let (namespace, follows_user_metacopy, takes_masked_modes) = (None, true, false);
        Trust { reader, role, root_is_own, namespace, follows_user_metacopy, takes_masked_modes }
    }

    #[test]
    fn who_is_believed() {
        use Belief::{Always, IfMapped, IfOwn, Never};
        // Reader, role, whether the root is the reader's, trusted, user.
        let table = [
            (ROOT, LOWER, true, Always, IfOwn),
            (ROOT, LOWER, false, Always, Never),
            (ROOT, Role::Upper, true, Always, IfOwn),
            (ROOT, Role::Upper, false, Always, IfOwn),
            (ROOT, MACHINE, true, Never, Never),
            (USER, LOWER, true, Never, IfOwn),
            (USER, LOWER, false, Never, Never),
            (USER, Role::Upper, true, Never, IfOwn),
            (USER, MACHINE, true, Never, Never),
            (NAMESPACED, LOWER, true, Never, IfOwn),
            (NAMESPACED, LOWER, false, Never, Never),
            (NAMESPACED, Role::Upper, false, Never, IfMapped),
            (NAMESPACED, MACHINE, true, Never, Never),
        ];
        for (reader, role, root_is_own, trusted, user) in table {
            let trust = trust(reader, role, root_is_own);
            let said = (trust.belief(Namespace::Trusted), trust.belief(Namespace::User));
            assert_eq!(said, (trusted, user), "{reader:?} {role:?} {root_is_own}");
            assert_eq!(trust.hides(), role != MACHINE);
        }
    }

    #[test]
    fn one_name_space_leads() {
        let trust = trust(ROOT, LOWER, true).in_namespace(Namespace::User);
        assert_eq!(trust.leads(Namespace::Trusted), Belief::Never);
        assert_eq!(trust.leads(Namespace::User), Belief::IfOwn);
        assert_eq!(trust.belief(Namespace::Trusted), Belief::Always, "a stand-in leads nowhere");
    }

    #[test]
    fn nobody_in_a_namespace_is_not_oneself() {
        let lost = Reader { uid: OVERFLOW_ID, administrator: false, namespaced: true };
        assert!(!lost.owns(OVERFLOW_ID));
        let upper = trust(NAMESPACED, Role::Upper, true);
        assert!(upper.believes(Namespace::User, 5) && !upper.believes(Namespace::User, OVERFLOW_ID));
        assert!(Reader { namespaced: false, ..lost }.owns(OVERFLOW_ID));
    }
}
