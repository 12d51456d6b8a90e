//! Archives of images: docker's, old and new, and OCI image layouts, as tar or directory.

mod bounded;
pub mod docker;
pub mod load;
pub mod parts;
pub mod save;
