"""`python -m resnet_nb` is `resnet-nb`: torchrun starts a module."""

from resnet_nb.cli import main

if __name__ == "__main__":
    main()
