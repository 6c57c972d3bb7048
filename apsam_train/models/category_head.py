"""The category of the object under the chosen mask (paper 3.4 and 9)."""

from __future__ import annotations

from torch import Tensor, nn


class CategoryHead(nn.Module):
    """Linear(C -> C), GELU, Linear(C -> 1 + num_categories) on the token of the chosen mask."""

    def __init__(self, embed_dim: int, *, num_categories: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, embed_dim), nn.GELU(), nn.Linear(embed_dim, 1 + num_categories)
        )

    def forward(self, tokens: Tensor, iou: Tensor) -> Tensor:
        """Mask tokens [P, M, C] as they leave the transformer, predicted IoU [P, M] -> logits
        [P, 1 + num_categories]; class 0 is no contraband. Masks of equal IoU count alike."""
        # Arithmetic: a row chosen by a computed index becomes operators compilers stumble over.
        chosen = (iou == iou.amax(dim=1, keepdim=True)).to(tokens.dtype)
        weight = chosen / chosen.sum(dim=1, keepdim=True)
        logits: Tensor = self.layers((weight.unsqueeze(2) * tokens).sum(dim=1))
        return logits
