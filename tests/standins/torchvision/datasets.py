"""The data sets that timm lists by class; none is ever opened."""


class ImageFolder:
    """Only named."""


class CIFAR10:
    """Only named."""


class CIFAR100:
    """Only named."""


class MNIST:
    """Only named."""


class KMNIST:
    """Only named."""


class FashionMNIST:
    """Only named."""
