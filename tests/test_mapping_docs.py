"""docs/mapping.md tells the truth: every block compiles and holds the laws."""

from pathlib import Path

import pytest

from hub.mapping import Source, check, compile_mapping

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = [part.split("```")[0] for part in (DOCS / "mapping.md").read_text("utf-8").split("```toml\n")[1:]]
BASE = '[tickets]\nkind = "ticket"\nkey = "id"\n[tickets.fields]\nbrand = "b"\nsubject = "s"\n'


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_of_the_page_compiles_and_is_lawful(block: str) -> None:
    mapping = compile_mapping(Source(block, "docs/mapping.md"), resolve=lambda name: Source(BASE, name))
    assert [problem for problem in check(mapping) if problem.severity == "error"] == []
