"""Arguments of a module's call, as they are captured: made into those of a larger batch.

Arguments are trees: tensors and other values in dictionaries, lists and tuples. Which dimension of a tensor grows with
the batch is measured, by comparing the arguments of a batch of one with those of two.
"""

from typing import Any

from torch import Tensor

Tree = Any


class Unlike(ValueError):  # noqa: N818  # a reason, which the caller handles
    """Arguments of a batch of two are not those of a batch of one with dimensions that are twice as large."""


def copied(tree: Tree) -> Tree:
    """The tree with copies of its tensors."""
    if isinstance(tree, Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return type(tree)(map(copied, tree)) if type(tree) in (list, tuple) else tree


def shape_of(tree: Tree) -> Tree:
    """What trees of one form have in common, as a value that can be a key: keys, and each tensor's dimensions."""
    if isinstance(tree, Tensor):
        return tree.dtype, tree.ndim
    if isinstance(tree, dict):
        return tuple((key, shape_of(value)) for key, value in tree.items())
    return tuple(map(shape_of, tree)) if isinstance(tree, (list, tuple)) else type(tree)


def batch_axes(one: Tree, two: Tree) -> Tree:
    """For each tensor the dimension that a batch of two has twice as large; None where none is.

    It is of size 1, or larger where the parts of all samples follow each other, such as features of visual tokens.

    Raises:
        Unlike: if the trees differ in another way.
    """
    if isinstance(one, Tensor):
        if not isinstance(two, Tensor) or one.ndim != two.ndim:
            raise Unlike
        larger = [axis for axis in range(one.ndim) if one.shape[axis] != two.shape[axis]]
        if not larger:
            return None
        if len(larger) > 1 or two.shape[larger[0]] != 2 * one.shape[larger[0]]:
            raise Unlike
        return larger[0]
    if isinstance(one, dict):
        if not isinstance(two, dict) or one.keys() != two.keys():
            raise Unlike
        return {key: batch_axes(value, two[key]) for key, value in one.items()}
    if isinstance(one, (list, tuple)):
        if not isinstance(two, (list, tuple)) or len(one) != len(two):
            raise Unlike
        return [batch_axes(*pair) for pair in zip(one, two, strict=True)]
    if isinstance(two, Tensor):
        raise Unlike
    return None


def repeated(tree: Tree, axes: Tree, count: int) -> Tree:
    """The arguments of a batch of ``count`` equal samples; tensors are copies.

    Args:
        axes: as ``batch_axes`` of such a tree gives them.
    """
    if isinstance(tree, Tensor):
        return tree.clone() if axes is None else tree.repeat(*(count if at == axes else 1 for at in range(tree.ndim)))
    if isinstance(tree, dict):
        return {key: repeated(value, axes[key], count) for key, value in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(repeated(value, axis, count) for value, axis in zip(tree, axes, strict=True))
    return tree


def tensors(tree: Tree) -> list[Tensor]:
    """All tensors of a tree."""
    if isinstance(tree, Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return [tensor for value in values for tensor in tensors(value)]
