"""The published numbers and the claims of the dispute, as data with their sources. Nothing here imports torch.

The YAML files in this folder hold some five hundred facts, each with an id and its source. `verified: false` means that
nobody has yet seen the number at its source: every function hands that on, so that whoever shows the number can say so.
"""

from resnet_nb.published.loader import Claim, Fact, citation, claims, document, fact, facts, files, sources
from resnet_nb.published.protocols import against_original, compared_with, imagenet_by_protocol
from resnet_nb.published.tables import PAPER_TABLE6, cifar_errors, imagenet_table2, three_protocols

__all__ = [
    "PAPER_TABLE6", "Claim", "Fact", "against_original", "cifar_errors", "citation", "claims", "compared_with", "document", "fact", "facts", "files",
    "imagenet_by_protocol", "imagenet_table2", "sources", "three_protocols",
]  # fmt: skip
