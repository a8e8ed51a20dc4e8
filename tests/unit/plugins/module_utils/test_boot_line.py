"""Boot lines as the kernel splits them, and the texts of GRUB and grubby."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _boot_before, _boot_line
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(alphabet=st.sampled_from("GRUB_CMDLINE_LINUX_DEFAULT=\"'$\\ \n#{}`()+-x.1iommu,ptargskernel/"), max_size=80)
WORD = st.from_regex(r"[a-z][a-z_.-]{0,6}(=[a-z0-9,]{0,4})?", fullmatch=True).filter(lambda word: word != "--")


@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        ("BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro  quiet\n", ["BOOT_IMAGE=/vmlinuz", "root=/dev/sda1", "ro", "quiet"]),
        ('dyndbg="file x.c +p" ro', ['dyndbg="file x.c +p"', "ro"]),
        ('ro name="without an end', ["ro", 'name="without an end']),
        ("ro -- iommu=pt", ["ro"]),
        ("", []),
        (None, []),
    ],
)
def test_a_line_is_split_as_the_kernel_does(line, parameters):
    assert _boot_line.split(line) == parameters


@pytest.mark.parametrize(
    ("line", "wanted", "lost"),
    [
        ("ro iommu=pt", ["iommu=pt"], []),
        ("ro", ["iommu=pt", "ro"], ["iommu=pt"]),
        ("iommu=pt iommu=soft", ["iommu=pt"], ["iommu=pt"]),
        ("iommu=soft iommu=pt", ["iommu=pt"], []),
        ("iommu=pt iommu.passthrough=0", ["iommu=pt"], ["iommu=pt"]),
        ("iommu=pt iommu.passthrough=on", ["iommu=pt"], []),
        ("intel-iommu=on", ["intel_iommu=on"], []),
        ("iommu=pt -- ", ["iommu=pt"], []),
        ("-- iommu=pt", ["iommu=pt"], ["iommu=pt"]),
        ("console=tty0 console=ttyS0", ["console=tty0"], []),
        ("mitigations=off mitigations=auto", ["mitigations=off"], ["mitigations=off"]),
    ],
)
def test_the_later_of_two_counts(line, wanted, lost):
    assert _boot_line.missing(_boot_line.split(line), wanted) == lost


@pytest.mark.parametrize("word", ["iommu pt", "iommu=$(x)", 'a="b"', "a=`b`", "", "-x", "a\nb", "iommu=pt\n", "a=b;c"])
def test_what_a_shell_would_take_for_more_than_a_word_is_refused(word):
    assert _boot_line.unusable([word])[0] == repr(word)


def test_what_contradicts_itself_is_refused():
    assert _boot_line.unusable(["iommu=pt", "nokaslr", "iommu=nopt"]) == ("iommu=pt and iommu=nopt", "one of them")
    assert _boot_line.unusable(["iommu=pt", "intel_iommu=on", "mitigations=off", "console=tty0", "console=ttyS0,115200"]) is None


@given(st.lists(WORD, max_size=6), st.lists(WORD, max_size=3))
def test_what_is_added_last_is_never_missing(line, wanted):
    if _boot_line.unusable(wanted) is None:
        assert _boot_line.missing([*line, *wanted], wanted) == []


@pytest.mark.parametrize(
    ("text", "everywhere", "normally"),
    [
        ('GRUB_CMDLINE_LINUX="a=1 b"\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n', ["a=1", "b"], ["quiet"]),
        ("GRUB_CMDLINE_LINUX='a'\nGRUB_CMDLINE_LINUX+=' b' # c\n", ["a", "b"], []),
        ('GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX b"\n', ["a", "b"], []),
        ('GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX_DEFAULT="${GRUB_CMDLINE_LINUX} b"\n', ["a"], ["a", "b"]),
        ('GRUB_CMDLINE_LINUX="a"\nexport GRUB_CMDLINE_LINUX="c"\n#GRUB_CMDLINE_LINUX="d"\n', ["c"], []),
        ('GRUB_CMDLINE_LINUX="a \\\nb"\nGRUB_TIMEOUT=5\n', ["a", "b"], []),
        ("GRUB_CMDLINE_LINUX=\n", [], []),
    ],
)
def test_settings_are_read_as_a_shell_does(text, everywhere, normally):
    said, unread = _boot_line.grub_settings(text)
    assert (said["GRUB_CMDLINE_LINUX"], said["GRUB_CMDLINE_LINUX_DEFAULT"], unread) == (everywhere, normally, [])
    answer = subprocess.run(
        ["bash", "-c", text + 'echo "$GRUB_CMDLINE_LINUX"\necho "$GRUB_CMDLINE_LINUX_DEFAULT"'], capture_output=True, text=True, check=True
    )
    assert [line.split() for line in answer.stdout.splitlines()] == [everywhere, normally]


@pytest.mark.parametrize("value", ['"$(cat x)"', '"`x`"', '"${x:-y}"', '"no end', "a b", '"$OTHER b"'])
def test_what_only_a_shell_could_tell_is_said(value):
    said, unread = _boot_line.grub_settings(f'GRUB_CMDLINE_LINUX="a"\nGRUB_CMDLINE_LINUX={value}\n')
    assert said["GRUB_CMDLINE_LINUX"] == ["a"]
    assert unread == [f"GRUB_CMDLINE_LINUX={value}"]


def test_our_file_adds_to_what_is_there():
    said, _unread = _boot_line.grub_settings('GRUB_CMDLINE_LINUX="a"\n')
    said, unread = _boot_line.grub_settings(_boot_line.grub_file(["iommu=pt", "nokaslr"]), said)
    assert (said["GRUB_CMDLINE_LINUX"], unread) == (["a", "iommu=pt", "nokaslr"], [])


CONFIGURATION = """
### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian GNU/Linux' --class debian {
	linux	/boot/vmlinuz-6.1.0-18-amd64 root=UUID=0a ro  quiet
	initrd	/boot/initrd.img-6.1.0-18-amd64
}
	linuxefi /boot/vmlinuz-6.1.0-18-amd64 root=UUID=0a ro single
### END /etc/grub.d/10_linux ###
### BEGIN /etc/grub.d/30_os-prober ###
	linux /boot/vmlinuz-other root=/dev/sdb1
### END /etc/grub.d/30_os-prober ###
"""


def test_other_systems_entries_are_not_ours_to_judge():
    assert _boot_line.grub_entries(CONFIGURATION) == [["root=UUID=0a", "ro", "quiet"], ["root=UUID=0a", "ro", "single"]]


def test_a_configuration_of_another_hand_is_read_as_a_whole():
    assert _boot_line.grub_entries("linux /vmlinuz ro a\n  linux16 /vmlinuz b\n#linux /vmlinuz c\n") == [["ro", "a"], ["b"]]


def test_kernels_of_grubby():
    text = (
        'index=0\nkernel="/boot/vmlinuz-5.14"\nargs="ro crashkernel=1G $tuned_params"\nroot="/dev/sda1"\n'
        'index=1\nkernel="/boot/vmlinuz-rescue"\nargs="ro"\nindex=2\nnon linux entry\n'
    )
    assert _boot_line.grubby_kernels(text) == {
        "/boot/vmlinuz-5.14": ["ro", "crashkernel=1G", "$tuned_params"],
        "/boot/vmlinuz-rescue": ["ro"],
    }


@given(TEXT)
def test_strange_text_is_no_error(text):
    said, _unread = _boot_line.grub_settings(text)
    assert set(said) == set(_boot_line.GRUB_VARIABLES)
    for words in [_boot_line.split(text), *_boot_line.grub_entries(text), *_boot_line.grubby_kernels(text).values(), *said.values()]:
        assert all(words)
        assert _boot_line.missing(words, ["iommu=pt"]) in ([], ["iommu=pt"])


@given(st.one_of(st.none(), st.text(), st.sampled_from(["[]", '{"had": 1}', '{"parameters": {"a": 1}}', "null", '{"had": {"k": null}}'])))
def test_a_damaged_record_is_an_empty_one_or_a_whole_one(text):
    record = _boot_before.read(text)
    assert _boot_before.read(_boot_before.render(record)) == record


def test_the_first_word_on_what_was_there_stays():
    record = _boot_before.with_added(_boot_before.read(None), ["a"], made_folder=True, had={"k": ["a"], "l": []})
    record = _boot_before.with_added(record, ["a", "b"], had={"k": ["b"], "l": ["a"]})
    assert record == {"parameters": ["a", "b"], "made_folder": True, "had": {"k": ["a", "b"]}}
    assert _boot_before.without(record, ["a"]) == {"parameters": ["b"], "made_folder": True, "had": {"k": ["b"]}}
