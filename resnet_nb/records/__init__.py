"""Recorded runs and evaluations: `results/STUDY/NAME.json`, one file each, with a digest inside and a checksum beside; reading needs no torch."""

from resnet_nb.records.filing import KEPT, beside, check_name, file_record, file_table, list_views
from resnet_nb.records.frames import curves, evaluations_table, probe_table, to_table
from resnet_nb.records.names import family_and_depth, run_name
from resnet_nb.records.places import check_study, check_writable
from resnet_nb.records.reading import all_records, load_study, load_table, load_trace, load_views, of_kind, read_record
from resnet_nb.records.sums import SUMS
from resnet_nb.records.validation import as_text, digest, signed, validate
from resnet_nb.records.verification import Problem, verify

__all__ = [
    "KEPT", "SUMS", "Problem", "all_records", "as_text", "beside", "check_name", "check_study", "check_writable", "curves", "digest",
    "evaluations_table", "family_and_depth", "file_record", "file_table", "list_views", "load_study", "load_table", "load_trace", "load_views",
    "of_kind", "probe_table", "read_record", "run_name", "signed", "to_table", "validate", "verify",
]  # fmt: skip
