//! The union engine: a stack of layers seen as one tree. It knows no FUSE and no images.

mod access;
mod attr;
pub mod config;
mod copy_up;
mod create;
mod data;
mod dir_index;
mod error;
mod features;
mod file;
mod ids;
mod inode;
mod layer;
mod link;
mod links;
mod lookup;
mod marks;
mod merge;
mod mountinfo;
mod number;
mod open_error;
mod open_files;
mod readdir;
mod real_dir;
mod remove;
mod rename;
mod setattr;
mod stack;
mod union;
mod whiteout;
mod work;
mod xattr;

pub use attr::{Attr, Kind, Time};
pub use config::{Config, RedirectDir, WhiteoutForm, XattrPermissions};
pub use create::{NewFile, NewMode};
pub use error::{Error, Result};
pub use file::{Backing, SetIds, Span};
pub use inode::ROOT_NODE;
pub use lookup::Entry;
pub use open_error::OpenError;
pub use readdir::Line;
pub use rename::RenameMode;
pub use setattr::{Changes, SetTime};
pub use union::{Caller, Overlay};

pub use crate::format::idmap::IdMap;
