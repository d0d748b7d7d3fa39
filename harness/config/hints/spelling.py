"""What to say of a name that does not exist: the setting that is probably meant. It knows words, and no value."""

import difflib
from collections.abc import Iterable

from harness.base import json_files

# What other programs call a setting.
_WORDS = {
    "augment.enabled": "aug augment augmentation augmentations",
    "augment.erasing": "cutout random_erasing",
    "augment.flip": "hflip horizontal_flip",
    "augment.mixup": "mix_up",
    "augment.rotation": "rotate degrees",
    "clean.near_copies": "duplicates dedup near_duplicates",
    "data.classes": "labels_to_use class_names",
    "data.images": "data dataset data_dir data_path image_dir images_dir input source",
    "data.labels": "csv label_file labels_csv",
    "data.records": "tfrecords records_dir tfrecord_dir",
    "model.name": "model arch architecture backbone network net",
    "model.weights": "pretrained pretrained_weights",
    "optim.accumulate_steps": "accumulate grad_accum gradient_accumulation gradient_accumulation_steps",
    "optim.clip_norm": "clip grad_clip gradient_clipping max_grad_norm clipnorm",
    "optim.ema": "ema_decay",
    "optim.label_smoothing": "smoothing",
    "optim.learning_rate": "lr learningrate max_lr base_lr lr0 rate",
    "optim.name": "opt optimizer optimiser",
    "optim.schedule": "scheduler lr_schedule lr_scheduler sched",
    "optim.warmup_epochs": "warmup warm_up",
    "optim.weight_decay": "wd decay l2 weightdecay",
    "records.image_size": "size img_size imgsz imagesize input_size resolution img",
    "records.jpeg_quality": "quality",
    "records.min_shards": "shards num_shards",
    "runtime.exports": "export export_formats",
    "runtime.gpus": "gpu cuda device devices num_gpus n_gpus ngpus",
    "runtime.workers": "num_workers jobs num_jobs threads processes",
    "split.previous": "split_from",
    "split.test": "test_split test_size test_fraction",
    "split.validation": "val val_split validation_split val_size val_fraction validation_size",
    "train.batch_size": "bs batch batchsize",
    "train.class_weights": "class_weight balanced",
    "train.epochs": "epoch num_epochs n_epochs max_epochs ep",
    "train.keep": "save_best save_best_only",
    "train.monitor": "metric",
    "train.patience": "early_stop early_stopping earlystopping",
    "train.precision": "amp fp16 bf16 float16 bfloat16 half mixed_precision dtype",
    "train.run": "out output output_dir out_dir outdir run_dir run_name workdir work_dir log_dir logdir save_dir",
    "train.seed": "random_seed random_state",
    "train.start_from": "init_from checkpoint ckpt finetune fine_tune",
    "tune.trials": "n_trials num_trials max_trials",
}
_MEANT = {word: name for name, words in _WORDS.items() for word in words.split()}


def find_meant(name: str) -> str | None:
    """Returns the setting that another program calls so, in whatever section it is given; None if none does."""
    word = name.rsplit(".", maxsplit=1)[-1].lower().replace("-", "_")
    return _MEANT.get(word)


def explain_unknown(name: str, valid: Iterable[str], noun: str) -> str:
    """Returns the sentence for a name that does not exist, with the one that is meant, or the nearest that does."""
    known = list(valid)
    field = name.rsplit(".", maxsplit=1)[-1].replace("-", "_")
    alike = [other for other in known if "." in other and other.split(".")[-1] == field]
    nearest = difflib.get_close_matches(name, alike or known, n=1, cutoff=0 if alike else 0.5)
    meant = find_meant(name)
    if not alike and meant in known:
        nearest = [meant]
    hint = f" Did you mean '{nearest[0]}'?" if nearest else f" {_list(known, noun)}"
    return f"there is no {noun} '{json_files.cut(name)}'.{hint}"


def _list(known: list[str], noun: str) -> str:
    return f"They are {', '.join(known)}." if len(known) <= 12 else f"--help names every {noun}."
