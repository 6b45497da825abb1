"""Which requirements stand for one version."""

import pytest

from tools.lint.reading.pip import loose, name_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text",
    [
        "a==1.0", "A_b.c == 1.0+cu118", "a[x,y]==1.0 ; python_version > '3'", "a===1.0",
        f"git+https://github.com/a/b@{COMMIT}", f"a @ git+https://github.com/a/b.git@{COMMIT}#egg=a",
        "git+https://github.com/a/b@v1.2", "https://example.org/a-1.0-py3-none-any.whl",
        "a @ https://example.org/a-1.0.tar.gz", "a==$VERSION", "a==1.0 --hash=sha256:00",
    ],
)  # fmt: skip
def test_one_version(text: str) -> None:
    assert loose(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "a", "a>=1", "a~=1.0", "a==1.*", "a<2", "a[x]", "a!=1", "a>1,<2",
        "a ; python_version > '3'",
        "git+https://github.com/a/b", "git+https://github.com/a/b.git@main", "git+ssh://git@x.org/a/b",
        "a @ git+https://github.com/a/b", "git+https://user@x.org/a/b",
    ],
)  # fmt: skip
def test_several_versions(text: str) -> None:
    assert loose(text)


def test_names() -> None:
    assert name_of("Foo_Bar.baz[x]>=1") == "foo-bar-baz" and name_of("git+https://x.org/a") == ""
