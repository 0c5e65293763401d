"""Compile and apply a mapping: the vendor's records become unified ones, unified changes the vendor's words."""

from hub.mapping.checking import check
from hub.mapping.compiled import CompiledMapping, compile_mapping
from hub.mapping.laws import LAWS, Problem
from hub.mapping.loading import Source, locate
from hub.mapping.previewing import preview
from hub.mapping.rows import Made, MappedPage, MappedRecord, Reject, Row, TableRows
from hub.mapping.spec import Table, VerbSpec

__all__ = [
    "LAWS",
    "CompiledMapping",
    "Made",
    "MappedPage",
    "MappedRecord",
    "Problem",
    "Reject",
    "Row",
    "Source",
    "Table",
    "TableRows",
    "VerbSpec",
    "check",
    "compile_mapping",
    "locate",
    "preview",
]
