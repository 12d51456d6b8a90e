//! The private marks of a layer's files, read with regard to who can have set them. The one reader of marks, for the
//! union and for `layer` alike; it knows one file at a time and nothing of stacks.
//!
//! A mark is an extended attribute. `trusted.*` is set by an administrator of the initial user namespace only, but anyone
//! may set `user.*` on a file of theirs, and a layer may hold files of people whom the one who mounts does not know. So
//! what a mark says is worth what its author could have done without it:
//!
//! - **Opaque marks and whiteout attributes hide names** in the directory that bears them. Its owner could remove these
//!   names just as well. They count whoever set them, as in the kernel.
//! - **Redirects, metadata copies, origins and link counts lead to other files**: past the permissions of the
//!   directories on the way, under other owners and modes. **Records of owner, mode and type** give away what only root
//!   can: set-user-id programs of others, devices. In `trusted.*` they count; in `user.*` only where file and layer root
//!   both belong to the reader (whoever owns the root can put files of the reader's wherever they like in it).
//! - **A record that gives away nothing**, since it names the file's own owner and group, counts for its permission bits
//!   whoever made it, where a layer was said to record modes: its author could have set them on the file.
//! - **In the upper** the root's owner does not matter, as nobody but the mount puts files there. In a user namespace the
//!   files of its other ids (a container's users) are believed, too: its root marked them. Those of users outside are not;
//!   they show as nobody's, so nobody's own are not either.
//! - **Metadata copies in the lowers of an unprivileged union** are not followed unless that was asked for
//!   (`metacopy=on`), as in the kernel: images are unpacked by the very user who mounts them.
//! - **In lowers that are this machine's own directories** (sandboxes) nothing counts.
//!
//! Where an author counts, the file is held while owner and mark are read, so that no name can be exchanged in between.

mod read;
mod trust;

pub use read::{Marks, Opaque, Recorded, is_whiteout_file, read, recorded, value};
pub use trust::{LowerMarks, Reader, Role, Trust};
