"""Measures how fast longtask-agent saves and restores checkpoints, beside rclone and awscli and with versitygw.

    make bench-store                   # five runs of everything
    make bench-store RUNS=1 PART=64    # a 64th of each shape, to try it out

Each tool is a process from its start to its end, sends parts of 16 MiB by TLS, and has at most 32 requests under way.
Each keeps the checks that it does by itself: the agent hashes what it sends, rclone reads a large file again for its
MD5, awscli has checksums of parts. The tools take turns within each run. Server and tool share the cores. Each run is a line
in bench/results/store.jsonl; the table is of the runs of this call.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PART_BYTES = 16 * MIB
REQUESTS = 32
BUCKET = "bucket"
REGION = "us-east-1"
ACCESS, SECRET = "bench", "not-a-secret"
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION}
RESULTS = pathlib.Path(__file__).parent.parent / "results" / "store.jsonl"


class Shape:
    """A tree of files of one size."""

    def __init__(self, name, files, size, target):
        self.name, self.files, self.size, self.target = name, files, size, target

    def part(self, part):
        """A part of it: large files get smaller, of small ones there are fewer."""
        if self.size >= PART_BYTES:
            return Shape(self.name, self.files, max(self.size // part, 1), self.target)
        return Shape(self.name, max(self.files // part, 1), self.size, self.target)

    def write(self, folder):
        for number in range(self.files):
            # Not more than a thousand in one folder, as programs do it.
            path = folder / str(number // 1000) / f"{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                left = self.size
                while left:
                    left -= file.write(os.urandom(min(left, MIB)))

    def at_once(self):
        """How many files at once, and parts of each at once, make no more requests than are allowed."""
        parts = -(-self.size // PART_BYTES)
        files = max(min(self.files, REQUESTS // parts), 1)
        return files, REQUESTS // files


class Process:
    """What a process took: seconds, and the most memory that it had."""

    def __init__(self, seconds, usage):
        self.seconds, self.mib = seconds, usage.ru_maxrss / 1024


def run(command, environment, on_start=None):
    """Runs a process. It ends well, or what it said is shown."""
    os.sync()  # what an earlier process wrote is not this one's to wait for
    with tempfile.TemporaryFile("w+") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.PIPE if on_start else said,
            text=True,
        )
        if on_start:
            on_start(process)
            shutil.copyfileobj(process.stderr, said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if process.returncode != 0:
            said.seek(0)
            sys.exit(f"{command[0]} ends with {process.returncode}:\n{said.read()[-4000:]}")
    return Process(seconds, usage)


class Agent:
    name = "longtask-agent"

    def __init__(self, program, endpoint, authority, scratch):
        self.program, self.endpoint, self.authority = program, endpoint, authority.read_text()
        self.folder = pathlib.Path(scratch, "agent")
        self.saved = {}

    def command(self, *arguments):
        return [self.program, *arguments, f"--directory={self.folder}/run", f"--message={self.folder}/word"]

    def environment(self, uid, **store):
        settings = {
            "url": f"s3://{BUCKET}/agent",
            "endpoint": self.endpoint,
            "region": REGION,
            "namespace": "bench",
            "name": "bench",
            "uid": uid,
            "segment": 1,
            "graceSeconds": 3600,
            "patienceSeconds": 3600,
            **store,
        }
        settings = json.dumps({"version": 1, "wordBytes": 4096, "store": settings})
        own = {"LONGTASK_AGENT": settings, "LONGTASK_POD_UID": "00000000", "CA_CERTIFICATE": self.authority}
        return {**KEYS, "PATH": os.environ["PATH"], **own}

    def save(self, shape, source, key):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        environment = self.environment(key, directory=str(source.parent), attempt=1)
        subprocess.run(self.command("prepare"), env=environment, check=True)
        with (self.folder / "run" / "report").open("a") as file:
            file.write(json.dumps({"checkpoint": {"path": source.name}}) + "\n")

        def stop(process):
            # It saves what is reported, and ends: as when a pod is stopped.
            for line in process.stderr:
                if "at work" in line:
                    return process.send_signal(signal.SIGTERM)

        taken = run(self.command(), environment, stop)
        lines = (self.folder / "word").read_text().splitlines()[1:]
        saved = [json.loads(line)["checkpoint"] for line in lines if "checkpoint" in json.loads(line)]
        if not saved or "uri" not in saved[-1]:
            sys.exit(f"the agent has saved nothing: {lines}")
        self.saved[key] = {field: saved[-1][field] for field in ("uri", "digest")}
        return taken

    def restore(self, shape, key, folder):
        restore = {"named": self.saved[key], "epoch": 0}
        taken = run(self.command("restore"), self.environment(key, directory=str(folder), attempt=2, restore=restore))
        return taken, folder / "restored"


class Rclone:
    name = "rclone"

    def __init__(self, program, endpoint, authority, scratch):
        self.program = program
        self.settings = {
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG": f"{scratch}/rclone.conf",
            "RCLONE_CA_CERT": str(authority),
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": endpoint,
            "RCLONE_S3_REGION": REGION,
            "RCLONE_S3_ACCESS_KEY_ID": ACCESS,
            "RCLONE_S3_SECRET_ACCESS_KEY": SECRET,
            "RCLONE_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
            "RCLONE_S3_CHUNK_SIZE": "16M",
            "RCLONE_S3_UPLOAD_CUTOFF": "16M",
            "RCLONE_MULTI_THREAD_CUTOFF": "16M",
            "RCLONE_MULTI_THREAD_CHUNK_SIZE": "16M",
        }
        pathlib.Path(f"{scratch}/rclone.conf").touch()

    def copy(self, shape, source, target):
        files, parts = (str(number) for number in shape.at_once())
        settings = {
            **self.settings,
            "RCLONE_TRANSFERS": files,
            "RCLONE_CHECKERS": files,
            "RCLONE_S3_UPLOAD_CONCURRENCY": parts,
            "RCLONE_MULTI_THREAD_STREAMS": parts,
        }
        return run([self.program, "copy", "--no-check-dest", source, target], settings)

    def save(self, shape, source, key):
        return self.copy(shape, str(source), f":s3:{BUCKET}/rclone/{key}")

    def restore(self, shape, key, folder):
        return self.copy(shape, f":s3:{BUCKET}/rclone/{key}", str(folder)), folder


class Awscli:
    name = "awscli"

    def __init__(self, program, endpoint, authority, scratch):
        self.program, self.endpoint = program, endpoint
        settings = pathlib.Path(f"{scratch}/aws.conf")
        settings.write_text(
            f"[default]\ns3 =\n  max_concurrent_requests = {REQUESTS}\n  multipart_threshold = 16MB\n"
            "  multipart_chunksize = 16MB\n  addressing_style = path\n"
        )
        own = {"HOME": scratch, "AWS_CONFIG_FILE": str(settings), "AWS_CA_BUNDLE": str(authority)}
        self.environment = {**KEYS, "PATH": os.environ["PATH"], **own}

    def copy(self, source, target):
        options = ["--recursive", "--only-show-errors", "--endpoint-url", self.endpoint]
        return run([self.program, "s3", "cp", *options, source, target], self.environment)

    def save(self, shape, source, key):
        return self.copy(str(source), f"s3://{BUCKET}/awscli/{key}/")

    def restore(self, shape, key, folder):
        return self.copy(f"s3://{BUCKET}/awscli/{key}/", str(folder)), folder


def certificate(scratch):
    """A certificate of this machine for itself, and its key, as files."""
    settings, authority, key = (pathlib.Path(scratch, f"tls.{end}") for end in ("conf", "pem", "key"))
    settings.write_text(
        "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = use\n[name]\nCN = bench\n"
        "[use]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n"
    )
    command = ["openssl", "req", "-x509", "-config", settings, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-keyout", key, "-out", authority]
    subprocess.run(command, check=True, capture_output=True)
    return authority, key


@contextlib.contextmanager
def store(program, scratch):
    """versitygw, with its objects as files in a folder. Gives its address, its certificate, and that folder."""
    objects, beside = pathlib.Path(scratch, "store"), pathlib.Path(scratch, "beside")
    (objects / BUCKET).mkdir(parents=True)
    beside.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    authority, key = certificate(scratch)
    command = [program, "--access", ACCESS, "--secret", SECRET, "--port", f"127.0.0.1:{port}"]
    command += ["--cert", authority, "--key", key]
    # What the file system cannot keep beside a file is kept beside the data.
    command += ["posix", "--sidecar", str(beside), str(objects)]
    log = pathlib.Path(scratch, "store.log")
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None:
                    sys.exit(f"{program} ends with {process.returncode}:\n{log.read_text()}")
            yield f"https://127.0.0.1:{port}", authority, objects / BUCKET
        finally:
            process.kill()


def digest(folder):
    """A digest of a tree: paths and contents."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def measure(shape, tools, runs, scratch, bucket):
    """The figures of each tool, one after the other: {tool: [{figure: value}, ...]}."""
    source = pathlib.Path(scratch, "source")
    shape.write(source)
    expected = digest(source)
    measured = {tool.name: [] for tool in tools}
    for number in range(runs):
        turn = number % len(tools)
        for tool in tools[turn:] + tools[:turn]:
            folder = pathlib.Path(scratch, "restored")
            folder.mkdir()
            key = f"{shape.files}x{shape.size}-{number}"
            saved = tool.save(shape, source, key)
            restored, place = tool.restore(shape, key, folder)
            if digest(place) != expected:
                sys.exit(f"{tool.name} has restored something else than it saved")
            figures = {
                "save, s": saved.seconds,
                "restore, s": restored.seconds,
                "save memory, MiB": saved.mib,
                "restore memory, MiB": restored.mib,
            }
            measured[tool.name].append(figures)
            told = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"{shape.name}, run {number + 1}, {tool.name}: {told}", file=sys.stderr, flush=True)
            shutil.rmtree(folder)
            for left in bucket.iterdir():
                shutil.rmtree(left)
    shutil.rmtree(source)
    return measured


def table(shape, measured):
    """The medians, and how fast the agent is where the best of the others is 1."""
    rows = [f"\n{shape.name}: {shape.files} x {shape.size / MIB:g} MiB\n"]
    rows.append(f"{'':16}{'save, s':>24}{'restore, s':>24}{'memory, MiB: save':>20}{'restore':>10}")

    def values(name, figure):
        return [run[figure] for run in measured[name]]

    for name in measured:
        row = f"{name:16}"
        for figure in ("save, s", "restore, s"):
            every = values(name, figure)
            spread = f"{statistics.median(every):.2f} ({min(every):.2f} to {max(every):.2f})"
            row += f"{spread:>24}"
        most = [max(values(name, figure)) for figure in ("save memory, MiB", "restore memory, MiB")]
        rows.append(row + f"{most[0]:20.0f}{most[1]:10.0f}")
    for figure in ("save, s", "restore, s"):
        others = min(statistics.median(values(name, figure)) for name in measured if name != Agent.name)
        ratio = others / statistics.median(values(Agent.name, figure))
        verdict = "met" if ratio >= shape.target else "MISSED"
        what = figure.partition(",")[0]
        rows.append(f"{what}: {ratio:.2f} of the speed of the best of the others; target {shape.target}: {verdict}")
    return "\n".join(rows)


def version(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).splitlines()[0].split(" Python/")[0].strip()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--agent", type=os.path.abspath, required=True, help="the program longtask-agent")
    options.add_argument("--programs", type=os.path.abspath, required=True, help="where rclone, aws and versitygw are")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--part", type=int, default=1, help="only an Nth of each shape, not added to the results")
    options.add_argument("--folder", type=os.path.abspath, help="where the data is meanwhile: 20 GiB, on a disk")
    arguments = options.parse_args()

    shapes = [
        Shape("1 x 4 GiB", 1, 4096 * MIB, 0.9),
        Shape("64 x 64 MiB", 64, 64 * MIB, 0.9),
        Shape("10,000 x 64 KiB", 10_000, MIB // 16, 0.8),
    ]
    rclone, aws, versitygw = (os.path.join(arguments.programs, name) for name in ("rclone", "aws", "versitygw"))
    versions = {
        Agent.name: version([arguments.agent, "--version"]),
        Rclone.name: version([rclone, "version"]),
        Awscli.name: version([aws, "--version"]),
    }
    figures = {name: [{} for _ in range(arguments.runs)] for name in versions}
    tables = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch, store(versitygw, scratch) as opened:
        endpoint, authority, bucket = opened
        tools = [
            Agent(arguments.agent, endpoint, authority, scratch),
            Rclone(rclone, endpoint, authority, scratch),
            Awscli(aws, endpoint, authority, scratch),
        ]
        for whole in shapes:
            shape = whole.part(arguments.part)
            measured = measure(shape, tools, arguments.runs, scratch, bucket)
            tables.append(table(shape, measured))
            for name, runs in measured.items():
                for number, taken in enumerate(runs):
                    figures[name][number] |= {f"{shape.name}: {what}": round(value, 3) for what, value in taken.items()}
    if arguments.part == 1:
        at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with RESULTS.open("a") as file:
            for name, runs in figures.items():
                for taken in runs:
                    file.write(json.dumps({"scenario": "store", "side": name, "at": at, "figures": taken}) + "\n")
    print(*versions.values(), sep=", ")
    print(*tables, sep="\n")


if __name__ == "__main__":
    main()
