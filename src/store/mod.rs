//! Images and containers on disk: blobs, references, unpacked layers, locks, garbage.
