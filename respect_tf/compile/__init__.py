"""Google's compiler: driving it, reading its logs, and reading what it made."""

from respect_tf.compile._automatic import CompileMode, compile_cut, resolve_compiler
from respect_tf.compile._compilation import (
    Compilation,
    SegmentCompilation,
    compile_segments,
    logged_figures,
)
from respect_tf.compile._compiled_checks import check_compiled, check_same_interface
from respect_tf.compile._compiled_model import compiled_of, read_compiled, sent_instructions
from respect_tf.compile._compiled_values import CompiledModel, EdgeTpuOp, Executable, Layer
from respect_tf.compile._compiler import (
    Compiler,
    CompileResult,
    compile_model,
    find_compiler,
    require_compiler,
)
from respect_tf.compile._elsewhere import compile_commands, files_to_compile_elsewhere
from respect_tf.compile._log import CompilerLog, Failure, ModelLog, OpStatus, parse_log, read_log
from respect_tf.compile._narrow import FailingOps
from respect_tf.compile._process import MOST_LOG_BYTES
from respect_tf.compile._recut import CompiledCut, CutAttempt, compile_and_recut
from respect_tf.compile._transfers import Transfers

__all__ = [
    "MOST_LOG_BYTES",
    "Compilation",
    "CompileMode",
    "CompileResult",
    "CompiledCut",
    "CompiledModel",
    "Compiler",
    "CompilerLog",
    "CutAttempt",
    "EdgeTpuOp",
    "Executable",
    "FailingOps",
    "Failure",
    "Layer",
    "ModelLog",
    "OpStatus",
    "SegmentCompilation",
    "Transfers",
    "check_compiled",
    "check_same_interface",
    "compile_and_recut",
    "compile_commands",
    "compile_cut",
    "compile_model",
    "compile_segments",
    "compiled_of",
    "files_to_compile_elsewhere",
    "find_compiler",
    "logged_figures",
    "parse_log",
    "read_compiled",
    "read_log",
    "require_compiler",
    "resolve_compiler",
    "sent_instructions",
]
