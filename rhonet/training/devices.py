"""Which devices a training runs on, and in which number format."""

from __future__ import annotations

import logging
import os

import keras
import tensorflow as tf

from rhonet.core.config import TrainConfig

log = logging.getLogger(__name__)


def arithmetic_of(strategy: tf.distribute.Strategy) -> dict[str, str | int]:
    """Number format, kind and number of devices; if one of them changes, the same seed gives other weights."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    policy = keras.mixed_precision.global_policy().name
    return {"precision": policy, "devices": kind, "count": strategy.num_replicas_in_sync}


def prepare_devices(train: TrainConfig) -> tf.distribute.Strategy:
    """Makes TensorFlow deterministic, sets the number format and returns a `MirroredStrategy`.

    The strategy uses all GPUs; without a GPU it uses `train.cpu_devices` logical CPUs. Call this once, before
    TensorFlow has used a device, so before a data set is read.
    """
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus and train.cpu_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * train.cpu_devices)
    precision = train.precision
    if precision == "auto":
        precision = "mixed_bfloat16" if gpus else "float32"
    keras.mixed_precision.set_global_policy(precision)
    names = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    log.info(
        "training on %d %s, %s", len(names), "GPU(s)" if gpus else f"CPU device(s), {os.cpu_count()} cores", precision
    )
    return tf.distribute.MirroredStrategy([name.replace("device:", "") for name in names])
