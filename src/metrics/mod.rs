//! Detection and localisation metrics with bootstrap intervals.
