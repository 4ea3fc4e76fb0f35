"""The parts of a transformer as plain tensors: norms, positions, attention, MLP, block.

What differs between architectures is a field of a part, and None where an architecture has nothing
of the kind: then nothing is computed for it.

Shapes are written [batch, pos, …]; the residual stream is [batch, pos, d_model].
"""

from circuitwatch.components.attention import Attention
from circuitwatch.components.blocks import MLP, Block
from circuitwatch.components.norms import HeadNorm, Norm
from circuitwatch.components.positions import Rotary, Sight

__all__ = ["MLP", "Attention", "Block", "HeadNorm", "Norm", "Rotary", "Sight"]
