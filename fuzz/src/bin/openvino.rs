//! The parser of OpenVINO networks.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzz::parse_as("openvino", bytes));
