"""Networks rebuilt from the runtime graphs that they were exported to, for engines that run modules."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from cliff_ros.body.names import kind_of_body
from cliff_ros.cliff.embedded import EmbeddedCliff, completed, like
from cliff_ros.cliff.network import ENCODERS, Cliff, build
from cliff_ros.graph.metadata import GraphMetadata

Weights = dict[str, Tensor]
Network = Cliff | EmbeddedCliff
Builder = Callable[[GraphMetadata, Weights], tuple[Network, Weights]]


def can_rebuild(metadata: GraphMetadata) -> bool:
    """Whether the architecture is one of ours."""
    return metadata.model in _ARCHITECTURES


def rebuild(metadata: GraphMetadata, weights: Weights) -> tuple[Network, Weights]:
    """The network of a graph, untrained, and the weights of the graph as this version names and orders them."""
    return _ARCHITECTURES[metadata.model](metadata, weights)


def _embedded(_: GraphMetadata, weights: Weights) -> tuple[Network, Weights]:
    weights = completed(weights)
    return like(weights), weights


def _published(encoder: str) -> Builder:
    return lambda metadata, weights: (build(metadata.dialect, encoder, kind_of_body(metadata.num_vertices)), weights)


# By the name that a network has and its graph says.
_ARCHITECTURES: dict[str, Builder] = {
    EmbeddedCliff.name: _embedded,
    **{f'cliff_{encoder}': _published(encoder) for encoder in ENCODERS},
}
