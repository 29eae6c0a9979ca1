"""Lays out the final stage of deploy/Dockerfile in a folder and runs it as a container engine would.

Usage: image.py PROGRAM. PROGRAM takes the place of the one that the build stage compiles. User, mount and network
namespaces stand in for the engine: the user of the image without capabilities, a read-only root file system but for the
volume, the files of the image and nothing else of this machine. Exits with status 77 if the system allows no namespaces.
"""

import ctypes
import fcntl
import http.client
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# The libraries of the base image distroless/cc-debian12 that a Rust program can need.
BASE_LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2"}
# The configuration of the profile `cluster` in this check; the compose file mounts it in the place of the image's own.
CLUSTER = "/etc/purposegate/cluster.toml"
START_SECONDS = 60
STOP_SECONDS = 45
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000


class Stage:
    """The instructions of the last stage of a Dockerfile."""

    def __init__(self, text):
        lines = text.replace("\\\n", " ").splitlines()
        instructions = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]
        last = max(at for at, (name, _) in enumerate(instructions) if name == "FROM")
        self.copies, self.environment = [], {}
        for name, rest in instructions[last + 1 :]:
            if name == "COPY":
                source, target = [word for word in rest.split() if not word.startswith("--")]
                self.copies.append((source, target))
            elif name == "ENV":
                self.environment.update(word.split("=", 1) for word in shlex.split(rest))
            elif name == "USER":
                self.user = int(rest.split(":")[0])
            elif name == "WORKDIR":
                self.folder = rest
            elif name == "VOLUME":
                self.volumes = json.loads(rest)
            elif name == "HEALTHCHECK":
                self.health = json.loads(rest.partition(" CMD ")[2])
            elif name == "ENTRYPOINT":
                self.entry = json.loads(rest)
            elif name == "CMD":
                self.command = json.loads(rest)
            elif name not in ("LABEL", "EXPOSE", "STOPSIGNAL"):
                sys.exit(f"deploy/Dockerfile: this check does not know {name}")


def lay_out(stage, program, root):
    """Copies the files of the stage to `root`, and what the base image has of them."""
    for source, target in stage.copies:
        to = root / target.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if source == "/usr/bin/purposegate":
            shutil.copy(program, to)
        elif source == "/state":
            to.mkdir()
        elif (REPOSITORY / source.removeprefix("/src/")).is_dir():
            shutil.copytree(REPOSITORY / source.removeprefix("/src/"), to)
        else:
            shutil.copy(REPOSITORY / source.removeprefix("/src/"), to)
    for line in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path is None:
            continue  # linux-vdso is no file.
        name = pathlib.Path(path).name
        if name not in BASE_LIBRARIES and not name.startswith("ld-linux"):
            sys.exit(f"the program needs {name}, which the base image does not have")
        to = root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    (root / "etc/hosts").write_text("127.0.0.1 localhost api\n")
    (root / "etc/passwd").write_text(f"nonroot:x:{stage.user}:{stage.user}:nonroot:/home/nonroot:/sbin/nologin\n")
    authorities = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    (root / "etc/ssl/certs").mkdir(parents=True)
    if authorities.exists():
        shutil.copy(authorities, root / "etc/ssl/certs")
    for folder in ("proc", "dev", "tmp"):
        (root / folder).mkdir()


def lay_out_cluster(root):
    """Copies what the profile `cluster` of compose.yaml mounts."""
    shutil.copy(REPOSITORY / "deploy/cluster/purposegate.toml", root / CLUSTER.lstrip("/"))
    (root / "secrets").mkdir()
    names = ("pseudonym", "ledger", "log")
    files = {"keys": "purposegate keys 1\n" + "".join(f"{name} = {'5a' * 32}\n" for name in names), "postgres-password": "sample"}
    for name, text in files.items():
        (root / "secrets" / name).write_text(text)
        (root / "secrets" / name).chmod(0o400)


def enter_namespaces(user):
    """Becomes `user` in namespaces of its own, with the loopback as the only network."""
    outside_user, outside_group = os.getuid(), os.getgid()
    if LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0:
        print(f"no namespaces: {os.strerror(ctypes.get_errno())}")
        sys.exit(SKIPPED)
    pathlib.Path("/proc/self/setgroups").write_text("deny")
    pathlib.Path("/proc/self/uid_map").write_text(f"{user} {outside_user} 1")
    pathlib.Path("/proc/self/gid_map").write_text(f"{user} {outside_group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        get_flags, set_flags, up = 0x8913, 0x8914, 0x1
        request = fcntl.ioctl(any_socket, get_flags, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", request)[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def mount(stage, root):
    """Makes the root file system read-only but for the volumes. The program `mount` wants user 0."""
    read_only, remount, bind, recursive, private = 1, 32, 4096, 16384, 1 << 18

    def change(source, target, flags):
        if LIBC.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))

    change("none", "/", recursive | private)
    change(root, root, bind)
    change("/proc", root / "proc", bind | recursive)
    for volume in stage.volumes:
        change(root / volume.lstrip("/"), root / volume.lstrip("/"), bind)
    change("none", root, remount | bind | read_only)


class Image:
    """The image as it runs."""

    def __init__(self, stage, root):
        self.stage, self.root = stage, root
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.environment = path | stage.environment | {"PURPOSEGATE_LOG": "warn"}

    def start(self, words, **more):
        def enter():
            os.chroot(self.root)
            os.chdir(self.stage.folder)

        return subprocess.Popen(words, env=self.environment, preexec_fn=enter, stdin=subprocess.DEVNULL, **more)

    def run(self, words):
        process = self.start(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, _ = process.communicate(timeout=START_SECONDS)
        return process.returncode, output


def ask(path, port=8080, key=None, purpose=None):
    headers = {"Authorization": f"Bearer {key}", "Data-Purpose": purpose} if key else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_until_healthy(image, gateway):
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert gateway.poll() is None, f"the gateway ended with status {gateway.returncode}"
        status, words = image.run(image.stage.health)
        if status == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"not healthy within {START_SECONDS} s: {words}")


def is_confined(gateway, user, root):
    assert os.statvfs(root).f_flag & os.ST_RDONLY, "the root file system is writable"
    lines = pathlib.Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == [str(user)] * 4, status["Uid"]
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, status["CapEff"]


def demonstration_keys():
    """Reads the keys of the demonstration where its users do."""
    lines = (REPOSITORY / "deploy/demo/purposegate.toml").read_text().splitlines()
    words = [line.split() for line in lines if "pgk_" in line]
    return {name: key for _, name, key in words}


def released(path, **who):
    status, text = ask(path, **who)
    assert status == 200, (path, status, text)
    return json.loads(text)


def named_in_mailing():
    """Returns the names that the service desk receives for direct marketing."""
    mailing = released("/customers", key=demonstration_keys()["service-desk"], purpose="direct-marketing")["items"]
    assert len(mailing) == 8, mailing
    return [row["name"] for row in mailing if "name" in row]


def ask_the_demonstration():
    """Asks as the recipients of the demonstration, and compares who leaves."""
    keys = demonstration_keys()
    desk, resale = keys["service-desk"], keys["north-resale"]
    assert ask("/customers")[0] == 401
    assert named_in_mailing() == ["Marta Lindqvale"], "only she consented"
    support = released("/customers/c-00002", key=desk, purpose="customer-support")
    assert support["name"] == "Jonas Okaforsen" and "internal_score" not in support, support
    assert "password_hash" not in json.dumps(support), support
    download = released("/customers/c-00008", key=resale, purpose="reseller-follow-up")
    assert download["name"] == "Chiara Montefalden" and "date_of_birth" not in download, download
    opted_out = released("/customers/c-00009", key=resale, purpose="reseller-follow-up")
    assert "name" not in opted_out, opted_out
    assert ask("/customers/c-00008", key=resale, purpose="direct-marketing")[0] == 403


def run_image(stage, root):
    image = Image(stage, root)
    api = subprocess.Popen(
        [sys.executable, "-B", REPOSITORY / "deploy/demo/api.py", REPOSITORY / "deploy/demo/api", "127.0.0.1:9000"],
        stdout=subprocess.PIPE,
    )
    gateway = None
    try:
        assert api.stdout.readline() == b"9000\n"
        status, words = image.run([*stage.entry, "check", "--config", stage.command[-1]])
        assert status == 0 and "0 warnings" in words, words
        # That there is no server of the ledger is only a warning.
        status, words = image.run([*stage.entry, "check", "--config", CLUSTER])
        assert status == 0, words
        gateway = image.start([*stage.entry, *stage.command])
        wait_until_healthy(image, gateway)
        is_confined(gateway, stage.user, root)
        # As the service `events` of compose.yaml.
        status, words = image.run([*stage.entry, "consent", "import", "/etc/purposegate/events.ndjson"])
        assert status == 0, words
        ask_the_demonstration()
        status, words = image.run([*stage.entry, "consent", "withdraw", "c-00001", "marketing"])
        assert status == 0, words
        assert named_in_mailing() == [], "a withdrawal is not in force"
        status, text = ask("/metrics", port=9902)
        assert status == 200 and "purposegate_build_info" in text
        assert ask("/v1/routes", port=9902)[0] == 404, "the probes serve more than probes"
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(timeout=STOP_SECONDS) == 0, gateway.returncode
        assert image.run(stage.health)[0] == 1, "healthy, but nothing runs"
        status, words = image.run([*stage.entry, "audit", "verify", "--config", stage.command[-1]])
        assert status == 0, words
    finally:
        for process in (gateway, api):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def main():
    stage = Stage((REPOSITORY / "deploy/Dockerfile").read_text())
    with tempfile.TemporaryDirectory(prefix="purposegate-image-") as folder:
        root = pathlib.Path(folder)
        lay_out(stage, sys.argv[1], root)
        lay_out_cluster(root)
        if (child := os.fork()) == 0:
            status = 1
            try:
                enter_namespaces(stage.user)
                mount(stage, root)
                run_image(stage, root)
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            except BaseException as error:  # The child must not run the parent's clean-up.
                print(f"{type(error).__name__}: {error}")
            sys.stdout.flush()
            os._exit(status)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
