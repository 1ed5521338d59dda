//! A module's instance, and exports called in it for rows, one after the other.
//!
//! ```text
//!   for each row:   fresh instance (unless the module can remember nothing) ─▶ fuel ─▶ alloc and write ─▶ call ─▶ read
//! ```
//! Invariant: a row's value depends on its arguments alone. Bounds: fuel, memory, tables and depth of a call, see [`super`]. A trap is
//! an error of the row; the guest may say more of it by the export `error_message`.

use wasmi::{Func, Linker, Memory, Store, StoreLimits, StoreLimitsBuilder, TrapCode, Val, ValType};

use super::abi::{Shape, Signature, Way};
use super::module::{Compiled, engine};
use super::{DEPTH_MAX, FUEL, FUEL_PER_BYTE, MEMORY_MAX, TABLE_MAX, blame};
use crate::functions::error::{EvalError, EvalResult};

/// An argument.
#[derive(Debug, Clone)]
pub(super) enum Arg<'a> {
    Null,
    Plain(Val),
    Bytes(&'a [u8]),
}

/// What a call gave.
#[derive(Debug)]
pub(super) enum Answer {
    Null,
    Plain(Val),
    Bytes(Vec<u8>),
}

/// Fuel for telling why it failed.
const FUEL_FOR_MESSAGE: u64 = 1_000_000;
/// Bytes of such a message that are shown.
const MESSAGE_MAX: usize = 500;

/// Fuel for a call with these arguments.
pub(super) fn fuel(args: &[Arg<'_>]) -> u64 {
    let bytes: usize = args.iter().map(|arg| if let Arg::Bytes(b) = arg { b.len() } else { 0 }).sum();
    FUEL.saturating_add(FUEL_PER_BYTE.saturating_mul(bytes as u64))
}

/// An instance.
pub(super) struct Guest<'a> {
    /// The function, which errors name.
    name: &'a str,
    store: Store<StoreLimits>,
    instance: wasmi::Instance,
    memory: Option<Memory>,
    inputs: Vec<Val>,
}

impl<'a> Guest<'a> {
    /// A fresh one, with this fuel to begin with.
    pub fn open(compiled: &Compiled, name: &'a str, fuel: u64) -> EvalResult<Guest<'a>> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_MAX)
            .table_elements(TABLE_MAX)
            .instances(1)
            .memories(1)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(engine(), limits);
        store.limiter(|limits| limits);
        store.set_fuel(fuel).map_err(|e| EvalError::internal(e.to_string()))?;
        let started = Linker::new(engine()).instantiate_and_start(&mut store, &compiled.module);
        let instance = started.map_err(|e| failure(name, &e, None))?;
        let memory = instance.get_memory(&store, "memory");
        Ok(Guest { name, store, instance, memory, inputs: vec![] })
    }

    /// Gives it so much fuel again.
    pub fn refuel(&mut self, fuel: u64) -> EvalResult<()> {
        self.store.set_fuel(fuel).map_err(|e| EvalError::internal(e.to_string()))
    }

    /// An export.
    pub fn func(&self, export: &str) -> EvalResult<Func> {
        let broken = || broken(self.name, format!("has no export \"{export}\""));
        self.instance.get_func(&self.store, export).ok_or_else(broken)
    }

    /// Calls an export with these arguments.
    pub fn call(&mut self, func: Func, signature: &Signature, args: &[Arg<'_>], outputs: &mut [Val]) -> EvalResult<()> {
        let mut inputs = std::mem::take(&mut self.inputs);
        inputs.clear();
        for (arg, way) in args.iter().zip(signature.params()) {
            if !signature.strict() {
                inputs.push(Val::I32(i32::from(matches!(arg, Arg::Null))));
            }
            match (arg, way) {
                (Arg::Plain(value), _) => inputs.push(value.clone()),
                (Arg::Null, Way::Plain(ty)) => inputs.push(Val::default(*ty)),
                (Arg::Null, Way::Bytes) => inputs.extend([Val::I32(0), Val::I32(0)]),
                (Arg::Bytes(bytes), _) => {
                    let (at, len) = self.write(bytes)?;
                    inputs.extend([Val::I32(at), Val::I32(len)]);
                }
            }
        }
        self.invoke(func, &inputs, outputs)?;
        self.inputs = inputs;
        Ok(())
    }

    fn invoke(&mut self, func: Func, inputs: &[Val], outputs: &mut [Val]) -> EvalResult<()> {
        func.call(&mut self.store, inputs, outputs).map_err(|error| {
            let said = self.message();
            failure(self.name, &error, said)
        })
    }

    /// Puts bytes where the guest wants them.
    fn write(&mut self, bytes: &[u8]) -> EvalResult<(i32, i32)> {
        let name = self.name;
        let memory = self.memory.ok_or_else(|| broken(name, "has no memory to put its arguments in"))?;
        let too_large = |_| blame("54000", name, format!("is given more than its memory holds: bytes={}", bytes.len()));
        let len = i32::try_from(bytes.len()).map_err(too_large)?;
        let mut at = [Val::I32(0)];
        let alloc = self.func("alloc")?;
        self.invoke(alloc, &[Val::I32(len)], &mut at)?;
        let at = at[0].i32().unwrap_or_default();
        let place = usize::try_from(at.cast_unsigned()).unwrap_or(usize::MAX);
        let written = memory.write(&mut self.store, place, bytes);
        written.map_err(|_| broken(name, format!("has an alloc that answers a place outside of its memory: {place}")))?;
        Ok((at, len))
    }

    /// What came of a call.
    pub fn read(&mut self, shape: Shape, outputs: &[Val]) -> EvalResult<Answer> {
        let i32_at = |n: usize| outputs.get(n).and_then(Val::i32).unwrap_or_default();
        let value = |n: usize| outputs.get(n).cloned().map_or(Answer::Null, Answer::Plain);
        match shape {
            Shape::Plain => {
                if let Some(is_null) = self.instance.get_func(&self.store, "is_null") {
                    let mut null = [Val::I32(0)];
                    self.invoke(is_null, &[], &mut null)?;
                    if null[0].i32().unwrap_or_default() != 0 {
                        return Ok(Answer::Null);
                    }
                }
                Ok(value(0))
            }
            Shape::Flagged if i32_at(0) != 0 => Ok(Answer::Null),
            Shape::Flagged => Ok(value(1)),
            Shape::Pair if i32_at(0) == -1 => Ok(Answer::Null),
            Shape::Pair => self.bytes(i32_at(0).cast_unsigned(), i32_at(1).cast_unsigned()),
            Shape::Packed => match outputs.first().and_then(Val::i64).unwrap_or(-1) {
                -1 => Ok(Answer::Null),
                both => {
                    let (at, len) = unpack(both);
                    self.bytes(at, len)
                }
            },
        }
    }

    fn bytes(&self, at: u32, len: u32) -> EvalResult<Answer> {
        let found = self.memory.and_then(|memory| piece(memory.data(&self.store), at, len));
        let outside = || broken(self.name, format!("gave a result outside of its memory: place={at} bytes={len}"));
        found.map(|bytes| Answer::Bytes(bytes.to_vec())).ok_or_else(outside)
    }

    /// What the guest says of its trap.
    fn message(&mut self) -> Option<String> {
        let func = self.instance.get_func(&self.store, "error_message")?;
        self.store.set_fuel(FUEL_FOR_MESSAGE).ok()?;
        let mut both = [Val::I64(-1)];
        func.call(&mut self.store, &[], &mut both).ok()?;
        let (at, len) = both[0].i64().filter(|both| *both != -1).map(unpack)?;
        let bytes = piece(self.memory?.data(&self.store), at, len)?;
        let text = String::from_utf8_lossy(bytes.get(..MESSAGE_MAX).unwrap_or(bytes)).into_owned();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

/// Calls one export for rows.
pub(super) struct Runner<'a> {
    compiled: &'a Compiled,
    signature: &'a Signature,
    shape: Shape,
    name: &'a str,
    guest: Option<(Guest<'a>, Func)>,
    outputs: Vec<Val>,
}

impl<'a> Runner<'a> {
    pub fn new(compiled: &'a Compiled, signature: &'a Signature, shape: Shape, name: &'a str) -> Runner<'a> {
        Runner { compiled, signature, shape, name, guest: None, outputs: outputs(shape, signature.result()) }
    }

    /// One row.
    pub fn call(&mut self, args: &[Arg<'_>]) -> EvalResult<Answer> {
        let fuel = fuel(args);
        let (mut guest, func) = match self.guest.take() {
            Some((mut guest, func)) => {
                guest.refuel(fuel)?;
                (guest, func)
            }
            None => {
                let guest = Guest::open(self.compiled, self.name, fuel)?;
                let func = guest.func(self.name)?;
                (guest, func)
            }
        };
        guest.call(func, self.signature, args, &mut self.outputs)?;
        let answer = guest.read(self.shape, &self.outputs)?;
        if !self.compiled.remembers {
            self.guest = Some((guest, func));
        }
        Ok(answer)
    }
}

/// Room for the results of a shape.
pub(super) fn outputs(shape: Shape, result: Way) -> Vec<Val> {
    let types = match (shape, result) {
        (Shape::Plain, Way::Plain(ty)) => vec![ty],
        (Shape::Flagged, Way::Plain(ty)) => vec![ValType::I32, ty],
        (Shape::Packed, _) => vec![ValType::I64],
        _ => vec![ValType::I32, ValType::I32],
    };
    types.into_iter().map(Val::default).collect()
}

fn broken(name: &str, what: impl std::fmt::Display) -> EvalError {
    blame("38000", name, what)
}

/// What a call failed of; `said` is the guest's own word.
fn failure(name: &str, error: &wasmi::Error, said: Option<String>) -> EvalError {
    let too_much = || {
        let limit = format!("asks for too much memory: limit={MEMORY_MAX} bytes, {TABLE_MAX} elements of tables");
        blame("54000", name, limit)
    };
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => {
            let limit = format!("did not end within its fuel: limit={FUEL}, and {FUEL_PER_BYTE} for each byte of its arguments");
            blame("54000", name, limit)
        }
        Some(TrapCode::StackOverflow) => blame("54001", name, format!("calls too deeply: limit={DEPTH_MAX}")),
        Some(TrapCode::GrowthOperationLimited) => too_much(),
        Some(code) => match said {
            Some(said) => broken(name, format!("failed: {said}")),
            None => broken(name, format!("trapped: {code}")),
        },
        None => {
            let text = error.to_string();
            let limited = ["limit", "memory", "table"].iter().any(|word| text.to_lowercase().contains(word));
            if limited { too_much() } else { broken(name, format!("cannot be run: {text}")) }
        }
    }
}

/// The upper half and the lower.
fn unpack(both: i64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = both.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

fn piece(memory: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
    memory.get(at..at.checked_add(len)?)
}
