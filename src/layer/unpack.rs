//! A layer tar made a directory. The tar is taken to be hostile: nothing it says leads outside the directory.
