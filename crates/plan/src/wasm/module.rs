//! Modules by the hash of their content, one of each in a process.
//!
//! Whoever needs one keeps it ([`keep`]); calls find it by its hash ([`find`]), and it is gone when nobody keeps it. Since the hash
//! says all that a module is, databases in one process share them without knowing of each other. A module is compiled when it is first
//! used: a restart reads its catalog without compiling what was dropped since.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use arrow::datatypes::DataType;
use wasmi::{CompilationMode, Config, Engine, ExternType, FuncType};

use super::abi::{Shape, Signature};
use super::{DEPTH_MAX, MODULE_MAX};
use crate::error::PlanError;

/// A module.
pub struct Module {
    hash: String,
    bytes: Vec<u8>,
    compiled: OnceLock<Result<Compiled, String>>,
}

/// What is run of it.
pub(super) struct Compiled {
    pub module: wasmi::Module,
    /// A call could leave something behind for the next one.
    pub remembers: bool,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("hash", &self.hash).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}
impl Eq for Module {}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::default();
    // All at once: what is compiled at the first call would be paid for by that call's fuel.
    config.compilation_mode(CompilationMode::Eager).consume_fuel(true).ignore_custom_sections(true);
    config.set_max_recursion_depth(DEPTH_MAX);
    config.wasm_multi_memory(false).wasm_memory64(false).wasm_custom_page_sizes(false).wasm_wide_arithmetic(false);
    Engine::new(&config)
});

pub(super) fn engine() -> &'static Engine {
    &ENGINE
}

static KEPT: LazyLock<parking_lot::RwLock<HashMap<String, Weak<Module>>>> = LazyLock::new(Default::default);

/// A module that is found as long as what comes back is kept.
#[must_use]
pub fn keep(bytes: &[u8]) -> Arc<Module> {
    let hash = blake3::hash(bytes).to_hex().to_string();
    let mut kept = KEPT.write();
    if let Some(there) = kept.get(&hash).and_then(Weak::upgrade) {
        return there;
    }
    kept.retain(|_, module| module.strong_count() > 0);
    let module = Arc::new(Module { hash: hash.clone(), bytes: bytes.to_vec(), compiled: OnceLock::new() });
    kept.insert(hash, Arc::downgrade(&module));
    module
}

/// The module of a hash, if somebody keeps it.
#[must_use]
pub fn find(hash: &str) -> Option<Arc<Module>> {
    KEPT.read().get(hash).and_then(Weak::upgrade)
}

impl Module {
    /// BLAKE3 of its content, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Compiled; what WebAssembly says if it is none.
    pub(super) fn compiled(&self) -> Result<&Compiled, &str> {
        let compiled = self.compiled.get_or_init(|| {
            let module = wasmi::Module::new(engine(), &self.bytes).map_err(|e| e.to_string())?;
            Ok(Compiled { module, remembers: remembers(&self.bytes) })
        });
        compiled.as_ref().map_err(String::as_str)
    }

    /// Whether an aggregate of these types can be what this export's two are: `name_step` and `name_result`.
    ///
    /// Errors: those of [`Module::judge`].
    pub fn judge_fold(&self, export: &str, params: &[DataType], result: &DataType, strict: bool) -> Result<(), PlanError> {
        let (step_name, result_name) = super::fold::exports(export);
        let (steps, gives) = (Signature::of(params, &DataType::Int32, strict), Signature::of(&[], result, true));
        self.judge(&result_name, &gives)?;
        let ty = self.function(&step_name)?;
        if !steps.is_step(&ty) {
            return Err(steps.no_step(&step_name, &ty));
        }
        self.judge_memory(&steps)
    }

    /// Whether a function of these types can be this export.
    ///
    /// Errors: 42P13 for what is no module, for one that imports something, that has no such export, or one of another type; 54000 for one
    /// that is too large.
    pub fn judge(&self, export: &str, signature: &Signature) -> Result<(), PlanError> {
        if self.bytes.len() > MODULE_MAX {
            return Err(PlanError::invalid("54000", format!("the WebAssembly module is too large: limit={MODULE_MAX}")));
        }
        let module = &self.compiled().map_err(no_module)?.module;
        if let Some(import) = module.imports().next() {
            let message = format!("the module imports \"{}\" of \"{}\"", import.name(), import.module());
            return Err(PlanError::invalid("42P13", message).with_hint(
                "a function has its arguments and nothing else: build it without imports (wasm32-unknown-unknown, no WASI)",
            ));
        }
        self.shape(export, signature)?;
        self.judge_memory(signature)
    }

    fn judge_memory(&self, signature: &Signature) -> Result<(), PlanError> {
        let module = &self.compiled().map_err(PlanError::internal)?.module;
        let has = |name: &str, wanted: &str, is: &dyn Fn(&ExternType) -> bool| match module.get_export(name) {
            Some(ty) if is(&ty) => Ok(()),
            _ => Err(PlanError::invalid("42P13", format!("the module has no export \"{name}\" {wanted}"))
                .with_hint("values of text and bytea are handed over in the guest's memory: docs/wasm.md")),
        };
        if signature.touches_memory() {
            has("memory", "(memory)", &|ty| matches!(ty, ExternType::Memory(_)))?;
        }
        if signature.writes() {
            has("alloc", "(func (param i32) (result i32))", &|ty| match ty {
                ExternType::Func(ty) => ty.params() == [wasmi::ValType::I32] && ty.results() == [wasmi::ValType::I32],
                _ => false,
            })?;
        }
        Ok(())
    }

    /// How an export's results come.
    pub(super) fn shape(&self, export: &str, signature: &Signature) -> Result<Shape, PlanError> {
        let ty = self.function(export)?;
        signature.fit(&ty).ok_or_else(|| signature.misfit(export, &ty))
    }

    /// The type of a function that it exports.
    fn function(&self, export: &str) -> Result<FuncType, PlanError> {
        let compiled = self.compiled().map_err(PlanError::internal)?;
        match compiled.module.get_export(export) {
            Some(ExternType::Func(ty)) => Ok(ty),
            _ => {
                let exports = compiled.module.exports().filter(|e| matches!(e.ty(), ExternType::Func(_)));
                let known: Vec<String> = exports.map(|e| format!("\"{}\"", e.name())).take(20).collect();
                let message = format!("the module has no function \"{export}\" among its exports");
                let hint = if known.is_empty() {
                    "it exports none".to_owned()
                } else {
                    format!("AS '..', 'name'; there is {}", known.join(", "))
                };
                Err(PlanError::invalid("42P13", message).with_hint(hint))
            }
        }
    }
}

fn no_module(what: &str) -> PlanError {
    PlanError::invalid("42P13", format!("this is no WebAssembly module: {}", super::text::first_lines(what)))
        .with_hint("docs/wasm.md says which proposals are offered; threads, vectors and 64-bit memories are not")
}

/// Whether a valid module has a table, a memory or a global: without them nothing outlives a call.
fn remembers(bytes: &[u8]) -> bool {
    const HEADER: usize = 8;
    const TABLE_MEMORY_GLOBAL: std::ops::RangeInclusive<u8> = 4..=6;
    let mut at = HEADER;
    while let Some(id) = bytes.get(at) {
        if TABLE_MEMORY_GLOBAL.contains(id) {
            return true;
        }
        let Some((len, size)) = leb(&bytes[at + 1..]) else { return true };
        at = at.saturating_add(1 + size).saturating_add(len);
    }
    false
}

/// An unsigned number of WebAssembly, and how many bytes it takes.
fn leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u32;
    for (i, b) in bytes.iter().take(5).enumerate() {
        value |= u32::from(b & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if b & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, i + 1));
        }
    }
    None
}
