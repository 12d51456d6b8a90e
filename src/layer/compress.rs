//! Compression of layers: any known form is read, gzip and zstd are written on all cores.
