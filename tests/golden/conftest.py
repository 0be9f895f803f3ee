"""Both ways in which Python codes streams."""

from __future__ import annotations

import pytest

from sigdca.errors import EngineError


@pytest.fixture(params=["library", "python"])
def streams(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Streams are coded by libsigdca-codec, or as where that is not built."""

    def codec_library() -> None:
        raise EngineError("native: libsigdca-codec.so is not there")

    if request.param == "python":
        monkeypatch.setattr("sigdca.native.library.codec_library", codec_library)
    return str(request.param)
