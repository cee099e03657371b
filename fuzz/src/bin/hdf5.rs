//! The parser of HDF5 files.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("hdf5", bytes));
