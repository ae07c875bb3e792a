//! Pictures, masks, forgeries and data sets.
