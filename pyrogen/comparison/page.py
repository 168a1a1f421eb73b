"""What the page of a comparison shows of a model: draws, their means, and the nearest training images."""

from typing import Any

from torch import Tensor

from pyrogen.data.dataset import Dataset
from pyrogen.measure.verdict.neighbours import nearest
from pyrogen.report.pictures import Pictures, draws, means, picture_size, real_pictures


def model_pictures(model: Any, data: Dataset, seed: int) -> Pictures:
    """The pictures of a model; means and nearest training images are those of images only."""
    n = picture_size(data)
    drawn = draws(model, data, n, seed)
    if not data.is_image:
        return Pictures(drawn)
    return Pictures(drawn, means(model, data, n, seed), nearest_images(drawn, data))


def data_pictures(data: Dataset) -> Pictures:
    """Test data in place of samples, with the training images nearest to them."""
    real = real_pictures(data, picture_size(data))
    return Pictures(real, nearest=nearest_images(real, data) if data.is_image else None)


def nearest_images(images: Tensor, data: Dataset) -> Tensor:
    """The training image nearest to each image, by the Euclidean distance of pixels: ``(n, c, h, w)`` in [0, 1]."""
    train = data.space.to_user(data.train.tensors()[0]).cpu().to(images.dtype)
    return train[nearest(images, train)[1][:, 0]]
