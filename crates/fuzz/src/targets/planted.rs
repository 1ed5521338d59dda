//! Mistakes that are planted on purpose, so that the harness itself is tested: each breaks a promise at one input in five.

use super::Target;
use std::{hint::black_box, thread, time::Duration};

/// What is done wrong.
#[derive(Clone, Copy)]
pub enum Planted {
    /// It panics.
    Panic,
    /// It asks for more memory than an input may.
    Memory,
    /// The process dies.
    Death,
    /// It comes to no end.
    Hang,
}

impl Planted {
    /// The mistake of a name.
    pub fn named(name: &str) -> Option<Planted> {
        match name {
            "planted_panic" => Some(Planted::Panic),
            "planted_memory" => Some(Planted::Memory),
            "planted_death" => Some(Planted::Death),
            "planted_hang" => Some(Planted::Hang),
            _ => None,
        }
    }
}

impl Target for Planted {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"input".to_vec()]
    }

    fn run(&mut self, input: &[u8]) {
        if input.len() % 5 != 3 {
            return;
        }
        match self {
            Planted::Panic => panic!("planted"),
            // never touched: the system gives no page of it
            Planted::Memory => drop(black_box(Vec::<u8>::with_capacity(600 << 20))),
            Planted::Death => std::process::abort(),
            Planted::Hang => loop {
                thread::sleep(Duration::from_secs(1));
            },
        }
    }
}
