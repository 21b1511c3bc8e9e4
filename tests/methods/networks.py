"""Networks as others write them: named inputs, outputs with logits, fused layers, in place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 3


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=CLASSES,
    )
    return BertForSequenceClassification(config)


def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=CLASSES,
        hidden_dropout_prob=0.1,
    )
    return ViTForImageClassification(config)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 12, 2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class UNet(nn.Module):
    """Classes for each pixel, ReLUs in place, a connection across."""

    def __init__(self) -> None:
        super().__init__()
        self.down = self._block(1, 8)
        self.bottom = self._block(8, 8)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.out = self._block(16, 8)
        self.head = nn.Conv2d(8, CLASSES, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.2),
        )

    def forward(self, x: Tensor) -> Tensor:
        across = self.down(x)
        below = self.up(self.bottom(nn.functional.max_pool2d(across, 2)))
        return self.head(self.out(torch.cat([across, below], 1)))


def words(rows: int) -> dict[str, Tensor]:
    mask = torch.ones(rows, 6, dtype=torch.long)
    mask[: rows // 2, 4:] = 0
    return {"input_ids": torch.randint(0, 50, (rows, 6)), "attention_mask": mask}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor | dict[str, Tensor]]]] = {
    "bert": (bert, words),
    "vit": (vit, lambda rows: torch.randn(rows, 1, 8, 8)),
    "encoder": (Encoder, lambda rows: torch.randn(rows, 5, 16)),
    "lstm": (Recurrent, lambda rows: torch.randn(rows, 5, 4)),
    "unet": (UNet, lambda rows: torch.randn(rows, 1, 8, 8)),
}
