//! The program `lae-ptx`, as it is called.
