//! Images: commit, history, archives, root file systems. Knows layers and the store, mounts nothing.
