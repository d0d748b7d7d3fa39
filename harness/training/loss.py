"""The loss of a batch, the weights of classes in it, and the probabilities that belong to logits."""

from collections.abc import Callable, Sequence

import tensorflow as tf

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_loss(*, num_outputs: int, label_smoothing: float, class_weights: Sequence[float] | None = None) -> Loss:
    """Returns a function of labels int32 [batch] and logits float32 [batch, num_outputs] to losses float32 [batch].

    One output is a sigmoid's, for two classes (binary cross-entropy); several are a softmax's (categorical
    cross-entropy). With `class_weights` an example's loss is multiplied by the weight of its class.
    """
    num_classes = max(2, num_outputs)

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, num_classes) * (1.0 - label_smoothing) + label_smoothing / num_classes
        if num_outputs == 1:
            return tf.nn.sigmoid_cross_entropy_with_logits(targets[:, 1], logits[:, 0])
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    def weighted_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return loss(labels, logits) * tf.gather(tf.constant(class_weights), labels)

    return loss if class_weights is None else weighted_loss


def balance_classes(counts: Sequence[int]) -> tuple[float, ...]:
    """Returns a weight for each class, so that all classes weigh the same in the loss and an example 1 on average.

    The weight is n / (k * n_c) for n examples of k classes, n_c of them of this one (King and Zeng, 2001).
    """
    return tuple(sum(counts) / (len(counts) * count) if count else 0.0 for count in counts)


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns class probabilities `float32 [batch, num_classes]`; one logit stands for the second of two classes."""
    if logits.shape[1] == 1:
        return tf.sigmoid(tf.concat([-logits, logits], axis=1))  # 1 - sigmoid(16) has no right digit in float32
    return tf.nn.softmax(logits)
