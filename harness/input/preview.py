"""Shows training pictures as they are stored, and as augmentation hands them to the network."""

import numpy as np
import tensorflow as tf

from harness.base import figures
from harness.config.schema import Config
from harness.config.training_sections import AugmentConfig
from harness.input import augment_device, pipeline
from harness.input.loaded_split import Split
from harness.input.placement import Inputs


def pair_up(split: Split, config: Config, inputs: Inputs, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first pictures of the first epoch, as stored and as trained on: uint8 [num, size, size, 3] each."""
    batches = -(-num // config.train.batch_size)
    plain = config.model_copy(update={"augment": AugmentConfig(enabled=False)})
    stored, trained = (
        np.concatenate(
            [
                _finish(split, batch)
                for batch in pipeline.train_batches(split, settings, engine=inputs.engine, epoch=0).take(batches)
            ]
        )[:num]
        for settings in (plain, config)
    )
    return stored, trained


def _finish(split: Split, batch: pipeline.Batch) -> np.ndarray:
    """The pixels of a batch after what the device would do to them."""
    if split.resident:
        pixels = split.resident["pixels"]
        images = tf.gather(getattr(pixels, "values", (pixels,))[0], batch["index"])
    else:
        images = batch["image"]
    if "warp" not in batch:
        return images.numpy()
    return np.rint(augment_device.augment_batch(images, batch).numpy()).astype(np.uint8)


def draw_augmentation(split: Split, config: Config, inputs: Inputs, num: int) -> bytes:
    """Returns a PNG of training pictures before and after augmentation, with what each row shows."""
    stored, trained = pair_up(split, config, inputs, min(num, split.num_examples))
    title = "training pictures as stored, and below as trained on"
    return _draw_pairs(stored, trained, title=title if config.augment.enabled else f"{title} (augmentation is off)")


def _draw_pairs(above: np.ndarray, below: np.ndarray, *, title: str, columns: int = 8) -> bytes:
    """Draws pictures, uint8 [n, H, W, 3], in rows of `columns`, each row above the row of those that belong to it.

    A row is one picture of all of its pictures: axes of its own for each take most of a second.
    """
    figure = figures.new_figure(1.4 * columns, 2.9 * -(-len(above) // columns) + 0.4)
    figure.suptitle(title)
    firsts = range(0, len(above), columns)
    rows = [
        (words, of[first : first + columns])
        for first in firsts
        for words, of in zip(("as stored", "as trained on"), (above, below))
    ]
    grid = figure.subplots(len(rows), 1, squeeze=False)
    for axes, (words, pictures) in zip(grid[:, 0], rows):
        axes.imshow(_lay_out(pictures, columns))
        axes.axis("off")
        axes.text(-0.01, 0.5, words, rotation=90, ha="right", va="center", transform=axes.transAxes, fontsize="small")
    return figures.as_png(figure)


def _lay_out(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Returns pictures, uint8 [n, H, W, 3], side by side with white between them, and in the place of those to come."""
    num, height, width, _ = pictures.shape
    gap = max(1, width // 12)
    row = np.full((height, columns, width + gap, 3), 255, np.uint8)
    row[:, :num, :width] = pictures.transpose(1, 0, 2, 3)
    return row.reshape(height, columns * (width + gap), 3)[:, :-gap]
