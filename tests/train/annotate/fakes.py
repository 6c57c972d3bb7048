"""A segmenter whose answers are known, and data sets of painted blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt, check_prompts
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_train.data.rle import to_rle

HEIGHT, WIDTH = 48, 64
BLOCKS = ((4, 4, 20, 24), (34, 10, 54, 30))
"""left, top, right, bottom of the two objects of every image."""

Document = dict[str, Any]
Change = Callable[[Document], None]
Correct = Callable[..., Path]
"""correct(round, change) -> a corrected file."""


class BoxFiller:
    """A segmenter that fills boxes, and answers clicks with a spot around them. boxes: whether it
    understands them; blind: answers nothing but empty masks; logits: whether it hands
    them out, which a server does not; fail_at: the image at which the run is killed."""

    def __init__(
        self,
        *,
        boxes: bool = True,
        blind: bool = False,
        logits: bool = True,
        fail_at: int | None = None,
    ) -> None:
        self.boxes = boxes
        self.blind = blind
        self.logits = logits
        self.num_encoded = 0
        self._fail_at = fail_at

    def encode(self, image: NDArray[np.uint8]) -> BoxFillerImage:
        if self.num_encoded == self._fail_at:
            raise KeyboardInterrupt
        self.num_encoded += 1
        return BoxFillerImage(self, image.shape[0], image.shape[1])

    def close(self) -> None:
        pass


class BoxFillerImage:
    def __init__(self, filler: BoxFiller, height: int, width: int) -> None:
        self._filler = filler
        self.height, self.width = height, width

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "apg"
    ) -> list[Segmentation]:
        check_prompts(prompts, height=self.height, width=self.width)
        return [
            Segmentation(
                mask=self._mask(prompt),
                score=0.9,
                points=prompt.points,
                branch="direct",
                low_res_logits=np.zeros((16, 16), np.float32) if self._filler.logits else None,
            )
            for prompt in prompts
        ]

    def release(self) -> None:
        pass

    def _mask(self, prompt: Prompt) -> NDArray[np.bool_]:
        mask = np.zeros((self.height, self.width), bool)
        if self._filler.blind:
            return mask
        if prompt.mask_logits is not None:
            rows, columns = np.nonzero(prompt.mask_logits > 0)
            mask[rows * 4, columns * 4] = True
        elif prompt.box is not None and self._filler.boxes:
            box = prompt.box
            mask[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
        for point in prompt.points:
            mask[int(point.y) - 2 : int(point.y) + 3, int(point.x) - 2 : int(point.x) + 3] = True
        return mask


def write_boxes(
    folder: Path,
    *,
    num_images: int = 3,
    names: Sequence[str] = (),
    masks: bool = False,
    shade: int = 240,
) -> Path:
    """A COCO data set whose objects only have boxes, or masks that fill them. shade: of the first
    image's background; images are equal to the byte where shades are."""
    names = names or [f"images/{number:03d}.png" for number in range(num_images)]
    images: list[Document] = []
    annotations: list[Document] = []
    for number, name in enumerate(names):
        picture = np.full((HEIGHT, WIDTH, 3), shade - number, np.uint8)
        for left, top, right, bottom in BLOCKS:
            picture[top:bottom, left:right] = (30, 90, 200)
            box = [left, top, right - left, bottom - top]
            annotation = {"id": len(annotations), "image_id": number, "category_id": 1, "bbox": box}
            if masks:
                annotation["segmentation"] = rle_of(left, top, right, bottom)
            annotations.append(annotation)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), picture)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
    categories = [{"id": 1, "name": "Gun"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def rle_of(left: int, top: int, right: int, bottom: int) -> Document:
    """A filled rectangle of the test images."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return to_rle(mask)


def proposals_of(folder: Path) -> Document:
    document: Document = json.loads((folder / "proposals.json").read_text())
    return document
