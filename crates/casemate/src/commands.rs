//! The commands, one file each.

pub mod assess;
pub mod attest;
pub mod baseline;
pub mod check;
pub mod controls;
pub mod crypto;
pub mod crypto_erase;
pub mod gate;
pub mod init;
pub mod inventory;
pub mod keygen;
pub mod ledger;
pub mod open;
mod open_exec;
pub mod rewrap;
pub mod scan;
pub mod seal;
pub mod shell;
pub mod sign;
pub mod verify;
pub mod waiver;
