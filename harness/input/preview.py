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
    """Draws pictures, uint8 [n, H, W, 3], in rows of `columns`, each row above the row of those that belong to it."""
    figure = figures.new_figure(1.4 * columns, 2.9 * -(-len(above) // columns) + 0.4)
    figure.suptitle(title)
    grid = figure.subplots(2 * -(-len(above) // columns), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for row, axes in enumerate(grid[:, 0]):
        words = "as trained on" if row % 2 else "as stored"
        axes.text(-0.08, 0.5, words, rotation=90, ha="right", va="center", transform=axes.transAxes, fontsize="small")
    for index, pair in enumerate(zip(above, below)):
        row, column = divmod(index, columns)
        for offset, picture in enumerate(pair):
            grid[2 * row + offset, column].imshow(picture)
    return figures.as_png(figure)
