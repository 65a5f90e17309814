"""The masked multi-task loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from rhonet.core.properties import Property

HUBER_DELTA = 1.0


def task_losses(properties: Sequence[Property], targets: Any, standardized: Any) -> tuple[Any, Any]:
    """Loss of every sample and property, with its mask.

    Regression properties have the Huber loss of the standardised value, binary ones the cross-entropy of the logit,
    multiclass ones the cross-entropy of the softmax.

    Args:
        properties: the P properties, in the order of the columns.
        targets: (B, P) standardised values or class numbers, NaN where the label is missing.
        standardized: (B, Z) outputs of the network.

    Returns:
        Losses (B, P), which are 0 for missing labels, and the mask (B, P), 1 for known and 0 for missing labels.
    """
    mask = ops.cast(ops.logical_not(ops.isnan(targets)), "float32")
    known = ops.where(mask > 0, targets, 0.0)
    columns, start = [], 0
    for column, item in enumerate(properties):
        z = standardized[:, start : start + item.size]
        start += item.size
        columns.append(_task_loss(item, known[:, column], z))
    return ops.stack(columns, axis=1) * mask, mask


def _task_loss(item: Property, target: Any, z: Any) -> Any:
    if item.kind == "multiclass":
        return ops.sparse_categorical_crossentropy(ops.cast(target, "int32"), z, from_logits=True)
    if item.kind == "binary":
        return ops.binary_crossentropy(target, z[:, 0], from_logits=True)
    error = ops.abs(z[:, 0] - target)
    return ops.where(error < HUBER_DELTA, 0.5 * error**2, HUBER_DELTA * (error - 0.5 * HUBER_DELTA))
