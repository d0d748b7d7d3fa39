"""The names of all networks, and what those of keras.applications take. It builds none, and imports no TensorFlow."""

from types import MappingProxyType
from typing import Literal

OWN_NETWORKS = ("emotion_cnn", "residual_cnn")

# What the first layer takes for RGB from 0 to 255: the same; from -1 to 1; less ImageNet's mean and over its deviation;
# BGR less ImageNet's mean. Those that take the same hold their scaling themselves.
Pixels = Literal["raw", "signed", "normalised", "caffe"]
_NAMES: dict[Pixels, str] = {
    "raw": "ConvNeXtBase ConvNeXtLarge ConvNeXtSmall ConvNeXtTiny ConvNeXtXLarge EfficientNetB0 EfficientNetB1 "
    "EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetV2B0 "
    "EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2L EfficientNetV2M EfficientNetV2S "
    "MobileNetV3Large MobileNetV3Small",
    "signed": "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile ResNet101V2 ResNet152V2 "
    "ResNet50V2 Xception",
    "normalised": "DenseNet121 DenseNet169 DenseNet201",
    "caffe": "ResNet101 ResNet152 ResNet50 VGG16 VGG19",
}
APPLICATIONS = MappingProxyType({name: pixels for pixels, names in _NAMES.items() for name in names.split()})
