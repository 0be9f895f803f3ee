"""Runs in TensorFlow's environment: BASE CALIBRATION.npy -> BASE-f32.tflite, BASE-int8.tflite."""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

layers = tf.keras.layers


def network(frame: dict, weights: dict) -> tf.keras.Model:
    """The graph as a Keras model on NHWC images; its output is that of the last operator."""
    channels, height, width = frame["input_shape"]
    values = [layers.Input((height, width, channels))]
    flattened: dict[int, list[int]] = {}  # value -> the shape it had as an image
    todo = []
    for index, op in enumerate(frame["ops"]):
        source = op["inputs"][0]
        value, attrs = values[source], op["attrs"]
        if op["kind"] == "conv":
            value = _padded(value, attrs)
            layer = layers.Conv2D(
                attrs["out_channels"], attrs["kernel"], attrs["stride"], _mode(attrs)
            )
            todo.append((layer, op["name"], None))
        elif op["kind"] == "fc":
            layer = layers.Dense(attrs["out_features"])
            todo.append((layer, op["name"], flattened.get(source)))
        elif op["kind"] == "max_pool":
            layer = layers.MaxPool2D(attrs["kernel"], attrs["stride"])
        elif op["kind"] == "relu":
            layer = layers.ReLU()
        elif op["kind"] == "flatten":
            layer = layers.Flatten()
            flattened[index + 1] = frame["shapes"][source]
        else:
            raise ValueError(f"operator {op['kind']}")
        values.append(layer(value))
    model = tf.keras.Model(values[0], values[-1])
    for layer, name, image in todo:
        layer.set_weights([_transposed(weights[f"{name}.weight"], image), weights[f"{name}.bias"]])
    return model


def _mode(attrs: dict) -> str:
    same = all(2 * p == k - 1 for p, k in zip(attrs["padding"], attrs["kernel"], strict=True))
    return "same" if same and attrs["stride"] == [1, 1] else "valid"


def _padded(value, attrs: dict):
    if _mode(attrs) == "same" or attrs["padding"] == [0, 0]:
        return value
    return layers.ZeroPadding2D(tuple(attrs["padding"]))(value)


def _transposed(weight: np.ndarray, image: list[int] | None) -> np.ndarray:
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0)
    if image is not None:  # the columns are an image's channels, rows, columns
        weight = weight.reshape(-1, *image).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return weight.T


def main() -> None:
    """Writes both models."""
    base, calibration = sys.argv[1:]
    with open(f"{base}.json") as file:
        frame = json.load(file)
    model = network(frame, dict(np.load(f"{base}.npz")))
    images = np.load(calibration).transpose(0, 2, 3, 1)
    plain = tf.lite.TFLiteConverter.from_keras_model(model)
    with open(f"{base}-f32.tflite", "wb") as file:
        file.write(plain.convert())
    quantised = tf.lite.TFLiteConverter.from_keras_model(model)
    quantised.optimizations = [tf.lite.Optimize.DEFAULT]
    quantised.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    quantised.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantised.inference_input_type = quantised.inference_output_type = tf.int8
    with open(f"{base}-int8.tflite", "wb") as file:
        file.write(quantised.convert())


if __name__ == "__main__":
    main()
