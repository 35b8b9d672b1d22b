//! Components that cost a compiler far more than their authors: an honest component carries a module which is never
//! instantiated, and which is what the name says.

use wasm_encoder::{
    BlockType, CodeSection, Encode, Function, FunctionSection, Instruction, Module, TypeSection, ValType,
};

/// The number of core modules among a component's sections.
const CORE_MODULE: u8 = 1;

/// A component with one more module.
fn carrying(component: &[u8], module: Vec<u8>) -> Vec<u8> {
    let mut bytes = component.to_vec();
    bytes.push(CORE_MODULE);
    module.as_slice().encode(&mut bytes);
    bytes
}

/// So many functions with the same body, which take and give nothing.
fn module(functions: u32, body: &Function) -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..functions {
        declared.function(0);
        code.function(body);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    module.finish()
}

fn body(
    locals: impl IntoIterator<Item = (u32, ValType), IntoIter: ExactSizeIterator>,
    write: impl FnOnce(&mut Function),
) -> Function {
    let mut function = Function::new(locals);
    write(&mut function);
    function.instruction(&Instruction::End);
    function
}

/// As many functions as a module may have, near enough.
pub(crate) fn many_functions(component: &[u8]) -> Vec<u8> {
    carrying(component, module(900_000, &body([], |_| {})))
}

/// One function of five megabytes.
pub(crate) fn one_giant_function(component: &[u8]) -> Vec<u8> {
    let calls = |function: &mut Function| {
        for _ in 0..2_500_000 {
            function.instruction(&Instruction::Call(0));
        }
    };
    carrying(component, module(1, &body([], calls)))
}

/// Loops in loops, each of which can be left for every one around it.
pub(crate) fn deep_loops(component: &[u8]) -> Vec<u8> {
    const DEPTH: u32 = 50_000;
    let nest = |function: &mut Function| {
        for _ in 0..DEPTH {
            function.instruction(&Instruction::Loop(BlockType::Empty));
        }
        for depth in 0..DEPTH {
            function
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::BrIf(DEPTH - depth - 1));
            function.instruction(&Instruction::End);
        }
    };
    carrying(component, module(4, &body([(1, ValType::I32)], nest)))
}

/// A kilobyte of loops, each of which carries ten thousand locals.
pub(crate) fn carried_locals(component: &[u8]) -> Vec<u8> {
    const LOCALS: u32 = 10_000;
    const DEPTH: u32 = 500;
    let nest = |function: &mut Function| {
        for _ in 0..DEPTH {
            function.instruction(&Instruction::Loop(BlockType::Empty));
        }
        for local in 0..LOCALS {
            function.instruction(&Instruction::LocalGet(local)).instruction(&Instruction::I32Const(1));
            function.instruction(&Instruction::I32Add).instruction(&Instruction::LocalSet(local));
        }
        for depth in 0..DEPTH {
            function.instruction(&Instruction::LocalGet(depth)).instruction(&Instruction::BrIf(0));
            function.instruction(&Instruction::End);
        }
    };
    carrying(component, module(1, &body([(LOCALS, ValType::I32)], nest)))
}

/// More locals than a function may have.
pub(crate) fn too_many_locals(component: &[u8]) -> Vec<u8> {
    carrying(component, module(1, &body([(100_000, ValType::I64)], |_| {})))
}
