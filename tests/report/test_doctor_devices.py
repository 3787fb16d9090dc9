"""`respect-tf doctor` knows what keeps Edge TPUs from working today."""

import pytest

from respect_tf.report import examine_devices
from respect_tf.run import _device_checks, fits_together
from respect_tf.run._device_checks import interpreter_for
from respect_tf.run.script import _devices
from respect_tf.run.script._advice import hint, installed_runtime, what_fits
from respect_tf.run.script._packages import InterpreterPackage


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETPU_LIBRARY", "/nowhere/libedgetpu.so.1")
    return tmp_path


def _write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _usb(root, **more):
    about = {"idVendor": "18d1", "idProduct": "9302", "speed": "5000", "bMaxPower": "896mA"}
    for name, text in {**about, "busnum": "2", "devnum": "7", **more}.items():
        _write(root, f"sys/bus/usb/devices/2-1/{name}", text + "\n")


def _found(root):
    return {finding.name: finding for finding in examine_devices(root)}


def test_nothing_attached_is_no_fault(root):
    found = _found(root)
    assert {one.status for one in found.values()} <= {"ok", "optional"}
    assert found["interpreter"].status == "ok"
    assert "libedgetpu" in found["libedgetpu"].remedy
    assert not any("USB device" in name for name in found)


def test_usb_devices_tell_rights_speed_and_power(root):
    _usb(root)
    closed = _found(root)["USB device 2-1"]
    assert closed.status == "missing"
    assert "plugdev" in closed.remedy
    _write(root, "dev/bus/usb/002/007", "")
    assert "900 mA" in _found(root)["USB device 2-1"].remedy
    _usb(root, speed="480")
    slow = _found(root)["USB device 2-1"]
    assert slow.status == "optional"
    assert "USB 3" in slow.remedy
    _usb(root, idVendor="1d6b")
    assert "USB device 2-1" not in _found(root)


def test_modules_without_a_driver_are_told_which_fork_builds(root, monkeypatch):
    _write(root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x1ac1\n")
    _write(root, "sys/bus/pci/devices/0000:01:00.0/device", "0x089a\n")
    monkeypatch.setattr("platform.release", lambda: "6.12.3-rpi")
    new = _found(root)["gasket driver"]
    assert new.status == "missing"
    assert "feranick" in new.remedy
    assert "6.12" in new.remedy
    monkeypatch.setattr("platform.release", lambda: "6.1.0-20")
    assert "gasket-dkms" in _found(root)["gasket driver"].remedy
    _write(root, "dev/apex_0", "")
    found = _found(root)
    assert "gasket driver" not in found
    assert found["PCIe module apex_0"].status == "ok"
    _write(root, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    _write(root, "boot/firmware/config.txt", "kernel=kernel8.img\ndtparam=pciex1\n")
    pi = _found(root)["Raspberry Pi 5 and PCIe"]
    assert "pciex1-compat-pi5,no-mip" in pi.remedy
    assert "kernel8" not in pi.remedy
    overlay = "kernel=kernel8.img\ndtparam=pciex1\ndtoverlay=pciex1-compat-pi5,no-mip\n"
    _write(root, "boot/firmware/config.txt", overlay)
    assert _found(root)["Raspberry Pi 5 and PCIe"].status == "ok"


@pytest.mark.parametrize(
    ("runtime", "package", "known"),
    [
        ("16.0", ("tflite_runtime", "2.5.0.post1"), True),
        ("16.0", ("tflite_runtime", "2.11.1"), True),
        ("16.0", ("tflite_runtime", "2.12.0"), False),
        ("16.0", ("ai_edge_litert", "2.1.0"), False),
        ("16.0", ("tensorflow", "2.19.1"), False),
        ("16.0TF2.19.1-1", ("ai_edge_litert", "2.1.0"), True),
        ("16.0tf2.17.1-1.bookworm", ("ai_edge_litert", "2.1.0"), False),
        ("16.0TF2.17.1", ("tflite_runtime", "2.17.1"), True),
        ("16.0TF2.17.1", ("tflite_runtime", "2.5.0"), False),
        ("16.0TF2.17.1", ("tensorflow", "2.17.0"), True),
        ("", ("ai_edge_litert", "2.1.0"), False),
        ("16.0", None, False),
    ],
)
def test_the_pairs_that_are_known_to_work(monkeypatch, runtime, package, known):
    given = None if package is None else InterpreterPackage(*package)
    monkeypatch.setattr(_device_checks, "installed_runtime", lambda: runtime)
    monkeypatch.setattr(_device_checks, "fitting_package", lambda: given)
    works, found, remedy = fits_together()
    assert works == known
    assert (runtime or "unknown") in found
    assert known or "ai-edge-litert" in remedy


@pytest.mark.parametrize(
    ("runtime", "own", "taken"),
    [
        ("16.0", "", "tflite_runtime"),
        ("16.0TF2.19.1-1", "", "ai_edge_litert"),
        ("16.0TF2.17.1-1", "", "tensorflow"),
        ("16.0TF2.16.1-1", "", "ai_edge_litert"),
        ("", "", "ai_edge_litert"),
        ("16.0", "mine.so", "ai_edge_litert"),
    ],
)
def test_of_several_interpreters_the_one_that_fits_is_taken(monkeypatch, runtime, own, taken):
    versions = {"ai_edge_litert": "2.1.0", "tflite_runtime": "2.5.0", "tensorflow": "2.17.1"}

    def find(wanted=None):
        name = wanted or "ai_edge_litert"
        return InterpreterPackage(name, versions[name])

    monkeypatch.setattr(_devices, "find_package", find)
    monkeypatch.setattr(_devices, "installed_runtime", lambda: runtime)
    monkeypatch.setenv("EDGETPU_LIBRARY", own)
    assert interpreter_for("auto").name == taken
    assert interpreter_for("tflite").name == "tflite_runtime"


def test_the_debian_packages_version_is_read(tmp_path):
    status = tmp_path / "status"
    status.write_text(
        "Package: other\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: libedgetpu1-std\nStatus: install ok installed\nVersion: 16.0TF2.19.1-1\n"
    )
    assert installed_runtime(str(status)) == "16.0TF2.19.1-1"
    status.write_text("Package: libedgetpu1-max\nStatus: deinstall ok config-files\nVersion: 2\n")
    assert installed_runtime(str(status)) == ""
    assert installed_runtime(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Package requires runtime version (14), which is newer than this runtime version (13).",
            "edgetpu_compiler -m 13",
        ),
        ("Didn't find op for builtin opcode 'CONV_2D' version '6'", "tflite_runtime 2.5"),
        ("Unsupported data type in custom op handler: 0", "do not fit together"),
        ("Encountered unresolved custom op: edgetpu-custom-op.", "no delegate took it"),
        ("something else", ""),
    ],
)
def test_messages_of_others_are_explained(said, told):
    assert told in hint(said)
    assert bool(told) == bool(hint(said))


def test_what_to_install_names_this_python(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 13, 0))
    assert "Python 3.13" in what_fits()
    assert "Google's libedgetpu1-std" not in what_fits()
    assert "Here." not in what_fits()
    monkeypatch.setattr("sys.version_info", (3, 9, 2))
    assert "Google's libedgetpu1-std 16.0 with tflite_runtime 2.5.0" in what_fits()
