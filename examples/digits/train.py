"""Makes everything the digits example ships: a small image classifier and the data it was trained and measured on.

The images are 8x8 grey digits from the UCI optical recognition set, in the copy that scikit-learn carries (1,797 rows).
Written, all from fixed seeds:

    model/model.onnx          input `x` float32 (n, 64) in 0..1, output `logits` float32 (n, 10)
    model/model.safetensors   the same six tensors, under the same names
    model/config.json         classes, input range, architecture
    data/train.parquet        columns pixel_0..pixel_63 (uint8, 0..16) and label (int64)
    data/heldout.npz          `x` float32 (n, 64) in 0..1 and `y` int64, never trained on

Run it with Python 3.11 or later, from any directory:

    pip install -r requirements.lock --require-hashes
    python train.py

It needs no network and a few seconds, and ends by checking its own work: the ONNX file, read back from disk, agrees with
plain numpy; held-out accuracy reaches the floor; and the two README files state the figures just measured.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

ROOT = Path(__file__).resolve().parent
SEED_SPLIT = 20240601
SEED_TRAINING = 7
N_HELDOUT = 600
ACCURACY_FLOOR = 0.95
PIXEL_MAX = 16  # each pixel counts the inked points of a 4x4 block
LAYERS = ("hidden_1", "hidden_2", "output")
WIDTHS = (64, 64, 32, 10)
# Weights are rounded to multiples of 2^-12. Training runs in float64, where one BLAS build differs from another only in
# the last bits; rounding removes that difference, so another processor writes the same files.
WEIGHT_STEP = 2.0**-12


def main() -> None:
    (ROOT / "model").mkdir(exist_ok=True)
    (ROOT / "data").mkdir(exist_ok=True)

    pixels_train, y_train, pixels_heldout, y_heldout = split_digits()
    x_heldout = (pixels_heldout / PIXEL_MAX).astype(np.float32)
    tensors = train(pixels_train / PIXEL_MAX, y_train)

    write_train(ROOT / "data/train.parquet", pixels_train, y_train)
    np.savez(ROOT / "data/heldout.npz", x=x_heldout, y=y_heldout)
    (ROOT / "model/model.onnx").write_bytes(onnx_bytes(tensors))
    (ROOT / "model/model.safetensors").write_bytes(safetensors_bytes(tensors))
    (ROOT / "model/config.json").write_text(json.dumps(config(), indent=2) + "\n", encoding="utf-8")

    check_files_agree(x_heldout)
    check_accuracy(x_heldout, y_heldout)


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns train pixels and labels, then held-out pixels and labels, with every class in the same proportion in both.

    Pixels are uint8 of shape (n, 64) in 0..16, labels int64 of shape (n,).
    """
    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    labels = digits.target.astype(np.int64)
    assert pixels.shape == (1797, 64) and pixels.max() == PIXEL_MAX
    assert len(np.unique(pixels, axis=0)) == len(pixels), "a repeated image could fall on both sides of the split"
    pixels_train, pixels_heldout, y_train, y_heldout = train_test_split(
        pixels, labels, test_size=N_HELDOUT, random_state=SEED_SPLIT, stratify=labels
    )
    return pixels_train, y_train, pixels_heldout, y_heldout


def train(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the trained network as `<layer>.weight` float32 (out, in) and `<layer>.bias` float32 (out,).

    `x`: float64 (n, 64) in 0..1. The settings were fixed beforehand; none was chosen by looking at the held-out rows.
    """
    network = MLPClassifier(
        hidden_layer_sizes=WIDTHS[1:-1], activation="relu", solver="adam", alpha=1e-3, max_iter=400, random_state=SEED_TRAINING
    )
    network.fit(x, y)
    tensors = {}
    for layer, weight, bias in zip(LAYERS, network.coefs_, network.intercepts_, strict=True):
        tensors[f"{layer}.weight"] = rounded(weight.T)
        tensors[f"{layer}.bias"] = rounded(bias)
    return tensors


def rounded(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.round(values / WEIGHT_STEP) * WEIGHT_STEP, dtype=np.float32)


def forward(tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Returns logits (n, 10) for `x` (n, 64): three affine layers with ReLU between them."""
    for layer in LAYERS[:-1]:
        x = np.maximum(x @ tensors[f"{layer}.weight"].T + tensors[f"{layer}.bias"], 0)
    return x @ tensors["output.weight"].T + tensors["output.bias"]


def onnx_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """Returns the network as an ONNX model, opset 18, IR version 9, with the number of rows left open."""
    nodes, name = [], "x"
    for layer in LAYERS:
        out = "logits" if layer == "output" else f"{layer}.sum"
        nodes.append(helper.make_node("Gemm", [name, f"{layer}.weight", f"{layer}.bias"], [out], name=layer, transB=1))
        if layer != "output":
            nodes.append(helper.make_node("Relu", [out], [f"{layer}.relu"], name=f"{layer}.relu"))
            name = f"{layer}.relu"
    graph = helper.make_graph(
        nodes,
        "digits",
        inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])],
        outputs=[helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", WIDTHS[-1]])],
        initializer=[numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    model = helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)], producer_name="digits-example", producer_version="1"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """Returns the tensors as a safetensors file whose header is in one fixed order.

    The library writes metadata in the order of a hash map, which changes from run to run, so the header is written again.
    """
    metadata = {
        "format": "np",
        "model": "digits",
        "architecture": "-".join(map(str, WIDTHS)),
        "license": "Apache-2.0",
        "seeds": f"split {SEED_SPLIT}, training {SEED_TRAINING}",
    }
    original = save(tensors, metadata=metadata)
    (header_len,) = struct.unpack_from("<Q", original)
    entries = json.loads(original[8 : 8 + header_len])
    entries["__metadata__"] = metadata
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensor data starts at a multiple of eight bytes
    return struct.pack("<Q", len(header)) + header + original[8 + header_len :]


def config() -> dict:
    classes = {str(digit): str(digit) for digit in range(10)}
    return {
        "model_type": "mlp",
        "task": "image-classification",
        "id2label": classes,
        "label2id": {label: int(id_) for id_, label in classes.items()},
        "input": {
            "name": "x",
            "dtype": "float32",
            "shape": ["n", 64],
            "range": [0.0, 1.0],
            "layout": "8x8 grey image, row by row, ink is 1",
            "from_pixels": f"x = pixel / {PIXEL_MAX}",
        },
        "output": {"name": "logits", "dtype": "float32", "shape": ["n", 10]},
        "architecture": {"layers": list(LAYERS), "widths": list(WIDTHS), "activation": "relu"},
    }


def write_train(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    columns = {f"pixel_{i}": pa.array(pixels[:, i], pa.uint8()) for i in range(pixels.shape[1])}
    columns["label"] = pa.array(labels, pa.int64())
    # No codec: the bytes then depend on nothing but the pinned pyarrow, and the file is small anyway.
    pq.write_table(pa.table(columns), path, compression="none", store_schema=False)


def check_files_agree(x: np.ndarray) -> None:
    """Fails unless the ONNX file and the safetensors file, both read back from disk, compute the same logits."""
    logits_onnx = ReferenceEvaluator(str(ROOT / "model/model.onnx")).run(None, {"x": x})[0]
    logits_numpy = forward(load_file(ROOT / "model/model.safetensors"), x)
    assert logits_onnx.shape == (len(x), 10) and logits_onnx.dtype == np.float32
    difference_max = float(np.abs(logits_onnx - logits_numpy).max())
    assert difference_max < 1e-4, f"ONNX and numpy logits differ by {difference_max}"
    print(f"largest difference between ONNX and numpy logits: {difference_max:.1e}")


def check_accuracy(x: np.ndarray, y: np.ndarray) -> None:
    """Fails unless held-out accuracy reaches the floor and the model card states exactly the figure measured."""
    n_right = int((forward(load_file(ROOT / "model/model.safetensors"), x).argmax(axis=1) == y).sum())
    low, high = wilson_interval95(n_right, len(y))
    figures = f"{n_right / len(y):.4f} ({n_right} of {len(y)}; 95 % interval {low:.4f} to {high:.4f})"
    print(f"held-out accuracy: {figures}")
    assert n_right / len(y) >= ACCURACY_FLOOR
    card = (ROOT / "model/README.md").read_text(encoding="utf-8")
    assert figures in card, f"model/README.md should state the accuracy as `{figures}`"
    datasheet = (ROOT / "data/README.md").read_text(encoding="utf-8")
    for words in (f"{1797 - len(y):,} rows", f"{len(y):,} rows", f"`{SEED_SPLIT}`"):
        assert words in datasheet, f"data/README.md should state {words}"


def wilson_interval95(n_right: int, n: int) -> tuple[float, float]:
    """Returns the Wilson score interval for a proportion (Wilson, JASA 1927)."""
    z = 1.959964
    centre = (n_right + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(n_right * (n - n_right) / n + z * z / 4)
    return centre - half, centre + half


if __name__ == "__main__":
    main()
