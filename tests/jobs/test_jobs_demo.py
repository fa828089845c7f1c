"""Which directories a demo goes on in."""

import pytest

from audioflow.errors import OutputError
from audioflow.jobs.demo import _refuse_foreign


def test_a_page_that_a_kill_left_half_written_is_not_foreign(tmp_path):
    (tmp_path / ".index-k3_x9q2a.html").write_text("<ht")
    _refuse_foreign(tmp_path)
    (tmp_path / ".index-mine.html").write_text("precious")
    with pytest.raises(OutputError, match=r"holds other things \(\.index-mine\.html\)"):
        _refuse_foreign(tmp_path)
