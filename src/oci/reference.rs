//! Names of images: registry, path, tag and digest (distribution specification, as docker reads it).
